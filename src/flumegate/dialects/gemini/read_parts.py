"""Parts of a content, read: the same in requests and in answers."""

from __future__ import annotations

from typing import Literal

import msgspec

from flumegate.dialects.gemini.members import NAME, Members, gathered
from flumegate.dialects.gemini.signature import read_signature
from flumegate.ir.parts import Media, Opaque, Part, Text, Thinking, ToolCall, ToolResult

_KINDS = ("functionCall", "functionResponse", "inlineData", "fileData")
_TRACES = frozenset(("executableCode", "codeExecutionResult", "toolCall", "toolResponse"))
"""What Google's own tools did: a conversation can be understood without it."""
_FILES = ("gs://", "https://generativelanguage.googleapis.com/", "https://www.youtube.com/", "https://youtu.be/")
"""What only Google can fetch."""


class Calls:
    """Ids of the calls of one document: those that have none get one, and results find their calls."""

    def __init__(self, prefix: str = "call_") -> None:
        self._prefix = prefix
        self._count = 0
        self._waiting: dict[str, list[str]] = {}

    def call(self, name: str, given: str) -> str:
        """Return the id of the next call."""
        number = self._count
        self._count += 1
        identity = given or f"{self._prefix}{number}"
        self._waiting.setdefault(name, []).append(identity)
        return identity

    def result(self, name: str, given: str) -> str:
        """Return the id of the call that a result answers: by id, else the oldest open one of that name."""
        waiting = self._waiting.get(name, [])
        if given:
            if given in waiting:
                waiting.remove(given)
            return given
        return waiting.pop(0) if waiting else f"{self._prefix}of_{name}"


def read_part(raw: msgspec.Raw | bytes, calls: Calls, at: str, path: str) -> Part:
    """Return one part. `at` is for parts of requests; `path` for errors.

    Raises:
        ReadError: a known member is of a wrong type.
    """
    node = Members(raw, path=path)
    if "text" in node:
        return _read_text(node, at)
    if node.names() == ["thoughtSignature"]:
        return _state(node.text("thoughtSignature"), at)
    for kind in _KINDS:
        inner = node.node(kind)
        if inner is not None:
            return _read_kind(kind, node, inner, calls, at)
    return _read_unknown(raw, node.names(), at)


def _read_kind(kind: str, node: Members, inner: Members, calls: Calls, at: str) -> Part:
    match kind:
        case "functionCall":
            return _read_call(node, inner, calls, at)
        case "functionResponse":
            return _read_result(node, inner, calls, at)
        case "inlineData":
            return _read_data(node, inner, at)
        case _:
            return _read_file(node, inner, at)


def _read_unknown(raw: msgspec.Raw | bytes, names: list[str], at: str) -> Opaque:
    trace = next((name for name in names if name in _TRACES), "")
    kind = trace or next((name for name in names if name != "thoughtSignature"), "empty")
    return Opaque(NAME, kind, bytes(raw), vital=not trace, at=at)


def _state(value: str, at: str) -> Thinking:
    signature, origin, redacted = read_signature(value)
    return Thinking((), signature, origin, redacted, at=at)


def _read_text(node: Members, at: str) -> Part:
    text = node.text("text")
    if node.boolean("thought"):
        signature, origin, redacted = read_signature(node.text("thoughtSignature"))
        return Thinking((text,), signature, origin, redacted, at=at, extras=node.left())
    if not text and node.names() == ["thoughtSignature"]:
        return _state(node.text("thoughtSignature"), at)
    return Text(text, at=at, extras=node.left())


def _read_call(node: Members, inner: Members, calls: Calls, at: str) -> ToolCall:
    name = inner.text("name")
    identity = calls.call(name, inner.text("id"))
    signature, origin, _ = read_signature(node.text("thoughtSignature"))
    return ToolCall(
        identity,
        name,
        inner.object_text("args"),
        signature=signature,
        origin=origin,
        at=at,
        extras=gathered(node.left(), inner.left(), "functionCall"),
    )


def _read_result(node: Members, inner: Members, calls: Calls, at: str) -> ToolResult:
    name = inner.text("name")
    identity = calls.result(name, inner.text("id"))
    parts, is_error = _read_response(inner, at)
    for piece in inner.lists("parts"):
        place = f"{at}.{piece.path.removeprefix(node.path).removeprefix('.')}" if at else ""
        parts.append(_read_piece(piece, place))
    return ToolResult(
        identity,
        tuple(parts),
        plain=len(parts) == 1 and isinstance(parts[0], Text),
        name=name,
        is_error=is_error,
        at=at,
        extras=gathered(node.left(), inner.left(), "functionResponse"),
    )


def _read_response(inner: Members, at: str) -> tuple[list[Part], bool | None]:
    """Return what the tool gave: the text of `output` or `error` where there is nothing else, or the whole object."""
    whole = inner.object_text("response")
    if not whole or whole == "{}":
        return [], None
    response = Members(whole.encode(), path=inner.at("response"))
    names = response.names()
    if names in (["output"], ["error"]) and response.is_string(names[0]):
        said = response.text(names[0])
        if not said.lstrip().startswith("{"):  # else it could not be told from an object
            return [Text(said, at=at)], True if names == ["error"] else None
    return [Text(whole, at=at)], None


def _read_piece(node: Members, at: str) -> Part:
    data, file = node.node("inlineData"), node.node("fileData")
    if data is not None:
        return _read_data(node, data, at)
    if file is not None:
        return _read_file(node, file, at)
    return Opaque(NAME, next(iter(node.names()), "empty"), node.whole(), at=at)


def _read_data(node: Members, inner: Members, at: str) -> Media:
    media_type = inner.text("mimeType")
    return Media(
        _kind(media_type),
        media_type,
        data=inner.text("data"),
        filename=inner.text("displayName"),
        at=at,
        extras=gathered(node.left(), inner.left(), "inlineData"),
    )


def _read_file(node: Members, inner: Members, at: str) -> Media:
    media_type, uri = inner.text("mimeType"), inner.text("fileUri")
    own = uri.startswith(_FILES) or "://" not in uri
    return Media(
        _kind(media_type),
        media_type,
        url="" if own else uri,
        file_id=uri if own else "",
        dialect=NAME if own else "",
        filename=inner.text("displayName"),
        at=at,
        extras=gathered(node.left(), inner.left(), "fileData"),
    )


def _kind(media_type: str) -> Literal["image", "audio", "file"]:
    if media_type.startswith("image/"):
        return "image"
    return "audio" if media_type.startswith("audio/") else "file"
