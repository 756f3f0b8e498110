"""Whether the same target is asked again, and after how long. Dice are an argument."""

from __future__ import annotations

from flumegate.routing.failure import Failure
from flumegate.snapshot import Retry

MOST_ATTEMPTS = 10
"""For one request, whatever is configured."""


def most_attempts(policy: Retry, accounts: int) -> int:
    """Return how many attempts a request may make in all: its retries, or one for each target's every credential."""
    return min(max(policy.max_retries + 1, accounts), max(policy.max_retries + 1, MOST_ATTEMPTS))


def may_repeat(policy: Retry, failure: Failure) -> bool:
    """Tell whether a failure may pass, so that asking the same target again makes sense."""
    if failure.kind in ("connect", "timeout", "busy"):
        return True
    if failure.status >= 400:
        return failure.status in policy.on_status
    # An error inside a 200, garbage and the like stand for a 502.
    return failure.kind in ("server", "limited") and 502 in policy.on_status


def delay(policy: Retry, repeats: int, failure: Failure, dice: float) -> float | None:
    """Return the seconds to wait before the same target is asked again; None = longer than anybody should wait.

    Full jitter: a draw from zero to a bound that grows with each repeat. What the upstream asked for is the least,
    with a little jitter on top, so that all who were told the same do not come back at once.

    Args:
        policy: what is configured.
        repeats: how often this target has been asked again already.
        failure: the last one.
        dice: a number from 0 (included) to 1 (excluded).
    """
    bound: float = min(policy.max_delay, policy.initial_delay * policy.factor ** min(repeats, 64))
    if failure.retry_after is None:
        return dice * bound
    if failure.retry_after > policy.max_delay:
        return None
    return failure.retry_after + dice * min(bound, 0.1 * failure.retry_after + 0.1)


def allot(now: float, deadline: float, others: int) -> float:
    """Return the time by which an attempt must have begun to answer, so that `others` after it still have theirs."""
    return deadline if others <= 0 else now + (deadline - now) / (others + 1)
