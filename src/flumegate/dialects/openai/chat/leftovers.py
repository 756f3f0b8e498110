"""Members that the reader had left over, given back into a message that is being written.

Unlike `node.give_back` this reaches into objects that both sides know in part: the leftovers of `usage` or
`stream_options` join the members that were written.
"""

from __future__ import annotations

from typing import Any

import msgspec

from flumegate.dialects.openai.chat.names import CHAT
from flumegate.ir.parts import Extras

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
MESSAGE = "message."
"""Prefix of the names of a message's leftovers among those of its choice."""


def give_back(members: dict[str, Any], extras: Extras | None) -> None:
    """Put this dialect's own leftovers into an object; what is written already stays."""
    if extras is None or extras.dialect != CHAT:
        return
    for name, raw in extras.fields.items():
        if isinstance(members.get(name), dict) and bytes(raw)[:1] == b"{":
            _join(members[name], _decode(raw))
        else:
            members.setdefault(name, raw)


def _join(members: dict[str, Any], leftover: dict[str, Any]) -> None:
    for name, value in leftover.items():
        known = members.setdefault(name, value)
        if isinstance(known, dict) and isinstance(value, dict) and known is not value:
            _join(known, value)


def add(extras: Extras | None, name: str, rest: Extras | None) -> Extras | None:
    """Return extras with what an inner object had left over, under the object's name."""
    return extras if rest is None else add_raw(extras, name, _encode(rest.fields), vital=bool(rest.vital))


def add_raw(extras: Extras | None, name: str, raw: bytes, *, vital: bool = False, trivial: bool = False) -> Extras:
    """Return extras with one more member."""
    fields = {} if extras is None else dict(extras.fields)
    names = () if extras is None else extras.vital
    known = () if extras is None else extras.trivial
    fields[name] = msgspec.Raw(raw)
    return Extras(CHAT, fields, (*names, name) if vital else names, (*known, name) if trivial else known)


def without(extras: Extras | None, name: str) -> Extras | None:
    """Return extras without one member."""
    if extras is None or name not in extras.fields:
        return extras
    fields = {other: raw for other, raw in extras.fields.items() if other != name}
    return msgspec.structs.replace(extras, fields=fields) if fields else None


def mark(extras: Extras | None, name: str, dialect: str = CHAT) -> Extras:
    """Return extras that remember a wish which our own writer of answers grants.

    The name stands among the vital ones without being a member: nobody reports it as lost.
    """
    if extras is None:
        return Extras(dialect, {}, (name,))
    return Extras(dialect, extras.fields, (*extras.vital, name), extras.trivial)


def is_marked(extras: Extras | None, name: str, dialect: str = CHAT) -> bool:
    """Tell whether a request bears a mark."""
    return extras is not None and extras.dialect == dialect and name in extras.vital and name not in extras.fields


def united(choice: Extras | None, message: Extras | None) -> Extras | None:
    """Return the leftovers of a choice and of its message as one."""
    if message is None:
        return choice
    fields = {} if choice is None else dict(choice.fields)
    vital, trivial = ((), ()) if choice is None else (choice.vital, choice.trivial)
    fields |= {MESSAGE + name: raw for name, raw in message.fields.items()}
    return Extras(
        CHAT,
        fields,
        vital + tuple(MESSAGE + name for name in message.vital),
        trivial + tuple(MESSAGE + name for name in message.trivial),
    )


def divided(extras: Extras | None) -> tuple[Extras | None, Extras | None]:
    """Return the leftovers of a choice, and those of its message."""
    if extras is None or extras.dialect != CHAT:
        return extras, None
    cut = len(MESSAGE)
    inner = {name[cut:]: raw for name, raw in extras.fields.items() if name.startswith(MESSAGE)}
    outer = {name: raw for name, raw in extras.fields.items() if not name.startswith(MESSAGE)}
    return (Extras(CHAT, outer) if outer else None), (Extras(CHAT, inner) if inner else None)
