"""One child process of the supervisor: how it is started, whether it lives, and when it may be started again.

Children run in process groups of their own, so that Ctrl-C in a terminal reaches the supervisor alone, which then
drains them in order. Each holds one end of a socket pair, whose end of stream tells it that the supervisor is dead.
Standard library only: the supervisor loads it.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence

FIRST_DELAY_SECONDS = 0.1
LONGEST_DELAY_SECONDS = 5.0
SETTLED_SECONDS = 10.0
"""A child that lived this long does not crash in a loop: its next restart is quick again."""


class Child:
    """A place that one process after the other fills."""

    def __init__(self, name: str, *, silence_seconds: float | None) -> None:
        self.name = name
        self.silence_seconds = silence_seconds
        """After this long without a sign of life it is taken for hung and replaced; None: it gives none."""
        self.pid = 0
        self.started_at = 0.0
        self.heard_at = 0.0
        self.restart_at: float | None = None
        self.was_up = False
        self.failures = 0
        """Ends in a row before it ever was up."""
        self._delay = FIRST_DELAY_SECONDS

    def start(
        self, module: str, options: Sequence[str], *, keep: Sequence[int], environ: Mapping[str, str], now: float
    ) -> None:
        """Start `python -m module options`, which inherits the descriptors in `keep` and no other.

        Raises:
            OSError: no process or no memory is to be had; `restart_at` is set to try again.
        """
        self.restart_at = None
        try:
            _lend(keep, inheritable=True)
            # -P: the working folder is the user's; a json.py in it is none of our business.
            self.pid = os.posix_spawn(
                sys.executable,
                [sys.executable, "-P", "-m", module, *options],
                environ,
                file_actions=[(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)],
                setpgroup=0,
                setsigdef=[signal.SIGHUP, signal.SIGINT, signal.SIGTERM],
            )
        except OSError:
            self.postpone(now)
            raise
        finally:
            _lend(keep, inheritable=False)
        self.started_at = self.heard_at = now

    def ended(self, now: float) -> float:
        """Note that the process is gone; return the seconds until it may be started again."""
        self.pid = 0
        self.failures = 0 if self.was_up else self.failures + 1
        if now - self.started_at >= SETTLED_SECONDS:
            self._delay = FIRST_DELAY_SECONDS
        return self.postpone(now)

    def hung(self, now: float) -> bool:
        """Tell whether it should have given a sign of life by now."""
        return bool(self.pid) and self.silence_seconds is not None and now - self.heard_at > self.silence_seconds

    def send(self, number: int) -> None:
        """Send a signal, if there is a process."""
        if self.pid:
            os.kill(self.pid, number)

    def postpone(self, now: float) -> float:
        """Try again later, and later still after each failure; return in how many seconds."""
        delay, self._delay = self._delay, min(self._delay * 2, LONGEST_DELAY_SECONDS)
        self.restart_at = now + delay
        return delay


def _lend(descriptors: Sequence[int], *, inheritable: bool) -> None:
    for descriptor in descriptors:
        os.set_inheritable(descriptor, inheritable)


def describe_end(status: int) -> str:
    """Return a wait status in words: `exit 1`, `SIGKILL`."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"exit {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
