"""The core of Plumbline: decide, plan, gates, status, local mode and the command line."""
