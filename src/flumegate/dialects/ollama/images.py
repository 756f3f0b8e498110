"""Images as Ollama has them: base64 without a word about their type."""

from __future__ import annotations

from flumegate.dialects.node import Node, ReadError
from flumegate.ir.parts import Media

_BEGINNINGS = (
    ("iVBORw0KGgo", "image/png"),
    ("/9j/", "image/jpeg"),
    ("R0lGOD", "image/gif"),
    ("UklGR", "image/webp"),
    ("Qk", "image/bmp"),
)
_UNKNOWN = "image/png"
"""Others demand a type, and most of them look at the data themselves."""


def media_type_of(data: str) -> str:
    """Return an image's type from its first base64 characters."""
    return next((kind for beginning, kind in _BEGINNINGS if data.startswith(beginning)), _UNKNOWN)


def read_images(node: Node) -> tuple[Media, ...]:
    """Take the `images` of a message.

    Raises:
        ReadError: one is not base64 data alone.
    """
    place = node.at("images")
    found = []
    for number, data in enumerate(node.strings("images")):
        at = f"{place}[{number}]"
        if ":" in data[:64]:
            raise ReadError(at, "It must be base64 data alone: no URL, and no 'data:' in front.")
        found.append(Media("image", media_type_of(data), data=data, at=at))
    return tuple(found)
