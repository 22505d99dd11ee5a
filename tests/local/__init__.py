"""Whole programs on this machine: child processes, real training, real serving."""
