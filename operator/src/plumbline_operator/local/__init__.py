"""Local mode: the Cluster port over files and child processes. The command line calls `local.session`.

This file imports nothing, because every pod starts its own interpreter through it.
"""
