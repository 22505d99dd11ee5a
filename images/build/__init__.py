"""The program behind `make images`: builds the images with the builder that is there, and says what came of it."""
