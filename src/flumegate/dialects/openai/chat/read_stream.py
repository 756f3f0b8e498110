"""Events of a chat stream, whoever sends it: the normaliser of all servers that speak the dialect (§3.3, §11).

The finish reasons end a stream; `[DONE]` is a hint, and usage may come before it, behind it or in every chunk. So the
end is told when the last choice has finished and usage is there, or when the connection ends.
"""

from __future__ import annotations

import msgspec

from flumegate.dialects.node import Node, ReadError
from flumegate.dialects.openai.chat import chunk as c
from flumegate.dialects.openai.chat.finish import BROKEN, read_finish
from flumegate.dialects.openai.chat.names import ANSWER_TRIVIAL, CHAT, CHOICE_TRIVIAL
from flumegate.dialects.openai.chat.stream_choice import Numbers, StreamChoice
from flumegate.dialects.openai.errors import read_error
from flumegate.dialects.openai.usage import decode_usage
from flumegate.ir import events as e
from flumegate.ir.failure import Failure
from flumegate.ir.parts import Extras
from flumegate.ir.usage import Usage
from flumegate.wire import sse

MAX_CHOICES = 128
"""OpenAI's bound on `n`."""
_DONE = b"[DONE]"
_MAPPED = ("id", "object", "created", "model", "choices", "usage", "error", "obfuscation")
_MAPPED_IN_CHOICE = ("index", "delta", "message", "finish_reason", "logprobs")
_TROUBLES = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ReadError)
_decode_choices = msgspec.json.Decoder(list[msgspec.Raw]).decode


class ChatStreamReader:
    """Reads an upstream's chat stream, in any pieces."""

    def __init__(self) -> None:
        self._sse = sse.Reader()
        self._choices: dict[object, StreamChoice] = {}
        self._numbers = Numbers()
        self._usage: Usage | None = None
        self._extras: dict[str, msgspec.Raw] = {}
        self._started = False
        self._done = False
        self._ended = False

    def feed(self, data: bytes) -> list[e.Event]:
        """Take the next bytes; return what they say."""
        found: list[e.Event] = []
        if self._ended:
            return found
        try:
            frames = self._sse.feed(data)
        except OverflowError as error:
            self._fail(Failure("garbage", f"The stream holds {error}."), found)
            return found
        for frame in frames:
            self._take(frame, found)
        return found

    def close(self) -> list[e.Event]:
        """The stream has ended; without finish reasons this yields Failed."""
        found: list[e.Event] = []
        if not self._ended:
            for frame in self._sse.finish():
                self._take(frame, found)
        if not self._ended:
            self._finish(found)
        return found

    def _take(self, frame: sse.Event, found: list[e.Event]) -> None:
        if self._ended:
            return
        data = frame.data
        if data == _DONE:
            self._done = True
            self._end_if_complete(found)
            return
        if not data.strip():
            return
        try:
            chunk = c.decode(data)
            if chunk.error or chunk.kind == "error" or frame.name == b"error":
                self._fail(read_error(0, data), found)
                return
            self._chunk(chunk, data, found)
        except _TROUBLES as error:
            self._fail(Failure("garbage", f"An event cannot be read ({str(error)[:200]})."), found)

    def _chunk(self, chunk: c.Chunk, data: bytes, found: list[e.Event]) -> None:
        if not self._started:
            self._start(chunk, data, found)
        for place, choice in enumerate(chunk.choices or ()):
            if choice.error:
                self._fail(read_error(0, msgspec.json.encode({"error": choice.error})), found)
                return
            self._choice(choice, place, data, found)
            if self._ended:
                return
        if c.is_there(chunk.usage):
            usage = decode_usage(chunk.usage)
            if usage is not None and (self._usage is None or usage.input_tokens or usage.output_tokens):
                self._usage = usage  # some relays send zeros behind the real numbers
        if self._done:
            self._end_if_complete(found)

    def _start(self, chunk: c.Chunk, data: bytes, found: list[e.Event]) -> None:
        """Begin with the first chunk that says who answers; Azure sends one with nothing but filter results first."""
        node = Node(data, CHAT)
        for name in _MAPPED:
            node.raw(name)
        rest = node.left()
        if rest is not None:
            self._extras |= rest.fields
        if not chunk.choices and not chunk.id:
            return
        self._started = True
        created = chunk.created
        seconds = int(created) if isinstance(created, int | float) and 0 <= created < 1 << 53 else 0
        trivial = tuple(name for name in ANSWER_TRIVIAL if name in self._extras)
        extras = Extras(CHAT, self._extras, trivial=trivial) if self._extras else None
        found.append(e.Started(c.text_of(chunk.id), c.text_of(chunk.model), seconds, extras))

    def _choice(self, wire: c.ChunkChoice, place: int, data: bytes, found: list[e.Event]) -> None:
        key = wire.index if isinstance(wire.index, int) else 0
        choice = self._choices.get(key)
        if choice is None:
            if len(self._choices) == MAX_CHOICES:
                self._fail(Failure("garbage", f"The stream has more than {MAX_CHOICES} choices."), found)
                return
            # numbered as they appear: some servers begin with 1
            choice = self._choices[key] = StreamChoice(len(self._choices), self._numbers)
        delta = wire.delta or wire.message
        if delta is not None:
            choice.take(delta, c.logprobs_of(wire), found)
        reason = wire.finish_reason
        if not reason or not isinstance(reason, str):
            return
        if reason in BROKEN:
            self._fail(Failure("internal", f"The server broke off ({reason}).", reason), found)
            return
        choice.finish_reason = reason
        choice.stop_sequence = c.text_of(wire.stop_reason)
        choice.end(found)
        choice.rest = bytes(_raw_choice(data, place))

    def _end_if_complete(self, found: list[e.Event]) -> None:
        """End behind `[DONE]`, if usage has come too; it may still come."""
        if self._usage is not None:
            self._finish(found)

    def _finish(self, found: list[e.Event]) -> None:
        choices = self._choices.values()
        told = self._done and self._usage is not None  # Snowflake gives no finish reasons, but both of these
        if not choices or not (told or all(choice.finish_reason for choice in choices)):
            self._fail(Failure("cut", "The stream ended before the answer was complete."), found)
            return
        self._ended = True
        for choice in choices:
            choice.end(found)
            finish = read_finish(choice.finish_reason, choice.stop_sequence, called=choice.called)
            found.append(e.Finished(finish, choice.number, _rest(choice)))
        if self._usage is not None:
            found.append(e.Counted(self._usage))
        found.append(e.Ended())

    def _fail(self, failure: Failure, found: list[e.Event]) -> None:
        self._ended = True
        if self._usage is not None and self._started:
            found.append(e.Counted(self._usage))
        found.append(e.Failed(failure))


def _raw_choice(data: bytes, place: int) -> msgspec.Raw:
    return Node(data, CHAT).items("choices")[place]


def _rest(choice: StreamChoice) -> Extras | None:
    """Return what the last chunk says of a choice beside what we know."""
    if not choice.rest:
        return None
    node = Node(choice.rest, CHAT)
    for name in _MAPPED_IN_CHOICE:
        node.raw(name)
    if choice.stop_sequence:
        node.raw("stop_reason")
    return node.left(trivial=CHOICE_TRIVIAL)
