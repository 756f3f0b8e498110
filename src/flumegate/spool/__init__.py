"""Records on their way from the workers to the store: append-only segments on disk."""
