from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flumegate.wire.ndjson import Reader
from rig import cuts

LINES = st.sampled_from(
    [b"", b" ", b'{"a":1}', b'{"a":"\xe2\x80\xa8\xc2\x85"}', b"\t{} \r", b'{"long":"' + b"x" * 40 + b'"}']
)
STREAMS = st.lists(LINES, max_size=12).map(b"\n".join)


@cuts.law
@given(STREAMS, cuts.POSITIONS)
def test_any_chunking_gives_the_same_lines(stream: bytes, positions: list[int]) -> None:
    """However the bytes arrive, the documents are those of the whole stream, empty lines passed over."""
    reader = Reader()
    lines = [line for piece in cuts.at(stream, positions) for line in reader.feed(piece)] + reader.finish()
    assert lines == [line.strip() for line in stream.split(b"\n") if line.strip()]
    assert reader.finish() == []


def test_a_line_is_given_as_soon_as_it_is_whole() -> None:
    """Nothing waits for the next line; a last one without its end waits for the end of the stream."""
    reader = Reader()
    assert reader.feed(b'{"a"') == []
    assert reader.feed(b':1}\r\n{"b":2}') == [b'{"a":1}']
    assert reader.feed(b"") == []
    assert reader.finish() == [b'{"b":2}']


def test_a_line_has_an_end_or_an_error() -> None:
    """Memory is bounded whatever the upstream sends."""
    reader = Reader(max_bytes=8)
    assert reader.feed(b"12345678") == []
    assert reader.feed(b"\n" * 20) == [b"12345678"]
    with pytest.raises(OverflowError, match="8 bytes"):
        reader.feed(b"123456789")
