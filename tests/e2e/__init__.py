"""Tests on a real node: containerd, kubelet, pod network, Service proxy, DNS and a private registry."""
