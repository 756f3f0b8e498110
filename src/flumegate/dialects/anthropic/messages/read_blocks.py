"""Content blocks, as they stand in requests and answers, into parts (dialects: §6).

A block that only Anthropic understands becomes `Opaque`, whole. Signatures that another provider made come back from
their envelope here (see `ir.seal`).
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from flumegate.dialects.anthropic.messages.citations import read_citation
from flumegate.dialects.anthropic.messages.extras import DIALECT, Fields, extras_of, inner, read_cache
from flumegate.dialects.node import Node, ReadError
from flumegate.ir.parts import Media, Opaque, Part, Text, Thinking, ToolCall, ToolResult
from flumegate.ir.seal import unseal

_TRACES = frozenset({"server_tool_use", "mcp_tool_use", "mcp_tool_result", "tool_reference", "fallback"})
"""Blocks that tell what happened elsewhere; the results of server tools are named `…_tool_result`."""


def read_content(node: Node, name: str) -> tuple[tuple[Part, ...], bool]:
    """Take a content member, a string or a list of blocks; return its parts, and whether it was a string."""
    if node.is_string(name):
        return (Text(node.text(name), at=node.at(name)),), True
    place = node.at(name)
    raws = node.items(name)
    return tuple(read_block(bytes(raw), f"{place}[{number}]") for number, raw in enumerate(raws)), False


def read_block(raw: bytes, path: str, at: str | None = None) -> Part:
    """Return one block of a request; of an answer with `at=""`, because its parts bear no place.

    Raises:
        ReadError: it is no block, or a member has the wrong type.
    """
    node = Node(raw, DIALECT, path)
    kind = node.required("type")
    place = path if at is None else at
    reader = _READERS.get(kind)
    part = reader(node, place) if reader is not None else None
    if part is not None:
        return part
    trace = kind in _TRACES or kind.endswith("_tool_result")
    asked = at is None  # of an answer, what a client cannot read is no reason to withhold the rest
    return Opaque(DIALECT, kind, raw, vital=asked and not trace, at=place)


def _read_text(node: Node, at: str) -> Text:
    odd: Fields = {}
    text = node.required("text")
    citations = tuple(read_citation(one) for one in node.nodes("citations"))
    cache = read_cache(node, odd)
    return Text(text, citations, cache=cache, at=at, extras=extras_of(node, odd))


def _read_thinking(node: Node, at: str) -> Thinking:
    text = node.text("thinking")
    sealed = unseal(node.text("signature"), own=DIALECT)
    return Thinking((text,) if text else (), sealed.signature, sealed.origin, at=at, extras=node.left())


def _read_redacted(node: Node, at: str) -> Thinking:
    sealed = unseal(node.required("data"), own=DIALECT)
    return Thinking((), sealed.signature, sealed.origin, redacted=True, at=at, extras=node.left())


def _read_call(node: Node, at: str) -> ToolCall:
    odd: Fields = {}
    name, identity = node.required("name"), node.required("id")
    arguments = read_input(node)
    cache = read_cache(node, odd)
    return ToolCall(identity, name, arguments, cache=cache, at=at, extras=extras_of(node, odd))


def read_input(node: Node) -> str:
    """Take a call's `input` as the text that it is; empty = no arguments."""
    raw = node.raw("input").strip()
    if raw and raw[:1] != b"{":
        raise ReadError(node.at("input"), "It must be an object.")
    return raw.decode() if raw[1:-1].strip() else ""


def _read_result(node: Node, at: str) -> ToolResult:
    odd: Fields = {}
    call = node.required("tool_use_id")
    parts, plain = read_content(node, "content")
    failed = node.boolean("is_error")
    cache = read_cache(node, odd)
    return ToolResult(call, parts, plain, is_error=failed, cache=cache, at=at, extras=extras_of(node, odd))


def _read_image(node: Node, at: str) -> Media | None:
    return _read_media(node, at, "image", "")


def _read_document(node: Node, at: str) -> Media | None:
    return _read_media(node, at, "file", node.text("title"))


def _read_media(node: Node, at: str, kind: str, title: str) -> Media | None:
    """Return a picture or document; None where its source is of a kind that nobody else has."""
    odd: Fields = {}
    whole = node.raw("source")
    source = Node(whole, DIALECT, node.at("source")) if whole else None
    if source is None:
        return None
    sort = source.text("type")
    given = {"base64": "data", "url": "url", "file": "file_id", "text": "data", "content": "content"}.get(sort)
    if given is None:
        return None
    media_type = source.text("media_type")
    if sort == "content":
        value = _only_text(source)
        odd["source"] = msgspec.Raw(whole)
        media_type = "text/plain"
    else:
        value = source.text(given)
        inner(odd, source, "source")
    if not value:
        return None
    cache = read_cache(node, odd)
    return Media(
        "image" if kind == "image" else "file",
        media_type,
        data=value if sort == "base64" else "",
        url=value if sort == "url" else "",
        file_id=value if sort == "file" else "",
        text=value if sort in ("text", "content") else "",
        dialect=DIALECT if sort == "file" else "",
        filename=title,
        cache=cache,
        at=at,
        extras=extras_of(node, odd, ("context",)),
    )


def _only_text(source: Node) -> str:
    """Return a custom document's text; empty where it holds more than text, so that it is kept whole."""
    parts, _ = read_content(source, "content")
    if not all(isinstance(part, Text) for part in parts):
        return ""
    return "\n\n".join(part.text for part in parts if isinstance(part, Text))


_READERS: dict[str, Callable[[Node, str], Part | None]] = {
    "text": _read_text,
    "thinking": _read_thinking,
    "redacted_thinking": _read_redacted,
    "tool_use": _read_call,
    "tool_result": _read_result,
    "image": _read_image,
    "document": _read_document,
}
