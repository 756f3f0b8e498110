"""Messages as Vertex AI takes them: the model stands in the path, and the body names the version of the API.

Source: Claude on Vertex AI. All else is Anthropic's own wire format, so the codec differs in its requests only.
"""

from __future__ import annotations

import msgspec

from flumegate.dialects.anthropic import messages
from flumegate.dialects.anthropic.messages.write_request import write_request as write_own_request
from flumegate.ir.request import Request
from flumegate.ir.written import Abilities, Written

VERSION = "vertex-2023-10-16"
_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


def write_request(request: Request, abilities: Abilities) -> Written:
    """Return the body, and what could not be said."""
    written = write_own_request(request, abilities)
    members = {name: value for name, value in _decode(written.body).items() if name != "model"}
    body = _encode({"anthropic_version": VERSION, **members})
    return Written(body, written.losses, written.renames)


CODEC = messages.CODEC._replace(
    name="vertex_messages", title="Anthropic Messages on Vertex AI", write_request=write_request
)
