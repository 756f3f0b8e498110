"""What the passive tap reads of Gemini's answers (dialects: §9): every event of a stream is a partial answer."""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from flumegate.dialects.gemini.usage import WireUsage, read_usage
from flumegate.dialects.tap import Tap, is_no_json
from flumegate.ir import estimate
from flumegate.ir.usage import Usage
from flumegate.wire import sse

_USAGE_OBJECT = re.compile(rb'"usageMetadata"\s*:\s*(\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\})')


class _Content(msgspec.Struct, gc=False):
    parts: list[msgspec.Raw] | None = None


class _Candidate(msgspec.Struct, gc=False):
    content: _Content | None = None
    finishReason: str | None = None  # noqa: N815 - named as on the wire


class _Feedback(msgspec.Struct, gc=False):
    blockReason: str | None = None  # noqa: N815 - named as on the wire


class _Answer(msgspec.Struct, gc=False):
    candidates: list[_Candidate] | None = None
    promptFeedback: _Feedback | None = None  # noqa: N815 - named as on the wire
    usageMetadata: WireUsage | None = None  # noqa: N815 - named as on the wire
    modelVersion: str | None = None  # noqa: N815 - named as on the wire
    totalTokens: int | None = None  # noqa: N815 - named as on the wire
    """The whole answer of `countTokens`."""
    error: object = None


class _Part(msgspec.Struct, gc=False):
    text: object = None
    functionCall: object = None  # noqa: N815 - named as on the wire
    executableCode: object = None  # noqa: N815 - named as on the wire


_BESIDE = frozenset(("thought", "thoughtSignature", "partMetadata"))
"""Members of a part that say something only of the others."""
_EMPTY = (b'""', b"null")
_decode = msgspec.json.Decoder(_Answer).decode
_decode_part = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_texts = msgspec.json.Decoder(_Part).decode
_decode_array = msgspec.json.Decoder(list[_Answer]).decode


class GeminiTap(Tap):
    """Tap on an answer of `generateContent`, `countTokens` or the embeddings."""

    end_marks = (b'"finishReason"', b'"blockReason"')

    def read_whole(self, body: bytes) -> None:
        """See `Tap.read_whole`. A stream without `alt=sse` is an array of partial answers."""
        try:
            answers = _decode_array(body) if body.lstrip()[:1] == b"[" else [_decode(body)]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            self.unreadable = is_no_json(body, error)
            return
        for answer in answers:
            if answer.error is not None:
                self.failed = True
                return
            self._take(answer)
            if answer.totalTokens is not None:
                self.usage = Usage(answer.totalTokens)
        self.complete = True

    def look(self, events: Iterable[sse.Event]) -> None:
        """See `Tap.look`. There is no end marker: a finish reason is the end."""
        for event in events:
            try:
                answer = _decode(event.data)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue
            self._take(answer)
            if answer.error:
                self.failed = True

    def _take(self, answer: _Answer) -> None:
        for candidate in answer.candidates or ():
            if not self.started and candidate.content is not None:
                self.started = any(map(_says_something, candidate.content.parts or ()))
            if candidate.finishReason:
                self.finish_reason = candidate.finishReason
                self.complete = True
        feedback = answer.promptFeedback
        if feedback is not None and feedback.blockReason and not self.complete:
            self.finish_reason = feedback.blockReason
            self.complete = True
        if answer.usageMetadata is not None:
            self.usage = read_usage(answer.usageMetadata) or self.usage
        self.model = answer.modelVersion or self.model

    def _said_bytes_of(self, data: bytes) -> int:
        try:
            contents = [candidate.content for candidate in _decode(data).candidates or ()]
            parts = [_decode_texts(part) for content in contents if content for part in content.parts or ()]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return 0
        return sum(estimate.text_bytes([part.text, part.functionCall, part.executableCode]) for part in parts)

    def read_tail(self, tail: bytes) -> None:
        """See `Tap.read_tail`."""
        found = _USAGE_OBJECT.findall(tail)
        if found:
            self.read_whole(b'{"usageMetadata":%b}' % found[-1])


def _says_something(part: msgspec.Raw) -> bool:
    """Tell whether a part holds more than an empty text, as the last one often is."""
    try:
        members = _decode_part(part)
    except msgspec.DecodeError:
        return False
    return any(name not in _BESIDE and bytes(value) not in _EMPTY for name, value in members.items())
