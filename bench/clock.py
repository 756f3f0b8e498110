"""Alarms of the kernel with nanosecond settings (timerfd_create(2)): event loops' own timers are a millisecond coarse.

Python has `os.timerfd_create` from 3.13 on; below that the C library is asked directly.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import time

_CLOEXEC_NONBLOCK = os.O_CLOEXEC | os.O_NONBLOCK
_ABSOLUTE = 1
_NANOSECONDS = 1_000_000_000


class _Moment(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Setting(ctypes.Structure):
    _fields_ = (("interval", _Moment), ("value", _Moment))


class Alarm:
    """One alarm: `descriptor` becomes readable at the moment that was set last.

    Raises:
        OSError: the kernel gives no timer.
    """

    def __init__(self) -> None:
        self._library = ctypes.CDLL(None, use_errno=True)
        self._setting = _Setting()
        self._reference = ctypes.byref(self._setting)
        self.descriptor = self._library.timerfd_create(time.CLOCK_MONOTONIC, _CLOEXEC_NONBLOCK)
        if self.descriptor < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")

    def set(self, moment_ns: int) -> None:
        """Ring at this moment of `time.monotonic_ns()`; one that is past rings at once."""
        value = self._setting.value
        value.seconds, value.nanoseconds = divmod(moment_ns, _NANOSECONDS)
        self._library.timerfd_settime(self.descriptor, _ABSOLUTE, self._reference, None)

    def hush(self) -> None:
        """Make the descriptor unreadable again until the next ring."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.descriptor, 8)

    def close(self) -> None:
        """Give the timer back."""
        os.close(self.descriptor)
