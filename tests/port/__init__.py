"""The Cluster port, held by each implementation."""
