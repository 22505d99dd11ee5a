"""Calls to the API server: its resources, the connection, the client, and what may come back."""
