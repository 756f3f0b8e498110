"""What the mock says: an echo of the prompt, so that a mix-up between two requests is seen at once. Pure.

The answer is `echo: ` and the last text of the prompt. A prompt that contains `use tool`, or a request that demands a
call, gets a call whose arguments hold that text. One word is one token, everywhere and in both directions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

import msgspec

from flumegate.mock.asked import Asked, Tool
from flumegate.mock.faults import Faults
from flumegate.mock.look import Json, items, mapping

TRIGGER = "use tool"
ECHO_WORDS_MAX = 512
"""A longer text is echoed as its first and last half of so many words: an agent's 100 KB prompt is no 100 KB answer."""

_FILLER = ("still", "water", "runs", "deep", "below", "the", "old", "mill", "gate")

Finish = Literal["stop", "length", "tool_calls"]


class Call(NamedTuple):
    """One tool call; arguments are JSON of the tool's schema."""

    name: str
    arguments: Json


class Speech(msgspec.Struct, frozen=True):
    """A text as the pieces it is streamed in; long ones are made up as they are sent, not kept.

    Attributes:
        said: the pieces of the echo; joined they are the text.
        filler: how many made-up words follow.
        piece_bytes: pieces are filled up to so many bytes.
    """

    said: tuple[str, ...] = ()
    filler: int = 0
    piece_bytes: int = 0

    def pieces(self) -> Iterator[str]:
        """Yield one piece a word."""
        if self.said and self.filler:
            yield from (self._filled(piece) for piece in self.said[:-1])
            yield self._filled(self.said[-1] + " ")
        else:
            yield from (self._filled(piece) for piece in self.said)
        size = len(_FILLER)
        for number in range(self.filler - 1):
            yield self._filled(_FILLER[number % size] + " ")
        if self.filler:
            yield self._filled(_FILLER[(self.filler - 1) % size])

    def text(self) -> str:
        """Return the whole text."""
        return "".join(self.pieces())

    def __len__(self) -> int:
        return len(self.said) + self.filler

    def _filled(self, piece: str) -> str:
        lack = self.piece_bytes - len(piece.encode())
        if lack <= 0:
            return piece
        bare = piece.rstrip()
        return bare + "." * lack + piece[len(bare) :]


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """One answer in nobody's dialect. Input tokens include the cached ones; output tokens include reasoning."""

    speech: Speech
    reasoning: Speech
    calls: tuple[Call, ...]
    finish: Finish
    stopped_at: str
    input_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int

    @property
    def total_tokens(self) -> int:
        """Input and output."""
        return self.input_tokens + self.output_tokens


def write(asked: Asked, faults: Faults) -> Script:
    """Return what the mock answers to this request."""
    calls = _calls(asked, faults.tool_calls)
    finish: Finish = "tool_calls" if calls else "stop"
    speech, stopped_at = Speech(), ""
    if not calls:
        speech, finish, stopped_at = _speech(asked, faults)
    reasoning = Speech()
    if asked.reasoning:
        reasoning = Speech(tuple(_split(" ".join(("The prompt says:", *asked.last_text.split()[:8])))))
    spoken = len(speech) + sum(1 + len(msgspec.json.encode(call.arguments).split()) for call in calls)
    cached = min(faults.cached, asked.words)
    return Script(
        speech=speech,
        reasoning=reasoning,
        calls=calls,
        finish=finish,
        stopped_at=stopped_at,
        input_tokens=asked.words,
        cached_tokens=cached,
        cache_write_tokens=min(faults.cache_write, asked.words - cached),
        output_tokens=spoken * asked.choices + len(reasoning),
        reasoning_tokens=len(reasoning),
    )


def filled(schema: Json, text: str) -> Json:
    """Return an object of this JSON schema whose strings are `text`; `{"input": text}` where it names no property."""
    properties = mapping(schema.get("properties"))
    if not properties:
        return {"input": text}
    return {name: _value(mapping(kind), text) for name, kind in properties.items()}


def _value(schema: Json, text: str) -> object:
    choices = items(schema.get("enum"))
    if choices:
        return choices[0]
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = kind[0] if kind else None
    if isinstance(kind, str):
        kind = kind.lower()  # Gemini writes OBJECT, STRING …
    if kind == "object":
        return filled(schema, text)
    if kind == "array":
        return [_value(mapping(schema.get("items")), text)]
    plain: dict[object, object] = {"integer": len(text), "number": float(len(text)), "boolean": True, "null": None}
    return plain.get(kind, text)


def _calls(asked: Asked, count: int) -> tuple[Call, ...]:
    tools = asked.tools
    wanted = asked.must_call or (TRIGGER in asked.last_text.lower() and not asked.after_tool_result)
    if not tools or not wanted:
        return ()
    first = next((place for place, tool in enumerate(tools) if tool.name == asked.named), 0)
    chosen: list[Tool] = [tools[(first + step) % len(tools)] for step in range(count)]
    return tuple(Call(tool.name, filled(tool.schema, asked.last_text)) for tool in chosen)


def _speech(asked: Asked, faults: Faults) -> tuple[Speech, Finish, str]:
    stopped_at = ""
    if asked.schema is not None:
        text = msgspec.json.encode(filled(asked.schema, asked.last_text)).decode()
    else:
        text = "echo: " + asked.last_text
    for stop in asked.stops:
        before, found, _ = text.partition(stop)
        if found:
            text, stopped_at = before, stop
    said = _split(text)
    if len(said) > ECHO_WORDS_MAX and asked.schema is None:
        half = ECHO_WORDS_MAX // 2
        said = said[:half] + said[-half:]
    filler = max(0, faults.tokens - len(said)) if faults.tokens else 0
    if faults.tokens:
        said = said[: faults.tokens]
    finish: Finish = "stop"
    limit = asked.word_limit
    if limit is not None and len(said) + filler > limit:
        said, filler, finish, stopped_at = said[:limit], min(filler, max(0, limit - len(said))), "length", ""
    return Speech(tuple(said), filler, faults.event_bytes), finish, stopped_at


def _split(text: str) -> list[str]:
    """Return the words of a text, each with the white space behind it; joined they are the text."""
    return _WORD.findall(text) if text.strip() else ([text] if text else [])


_WORD = re.compile(r"^\s*\S+\s*|\S+\s*")
