"""Blocks of a Converse answer, read: the same whether they came whole or in pieces.

A tool call that Bedrock itself runs (its `type` says so) is no call for the client: it stays opaque, like its result.
"""

from __future__ import annotations

import base64
import binascii

import msgspec

from flumegate.dialects.bedrock.names import AUDIO_FORMATS, IMAGE_FORMATS, NAME
from flumegate.dialects.node import Node, ReadError
from flumegate.ir.parts import Citation, Extras, Media, Opaque, Part, Text, Thinking, ToolCall

CLIENT_CALLS = ("", "tool_use")
"""Values of a tool call's `type` that ask the client to run it."""
_IMAGE_TYPES = {word: media_type for media_type, word in IMAGE_FORMATS.items()}
_AUDIO_TYPES = {word: media_type for media_type, word in reversed(AUDIO_FORMATS.items())}
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_TRACES = ("toolUse", "toolResult")
"""Blocks that tell what ran at the provider: an answer without them says the same."""


def read_part(raw: bytes | msgspec.Raw, path: str) -> Part:
    """Return one block.

    Raises:
        ReadError: it is not of its kind.
    """
    block = Node(raw, NAME, path)
    if "text" in block:
        return Text(block.required("text"), extras=block.left())
    part = _read_object(block)
    if part is not None:
        return part
    kind = next((name for name, value in _decode_members(raw).items() if bytes(value) != b"null"), "")
    return Opaque(NAME, kind, bytes(raw), vital=kind not in _TRACES)


def _read_object(block: Node) -> Part | None:
    """Return a block that has a place in the neutral form; None = it has none."""
    call = block.node("toolUse")
    if call is not None:
        return _read_call(call, block)
    reasoning = block.node("reasoningContent")
    if reasoning is not None:
        return _read_reasoning(reasoning, block)
    cited = block.node("citationsContent")
    if cited is not None:
        return _read_cited(cited, block)
    image = block.node("image")
    if image is not None:
        return _read_media("image", image, _IMAGE_TYPES, block.left())
    audio = block.node("audio")
    if audio is not None:
        return _read_media("audio", audio, _AUDIO_TYPES, block.left())
    return None


def _read_call(call: Node, block: Node) -> ToolCall | None:
    if call.text("type") not in CLIENT_CALLS:
        return None
    return ToolCall(
        call.text("toolUseId"),
        call.required("name"),
        call.raw("input").decode("utf-8", "surrogatepass"),
        extras=united(call.left(), block.left()),
    )


def _read_reasoning(reasoning: Node, block: Node) -> Thinking:
    redacted = reasoning.text("redactedContent")
    if redacted:
        extras = united(reasoning.left(), block.left())
        return Thinking(signature=redacted, origin=NAME, redacted=True, extras=extras)
    inner = reasoning.node("reasoningText")
    text = inner.text("text") if inner is not None else ""
    signature = inner.text("signature") if inner is not None else ""
    left = inner.left() if inner is not None else None
    return Thinking(
        (text,) if text else (),
        signature,
        NAME if signature else "",
        extras=united(left, reasoning.left(), block.left()),
    )


def _read_cited(cited: Node, block: Node) -> Text:
    text = "".join(piece.text("text") for piece in cited.nodes("content"))
    citations = tuple(read_citation(citation) for citation in cited.nodes("citations"))
    return Text(text, citations, extras=united(cited.left(), block.left()))


def read_citation(node: Node) -> Citation:
    """Return a citation. Places within documents have no common form: they stay as they are."""
    location = node.node("location")
    url = ""
    left = None
    if location is not None:
        web = location.node("web")
        if web is not None:
            url = web.text("url")
            web.raw("domain")  # it stands in the URL
        left = location.left()
    quote = "".join(piece.text("text") for piece in node.nodes("sourceContent"))
    return Citation(url, node.text("title"), quote=quote, extras=united(left, node.left()))


def _read_media(kind: str, node: Node, types: dict[str, str], left: Extras | None) -> Media | None:
    word = node.text("format")
    source = node.node("source")
    data = source.text("bytes") if source is not None else ""
    place = source.node("s3Location") if source is not None else None
    url = place.text("uri") if place is not None else ""
    if not data and not url:
        return None
    return Media(
        "image" if kind == "image" else "audio",
        types.get(word, f"{kind}/{word}" if word else ""),
        data=data,
        url="" if data else url,
        extras=united(node.left(), left),
    )


def united(*several: Extras | None) -> Extras | None:
    """Return the extras of one part, whatever level of its JSON they stood at."""
    fields: dict[str, msgspec.Raw] = {}
    for extras in several:
        if extras is not None:
            fields |= extras.fields
    return Extras(NAME, fields) if fields else None


def joined_bytes(pieces: list[str]) -> str:
    """Return base64 that came in pieces, each encoded on its own, as one.

    Raises:
        ReadError: a piece is not base64.
    """
    if len(pieces) == 1:
        return pieces[0]
    try:
        return base64.b64encode(b"".join(base64.b64decode(piece, validate=True) for piece in pieces)).decode()
    except (binascii.Error, UnicodeEncodeError, ValueError):
        raise ReadError("delta", "It must be base64.") from None
