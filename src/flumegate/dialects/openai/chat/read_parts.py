"""Content of a message: a string or a list of parts, read into ours (dialects: §3.1)."""

from __future__ import annotations

import msgspec

from flumegate.dialects.node import Node, ReadError
from flumegate.dialects.openai.chat import leftovers
from flumegate.dialects.openai.chat.names import CHAT
from flumegate.ir.parts import CacheMark, Media, Opaque, Part, Refusal, Text, Thinking

_SOUNDS = {"wav": "audio/wav", "mp3": "audio/mpeg"}


def read_content(message: Node) -> tuple[tuple[Part, ...], bool]:
    """Take `content`; return its parts, and whether it was a bare string."""
    if message.is_string("content"):
        at = message.at("content")
        return (Text(message.text("content"), at=at),), True
    place = message.at("content")
    return tuple(read_part(raw, f"{place}[{number}]") for number, raw in enumerate(message.items("content"))), False


def read_part(raw: msgspec.Raw, at: str) -> Part:
    """Return one part; a type that we do not know stays whole."""
    if bytes(raw)[:1] == b'"':  # a bare string among the parts: some clients send it, most servers take it
        return Text(msgspec.json.decode(raw, type=str), at=at)
    node = Node(raw, CHAT, at)
    kind = node.text("type")
    match kind:
        case "text" | "input_text" | "output_text":
            text = node.required("text")
            cache = read_cache(node)
            return Text(text, cache=cache, at=at, extras=node.left())
        case "image_url" | "input_audio" | "file":
            return _MEDIA[kind](node, at)
        case "refusal":
            return Refusal(node.required("refusal"), at, node.left())
        case "thinking" if node.is_list("thinking"):
            return _mistral_thinking(node, at)
        case _:
            return Opaque(CHAT, kind, bytes(raw), at=at)


def read_cache(node: Node) -> CacheMark | None:
    """Take a cache breakpoint: OpenAI's, or Anthropic's as OpenRouter takes it."""
    for name in ("prompt_cache_breakpoint", "cache_control"):
        if name in node:
            mark = node.node(name)
            assert mark is not None  # noqa: S101 - it is in the node
            return CacheMark(mark.text("ttl"))
    return None


def _image(node: Node, at: str) -> Media:
    inner: Node | None = None
    if node.is_string("image_url"):
        url, detail = node.text("image_url"), ""
    else:
        inner = node.node("image_url")
        if inner is None:
            raise ReadError(node.at("image_url"), "It is required.")
        url, detail = inner.required("url"), inner.text("detail")
    media_type, data = split_data_url(url)
    cache = read_cache(node)
    extras = leftovers.add(node.left(), "image_url", inner.left() if inner is not None else None)
    return Media("image", media_type, data, "" if data else url, detail=detail, cache=cache, at=at, extras=extras)


def _audio(node: Node, at: str) -> Media:
    inner = node.node("input_audio")
    if inner is None:
        raise ReadError(node.at("input_audio"), "It is required.")
    data, sound = inner.required("data"), inner.text("format")
    media_type = _SOUNDS.get(sound, f"audio/{sound}" if sound else "")
    cache = read_cache(node)
    extras = leftovers.add(node.left(), "input_audio", inner.left())
    return Media("audio", media_type, data, cache=cache, at=at, extras=extras)


def _file(node: Node, at: str) -> Media:
    inner = node.node("file")
    if inner is None:
        raise ReadError(node.at("file"), "It is required.")
    name, known, given = inner.text("filename"), inner.text("file_id"), inner.text("file_data")
    if not known and not given:
        raise ReadError(inner.at("file_data"), "A file needs file_data or file_id.")
    cache = read_cache(node)
    extras = leftovers.add(node.left(), "file", inner.left())
    if known:
        return Media("file", file_id=known, dialect=CHAT, filename=name, cache=cache, at=at, extras=extras)
    media_type, data = split_data_url(given)
    if not data and given.startswith(("http://", "https://")):
        return Media("file", url=given, filename=name, cache=cache, at=at, extras=extras)
    return Media("file", media_type, data or given, filename=name, cache=cache, at=at, extras=extras)


def _mistral_thinking(node: Node, at: str) -> Thinking:
    """Mistral's reasoning stands in the content, as a part that holds text parts."""
    texts = tuple(text for inner in node.nodes("thinking") if (text := inner.text("text")))
    return Thinking(("".join(texts),) if texts else (), at=at, extras=node.left())


def split_data_url(url: str) -> tuple[str, str]:
    """Return media type and base64 of a data URL; empty strings for any other URL."""
    if not url.startswith("data:"):
        return "", ""
    head, comma, data = url[5:].partition(",")
    kind, semicolon, encoding = head.rpartition(";")
    if not comma or not semicolon or encoding != "base64":
        return "", ""
    return kind.partition(";")[0], data


_MEDIA = {"image_url": _image, "input_audio": _audio, "file": _file}
