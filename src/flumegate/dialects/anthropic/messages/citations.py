"""Sources that a text names: Anthropic's kinds of location and our one, both ways.

A location's offsets lie in the source, ours lie in the text, so they are not ours: they travel as extras.
"""

from __future__ import annotations

from typing import Any

import msgspec

from flumegate.dialects.anthropic.messages.extras import DIALECT, extras_of, put_back
from flumegate.dialects.node import Node
from flumegate.ir.parts import Citation

_WEB = "web_search_result_location"
_PLACES = {
    _WEB: ("url", "title"),
    "search_result_location": ("source", "title"),
    "char_location": ("", "document_title"),
    "page_location": ("", "document_title"),
    "content_block_location": ("", "document_title"),
}
"""Type of a location → its members for address and title."""


def read_citation(node: Node) -> Citation:
    """Return a citation; its type, and what only Anthropic says of it, is left over."""
    kind = node.text("type")
    address, title = _PLACES.get(kind, ("", ""))
    return Citation(
        node.text(address) if address else "",
        node.text(title) if title else "",
        quote=node.text("cited_text"),
        extras=extras_of(node, {"type": msgspec.Raw(msgspec.json.encode(kind))}),
    )


def is_own(citation: Citation) -> bool:
    """Tell whether Anthropic made it: only then can it go back there."""
    return citation.extras is not None and citation.extras.dialect == DIALECT


def write_citation(citation: Citation, text: str) -> dict[str, Any] | None:
    """Return a citation for a client; None where it names no address. `text` is what it is about, as far as known."""
    if citation.extras is not None and citation.extras.dialect == DIALECT:
        members: dict[str, Any] = {}
        put_back(members, citation.extras)
        address, title = _PLACES.get(msgspec.json.decode(members["type"], type=str), ("", ""))
        named = ((address, citation.url), (title, citation.title), ("cited_text", citation.quote))
        members.update({name: value for name, value in named if name and value})
        return members
    if not citation.url:
        return None
    return {
        "type": _WEB,
        "url": citation.url,
        "title": citation.title or None,
        "cited_text": citation.quote or text[citation.start : citation.end],
        "encrypted_index": "",
    }
