"""Events as a stream of `text_completion` chunks (dialects: §2.2, §5)."""

from __future__ import annotations

import msgspec

from flumegate.dialects.openai.completions import speech
from flumegate.dialects.openai.errors import write_failure
from flumegate.dialects.openai.usage import write_usage
from flumegate.ir import events as e
from flumegate.ir.answer import Asked
from flumegate.ir.loss import Losses
from flumegate.ir.parts import Refusal, Text
from flumegate.ir.usage import Usage

_encode = msgspec.json.Encoder().encode
_DONE = b"data: [DONE]\n\n"


class CompletionsStreamWriter:
    """Writes a completions stream for a client."""

    def __init__(self, asked: Asked) -> None:
        self.losses = Losses()
        speech.begin(self.losses)
        self._asked = asked
        self._with_usage = asked.request.include_usage
        self._echo = speech.echoed(asked)
        self._head = b""
        self._tail = b',"usage":null}\n\n' if self._with_usage else b"}\n\n"
        self._begun = 0
        """Choices that have got the echo."""
        self._spoken: dict[int, bytes] = {}
        """Of open blocks that are text: the bytes behind a chunk's text."""
        self._usage: Usage | None = None

    def write(self, event: e.Event) -> bytes:
        """Return the bytes for one event of a legal stream; often none."""
        if type(event) is e.Grew:  # first: nearly all events are of this kind
            after = self._spoken.get(event.index)
            return self._head + _encode(event.text) + after if after is not None and event.text else b""
        match event:
            case e.Started():
                self._start(event)
            case e.Opened():
                return self._open(event)
            case e.Cited():
                self.losses.dropped("citations", f"{speech.TARGET} names no sources.")
            case e.Counted():
                self._usage = event.usage
            case e.Finished():
                return self._finish(event)
            case e.Ended():
                return self._end()
            case e.Failed():
                return b"data: %b\n\n%b" % (write_failure(event.failure), _DONE)
            case _:
                pass  # closing a block says nothing here
        return b""

    def _start(self, event: e.Started) -> None:
        asked = self._asked
        head = {
            "id": event.id or f"cmpl-{asked.seed}",
            "object": "text_completion",
            "created": event.created or asked.created,
            "model": asked.request.model,
        }
        speech.note_extras(event.extras, self.losses)
        self._head = b"data: " + _encode(head)[:-1] + b',"choices":[{"text":'

    def _chunk(self, text: str, choice: int, finish: bytes) -> bytes:
        return self._head + _encode(text) + self._after(choice, finish)

    def _after(self, choice: int, finish: bytes) -> bytes:
        return b',"index":%d,"logprobs":null,"finish_reason":%b}]%b' % (choice, finish, self._tail)

    def _begin(self, choice: int) -> bytes:
        """Return the prompt, for choices that have not begun."""
        chunks = []
        while self._begun <= choice:
            if self._echo:
                chunks.append(self._chunk(self._echo, self._begun, b"null"))
            self._begun += 1
        return b"".join(chunks)

    def _open(self, event: e.Opened) -> bytes:
        begun = self._begin(event.choice)
        part = event.part
        speech.note_part(part, self.losses, f"content[{event.index}]")
        if not isinstance(part, Text | Refusal):
            return begun
        self._spoken[event.index] = self._after(event.choice, b"null")
        return begun + (self._chunk(part.text, event.choice, b"null") if part.text else b"")

    def _finish(self, event: e.Finished) -> bytes:
        begun = self._begin(event.choice)
        speech.note_extras(event.extras, self.losses)
        return begun + self._chunk("", event.choice, _encode(speech.write_finish(event.finish, self.losses)))

    def _end(self) -> bytes:
        if not self._with_usage or self._usage is None:
            return _DONE
        head = self._head[: self._head.rindex(b"[") + 1]
        return b'%b],"usage":%b}\n\n%b' % (head, _encode(write_usage(self._usage)), _DONE)
