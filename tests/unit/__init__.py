"""One folder per distribution: functions and seams, without torch or child processes."""
