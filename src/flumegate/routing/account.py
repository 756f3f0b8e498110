"""One credential at one target: cooling after a limit, or out after a refusal. The clock is an argument."""

from __future__ import annotations

GUESSED_SECONDS = (1.0, 2.0, 4.0, 8.0)
"""How long one that is limited without a word for how long is left alone, by how often that happened in a row."""
STATED_MOST_SECONDS = 300.0
"""An upstream that asks for more is asked again after this: its limits may have been raised meanwhile."""


class Account:
    """How one credential fares.

    Attributes:
        cool_until: it is left alone until then.
        stated: the upstream itself said how long.
        out_until: it was refused, and is not sent until then.
        strikes: limits met in a row.
    """

    __slots__ = ("cool_until", "out_until", "stated", "strikes")

    def __init__(self) -> None:
        self.cool_until = 0.0
        self.stated = False
        self.out_until = 0.0
        self.strikes = 0

    def free_at(self) -> float:
        """Return the time from which it may be used."""
        return max(self.cool_until, self.out_until)

    def obey(self, now: float, seconds: float) -> None:
        """Leave it alone for as long as the upstream said, whatever was guessed before."""
        known = self.cool_until if self.stated else now
        self.cool_until = max(known, now + min(seconds, STATED_MOST_SECONDS))
        self.stated = True

    def guess(self, now: float) -> None:
        """Leave it alone for a guessed time; many that meet the same limit at once count as one."""
        if self.cool_until <= now:
            self.cool_until = now + GUESSED_SECONDS[min(self.strikes, len(GUESSED_SECONDS) - 1)]
            self.stated = False
            self.strikes += 1

    def succeed(self, now: float) -> None:
        """It was good for an answer: a guess was too long, the upstream's own word stands."""
        self.strikes = 0
        if self.cool_until > now and not self.stated:
            self.cool_until = now
