from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flumegate.wire.sse import Event, Reader, last_end, read, split
from rig import cuts

LINE_ENDS = st.sampled_from([b"\n", b"\r", b"\r\n"])
LINES = st.sampled_from(
    [
        b"",
        b": a comment",
        b":",
        b"data: one",
        b"data:two",
        b"data:  two spaces",
        b"data",
        b"data: a\xe2\x80\xa8b\xe2\x80\xa9c\xc2\x85d\x0be\x0cf\x1cg",
        b"event: named",
        b"event:",
        b"id: 7",
        b"retry: 10",
        b"unknown: x",
        b'data: {"a": "b:c"}',
    ]
)
STREAMS = st.lists(st.tuples(LINES, LINE_ENDS), max_size=14).map(lambda pairs: b"".join(a + b for a, b in pairs))


def lines_of(stream: bytes) -> list[tuple[bytes, int]]:
    """Read a stream the way the standard words it: byte by byte, a LF behind a CR belonging to it."""
    lines = []
    line = bytearray()
    position = 0
    while position < len(stream):
        byte = stream[position : position + 1]
        position += 1
        if byte not in (b"\r", b"\n"):
            line += byte
            continue
        if byte == b"\r" and stream[position : position + 1] == b"\n":
            position += 1
        lines.append((bytes(line), position))
        line.clear()
    return lines


def ends_of(stream: bytes) -> list[int]:
    """Return where blank lines end, those behind another line only."""
    lines = lines_of(stream)
    return [end for number, (line, end) in enumerate(lines) if not line and number]


def events_of(stream: bytes) -> list[Event]:
    events = []
    name = b""
    data: list[bytes] = []
    for line, _ in [*lines_of(stream + b"\n"), (b"", 0)]:
        if not line:
            if data:
                events.append(Event(name, b"\n".join(data)))
            name, data = b"", []
        else:
            field, colon, value = line.partition(b":")
            value = value[1:] if value[:1] == b" " else value
            if field == b"data":
                data.append(value)
            if field == b"event":
                name = value
            assert colon or field in (b"data", b"event", b"id", b"retry")
    return events


@cuts.law
@given(STREAMS)
@example(b"data: a\r\n\r\n")
@example(b"data: a\r\r")
@example(b"data: a\r\r\n")
@example(b"data: a\n\rdata: b")
@example(b"data: a\n\r")
@example(b"")
def test_the_last_end_is_where_the_standard_sees_it(stream: bytes) -> None:
    """The last blank line is found for every mixture of line ends; only a CR in last place behind a LF has to wait."""
    ends = ends_of(stream)
    if stream.endswith(b"\n\r") and ends and ends[-1] == len(stream):
        ends.pop()
    assert last_end(stream) == (ends[-1] if ends else 0)
    assert last_end(bytearray(stream)) == last_end(stream)


@cuts.law
@given(STREAMS, st.integers(0, 200))
@example(b"data: a\n\r\n", 9)
@example(b"data: a\n\r\n", 8)
@example(b"data: a\n\rdata: b", 9)
@example(b"data: a\r\n\r\n", 10)
@example(b"data: a\r\r", 8)
def test_what_was_searched_need_not_be_searched_again(stream: bytes, split_at: int) -> None:
    """Searching from where no end was found gives the same as searching all, so an event is searched once."""
    split_at = min(split_at, len(stream))
    if last_end(stream[:split_at]):
        return
    assert last_end(stream, split_at) == last_end(stream)


@cuts.law
@given(STREAMS)
def test_parts_together_are_the_block(stream: bytes) -> None:
    """Splitting loses and adds no byte, and every part but the last ends with a blank line."""
    parts = split(stream)
    assert b"".join(parts) == stream
    assert all(part for part in parts)
    assert all(ends_of(part)[-1:] == [len(part)] for part in parts[:-1])
    assert all(len(ends_of(part)) <= 1 for part in parts)


@cuts.law
@given(STREAMS)
def test_events_are_those_of_the_standard(stream: bytes) -> None:
    """Names and joined data lines, whatever the line ends; comments, ids and empty events tell nothing."""
    assert list(read(stream)) == events_of(stream)


@cuts.law
@given(STREAMS)
def test_reading_part_by_part_is_reading_the_block(stream: bytes) -> None:
    """The parts of a block hold its events, each in one piece."""
    assert [event for part in split(stream) for event in read(part)] == list(read(stream))


@cuts.law
@given(STREAMS, cuts.POSITIONS)
def test_any_chunking_gives_the_same_events(stream: bytes, positions: list[int]) -> None:
    """Cutting at found ends only, as bytes arrive, the events are those of the whole stream."""
    held = b""
    events: list[Event] = []
    for piece in cuts.at(stream, positions):
        searched = len(held)
        held += piece
        end = last_end(held, searched)
        events += read(held[:end])
        held = held[end:]
    events += read(held)
    assert events == list(read(stream))


def test_a_byte_order_mark_is_skipped() -> None:
    """A BOM at the start is no part of the first field's name."""
    assert list(read(b"\xef\xbb\xbfdata: x\n\n")) == [Event(b"", b"x")]


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\u0085", "\x0b", "\x0c", "\x1c"])
def test_unicode_separators_are_ordinary_characters(separator: str) -> None:
    """What text readers take for line ends may stand raw in JSON strings."""
    data = f'{{"text":"a{separator}b"}}'.encode()
    assert list(read(b"data: %b\n\n" % data)) == [Event(b"", data)]
    assert last_end(b"data: %b" % data) == 0


def test_an_event_without_its_blank_line_counts() -> None:
    """Some servers leave the last blank line out."""
    assert list(read(b"event: end\ndata: a\ndata: b")) == [Event(b"end", b"a\nb")]


@cuts.law
@given(STREAMS, cuts.POSITIONS)
@example(b"data: a\r\n\r\ndata: b\n\n", [9, 10, 11])
@example(b"event: x\ndata: a\n\n", [9, 18])
def test_a_reader_gives_the_same_events_for_any_chunking(stream: bytes, positions: list[int]) -> None:
    """However the bytes arrive, the events are those of the whole stream, and nothing is left behind."""
    reader = Reader()
    events = [event for piece in cuts.at(stream, positions) for event in reader.feed(piece)] + reader.finish()
    assert events == list(read(stream))
    assert reader.finish() == []


def test_a_reader_gives_an_event_as_soon_as_it_is_whole() -> None:
    """One event a piece is the usual case; half an event waits for its other half."""
    reader = Reader()
    assert reader.feed(b"data: a\n\ndata: b\n\n") == [Event(b"", b"a"), Event(b"", b"b")]
    assert reader.feed(b"data: c\n") == []
    assert reader.feed(b"\ndata: d") == [Event(b"", b"c")]
    assert reader.finish() == [Event(b"", b"d")]


def test_a_reader_is_bounded() -> None:
    """An event without end is an error, not an empty memory."""
    reader = Reader(max_bytes=16)
    assert reader.feed(b"data: 12345678\n\nd") == [Event(b"", b"12345678")]
    with pytest.raises(OverflowError, match="16 bytes"):
        reader.feed(b"ata: 123456789012")
