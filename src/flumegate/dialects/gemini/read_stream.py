"""Gemini's stream, read (dialects: §9, §14): every event is a partial answer, the end is EOF behind a finish reason.

Neighbouring pieces of text are one block. A text that bears a signature is a block of its own, as Google wants it back
as it came; finishes wait for EOF, because nothing tells before that an event is the last.
"""

from __future__ import annotations

import msgspec

from flumegate.dialects.gemini.candidate import Candidate
from flumegate.dialects.gemini.errors import read_error
from flumegate.dialects.gemini.finish import broken, minted
from flumegate.dialects.gemini.members import Members
from flumegate.dialects.gemini.read_answer import blocked_by, created_at
from flumegate.dialects.gemini.usage import WireUsage, read_usage
from flumegate.dialects.node import ReadError
from flumegate.ir.answer import Finish
from flumegate.ir.events import Counted, Ended, Event, Failed, Started
from flumegate.ir.failure import Failure
from flumegate.ir.usage import Usage
from flumegate.wire import sse

_MAX_CANDIDATES = 128
_FAILURES = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class _Part(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """The parts that nearly all events consist of; any other makes the event a rare one."""

    text: str
    thought: bool = False


class _Content(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    parts: list[_Part] = []
    role: str = ""


class _Candidate(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    content: _Content
    index: int = 0


class _Chunk(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    candidates: list[_Candidate]
    usageMetadata: WireUsage | None = None  # noqa: N815 - named as on the wire
    modelVersion: str = ""  # noqa: N815 - named as on the wire
    responseId: str = ""  # noqa: N815 - named as on the wire
    createTime: str = ""  # noqa: N815 - named as on the wire


_decode_chunk = msgspec.json.Decoder(_Chunk).decode
_decode_usage = msgspec.json.Decoder(WireUsage).decode


class GeminiStreamReader:
    """See `codecs.StreamReader`."""

    def __init__(self) -> None:
        self._events = sse.Reader()
        self._out: list[Event] = []
        self._candidates: dict[int, Candidate] = {}
        self._blocks = 0
        self._calls = 0
        self._id = ""
        self._usage: Usage | None = None
        self._counted: Usage | None = None
        self._blocked: Finish | None = None
        self._started = self._done = False

    def feed(self, data: bytes) -> list[Event]:
        """See `codecs.StreamReader.feed`."""
        if self._done:
            return []
        try:
            for event in self._events.feed(data):
                self._take(event.data)
        except OverflowError:
            self._fail(Failure("garbage", "An event of the stream is too large."))
        return self._flush()

    def close(self) -> list[Event]:
        """See `codecs.StreamReader.close`."""
        if self._done:
            return []
        for event in self._events.finish():
            self._take(event.data)
        if not self._done:
            self._end()
        return self._flush()

    def next_block(self) -> int:
        """Return the index of the next block."""
        self._blocks += 1
        return self._blocks - 1

    def next_call(self) -> str:
        """Return an id for the next call."""
        self._calls += 1
        return minted(self._id, self._calls - 1)

    def _flush(self) -> list[Event]:
        out = self._out[:]
        self._out.clear()  # the candidates hold the same list
        return out

    def _take(self, data: bytes) -> None:
        if self._done or data == b"[DONE]":
            return
        try:
            chunk = _decode_chunk(data)
        except _FAILURES:
            self._take_rare(data)
            return
        self._start(chunk.responseId, chunk.modelVersion, chunk.createTime)
        for candidate in chunk.candidates:
            try:
                state = self._candidates.get(candidate.index) or self._candidate(candidate.index)
            except ReadError as error:
                self._fail(_garbage(error))
                return
            for part in candidate.content.parts:
                state.say(part.text, thought=part.thought)
        if chunk.usageMetadata is not None:
            self._count(chunk.usageMetadata)

    def _take_rare(self, data: bytes) -> None:
        """Take an event that holds anything but pieces of text."""
        try:
            self._read(Members(data))
        except (ReadError, *_FAILURES) as error:
            self._fail(_garbage(error))

    def _read(self, node: Members) -> None:
        if "error" in node:
            self._fail(read_error(0, node.whole()))
            return
        self._start(node.text("responseId"), node.text("modelVersion"), node.peek_string("createTime"))
        usage = node.raw("usageMetadata")
        if usage:
            self._count(_decode_usage(usage))
        candidates = node.lists("candidates")
        for position, candidate in enumerate(candidates):
            self._read_candidate(candidate, position)
        self._blocked = blocked_by(node) or self._blocked

    def _read_candidate(self, node: Members, position: int) -> None:
        number = node.integer("index")
        state = self._candidate(position if number is None else number)
        raw, detail = node.text("finishReason"), node.text("finishMessage")
        failure = broken(raw, detail)
        if failure is not None:
            self._fail(failure)
            return
        state.read(node)
        if raw:
            state.finish(raw, detail)

    def _start(self, identity: str, model: str, created: str) -> None:
        if not self._started:
            self._started = True
            self._id = identity
            self._out.append(Started(identity, model, created_at(created) if created else 0))

    def _candidate(self, number: int) -> Candidate:
        state = self._candidates.get(number)
        if state is None:
            if not 0 <= number < _MAX_CANDIDATES:
                raise ReadError("candidates.index", "There cannot be so many.")
            state = self._candidates[number] = Candidate(number, self, self._out)
        return state

    def _count(self, wire: WireUsage) -> None:
        usage = read_usage(wire)
        if usage is None:
            return
        self._usage = usage
        if self._counted is None:  # the first is news; of the others only the last counts
            self._report_usage()

    def _report_usage(self) -> None:
        if self._usage is not None and self._usage != self._counted:
            self._out.append(Counted(self._usage))
            self._counted = self._usage

    def _end(self) -> None:
        states = self._candidates
        if 0 not in states and self._blocked is not None:
            self._candidate(0)
        open_ended = 0 not in states or not all(state.finished for state in states.values())
        if open_ended and self._blocked is None:
            self._fail(Failure("cut", "The stream ended without a finish reason."))
            return
        for state in states.values():
            state.end(self._blocked)
        self._report_usage()
        self._out.append(Ended())
        self._done = True

    def _fail(self, failure: Failure) -> None:
        if self._started:
            self._report_usage()
        self._out.append(Failed(failure))
        self._done = True


def _garbage(error: Exception) -> Failure:
    return Failure("garbage", f"An event of the stream cannot be read: {str(error)[:200]}")
