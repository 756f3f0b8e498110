"""`groundingMetadata` as citations and back. Google counts in bytes of UTF-8, the neutral form in characters."""

from __future__ import annotations

from typing import Any

import msgspec

from flumegate.ir.parts import Citation


class _Source(msgspec.Struct, gc=False):
    uri: str | None = None
    title: str | None = None
    text: str | None = None


class _Chunk(msgspec.Struct, gc=False):
    web: _Source | None = None
    retrievedContext: _Source | None = None  # noqa: N815 - named as on the wire
    maps: _Source | None = None


class _Segment(msgspec.Struct, gc=False):
    startIndex: int | None = None  # noqa: N815 - named as on the wire
    endIndex: int | None = None  # noqa: N815 - named as on the wire


class _Support(msgspec.Struct, gc=False):
    segment: _Segment | None = None
    groundingChunkIndices: list[int] | None = None  # noqa: N815 - named as on the wire


class _Grounding(msgspec.Struct, gc=False):
    groundingChunks: list[_Chunk] | None = None  # noqa: N815 - named as on the wire
    groundingSupports: list[_Support] | None = None  # noqa: N815 - named as on the wire


_decode = msgspec.json.Decoder(_Grounding).decode


def read_citations(raw: bytes | msgspec.Raw, text: str | None) -> tuple[Citation, ...]:
    """Return the sources of a text; none where they cannot be read, as the text stands without them.

    `None` for a text that was too long to be kept: they have no place in it then.
    """
    try:
        grounding = _decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ()
    sources = [chunk.web or chunk.retrievedContext or chunk.maps for chunk in grounding.groundingChunks or ()]
    supports = grounding.groundingSupports or [_Support(None, list(range(len(sources))))]
    encoded = text.encode("utf-8", "surrogatepass") if text is not None else None
    citations = []
    for support in supports:
        for number in support.groundingChunkIndices or ():
            source = sources[number] if 0 <= number < len(sources) else None
            if source is not None and (source.uri or source.title):
                start, end = _characters(encoded, support.segment)
                quote = source.text or ""
                citations.append(Citation(source.uri or "", source.title or "", start, end, quote))
    return tuple(citations)


def _characters(encoded: bytes | None, segment: _Segment | None) -> tuple[int | None, int | None]:
    if encoded is None or segment is None or segment.endIndex is None:
        return None, None
    return _count(encoded, segment.startIndex or 0), _count(encoded, segment.endIndex)


def _count(encoded: bytes, at: int) -> int:
    return len(encoded[: max(0, at)].decode("utf-8", "ignore"))


def write_citations(citations: tuple[Citation, ...], text: str) -> dict[str, Any]:
    """Return the object for the wire."""
    chunks: list[dict[str, Any]] = []
    supports: list[dict[str, Any]] = []
    for number, citation in enumerate(citations):
        chunks.append({"web": {"uri": citation.url, "title": citation.title}})
        support: dict[str, Any] = {"groundingChunkIndices": [number]}
        if citation.start is not None and citation.end is not None:
            start, end = (
                len(text[: max(0, at)].encode("utf-8", "surrogatepass")) for at in (citation.start, citation.end)
            )
            support["segment"] = {"startIndex": start, "endIndex": end, "text": text[citation.start : citation.end]}
        supports.append(support)
    return {"groundingChunks": chunks, "groundingSupports": supports}
