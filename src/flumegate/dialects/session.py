"""Which conversation a request belongs to, for sticky routing: providers cache prompts, each account its own.

`session_of` is what the client says; `prefix_of` what stays equal over the turns of one conversation, for clients that
say nothing. OpenAI's `user` and `safety_identifier` are not read: they name a person, or one service for all of its
users, and would put all of its conversations on one target. Anthropic's `metadata.user_id` is, as coding agents put
the session's id into it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

import msgspec

SESSION_HEADERS = (b"x-flumegate-session", b"x-session-id", b"session_id")
"""In order of precedence; the last is Codex's."""
_PLAIN_BYTES = 64
_DIGEST_BYTES = 16

_NOTHING = msgspec.Raw(b"")
_CACHE_MARK = re.compile(
    rb',\s*"cache_control"\s*:\s*(?:\{[^{}]*\}|null)|"cache_control"\s*:\s*(?:\{[^{}]*\}|null)\s*(?:,\s*)?'
)
"""A breakpoint of the prompt cache: clients move it on with every turn, so it is no part of what stays equal."""
_SYSTEM_ROLES = ("system", "developer")


class _Said(msgspec.Struct, gc=False):
    prompt_cache_key: object = None
    metadata: msgspec.Raw = _NOTHING


class _Metadata(msgspec.Struct, gc=False):
    user_id: object = None


class _Whole(msgspec.Struct, gc=False):
    """The members of all dialects that a conversation begins with."""

    model: msgspec.Raw = _NOTHING
    system: msgspec.Raw = _NOTHING
    instructions: msgspec.Raw = _NOTHING
    systemInstruction: msgspec.Raw = _NOTHING  # noqa: N815 - named as on the wire
    system_instruction: msgspec.Raw = _NOTHING
    tools: msgspec.Raw = _NOTHING
    messages: msgspec.Raw = _NOTHING
    input: msgspec.Raw = _NOTHING
    contents: msgspec.Raw = _NOTHING
    prompt: msgspec.Raw = _NOTHING


class _Listed(_Whole, gc=False):
    """The same with the turns in pieces: one pass over the body instead of two."""

    messages: list[msgspec.Raw] = []  # type: ignore[assignment] # the type that the decoder shall use instead
    input: list[msgspec.Raw] = []  # type: ignore[assignment] # likewise
    contents: list[msgspec.Raw] = []  # type: ignore[assignment] # likewise


class _Turn(msgspec.Struct, gc=False):
    role: object = None


_decode_said = msgspec.json.Decoder(_Said).decode
_decode_metadata = msgspec.json.Decoder(_Metadata).decode
_decode_listed = msgspec.json.Decoder(_Listed).decode
_decode_whole = msgspec.json.Decoder(_Whole).decode
_decode_turn = msgspec.json.Decoder(_Turn).decode
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def session_of(picked: Mapping[bytes, bytes], body: bytes) -> bytes:
    """Return what a request says of its conversation, at most 64 bytes; empty = it says nothing.

    Args:
        picked: header fields by lower-case name, those of SESSION_HEADERS among them.
        body: of any dialect.
    """
    for name in SESSION_HEADERS:
        value = picked.get(name)
        if value:
            return _short(value)
    try:
        said = _decode_said(body)
        key = said.prompt_cache_key
        if not (isinstance(key, str) and key) and said.metadata is not _NOTHING:
            key = _decode_metadata(said.metadata).user_id
    except _UNREADABLE:
        return b""
    return _short(key.encode("utf-8", "surrogatepass")) if isinstance(key, str) else b""


def prefix_of(body: bytes) -> bytes:
    """Return a digest of model, system, tools and first message, the same over the turns of one conversation.

    Leading system messages count as the system. Empty = the body holds no conversation.
    """
    pieces = _beginning(body)
    if not pieces:
        return b""
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for piece in pieces:
        plain = bytes(piece)
        if b"cache_control" in plain:
            plain = _CACHE_MARK.sub(b"", plain)
        digest.update(b"%d:" % len(plain))  # so that no two lists of pieces are the same bytes
        digest.update(plain)
    return digest.digest()


def _short(value: bytes) -> bytes:
    return value if len(value) <= _PLAIN_BYTES else hashlib.blake2b(value, digest_size=_DIGEST_BYTES).digest()


def _beginning(body: bytes) -> list[msgspec.Raw]:
    """Return what a conversation begins with; nothing where the body holds none."""
    first: list[msgspec.Raw]
    request: _Whole
    try:
        listed = _decode_listed(body)
    except msgspec.ValidationError:
        try:
            request = _decode_whole(body)
        except _UNREADABLE:
            return []
        # A string, or a single turn that is no list: the whole of it is the first message.
        first = [raw for raw in (request.messages, request.input, request.contents) if raw is not _NOTHING]
    except _UNREADABLE:
        return []
    else:
        request = listed
        first = _first_turns(listed.messages or listed.input or listed.contents)
    if request.prompt is not _NOTHING:
        first.append(request.prompt)
    if not first:
        return []
    system = (request.system, request.instructions, request.systemInstruction, request.system_instruction)
    return [request.model, *system, request.tools, *first]


def _first_turns(turns: list[msgspec.Raw]) -> list[msgspec.Raw]:
    """Return the turns up to the first that is not the system's."""
    for count, turn in enumerate(turns, 1):
        try:
            role = _decode_turn(turn).role
        except msgspec.ValidationError:
            role = None
        if role not in _SYSTEM_ROLES:
            return turns[:count]
    return list(turns)
