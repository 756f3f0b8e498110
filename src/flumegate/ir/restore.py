"""Tool calls under the names that the client knows, where the request had to send others.

A custom tool travels to dialects without them as a function with one text argument; its calls are unpacked here.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from flumegate.ir import events as e
from flumegate.ir.answer import Answer
from flumegate.ir.loss import Losses
from flumegate.ir.parts import Part, ToolCall
from flumegate.ir.request import Tool
from flumegate.ir.written import Rename

CUSTOM_FIELD = "input"
CUSTOM_PARAMETERS = b'{"type":"object","properties":{"input":{"type":"string"}},"required":["input"]}'
"""Parameters of the function that stands for a custom tool."""


class _Custom(msgspec.Struct, gc=False):
    input: str = ""


_decode_custom = msgspec.json.Decoder(_Custom).decode
_encode = msgspec.json.Encoder().encode


def pack_custom(text: str) -> str:
    """Return a custom call's text as the arguments of the function that stands for it."""
    return _encode(_Custom(text)).decode()


def packed_description(tool: Tool, losses: Losses, at: str, target: str) -> str:
    """Return the description of the function that stands for a custom tool; a grammar is told in words there.

    Coding agents always send such tools: refusing them would leave those agents without most providers.
    """
    losses.approximated(at, f"{target} has no tools of free text; it is sent as a function with one text.")
    if b'"grammar"' not in tool.format:
        return tool.description
    losses.approximated(f"{at}.format", f"{target} holds no text to a grammar; it is told in the description.")
    told = f"The input must follow this format: {tool.format.decode('utf-8', 'replace')}"
    return f"{tool.description}\n\n{told}" if tool.description else told


def _unpack_custom(arguments: str) -> str:
    try:
        return _decode_custom(arguments or "{}").input
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return arguments  # cut short or not what was asked for: the client shall see what the model wrote


def _named(call: ToolCall, rename: Rename) -> ToolCall:
    return msgspec.structs.replace(call, name=rename.name, namespace=rename.namespace, kind=rename.kind)


def restore_answer(answer: Answer, renames: dict[str, Rename]) -> Answer:
    """Return the answer with every call under its client's name."""
    if not renames:
        return answer
    choices = tuple(
        msgspec.structs.replace(choice, parts=tuple(_restore_part(part, renames) for part in choice.parts))
        for choice in answer.choices
    )
    return msgspec.structs.replace(answer, choices=choices)


def _restore_part(part: Part, renames: dict[str, Rename]) -> Part:
    if not isinstance(part, ToolCall) or part.name not in renames:
        return part
    rename = renames[part.name]
    call = _named(part, rename)
    if rename.kind == "custom":
        call = msgspec.structs.replace(call, arguments=_unpack_custom(part.arguments))
    return call


class Restorer:
    """Does the same for a stream. A custom call is held until it is whole: pieces of JSON text cannot be unpacked."""

    def __init__(self, renames: dict[str, Rename]) -> None:
        self._renames = renames
        self._held: dict[int, list[str]] = {}

    def restore(self, stream: Iterable[e.Event]) -> Iterable[e.Event]:
        """Return the events as the client shall see them."""
        if not self._renames:
            return stream
        return [restored for event in stream for restored in self._take(event)]

    def _take(self, event: e.Event) -> tuple[e.Event, ...]:
        if isinstance(event, e.Opened) and isinstance(event.part, ToolCall) and event.part.name in self._renames:
            rename = self._renames[event.part.name]
            if rename.kind == "custom":
                self._held[event.index] = [event.part.arguments]
                part = msgspec.structs.replace(_named(event.part, rename), arguments="")
            else:
                part = _named(event.part, rename)
            return (msgspec.structs.replace(event, part=part),)
        if isinstance(event, e.Grew) and event.index in self._held:
            self._held[event.index].append(event.text)
            return ()
        if isinstance(event, e.Closed) and event.index in self._held:
            text = _unpack_custom("".join(self._held.pop(event.index)))
            return (e.Grew(event.index, text), event) if text else (event,)
        return (event,)
