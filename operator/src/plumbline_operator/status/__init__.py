"""What the user is told: conditions and phases, built by pure functions from outcomes."""
