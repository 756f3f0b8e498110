"""Anthropic Messages: requests, answers and streams, in both directions (dialects: §6, §13 to §15)."""
