"""Rules of a route: what a request must look like to go elsewhere. The clock is an argument."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from flumegate.patterns import fits
from flumegate.snapshot import When

MINUTES_A_DAY = 1_440


class Seen(NamedTuple):
    """What rules may look at.

    Attributes:
        headers: the client's fields by lower-case name.
        key_id: whose request it is; empty = nobody's.
        tags: from `x-flumegate-tags`, and those of its key.
        unix_time: in seconds.
    """

    headers: Mapping[str, str]
    key_id: str
    tags: tuple[str, ...]
    unix_time: float


def read_tags(value: str) -> tuple[str, ...]:
    """Return the tags of a header value: separated by commas."""
    return tuple(tag for part in value.split(",") if (tag := part.strip()))


def holds(when: When, seen: Seen) -> bool:
    """Tell whether every part of a condition holds."""
    return (
        all(name in seen.headers and fits(pattern, seen.headers[name]) for name, pattern in when.headers)
        and (not when.keys or _any_fits(when.keys, seen.key_id))
        and (not when.tags or any(tag in seen.tags for tag in when.tags))
        and (when.hours is None or _within(when.hours, int(seen.unix_time // 60) % MINUTES_A_DAY))
        and (not when.days or (int(seen.unix_time // 86_400) + 3) % 7 in when.days)  # 1970 began on a Thursday
    )


def _any_fits(patterns: Iterable[str], text: str) -> bool:
    return any(fits(pattern, text) for pattern in patterns)


def _within(hours: tuple[int, int], minute: int) -> bool:
    start, end = hours
    return start <= minute < end if start <= end else minute >= start or minute < end
