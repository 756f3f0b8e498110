"""Tool calls as Ollama has them: whole, arguments as an object, and often without an id.

Everyone else needs ids, so a reader makes them up from what it sees: the same call gives the same id. They bear a mark,
so that a writer of this dialect leaves them out again.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from flumegate.dialects.node import Node, ReadError, give_back
from flumegate.dialects.ollama.names import CHAT
from flumegate.ir.arguments import object_of
from flumegate.ir.parts import Extras, ToolCall

_MARK = "ollama_"
_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_string = msgspec.json.Decoder(str).decode
_encode = msgspec.json.Encoder().encode


def mint(*seeds: str) -> str:
    """Return an id for a call that came without one."""
    digest = hashlib.sha256("\0".join(seeds).encode("utf-8", "surrogatepass")).hexdigest()
    return _MARK + digest[:24]


def is_minted(call_id: str) -> bool:
    """Tell whether an id was made up here."""
    return call_id.startswith(_MARK)


def read_call(node: Node, position: int, salt: str, *, lenient: bool) -> ToolCall:
    """Return one call; `salt` sets the made-up ids of one message apart from those of others.

    Args:
        node: the call.
        position: among the calls of the answer, counted from 0.
        salt: tells one message from others.
        lenient: a string is taken for the text of the arguments, as some servers send it.

    Raises:
        ReadError: it names no function, or its arguments are no object.
    """
    function = node.node("function")
    if function is None:
        raise ReadError(node.at("function"), "It is required.")
    name = function.required("name")
    arguments = _read_arguments(function, lenient=lenient)
    index = function.raw("index")
    left = function.left()
    fields = dict(left.fields) if left is not None else {}
    if index and index != b"%d" % position:  # else it says what the place in the list says
        fields["index"] = msgspec.Raw(index)
    call_id = node.text("id") or mint(salt, str(position), name, arguments)
    return ToolCall(call_id, name, arguments, at=node.path, extras=nested(node, "function", fields, ("type",)))


def _read_arguments(function: Node, *, lenient: bool) -> str:
    raw = function.raw("arguments")
    if raw[:1] == b'"' and lenient:
        return str(_decode_string(raw))
    if raw and raw[:1] != b"{":
        raise ReadError(function.at("arguments"), "It must be an object.")
    return raw.decode()


def nested(node: Node, name: str, fields: dict[str, msgspec.Raw], trivial: tuple[str, ...] = ()) -> Extras | None:
    """Return what a node has left over, with the leftovers of one of its members beneath that member's name."""
    left = node.left(trivial=trivial)
    if not fields:
        return left
    if left is None:
        return Extras(node.dialect, {name: msgspec.Raw(_encode(fields))})
    return msgspec.structs.replace(left, fields=left.fields | {name: msgspec.Raw(_encode(fields))})


def give_back_nested(members: dict[str, Any], extras: Extras | None, name: str) -> None:
    """Put back what `nested` kept: the leftovers of a member into that member."""
    if extras is None or extras.dialect != CHAT:
        return
    fields = dict(extras.fields)
    inner = fields.pop(name, None)
    if inner is not None:
        for key, raw in _decode_object(inner).items():
            members[name].setdefault(key, raw)
    give_back(members, Extras(CHAT, fields), CHAT)


def wire_name(name: str, namespace: str) -> str:
    """Return the flat name of a tool: the wire has no namespaces."""
    return f"{namespace}__{name}" if namespace else name


def write_call(call: ToolCall, *, bare: bool) -> dict[str, Any] | None:
    """Return a call in Ollama's form; None = its arguments are no object. `bare` leaves out an id made up here."""
    arguments = object_of(call)
    if arguments is None:
        return None
    written: dict[str, Any] = {"function": {"name": wire_name(call.name, call.namespace), "arguments": arguments}}
    if call.id and not (bare and is_minted(call.id)):
        written["id"] = call.id
    give_back_nested(written, call.extras, "function")
    return written
