"""Answers that people labelled, by which judges are measured.

`development.yaml` was read while the rules were written; `held_out.yaml` was not, and is what reports quote.
labelled.py reads both, and the refusal set of the package pyrit where that is installed.
"""
