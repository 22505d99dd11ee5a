"""The `plumbline` command: thin over the local session; what it prints is built by tables and display."""
