"""Both ends of every file that two programs exchange."""
