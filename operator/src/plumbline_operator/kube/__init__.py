"""The operator on a real Kubernetes API: the Cluster port over the API server, and the shell that drives it."""
