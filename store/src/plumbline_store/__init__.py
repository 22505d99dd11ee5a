"""The artifact store of Plumbline: content-addressed, verified on every read."""
