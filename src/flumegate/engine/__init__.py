"""The road: run, attempt, relay, settle."""
