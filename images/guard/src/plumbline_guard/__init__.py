"""The guard of Plumbline: the proxy in front of a served model."""
