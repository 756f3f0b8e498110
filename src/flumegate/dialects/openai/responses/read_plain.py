"""Reads a request of `/response`, the simpler form of Responses: some members more, and unknown ones do not count.

Beyond Responses it knows `stop`, and a tool's output as an object: `{content}` or `{content_items}`.
"""

from __future__ import annotations

import msgspec

from flumegate.dialects.node import Node
from flumegate.dialects.openai.responses.names import NAME
from flumegate.dialects.openai.responses.read_request import read_request
from flumegate.ir.request import Request

_encode = msgspec.json.Encoder().encode
_NOTHING = b'""'


def read_plain_request(body: bytes, *, model: str = "", stream: bool = False) -> Request:
    """Return the request; `metadata` is the gateway's own, and nobody is told of it.

    Raises:
        ReadError: the document is no such request.
    """
    node = Node(body, NAME)
    stop = (node.text("stop"),) if node.is_string("stop") else node.strings("stop")
    if node.is_list("input"):
        items = [_plain_item(item, f"input[{number}]") for number, item in enumerate(node.items("input"))]
        members = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        body = _encode(members | {"input": items})
    request = read_request(body, model=model, stream=stream)
    extras = request.extras
    if extras is not None:
        extras = msgspec.structs.replace(
            extras, fields={name: raw for name, raw in extras.fields.items() if name in extras.vital}
        )
    return msgspec.structs.replace(request, stop=stop, metadata=b"", extras=extras)


def _plain_item(raw: msgspec.Raw, path: str) -> msgspec.Raw:
    """Return an item whose output, if it is an object, is put as Responses put it."""
    if b'"output"' not in bytes(raw):
        return raw
    item = Node(raw, NAME, path)
    output = item.raw("output")
    if not output.startswith(b"{"):
        return raw
    inner = Node(output, NAME, item.at("output"))
    said = inner.raw("content") or inner.raw("content_items") or _NOTHING
    members = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    return msgspec.Raw(_encode(members | {"output": msgspec.Raw(said)}))
