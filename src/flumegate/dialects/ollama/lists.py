"""What a client of Ollama asks before it talks to a model: the lists, the facts of one model, the version.

Sizes, digests and families belong to files that do not exist here; clients want the members all the same.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from flumegate.dialects.ollama.ending import write_time

VERSION = "0.12.6"
"""Of the server whose API this is: clients compare it with what they need."""
_FACTS: dict[str, Any] = {
    "parent_model": "",
    "format": "",
    "family": "",
    "families": [],
    "parameter_size": "",
    "quantization_level": "",
}
_encode = msgspec.json.Encoder().encode


def write_tags(names: list[tuple[str, int]]) -> bytes:
    """Return the answer of `/api/tags`: names of models, and since when they are there (Unix seconds)."""
    return _encode({"models": [_row(name, created) for name, created in names]})


def _row(name: str, created: int) -> dict[str, Any]:
    return {
        "name": name,
        "model": name,
        "modified_at": write_time(created),
        "size": 0,
        "digest": hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest(),
        "details": _FACTS,
    }


def write_ps() -> bytes:
    """Return the answer of `/api/ps`: nothing is loaded here."""
    return _encode({"models": []})


def write_show(name: str) -> bytes:
    """Return the answer of `/api/show`."""
    return _encode(
        {
            "modelfile": f"FROM {name}",
            "parameters": "",
            "template": "{{ .Prompt }}",
            "details": _FACTS,
            "model_info": {"general.architecture": "gateway", "general.basename": name},
            "capabilities": ["completion", "tools"],
        }
    )


def write_version() -> bytes:
    """Return the answer of `/api/version`."""
    return _encode({"version": VERSION})
