"""The arguments of a call as the JSON object that most dialects want them to be.

They stay the text that the model or the client wrote: only their form is checked, with raw members, so that numbers
which no float can hold pass as they came.
"""

from __future__ import annotations

import msgspec

from flumegate.ir.parts import ToolCall
from flumegate.ir.restore import pack_custom

_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def as_object(arguments: str) -> msgspec.Raw | None:
    """Return arguments as an object for the wire, byte for byte; none at all are an empty one. None = no object."""
    if not arguments.strip():
        return msgspec.Raw(b"{}")
    try:
        raw = arguments.encode()
        _decode_object(raw)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    return msgspec.Raw(raw)


def object_of(call: ToolCall) -> msgspec.Raw | None:
    """Return a call's arguments as an object, a custom call's text packed into one; None = they are none."""
    return as_object(pack_custom(call.arguments) if call.kind == "custom" else call.arguments)
