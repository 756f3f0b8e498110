"""Whether limits and budgets can be held at all: they need one place that counts."""

from __future__ import annotations


def may_limit(workers: int, *, shared: bool) -> str | None:
    """Return why no limit can be held; None = it can.

    Args:
        workers: how many of them this gateway has.
        shared: they count in a place that all of them share.
    """
    if workers <= 1 or shared:
        return None
    return (
        f"with {workers} workers, each would count for itself, and a limit would be {workers} times what it says: "
        "set redis.url, or server.workers: 1"
    )
