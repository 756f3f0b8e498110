"""What supervisor and control say to each other, at the start and later: JSON lines over an inherited socket pair.

control → supervisor: `{"boot": Facts}` once the configuration stands, with the lock's descriptor beside it, or
`{"failed": exit code}` after it has printed why; `{"refused": 1}` where that shows only later; `{"beat": 1}` each
second, so that a hung control is noticed.
supervisor → control: `{"resume": Facts}` first to a control that replaces a dead one, `{"listening": [host, port]}`,
`{"child": {...}}` when a child comes or goes, `{"reload": 1}` on SIGHUP.
The end of the stream means that the other side is dead. Standard library only: the supervisor loads it.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from typing import NamedTuple

MESSAGE_BYTES = 65_536
"""A line that is longer comes from something that is not ours."""


class Facts(NamedTuple):
    """What the supervisor must know of the configuration, and what a restarted control falls back on."""

    host: str
    port: int
    workers: int
    drain_seconds: float
    needs_mock: bool
    data_dir: str
    link: str
    """Path of the Unix socket on which control awaits the workers."""
    database_url: str
    retention_days: int
    log_level: str
    log_layout: str
    watched: list[str]
    """Files whose change means a reload."""
    console: str
    """Address of the console, as host:port."""


class ChannelClosedError(ConnectionError):
    """The other side is dead or talks nonsense."""


class Channel:
    """One end of the pair. Never blocks, except in `wait`; holds back a bounded amount and drops what exceeds it."""

    def __init__(self, end: socket.socket) -> None:
        end.settimeout(0)
        self.socket = end
        self._unsent = bytearray()
        self._partial = bytearray()
        self.descriptors: list[int] = []
        """Descriptors that came along with messages, oldest first."""

    def send(self, kind: str, value: object, *, descriptors: Sequence[int] = ()) -> None:
        """Send one message; drop it when the other side has not read for long.

        Raises:
            ChannelClosedError: the other side is dead.
        """
        line = json.dumps({kind: value}).encode() + b"\n"
        if len(self._unsent) + len(line) <= MESSAGE_BYTES:
            self._unsent += line
        try:
            sent = socket.send_fds(self.socket, [self._unsent], descriptors)
        except BlockingIOError:
            return
        except OSError as problem:
            raise ChannelClosedError("the other end is closed") from problem
        del self._unsent[:sent]

    def receive(self) -> list[dict[str, object]]:
        """Return the messages that have arrived in full.

        Raises:
            ChannelClosedError: the other side is dead or talks nonsense.
        """
        try:
            data, descriptors, _, _ = socket.recv_fds(self.socket, MESSAGE_BYTES, 4)
        except BlockingIOError:
            return []
        except OSError as problem:
            raise ChannelClosedError("the other end is closed") from problem
        self.descriptors.extend(descriptors)
        if not data:
            raise ChannelClosedError("the other end is closed")
        self._partial += data
        *lines, rest = self._partial.split(b"\n")
        self._partial = bytearray(rest)
        if len(rest) > MESSAGE_BYTES:
            raise ChannelClosedError("a message without an end")
        try:
            messages = [json.loads(line) for line in lines]
        except ValueError as problem:
            raise ChannelClosedError("a message that is not JSON") from problem
        return [message for message in messages if isinstance(message, dict)]

    def wait(self, seconds: float) -> list[dict[str, object]]:
        """Return the next messages, waiting for them; an empty list when none came in time.

        Raises:
            ChannelClosedError: the other side is dead or talks nonsense.
        """
        import select  # noqa: PLC0415 - only a restarted control waits

        return self.receive() if select.select([self.socket], [], [], seconds)[0] else []


def read_facts(value: object) -> Facts:
    """Return the facts of a `boot` or `resume` message.

    Raises:
        ChannelClosedError: it is not one.
    """
    if not isinstance(value, dict) or set(value) != set(Facts._fields):
        raise ChannelClosedError("facts that are not ours: do both processes run the same release?")
    return Facts(**value)


def read_options(arguments: Sequence[str], known: Sequence[str]) -> dict[str, str]:
    """Return `--name value` pairs by name, without the dashes.

    The supervisor writes these lines itself, so they need no parser with help and abbreviations, which would cost every
    worker a few milliseconds of its start.

    Raises:
        ValueError: a name that is not known, or one without a value.
    """
    found: dict[str, str] = {}
    for index in range(0, len(arguments), 2):
        name = arguments[index].removeprefix("--")
        if name not in known or index + 1 >= len(arguments):
            raise ValueError(f"{arguments[index]}: expected one of {', '.join('--' + name for name in known)} VALUE")
        found[name] = arguments[index + 1]
    return found


def authority(host: str, port: int) -> str:
    """Return `host:port` as it stands in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
