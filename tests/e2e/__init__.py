"""Tests of real images, and on a real node: containerd, kubelet, pod network, Service proxy, DNS, private registry."""
