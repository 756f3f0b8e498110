"""What is said, in nobody's dialect: requests, answers, streams of events, usage, and what is lost between dialects."""
