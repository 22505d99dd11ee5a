"""The contract of Plumbline: the four kinds, and the files that its programs hand each other.

Import from the modules; each says who writes and who reads what it holds. Depends on pydantic and pyyaml alone.
"""
