"""What items are made of, in requests and in answers alike: text with its sources, media, reasoning, calls.

An empty `at` stands for an answer. What is not understood stays behind as extras, or whole as `Opaque`.
"""

from __future__ import annotations

import msgspec

from flumegate.dialects.node import Node, ReadError
from flumegate.dialects.openai.responses.names import EMPTY_LIST, NAME, RAW_TEXT, TRIVIAL, with_more
from flumegate.ir.parts import CacheMark, Citation, Media, Opaque, Part, Refusal, Text, Thinking, ToolCall
from flumegate.ir.seal import unseal

TEXT_TYPES = frozenset({"input_text", "output_text", "text"})
_BREAKPOINT = "prompt_cache_breakpoint"
_BASE64 = ";base64,"


class _Said(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    text: str
    type: str = ""


_decode_said = msgspec.json.Decoder(list[_Said]).decode


def read_part(raw: msgspec.Raw | bytes, place: str, at: str) -> Part:
    """Return one entry of a `content` list; `place` is its path for errors, `at` what the part shall carry.

    Raises:
        ReadError: it is no object, or a member has the wrong type.
    """
    node = Node(raw, NAME, place)
    kind = node.text("type")
    part: Part | None = None
    if kind in TEXT_TYPES:
        part = read_text(node, at)
    elif kind == "refusal":
        part = Refusal(node.text("refusal"), at, node.left())
    elif kind == "input_image":
        part = _read_image(node, at)
    elif kind == "input_file":
        part = _read_file(node, at)
    return part or Opaque(NAME, kind, bytes(raw), at=place)


def read_text(node: Node, at: str) -> Text:
    """Return a text part.

    Raises:
        ReadError: a member has the wrong type.
    """
    text = node.text("text")
    citations = tuple(read_citation(one) for one in node.nodes("annotations"))
    logprobs = node.raw("logprobs")
    cache, unread = _read_breakpoint(node)
    return Text(text, citations, b"" if is_empty(logprobs) else logprobs, cache, at, with_more(node.left(), unread))


def read_citation(node: Node) -> Citation:
    """Return an annotation; kinds that name no URL are kept whole in the extras.

    Raises:
        ReadError: a member has the wrong type.
    """
    kind = node.raw("type")
    if kind != b'"url_citation"':
        return Citation(extras=with_more(node.left(), {"type": msgspec.Raw(kind)} if kind else {}))
    return Citation(
        node.text("url"),
        node.text("title"),
        node.integer("start_index"),
        node.integer("end_index"),
        extras=node.left(),
    )


def is_empty(raw: bytes) -> bool:
    """Tell whether raw JSON is absent or an empty list."""
    return len(raw) < 64 and not raw.strip(b"[] \t\r\n")


def split_data_url(url: str) -> tuple[str, str]:
    """Return media type and base64 data of a `data:` URL; empty if it is another URL, or names no type."""
    if not url.startswith("data:"):
        return "", ""
    media_type, found, data = url[5:].partition(_BASE64)
    return (media_type, data) if found and media_type else ("", "")


def _read_breakpoint(node: Node) -> tuple[CacheMark | None, dict[str, msgspec.Raw]]:
    raw = node.raw(_BREAKPOINT)
    if not raw:
        return None, {}
    mark = Node(raw, NAME, node.at(_BREAKPOINT))
    mode, ttl = mark.text("mode"), mark.text("ttl")
    if mode != "explicit" or mark.left() is not None:
        return None, {_BREAKPOINT: msgspec.Raw(raw)}
    return CacheMark(ttl), {}


def _read_image(node: Node, at: str) -> Media | None:
    url = node.text("image_url")
    file_id = "" if url else node.text("file_id")
    if not url and not file_id:
        return None
    media_type, data = split_data_url(url)
    detail = node.text("detail")
    cache, unread = _read_breakpoint(node)
    return Media(
        "image",
        media_type,
        data,
        "" if data else url,
        file_id,
        dialect=NAME if file_id else "",
        detail=detail,
        cache=cache,
        at=at,
        extras=with_more(node.left(), unread),
    )


def _read_file(node: Node, at: str) -> Media | None:
    given = node.text("file_data")
    url = "" if given else node.text("file_url")
    file_id = "" if given or url else node.text("file_id")
    if not (given or url or file_id):
        return None
    media_type, data = split_data_url(given)
    filename = node.text("filename")
    cache, unread = _read_breakpoint(node)
    return Media(
        "file",
        media_type,
        data or given,
        url,
        file_id,
        dialect=NAME if file_id else "",
        filename=filename,
        cache=cache,
        at=at,
        extras=with_more(node.left(), unread),
    )


def read_thinking(node: Node, at: str, *, sealed: bool) -> Thinking:
    """Return a `reasoning` item whose `type` was taken; `sealed`: its state may be another provider's, wrapped by us.

    Raises:
        ReadError: a member has the wrong type.
    """
    more: dict[str, msgspec.Raw] = {}
    summary = node.raw("summary")
    texts = _read_texts(summary, node, "summary", more)
    content = node.raw("content")
    if not is_empty(content):
        raw_texts = _read_texts(content, node, RAW_TEXT, more)
        if not texts and raw_texts:
            texts = raw_texts
            more["summary" if RAW_TEXT in more else RAW_TEXT] = EMPTY_LIST
        else:
            more[RAW_TEXT] = msgspec.Raw(content)
    encrypted = node.text("encrypted_content")
    extras = with_more(node.left(trivial=TRIVIAL), more)
    if not sealed:
        return Thinking(texts, encrypted, NAME if encrypted else "", at=at, extras=extras)
    state = unseal(encrypted, own=NAME)
    return Thinking(texts, state.signature, state.origin, state.redacted, at=at, extras=extras)


def _read_texts(raw: bytes, node: Node, name: str, more: dict[str, msgspec.Raw]) -> tuple[str, ...]:
    """Return the texts of a summary; one with more than texts is kept whole besides."""
    if not raw:
        return ()
    try:
        return tuple(said.text for said in _decode_said(raw))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        more[name] = msgspec.Raw(raw)
    texts = []
    for number, one in enumerate(Node(b'{"_":%b}' % raw, NAME, node.path).items("_")):
        texts.append(Node(one, NAME, f"{node.at(name)}[{number}]").text("text"))
    return tuple(texts)


def read_call(node: Node, kind: str, at: str) -> ToolCall:
    """Return a `function_call` or `custom_tool_call` item whose `type` was taken.

    Raises:
        ReadError: a member is missing or has the wrong type.
    """
    call_id = node.text("call_id")
    if not call_id:
        raise ReadError(node.at("call_id"), "It is required.")
    name = node.required("name")
    custom = kind == "custom_tool_call"
    arguments = node.text("input" if custom else "arguments")
    namespace = node.text("namespace")
    extras = node.left(trivial=TRIVIAL)
    return ToolCall(call_id, name, arguments, "custom" if custom else "function", namespace, at=at, extras=extras)
