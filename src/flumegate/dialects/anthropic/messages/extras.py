"""Members of Anthropic's objects that nobody else knows, those of inner objects included.

What an inner object leaves over stands beside the outer one's under a dotted name (`usage.service_tier`), so that one
set of extras holds it all and a loss names the exact place. Writing puts each back where it was.
"""

from __future__ import annotations

from typing import Any

import msgspec

from flumegate.dialects.node import Node
from flumegate.ir.parts import CacheMark, Extras

DIALECT = "messages"
TARGET = "Anthropic Messages"
_INNER = frozenset({"usage", "output_tokens_details", "stop_details", "output_config", "metadata", "source"})
_TRIVIAL = frozenset({"caller", "type", "encrypted_index", "stop_reason", "stop_details.type"})
"""Of calls, citations and ends: how Anthropic itself finds its way. Its finer counts tell others nothing either."""
Fields = dict[str, msgspec.Raw]


class _Mark(msgspec.Struct, gc=False, forbid_unknown_fields=True, tag_field="type", tag="ephemeral"):
    ttl: str | None = None


_decode_mark = msgspec.json.Decoder(_Mark).decode


def read_cache(node: Node, odd: Fields) -> CacheMark | None:
    """Take `cache_control`; one that says more than a breakpoint does goes into `odd` as it is."""
    raw = node.raw("cache_control")
    if not raw:
        return None
    try:
        return CacheMark(_decode_mark(raw).ttl or "")
    except msgspec.DecodeError:
        odd["cache_control"] = msgspec.Raw(raw)
        return None


def write_cache(mark: CacheMark) -> dict[str, str]:
    """Return a mark as `cache_control`."""
    return {"type": "ephemeral", "ttl": mark.ttl} if mark.ttl else {"type": "ephemeral"}


def inner(found: Fields, node: Node | None, name: str) -> None:
    """Collect what an inner object left over."""
    left = node.left() if node is not None else None
    if left is not None:
        found.update({f"{name}.{member}": raw for member, raw in left.fields.items()})


def extras_of(node: Node, more: Fields, vital: tuple[str, ...] = ()) -> Extras | None:
    """Return what an object left over together with what was set aside before."""
    left = node.left(vital)
    if left is None:
        return of_fields(more)
    return of_fields(left.fields | more, left.vital)


def of_fields(fields: Fields, vital: tuple[str, ...] = ()) -> Extras | None:
    """Return members as extras, those that tell nobody else anything marked as such."""
    if not fields:
        return None
    return Extras(DIALECT, fields, vital, tuple(name for name in fields if name in _TRIVIAL or name[:6] == "usage."))


def put_back(members: dict[str, Any], extras: Extras | None) -> None:
    """Give our own extras back, inner ones into their objects; what is there already stays."""
    if extras is None or extras.dialect != DIALECT:
        return
    for name, raw in extras.fields.items():
        place, rest = members, name
        while (cut := rest.find(".")) > 0 and rest[:cut] in _INNER:
            place = place.setdefault(rest[:cut], {})
            rest = rest[cut + 1 :]
        place.setdefault(rest, raw)
