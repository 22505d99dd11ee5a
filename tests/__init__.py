"""The tests of every distribution; the Makefile says which run when."""
