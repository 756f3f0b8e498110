"""A stream is an answer in pieces: fold puts it together, unfold takes it apart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import assert_never

import msgspec

from flumegate.ir import events as e
from flumegate.ir.answer import Answer, Choice
from flumegate.ir.failure import Failure
from flumegate.ir.parts import Citation, Media, Opaque, Part, Refusal, Text, Thinking, ToolCall, ToolResult
from flumegate.ir.usage import Usage


class BrokenStreamError(ValueError):
    """The stream ended in a failure, or did not end; `failure` tells."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message or failure.reason)
        self.failure = failure


class _Block:
    __slots__ = ("choice", "citations", "closed", "logprobs", "part", "texts")

    def __init__(self, opened: e.Opened) -> None:
        self.part = opened.part
        self.choice = opened.choice
        self.texts: list[list[str]] = []
        self.logprobs: list[bytes] = []
        self.citations: list[Citation] = []
        self.closed: e.Closed | None = None

    def whole(self) -> Part:
        part = self.part
        texts = ["".join(piece) for piece in self.texts]
        first = texts[0] if texts else ""
        closed = self.closed
        match part:
            case Text():
                return msgspec.structs.replace(
                    part,
                    text=part.text + first,
                    citations=part.citations + tuple(self.citations),
                    logprobs=_join_lists(self.logprobs) if self.logprobs else part.logprobs,
                )
            case Refusal():
                return msgspec.structs.replace(part, text=part.text + first)
            case Thinking():
                changes: dict[str, object] = {"texts": part.texts + tuple(texts)}
                if closed is not None and closed.signature:
                    changes |= {"signature": closed.signature, "origin": closed.origin or part.origin}
                return msgspec.structs.replace(part, **changes)
            case ToolCall():
                changes = {"arguments": part.arguments + first}
                if closed is not None and closed.signature:
                    changes |= {"signature": closed.signature, "origin": closed.origin or part.origin}
                return msgspec.structs.replace(part, **changes)
            case Media() | Opaque() | ToolResult():
                return part
            case _:  # pragma: no cover - the type checker proves that nothing is left
                assert_never(part)


def _join_lists(lists: list[bytes]) -> bytes:
    inner = b",".join(stripped for item in lists if (stripped := item.strip()[1:-1].strip()))
    return b"[%b]" % inner


class Fold:
    """Puts a stream together, event by event."""

    def __init__(self) -> None:
        self._started = e.Started()
        self._blocks: list[_Block] = []
        self._usage: Usage | None = None
        self._finishes: dict[int, e.Finished] = {}
        self._failure: Failure | None = None
        self._ended = False

    def take(self, event: e.Event) -> None:
        """Take the next event of a legal stream."""
        match event:
            case e.Grew():
                block = self._blocks[event.index]
                while len(block.texts) <= event.piece:
                    block.texts.append([])
                block.texts[event.piece].append(event.text)
                if event.logprobs:
                    block.logprobs.append(event.logprobs)
            case e.Opened():
                self._blocks.append(_Block(event))
            case e.Closed():
                self._blocks[event.index].closed = event
            case e.Cited():
                self._blocks[event.index].citations.append(event.citation)
            case e.Counted():
                self._usage = event.usage
            case e.Finished():
                self._finishes[event.choice] = event
            case e.Started():
                self._started = event
            case e.Failed():
                self._failure = event.failure
            case e.Ended():
                self._ended = True
            case _:  # pragma: no cover - the type checker proves that nothing is left
                assert_never(event)

    def answer(self) -> Answer:
        """Return the whole answer.

        Raises:
            BrokenStreamError: the stream failed, or has not ended.
        """
        if self._failure is not None:
            raise BrokenStreamError(self._failure)
        if not self._ended:
            raise BrokenStreamError(Failure("cut", "The stream has no end."))
        return self.partial()

    def partial(self) -> Answer:
        """Return what has come so far."""
        last = max([0, *self._finishes, *(block.choice for block in self._blocks)])
        choices = tuple(self._choice(number) for number in range(last + 1))
        started = self._started
        return Answer(started.id, started.model, started.created, choices, self._usage, started.extras)

    def _choice(self, number: int) -> Choice:
        parts = tuple(block.whole() for block in self._blocks if block.choice == number)
        finished = self._finishes.get(number)
        return Choice(parts, finished.finish, finished.extras) if finished is not None else Choice(parts)


def fold(stream: Iterable[e.Event]) -> Answer:
    """Return the answer that a whole stream amounts to.

    Raises:
        BrokenStreamError: the stream failed, or has no end.
    """
    folding = Fold()
    for event in stream:
        folding.take(event)
    return folding.answer()


def unfold(answer: Answer) -> Iterator[e.Event]:
    """Yield a stream that folds into this answer: each block in one piece.

    An answer without any choice counts as one that says nothing: a stream has to finish something.
    """
    yield e.Started(answer.id, answer.model, answer.created, answer.extras)
    index = 0
    for number, choice in enumerate(answer.choices or (Choice(),)):
        for part in choice.parts:
            yield from _unfold_part(part, index, number)
            index += 1
        yield e.Finished(choice.finish, number, choice.extras)
    if answer.usage is not None:
        yield e.Counted(answer.usage)
    yield e.Ended()


def _unfold_part(part: Part, index: int, choice: int) -> Iterator[e.Event]:
    match part:
        case Text():
            yield e.Opened(index, msgspec.structs.replace(part, text="", citations=(), logprobs=b""), choice)
            if part.text or part.logprobs:
                yield e.Grew(index, part.text, logprobs=part.logprobs)
            for citation in part.citations:
                yield e.Cited(index, citation)
        case Refusal():
            yield e.Opened(index, msgspec.structs.replace(part, text=""), choice)
            if part.text:
                yield e.Grew(index, part.text)
        case Thinking():
            yield e.Opened(index, msgspec.structs.replace(part, texts=()), choice)
            for piece, text in enumerate(part.texts):
                yield e.Grew(index, text, piece)
        case ToolCall():
            yield e.Opened(index, msgspec.structs.replace(part, arguments=""), choice)
            if part.arguments:
                yield e.Grew(index, part.arguments)
        case Media() | Opaque() | ToolResult():
            yield e.Opened(index, part, choice)
        case _:  # pragma: no cover - the type checker proves that nothing is left
            assert_never(part)
    yield e.Closed(index)
