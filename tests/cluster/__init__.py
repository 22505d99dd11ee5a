"""Tests against a real Kubernetes control plane, and what starts one.

`build` makes the programs, `controlplane` runs them, `client` and `commands` talk to them; `conftest` hands
them to tests. `make test-cluster` does it all.
"""
