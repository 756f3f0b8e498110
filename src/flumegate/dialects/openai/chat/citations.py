"""`annotations` of an answer: URL citations are sources of its text, everything else stays as it came."""

from __future__ import annotations

from typing import Any

import msgspec

from flumegate.dialects.node import Node
from flumegate.dialects.openai.chat import leftovers
from flumegate.dialects.openai.chat.names import CHAT
from flumegate.ir.parts import Citation

_encode = msgspec.json.Encoder().encode


def read_annotations(message: Node) -> tuple[tuple[Citation, ...], bytes]:
    """Take `annotations`; return the citations, and a list of those that are none (empty = there are none).

    Raises:
        ReadError: a citation's members have the wrong types.
    """
    citations: list[Citation] = []
    others: list[msgspec.Raw] = []
    place = message.at("annotations")
    for number, item in enumerate(message.items("annotations")):
        node = Node(item, CHAT, f"{place}[{number}]")
        node.raw("index")  # of a streamed entry: its place in the list says it already
        inner = node.node("url_citation") if node.text("type") == "url_citation" else None
        if inner is None:
            others.append(item)
            continue
        citations.append(
            Citation(
                inner.text("url"),
                inner.text("title"),
                inner.integer("start_index"),
                inner.integer("end_index"),
                inner.text("content"),
                leftovers.add(node.left(), "url_citation", inner.left()),
            )
        )
    return tuple(citations), _encode(others) if others else b""


def write_annotation(citation: Citation, shift: int) -> dict[str, Any]:
    """Return one annotation; `shift`: characters before the cited text in the message's content."""
    inner: dict[str, Any] = {"url": citation.url, "title": citation.title}
    for name, place in (("start_index", citation.start), ("end_index", citation.end)):
        if place is not None:
            inner[name] = place + shift
    if citation.quote:
        inner["content"] = citation.quote
    members: dict[str, Any] = {"type": "url_citation", "url_citation": inner}
    if citation.extras is not None and citation.extras.dialect == CHAT:
        leftovers.give_back(members, citation.extras)
    return members
