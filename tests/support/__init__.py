"""Builders and small fakes that tests share."""
