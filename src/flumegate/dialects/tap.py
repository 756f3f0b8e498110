"""What a passive tap tells of an answer: a look at a copy, which never changes, delays or breaks the answer itself.

Two lives: `read_whole` for an answer in one piece, `feed`/`close` for a stream. In a stream, events are decoded only
when a cheap byte test says that they matter; the last few blocks are kept, so that the end can be judged.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterable
from typing import ClassVar

import msgspec

from flumegate.ir import estimate
from flumegate.ir.usage import Usage
from flumegate.wire import sse

_KEPT_BLOCKS = 8
_KEPT_BLOCK_BYTES = 8_192
_USAGE_MARK = b'"usage":'
_NULL_BEGINNINGS = (b"nu", b" n")
_USAGE_OBJECT = re.compile(rb'"usage"\s*:\s*(\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\})')
_ERROR_MARK = b'"error"'


class Tap:
    """Base of the taps: a dialect says what its events mean in `look`, the rest is common.

    Attributes:
        usage: tokens so far; the last report wins, reports are never summed.
        model: the model that the upstream says it used; empty = not said.
        finish_reason: the raw reason, empty = none seen.
        started: a meaningful event (text, reasoning, a tool call, or an end that is no error) was seen in the stream.
        complete: the dialect's own sign of a complete answer was seen.
        failed: the upstream reported an error, inside the stream or in place of a whole answer.
        unreadable: the whole answer is no JSON: half a document, or none.
        estimated: the upstream did not say its usage; it was estimated here.
    """

    end_marks: ClassVar[tuple[bytes, ...]] = ()
    """Bytes that tell an end which may stand in a block too large to be kept."""

    usage: Usage | None = None
    model = ""
    finish_reason = ""
    started = False
    complete = False
    failed = False
    unreadable = False
    estimated = False
    _kept: deque[bytes] | None = None

    def read_whole(self, body: bytes) -> None:
        """Look at a whole answer; one that cannot be read tells nothing."""
        raise NotImplementedError  # pragma: no cover - abstract

    def look(self, events: Iterable[sse.Event]) -> None:
        """Look at some events of the stream; the same event may be shown twice."""
        raise NotImplementedError  # pragma: no cover - abstract

    def feed(self, block: bytes) -> None:
        """Look at one block of whole events, or at a piece of an event too large to be held."""
        # Searched from the end, which takes CPython a quarter of the time that `in` does.
        at = block.rfind(_USAGE_MARK)
        if (
            (at >= 0 and block[at + 8 : at + 10] not in _NULL_BEGINNINGS)
            or block.rfind(_ERROR_MARK) >= 0
            or not self.started
        ):
            self.look(sse.read(block))
        kept = self._kept
        if kept is None:
            kept = self._kept = deque(maxlen=_KEPT_BLOCKS)
        kept.append(block if len(block) <= _KEPT_BLOCK_BYTES else self._shorten(block))

    def _shorten(self, block: bytes) -> bytes:
        if any(mark in block for mark in self.end_marks):
            self.look(sse.read(block))
        return block[-_KEPT_BLOCK_BYTES:]

    def close(self) -> None:
        """Judge the end of the stream from its last blocks."""
        if not self.complete:
            self.look(sse.read(b"".join(self._kept or ())))

    def estimate(self, request: bytes, response_bytes: int) -> None:
        """Estimate what a stream that ended early has cost, if nothing was said of it.

        `request` is the question as it was asked, `response_bytes` how much of the answer has been passed on.
        """
        if self.usage is None and self.started and response_bytes:
            self.estimated = True
            asked = estimate.document_tokens(request) if request else None
            self.usage = Usage(asked, self._count_events(response_bytes))

    def _count_events(self, response_bytes: int) -> int:
        """Return about how many events so many bytes held: nearly every one is a token, whatever stands around it."""
        kept = b"".join(self._kept or ())
        events = sum(1 for _ in sse.read(kept))
        return max(1, round(response_bytes * events / len(kept))) if events else 1

    def read_tail(self, tail: bytes) -> None:
        """Look at the end of an answer too large to be kept: its usage stands in the last kilobytes."""
        found = _USAGE_OBJECT.findall(tail)
        if found:
            self.read_whole(b'{"usage":%b}' % found[-1])


def is_no_json(body: bytes, error: Exception) -> bool:
    """Tell whether a body that could not be decoded is no JSON at all, or only holds something surprising.

    Numbers like NaN and Infinity, which some servers write and most clients read, are no reason to refuse an answer.
    """
    if type(error) is not msgspec.DecodeError:
        return False
    try:
        json.loads(body)
    except UnicodeDecodeError:
        return False
    except (ValueError, RecursionError):
        return True
    return False
