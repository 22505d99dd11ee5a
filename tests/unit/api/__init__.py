"""The contract: manifests in, checked objects or problems with a place out."""
