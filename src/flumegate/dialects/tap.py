"""What a passive tap tells of an answer: a look at a copy, which never changes, delays or breaks the answer itself.

Two lives: `read_whole` for an answer in one piece, `feed`/`close` for a stream. In a stream, events are decoded only
when a cheap byte test says that they matter; the last few blocks are kept, so that the end can be judged.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import ClassVar

import msgspec

from flumegate.ir import estimate
from flumegate.ir.usage import Usage
from flumegate.wire import sse

STREAM_BYTES_A_TOKEN = 200
"""Of a stream as it is passed on, with the JSON around each token, where nothing more is known of it."""
KEPT_BLOCKS = 8
KEPT_BLOCK_BYTES = 8_192
_TOKEN_BYTES = 8
"""Hardly a text has longer ones on average: events that say more have several tokens each."""
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
        estimated: the upstream did not say its usage, or not of all that came; it was estimated here.
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
    _large_bytes = 0
    """Of blocks of which no event is kept: what they said was weighed as they came."""
    _large_tokens = 0
    _looked_at_bytes = 0
    """How long the stream was when it was last weighed for `said_so_far`."""
    _looked_at_tokens = 0

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
            kept = self._kept = deque(maxlen=KEPT_BLOCKS)
        kept.append(block if len(block) <= KEPT_BLOCK_BYTES else self._shorten(block))

    def _shorten(self, block: bytes) -> bytes:
        if any(mark in block for mark in self.end_marks):
            self.look(sse.read(block))
        tail = block[-KEPT_BLOCK_BYTES:]
        if not self._holds_event(tail):
            size, _, tokens = self._weigh(block)
            self._large_bytes += size
            self._large_tokens += tokens
        return tail

    def close(self) -> None:
        """Judge the end of the stream from its last blocks."""
        if not self.complete:
            self.look(sse.read(b"".join(self._kept or ())))

    def estimate(self, request: bytes, response_bytes: int) -> None:
        """Estimate what a stream that ended early has cost, as far as the provider has not said it.

        `request` is the question as it was asked, `response_bytes` how much of the answer has been passed on.
        """
        if self.started and response_bytes and not (self.usage is not None and self._is_counted()):
            self._take_at_least(
                max(1, self.said_tokens(response_bytes)), lambda: estimate.document_tokens(request) if request else None
            )

    def _is_counted(self) -> bool:
        """Tell whether the provider's count, if there is one, is its last word."""
        return self.complete and not self.failed

    def _take_at_least(self, output: int, asked: Callable[[], int | None]) -> None:
        """Take an estimate of the output that is more than the provider said so far; what it said of the input stays.

        A stream often begins with a count, of one token or of none.
        """
        usage = self.usage or Usage()
        if usage.output_tokens is None or usage.output_tokens < output:
            into = asked() if usage.input_tokens is None else usage.input_tokens
            self.usage = msgspec.structs.replace(usage, input_tokens=into, output_tokens=output)
            self.estimated = True

    def said_tokens(self, response_bytes: int) -> int:
        """Return about how many tokens so many bytes of the stream hold, as its last events tell of those before."""
        known, saying, tokens = self._weigh(b"".join(self._kept or ()))
        rest = max(0, response_bytes - known - self._large_bytes)
        return self._large_tokens + tokens + round(rest * tokens / saying if saying else rest / STREAM_BYTES_A_TOKEN)

    def has_grown(self, response_bytes: int) -> bool:
        """Tell whether the stream is to be weighed for `said_so_far`: it has grown by an eighth since it was."""
        return response_bytes > self._looked_at_bytes * 9 // 8

    def said_so_far(self, response_bytes: int, *, weigh: bool) -> int:
        """Return what `said_tokens` does, for who asks again and again.

        Unless it is to `weigh` what came, the stream is taken to go on as it was.
        """
        if weigh:
            self._looked_at_bytes, self._looked_at_tokens = response_bytes, self.said_tokens(response_bytes)
        return self._looked_at_tokens * response_bytes // max(1, self._looked_at_bytes)

    def _weigh(self, block: bytes) -> tuple[int, int, int]:
        """Return the bytes of a block's events, of those that say something, and about how many tokens these hold.

        Nearly every event is a token, whatever stands around it; where there is more in one, the text tells how many.
        """
        known = saying = events = said = 0
        for size, data in self._split(block):
            known += size
            if text := self._said_bytes_of(data):
                saying += size
                events += 1
                said += text
        return known, saying, events if said <= events * _TOKEN_BYTES else estimate.output_tokens(said)

    def _split(self, block: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield the size of each event in bytes, and its data."""
        for name, data in sse.read(block):
            yield len(data) + 8 + (len(name) + 8 if name else 0), data  # as nearly everybody writes them

    def _holds_event(self, tail: bytes) -> bool:
        """Tell whether the end of a block has more than a part of one event."""
        # Without the last one's own end, and as most write it first: the search for all ways takes longer.
        return tail.rfind(b"\n\n", 0, -4) >= 0 or sse.last_end(tail[:-4]) > 0

    def _said_bytes_of(self, data: bytes) -> int:  # noqa: ARG002 - for dialects with streams
        """Return how many bytes of text, reasoning and arguments an event says; 0 where it is none that says any."""
        return 0

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
