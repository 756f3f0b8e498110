"""What a request asks of a model beside text, seen without reading it: for the choice among targets.

The top level is decoded with raw members, which skips at the speed of memory. Messages are looked into only where
their bytes hold a key or a value that could be a file; those in a text are escaped there, so they do not match, and
those in a call's arguments or a schema stand where no file can stand. A body that cannot be read needs nothing.
"""

from __future__ import annotations

import re

import msgspec

from flumegate.ir.written import Abilities

IMAGES, FILES, AUDIO, TOOLS, JSON_SCHEMA = "images", "files", "audio", "tools", "json_schema"
NEEDS = frozenset((IMAGES, FILES, AUDIO, TOOLS, JSON_SCHEMA))
"""All that there are; each is the name of one of a model's abilities."""

_NOTHING = msgspec.Raw(b"")
_EMPTY = frozenset((b"null", b"[]", b"{}"))
_LONGEST_EMPTY = max(map(len, _EMPTY))
_MAX_DEPTH = 6
_MEDIA = re.compile(rb'"(?:image|in(?:put_|line)|file|document|audio|video|computer_s)')
"""How the names begin that tell a file, in whatever dialect."""


class _Request(msgspec.Struct, gc=False):
    """The members of all dialects that matter here; they do not contradict one another."""

    messages: msgspec.Raw = _NOTHING
    contents: msgspec.Raw = _NOTHING
    input: msgspec.Raw = _NOTHING
    system: msgspec.Raw = _NOTHING
    images: msgspec.Raw = _NOTHING
    tools: msgspec.Raw = _NOTHING
    functions: msgspec.Raw = _NOTHING
    toolConfig: msgspec.Raw = _NOTHING  # noqa: N815 - named as on the wire
    response_format: msgspec.Raw = _NOTHING
    text: msgspec.Raw = _NOTHING
    output_config: msgspec.Raw = _NOTHING
    output_format: msgspec.Raw = _NOTHING
    format: msgspec.Raw = _NOTHING
    generationConfig: msgspec.Raw = _NOTHING  # noqa: N815 - named as on the wire
    generation_config: msgspec.Raw = _NOTHING


class _Format(msgspec.Struct, gc=False):
    type: object = None
    format: msgspec.Raw = _NOTHING
    tools: msgspec.Raw = _NOTHING
    responseSchema: msgspec.Raw = _NOTHING  # noqa: N815 - named as on the wire
    response_schema: msgspec.Raw = _NOTHING
    responseJsonSchema: msgspec.Raw = _NOTHING  # noqa: N815 - named as on the wire
    response_json_schema: msgspec.Raw = _NOTHING


class _Blob(msgspec.Struct, gc=False):
    """Gemini's data and files, and the content of Bedrock's results."""

    mimeType: object = None  # noqa: N815 - named as on the wire
    mime_type: object = None
    content: msgspec.Raw = _NOTHING
    parts: msgspec.Raw = _NOTHING


class _Item(msgspec.Struct, gc=False):
    """A message or a part of one."""

    type: object = None
    content: msgspec.Raw = _NOTHING
    parts: msgspec.Raw = _NOTHING
    output: msgspec.Raw = _NOTHING
    images: msgspec.Raw = _NOTHING
    inlineData: msgspec.Raw = _NOTHING  # noqa: N815 - named as on the wire
    inline_data: msgspec.Raw = _NOTHING
    fileData: msgspec.Raw = _NOTHING  # noqa: N815 - named as on the wire
    file_data: msgspec.Raw = _NOTHING
    functionResponse: msgspec.Raw = _NOTHING  # noqa: N815 - named as on the wire
    function_response: msgspec.Raw = _NOTHING
    toolResult: msgspec.Raw = _NOTHING  # noqa: N815 - named as on the wire
    image: msgspec.Raw = _NOTHING
    document: msgspec.Raw = _NOTHING
    audio: msgspec.Raw = _NOTHING
    video: msgspec.Raw = _NOTHING


_TYPES = {
    "image_url": IMAGES,
    "input_image": IMAGES,
    "image": IMAGES,
    "computer_screenshot": IMAGES,
    "file": FILES,
    "input_file": FILES,
    "document": FILES,
    "input_audio": AUDIO,
}
"""Values of `type` that are files, in OpenAI's dialects and Anthropic's."""

