"""Limits and budgets over all workers and machines: the only place of the data plane that speaks to Redis."""
