"""Gemini's JSON objects, read member by member.

Google takes each name in camelCase and in snake_case, and one object where a list stands; both are read as the first.
Members of an inner object that nobody takes are kept in the extras of the outer one under a dotted name
(`generationConfig.speechConfig`), and are put back there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from flumegate.dialects.node import Node, ReadError
from flumegate.ir.parts import Extras

NAME = "gemini"
ANSWER_TRIVIAL = ("modelStatus", "sdkHttpResponse", "automaticFunctionCallingHistory", "promptFeedback")
"""Of an answer: what Google's clients put there, and verdicts of filters."""
CANDIDATE_TRIVIAL = ("safetyRatings", "avgLogprobs", "tokenCount")
"""Of a candidate: verdicts of filters, and counts that the usage holds too."""
_Value = TypeVar("_Value")
_decode_string = msgspec.json.Decoder(str).decode
_decode_strings = msgspec.json.Decoder(tuple[str, ...]).decode
_encode = msgspec.json.Encoder().encode

_CAMEL_NAMES = [
    "systemInstruction",
    "toolConfig",
    "generationConfig",
    "safetySettings",
    "cachedContent",
    "serviceTier",
    "generateContentRequest",
    "inlineData",
    "fileData",
    "functionCall",
    "functionResponse",
    "executableCode",
    "codeExecutionResult",
    "toolCall",
    "toolResponse",
    "thoughtSignature",
    "videoMetadata",
    "mediaResolution",
    "mimeType",
    "fileUri",
    "displayName",
    "partialArgs",
    "willContinue",
    "functionDeclarations",
    "parametersJsonSchema",
    "responseJsonSchema",
    "googleSearch",
    "googleSearchRetrieval",
    "codeExecution",
    "urlContext",
    "fileSearch",
    "googleMaps",
    "computerUse",
    "enterpriseWebSearch",
    "functionCallingConfig",
    "allowedFunctionNames",
    "retrievalConfig",
    "includeServerSideToolInvocations",
    "topP",
    "topK",
    "candidateCount",
    "maxOutputTokens",
    "stopSequences",
    "presencePenalty",
    "frequencyPenalty",
    "responseMimeType",
    "responseSchema",
    "responseLogprobs",
    "thinkingConfig",
    "thinkingBudget",
    "thinkingLevel",
    "includeThoughts",
    "responseModalities",
    "speechConfig",
    "imageConfig",
    "audioTimestamp",
    "modelArmorConfig",
    "taskType",
    "outputDimensionality",
    "autoTruncate",
]


def _snake(camel: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in camel)


_CAMEL = {_snake(name): name for name in _CAMEL_NAMES}


class Members(Node):
    """One object, its known names in camelCase."""

    __slots__ = ()

    def __init__(self, raw: bytes | msgspec.Raw, dialect: str = NAME, path: str = "") -> None:
        super().__init__(raw, dialect, path)
        members = self._members
        for name in [name for name in members if name in _CAMEL and _CAMEL[name] not in members]:
            members[_CAMEL[name]] = members.pop(name)

    def node(self, name: str) -> Members | None:
        """Take an object; None = absent or null."""
        raw = self.raw(name)
        return Members(raw, self.dialect, self.at(name)) if raw else None

    def lists(self, name: str) -> list[Members]:
        """Take a list of objects, or one of them alone."""
        place = self.at(name)
        items = [msgspec.Raw(self.raw(name))] if self.is_object(name) else self.items(name)
        return [Members(raw, self.dialect, f"{place}[{number}]") for number, raw in enumerate(items)]

    def is_object(self, name: str) -> bool:
        """Tell whether a member is an object, without taking it."""
        raw = self._members.get(name)
        return raw is not None and bytes(raw)[:1] == b"{"

    def object_text(self, name: str) -> str:
        """Take an object as the text that it was written in; empty = absent or null."""
        raw = self.raw(name)
        if raw:
            Node(raw, self.dialect, self.at(name))
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise ReadError(self.at(name), "It must be UTF-8.") from None

    def whole_number(self, name: str) -> int | None:
        """Take an integer, which some clients write as `40.0`; None = absent or null."""
        value = self.number(name)
        if value is None:
            return None
        if not value.is_integer():
            raise ReadError(self.at(name), "It must be an integer.")
        return int(value)

    def peek_string(self, name: str) -> str:
        """Return a string without taking it; empty = absent, null or no string."""
        return _peek(_decode_string, self._members.get(name), "")

    def peek_strings(self, name: str) -> tuple[str, ...]:
        """Return a list of strings without taking it; empty = absent, null or something else."""
        return _peek(_decode_strings, self._members.get(name), ())

    def peek_raw(self, name: str) -> msgspec.Raw:
        """Return a member that is there, without taking it."""
        return self._members[name]

    def put(self, name: str, left: Extras) -> None:
        """Put the leftovers of a member that was taken back, so that they are left over here."""
        self._members |= {f"{name}.{inner}": raw for inner, raw in left.fields.items()}

    def whole(self) -> bytes:
        """Return what has not been taken, as an object."""
        return _encode({name: raw for name, raw in self._members.items() if name in self})

    def names(self) -> list[str]:
        """Return the names of what has not been taken, nulls aside."""
        return [name for name in self._members if name in self]


def _peek(decode: Callable[[msgspec.Raw], _Value], raw: msgspec.Raw | None, default: _Value) -> _Value:
    try:
        return default if raw is None else decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return default


def gathered(outer: Extras | None, inner: Extras | None, name: str) -> Extras | None:
    """Return the leftovers of an object together with those of one of its members."""
    if inner is None:
        return outer
    fields = {f"{name}.{key}": raw for key, raw in inner.fields.items()}
    vital = tuple(f"{name}.{key}" for key in inner.vital)
    trivial = tuple(f"{name}.{key}" for key in inner.trivial)
    if outer is None:
        return Extras(NAME, fields, vital, trivial)
    return Extras(NAME, outer.fields | fields, outer.vital + vital, outer.trivial + trivial)


def give_back(members: dict[str, Any], extras: Extras | None) -> None:
    """Put own leftovers back where they stood; an inner object that is not written is made for them."""
    if extras is None or extras.dialect != NAME:
        return
    for name, raw in extras.fields.items():
        place, rest = members, name
        while "." in rest:
            outer, _, rest = rest.partition(".")
            inner = place.setdefault(outer, {})
            if not isinstance(inner, dict):
                members.setdefault(name, raw)  # a dot in a client's own name
                break
            place = inner
        else:
            place.setdefault(rest, raw)
