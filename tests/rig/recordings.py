"""Recorded provider traffic, where the folder beside the repository is present; never part of the repository."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

FOLDER = Path(__file__).parents[3] / "shared" / "recordings"


class Recorded(NamedTuple):
    """One request and its answer out of a recording."""

    name: str
    """File name and position: `groq-tool-call-stream#0`."""
    dialect: str
    path: str
    status: int
    body: Any
    """Parsed JSON of an answer in one piece, else None."""
    stream: bytes
    """An answer in server-sent events, else empty."""


def load(*dialects: str) -> list[Recorded]:
    """Return every exchange of some dialects; skips the calling module when the folder is not there."""
    if not FOLDER.is_dir():
        pytest.skip(
            f"no recordings: the folder ../{FOLDER.parent.name}/{FOLDER.name} is absent", allow_module_level=True
        )
    found = []
    for dialect in dialects:
        for file in sorted((FOLDER / dialect).glob("*.json")):
            for number, exchange in enumerate(json.loads(file.read_text("utf-8"))["exchanges"]):
                response = exchange["response"]
                found.append(
                    Recorded(
                        f"{file.stem}#{number}",
                        exchange["dialect"],
                        (exchange["request"] or {}).get("path", ""),
                        response["status"],
                        response.get("body"),
                        response.get("stream", "").encode(),
                    )
                )
    return found
