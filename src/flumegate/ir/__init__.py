"""What is said, in nobody's dialect. For now: usage; the rest comes with translation."""
