"""The program behind `make images`, and what the Dockerfiles and locks say; nothing is built."""
