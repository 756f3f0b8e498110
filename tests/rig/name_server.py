"""A name server that knows what a test tells it, says so, or says nothing (RFC 1035 over UDP, A records only).

A name without an entry does not exist; `SILENCE` is no answer at all until it is told another. Nothing may be kept.
"""

from __future__ import annotations

import contextlib
import enum
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

_ANSWER = 0x8180
_NO_SUCH_NAME = 0x8183
_A_RECORD = 1


class Silence(enum.Enum):
    """What a stalled name is answered with."""

    SILENCE = "nothing"


SILENCE = Silence.SILENCE
Entry = tuple[str, ...] | Silence


class NameServer:
    """A running one on port 53. `asked` counts the questions for each name."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self._changed = threading.Condition()
        self._entries: dict[str, Entry] = {}
        self._held: list[tuple[bytes, Any]] = []
        """Questions about silent names, and who asked."""
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 53))
        threading.Thread(target=self._serve, daemon=True).start()

    def tell(self, name: str, entry: Entry) -> None:
        """Set where a name leads, and answer those who still wait for it."""
        with self._changed:
            self._entries[name] = entry
            held, self._held = self._held, []
            for question, client in held:
                self._answer(question, client)

    def wait_asked(self, names: set[str], seconds: float = 20) -> None:
        """Return once each of these was asked for."""
        with self._changed:
            came = self._changed.wait_for(lambda: names <= set(self.asked), seconds)
            assert came, f"never asked for {names - set(self.asked)}"

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                question, client = self._socket.recvfrom(4096)
                if not question:
                    return
                with self._changed:
                    self.asked[_read(question)[0]] += 1
                    self._changed.notify_all()
                    self._answer(question, client)

    def _answer(self, question: bytes, client: Any) -> None:
        name, kind, end = _read(question)
        entry = self._entries.get(name)
        if isinstance(entry, Silence):
            self._held.append((question, client))
        else:
            self._socket.sendto(_write(question, entry, kind, end), client)


def _read(question: bytes) -> tuple[str, int, int]:
    """Return the name, the kind of record, and where the question ends."""
    labels = []
    at = 12
    while length := question[at]:
        labels.append(question[at + 1 : at + 1 + length].decode())
        at += 1 + length
    (kind,) = struct.unpack_from(">H", question, at + 1)
    return ".".join(labels), kind, at + 5


def _write(question: bytes, entry: tuple[str, ...] | None, kind: int, end: int) -> bytes:
    addresses = entry if entry and kind == _A_RECORD else ()
    flags = _NO_SUCH_NAME if entry is None else _ANSWER
    head = question[:2] + struct.pack(">HHHHH", flags, 1, len(addresses), 0, 0)
    records = b"".join(
        struct.pack(">HHHIH", 0xC00C, _A_RECORD, 1, 0, 4) + socket.inet_aton(address) for address in addresses
    )
    return head + question[12:end] + records


@contextlib.contextmanager
def name_server() -> Iterator[NameServer]:
    """Run one for the length of a `with` block."""
    server = NameServer()
    try:
        yield server
    finally:
        server.close()
