"""Limits and budgets as arithmetic: rates, places and money. No clock, no I/O: what time it is, is an argument."""
