from __future__ import annotations

from flumegate.manage.limits import may_limit


def test_limits_need_one_place_that_counts() -> None:
    """One worker counts by itself, several need Redis; the reason names both ways out."""
    assert may_limit(1, shared=False) is None
    assert may_limit(8, shared=True) is None
    reason = may_limit(8, shared=False)
    assert reason is not None
    assert "8 workers" in reason
    assert "redis.url" in reason
