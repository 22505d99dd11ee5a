"""Which inputs are needed and which Jobs and Deployments must exist: pure functions from specs to manifests."""
