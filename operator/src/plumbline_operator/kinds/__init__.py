"""One decider per kind: pure functions from a spec and an observation to a Decision."""
