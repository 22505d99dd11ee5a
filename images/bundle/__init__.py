"""The program behind `make bundle`: one folder with all that an air-gapped site needs, the same bytes each time."""
