"""The gateway's own log: start-up, changes of state and errors, one line each, on stderr.

Requests are not logged here: the Record is the request log. A line is never longer than what a pipe takes at once and
is dropped, and counted, when nobody reads: a log collector that hangs must not hang a worker. Nothing here raises.
Known secret values are masked on the way out, and control characters are made visible, so that no line can be forged.
Standard library only: the supervisor and every worker load it.
"""

from __future__ import annotations

import json
import os
import select
import time
from collections.abc import Iterable
from typing import Literal

Level = Literal["debug", "info", "warning", "error"]
Layout = Literal["auto", "console", "json"]
Scalar = str | int | float | bool | None

_RANK: dict[str, int] = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_COLOUR: dict[str, str] = {"debug": "2", "info": "32", "warning": "33", "error": "31"}
_STDERR = 2
_LINE_BYTES = 4096
"""What POSIX lets a pipe take without blocking once it says that it is writable (PIPE_BUF on Linux)."""
_SHORTEST_SECRET = 6
"""Masking shorter values would blank ordinary words."""


class Log:
    """Where lines go and what they look like; one per process."""

    def __init__(self, descriptor: int = _STDERR) -> None:
        self.descriptor = descriptor
        self.rank = _RANK["info"]
        self.layout: Layout = "auto"
        self.process = ""
        self.secrets: tuple[str, ...] = ()
        self.dropped = 0

    def write(self, level: Level, name: str, fields: dict[str, object]) -> None:
        """Write one line, or count it as dropped when it cannot be written at once."""
        if _RANK[level] < self.rank:
            return
        try:
            if not select.select([], [self.descriptor], [], 0)[1]:
                self.dropped += 1
                return
            if self.dropped:
                fields = {**fields, "lines_dropped": self.dropped}
            os.write(self.descriptor, self._line(level, name, fields))
        except (OSError, ValueError):
            self.dropped += 1
        else:
            self.dropped = 0

    def _line(self, level: Level, name: str, fields: dict[str, object]) -> bytes:
        layout = self.layout
        terminal = os.isatty(self.descriptor)
        if layout == "auto":
            layout = "console" if terminal else "json"
        if layout == "json":
            return self._json(level, name, fields)
        return self._console(level, name, fields, colour=terminal)

    def _json(self, level: Level, name: str, fields: dict[str, object]) -> bytes:
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03d}Z"
        head: dict[str, object] = {"time": stamp, "level": level, "process": self.process, "event": self._clean(name)}
        # Named first so that a field cannot pass itself off as the time or the level.
        row = {self._clean(key): self._value(value) for key, value in fields.items()} | head
        text = json.dumps({key: row[key] for key in [*head, *(key for key in row if key not in head)]})
        if len(text) >= _LINE_BYTES:
            text = json.dumps({**head, "cut": text[: _LINE_BYTES // 3]})
        return text.encode("ascii") + b"\n"

    def _console(self, level: Level, name: str, fields: dict[str, object], *, colour: bool) -> bytes:
        now = time.time()
        stamp = time.strftime("%H:%M:%S", time.localtime(now)) + f".{int(now % 1 * 1000):03d}"
        word = f"{level:<7}"
        if colour:
            word = f"\x1b[{_COLOUR[level]}m{word}\x1b[0m"
        parts = [f"{self._clean(key)}={_quoted(self._value(value))}" for key, value in fields.items()]
        text = f"{stamp} {word} {self.process:<10} {self._clean(name):<22} {' '.join(parts)}".rstrip()
        data = text.encode("utf-8", "backslashreplace")
        if len(data) >= _LINE_BYTES:
            data = data[: _LINE_BYTES - 8].decode("utf-8", "ignore").encode() + " …".encode()
        return data + b"\n"

    def _value(self, value: object) -> Scalar:
        if value is None or isinstance(value, bool | int | float):
            return value
        return self._clean(str(value))

    def _clean(self, text: str) -> str:
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return visible(text)


def visible(text: str) -> str:
    """Return the text with every character that a terminal or a log reader could act upon written as an escape."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def _quoted(value: Scalar) -> str:
    if isinstance(value, str) and (not value or any(mark in value for mark in ' "=')):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(value)


_LOG = Log()


def configure(level: Level = "info", layout: Layout = "auto", process: str = "") -> None:
    """Set the lowest level that is written, the layout, and the name that this process writes under.

    `auto` is aligned text on a terminal and JSON, one object a line, everywhere else.
    """
    _LOG.rank = _RANK[level]
    _LOG.layout = layout
    _LOG.process = process


def hide(values: Iterable[str]) -> None:
    """Mask these values, besides those named before, wherever they would appear in a line."""
    known = {*_LOG.secrets, *(value for value in values if len(value) >= _SHORTEST_SECRET)}
    # Longest first: a secret that contains another must not be cut in half by it.
    _LOG.secrets = tuple(sorted(known, key=len, reverse=True))


def level(name: str | None) -> Level:
    """Return the level of that name, `info` for any other."""
    return "debug" if name == "debug" else "warning" if name == "warning" else "error" if name == "error" else "info"


def layout(name: str | None) -> Layout:
    """Return the layout of that name, `auto` for any other."""
    return "console" if name == "console" else "json" if name == "json" else "auto"


def event(level: Level, name: str, /, **fields: object) -> None:
    """Write one line: what happened, and the few facts that say what to do about it."""
    _LOG.write(level, name, fields)
