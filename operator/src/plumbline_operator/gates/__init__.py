"""Verdicts from measured rows: exact intervals, paired comparison, one row per rule. Pure."""
