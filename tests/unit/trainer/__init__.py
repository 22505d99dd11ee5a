"""The trainer, as far as it needs no torch."""
