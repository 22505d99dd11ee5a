"""The artifact store: what is published comes back, whatever happens in between, or is refused with a reason."""