_decode_request = msgspec.json.Decoder(_Request).decode
_decode_format = msgspec.json.Decoder(_Format).decode
_decode_blob = msgspec.json.Decoder(_Blob).decode
_decode_items = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_item = msgspec.json.Decoder(_Item).decode
_NO_FORMAT = _Format()
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def needs_of(body: bytes) -> frozenset[str]:
    """Return which of NEEDS a request's body has, whatever its dialect."""
    try:
        request = _decode_request(body)
    except _UNREADABLE:
        return frozenset()
    needs: set[str] = set()
    if _some(request.tools) or _some(request.functions) or _some(_format(request.toolConfig).tools):
        needs.add(TOOLS)
    if _wants_schema(request):
        needs.add(JSON_SCHEMA)
    if _some(request.images):
        needs.add(IMAGES)
    for spoken in (request.messages, request.contents, request.input, request.system):
        if spoken is not _NOTHING and _MEDIA.search(spoken) is not None:
            _look_into(spoken, needs, 0)
    return frozenset(needs)


def lacks(abilities: Abilities, needs: frozenset[str]) -> frozenset[str]:
    """Return which needs a model is known not to meet; what is unknown of it is taken for met."""
    return frozenset(need for need in needs if getattr(abilities, need) is False)


def _first(raw: msgspec.Raw) -> bytes:
    return bytes(memoryview(raw)[:1])


def _some(raw: msgspec.Raw) -> bool:
    return raw is not _NOTHING and (len(raw) > _LONGEST_EMPTY or bytes(raw) not in _EMPTY)


def _format(raw: msgspec.Raw) -> _Format:
    try:
        return _decode_format(raw)
    except _UNREADABLE:
        return _NO_FORMAT


def _wants_schema(request: _Request) -> bool:
    direct = (request.response_format, request.output_format)
    nested = (request.text, request.output_config)
    settings = (request.generationConfig, request.generation_config)
    return (
        any(raw is not _NOTHING and _format(raw).type == JSON_SCHEMA for raw in direct)
        or any(raw is not _NOTHING and _format(_format(raw).format).type == JSON_SCHEMA for raw in nested)
        or any(raw is not _NOTHING and _has_schema(_format(raw)) for raw in settings)
        or _first(request.format) == b"{"
    )


def _has_schema(settings: _Format) -> bool:
    return (
        _some(settings.responseSchema)
        or _some(settings.response_schema)
        or _some(settings.responseJsonSchema)
        or _some(settings.response_json_schema)
    )


def _look_into(raw: msgspec.Raw, needs: set[str], depth: int) -> None:
    """Add what a list of messages or parts, or a single one, needs; a string, or what is no list, needs nothing."""
    first = _first(raw)
    if depth > _MAX_DEPTH or first not in (b"[", b"{"):
        return
    for item in _decode_items(raw) if first == b"[" else (raw,):
        if _MEDIA.search(item) is None:
            continue
        try:
            _look_at(_decode_item(item), needs, depth)
        except _UNREADABLE:
            continue


def _look_at(item: _Item, needs: set[str], depth: int) -> None:
    kind = item.type
    if isinstance(kind, str) and kind in _TYPES:
        needs.add(_TYPES[kind])
    elif kind is None:
        _look_at_untyped(item, needs, depth)
    if _some(item.images):
        needs.add(IMAGES)
    for inner in (item.content, item.parts, item.output):
        _look_into(inner, needs, depth + 1)


def _look_at_untyped(item: _Item, needs: set[str], depth: int) -> None:
    """Look at a part whose kind is the name of its only member, as Gemini's and Bedrock's are."""
    for blob in (item.inlineData, item.inline_data, item.fileData, item.file_data):
        if _first(blob) == b"{":
            kind = _decode_blob(blob)
            needs.add(_kind_of(kind.mimeType or kind.mime_type))
    for member, need in ((item.image, IMAGES), (item.document, FILES), (item.video, FILES), (item.audio, AUDIO)):
        if _first(member) == b"{" and b'"format"' in bytes(member):
            needs.add(need)
    for result in (item.functionResponse, item.function_response, item.toolResult):
        if _first(result) == b"{":
            inner = _decode_blob(result)
            _look_into(inner.content, needs, depth + 1)
            _look_into(inner.parts, needs, depth + 1)


def _kind_of(media_type: object) -> str:
    beginning = media_type.partition("/")[0].lower() if isinstance(media_type, str) else ""
    return {"image": IMAGES, "audio": AUDIO}.get(beginning, FILES)
