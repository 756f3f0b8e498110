from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flumegate.dialects.ollama.chat.read_stream import ChatStreamReader
from flumegate.dialects.ollama.tap import OllamaTap
from flumegate.ir import events as e
from flumegate.ir.usage import Usage
from flumegate.wire import sse
from rig import cuts
from rig.ollama_cases import CALL, ENDING, STREAMS, line, packed, streamed, whole


def told(tap: OllamaTap) -> tuple[Any, ...]:
    return tap.usage, tap.model, tap.finish_reason, tap.started, tap.complete, tap.failed


def tapped(pieces: list[bytes]) -> OllamaTap:
    tap = OllamaTap()
    for piece in pieces:
        tap.feed(piece)
    tap.close()
    return tap


@pytest.mark.parametrize("name", STREAMS)
def test_the_same_as_the_reader(name: str) -> None:
    """Usage and reason by tap are those by translation; whole or streamed makes no difference."""
    data = streamed(STREAMS[name])
    reader = ChatStreamReader()
    events = reader.feed(data)
    usage = next((event.usage for event in events if isinstance(event, e.Counted)), None)
    finish = next(event.finish for event in events if isinstance(event, e.Finished))
    tap = tapped([data])
    assert told(tap) == (usage, "heron:8b", finish.raw, True, True, False)
    again = OllamaTap()
    again.read_whole(packed(whole(STREAMS[name])))
    assert told(again) == told(tap)


@cuts.short_law
@given(st.sampled_from(sorted(STREAMS)), cuts.POSITIONS)
def test_any_cut(name: str, positions: list[int]) -> None:
    """Any pieces tell the same."""
    data = streamed(STREAMS[name])
    assert told(tapped(cuts.at(data, positions))) == told(tapped([data]))


def test_spaces_in_the_lines() -> None:
    """Not every server writes them tight."""
    data = b"".join(json.dumps(one).encode() + b"\n" for one in STREAMS["text"])
    assert told(tapped([data])) == (Usage(21, 13), "heron:8b", "stop", True, True, False)


@pytest.mark.parametrize(
    ("said", "started"),
    [
        (line(), False),
        (line(content="a"), True),
        (line(thinking="a"), True),
        (line(tool_calls=[CALL]), True),
        (line(images=["AAAA"]), True),
        ({"model": "m", "response": "a"}, True),
        ({"model": "m", "response": "", "thinking": "a"}, True),
        ({"model": "m", "response": ""}, False),
    ],
)
def test_the_start(said: dict[str, Any], started: bool) -> None:
    """The first line that says something, of chat and of generate."""
    tap = tapped([packed(said) + b"\n"])
    assert (tap.started, tap.complete) == (started, False)


def test_an_error() -> None:
    """In a stream it is seen, also behind the beginning; a whole one is no answer but a failure."""
    tap = tapped([streamed([line(content="a")]) + b'{"error":"gone"}\n'])
    assert (tap.failed, tap.complete) == (True, False)
    tap = OllamaTap()
    tap.read_whole(b'{"error":"gone"}')
    assert told(tap) == (None, "", "", False, False, True)


def test_a_stream_that_was_gathered() -> None:
    """It tells what it tells piece by piece; an answer in many lines of one document is still one."""
    for lines in STREAMS.values():
        tap = OllamaTap()
        tap.read_whole(streamed(lines))
        assert told(tap) == told(tapped([streamed(lines)]))
    tap = OllamaTap()
    tap.read_whole(json.dumps(line(True) | ENDING, indent=1).encode())
    assert told(tap) == (Usage(21, 13), "heron:8b", "stop", True, True, False)


def test_a_last_line_without_its_end() -> None:
    """It is judged when the stream closes."""
    assert tapped([streamed([line(content="a"), line(True) | ENDING]).rstrip()]).complete


def test_a_cut_stream() -> None:
    """Without a line that is done it is not complete."""
    assert not tapped([streamed([line(content="a")])]).complete
    assert not tapped([]).complete


@pytest.mark.parametrize("nonsense", [b"", b"[1]", b"{", b'{"model":[]}', b"\xff"])
def test_nonsense(nonsense: bytes) -> None:
    """It tells nothing, and breaks nothing."""
    tap = tapped([nonsense + b"\n"])
    tap.read_whole(nonsense)
    assert told(tap) == (None, "", "", False, False, False)


def test_a_line_that_cannot_be_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is passed over."""
    tap = OllamaTap()
    monkeypatch.setattr(tap._lines, "_max_bytes", 10)
    tap.feed(b"x" * 11)
    tap.feed(b"\n" + streamed([line(True) | ENDING]))
    assert tap.complete


def test_lines_that_somebody_framed() -> None:
    """Each may come as the data of an event."""
    tap = OllamaTap()
    tap.look(sse.read(b"data: " + packed(line(True) | ENDING) + b"\n\n"))
    assert tap.complete


@pytest.mark.parametrize(
    ("body", "usage", "model"),
    [
        (b'{"model":"m","embeddings":[[0.5]],"prompt_eval_count":4}', Usage(4), "m"),
        (b'{"embedding":[0.5]}', None, ""),
    ],
)
def test_embeddings(body: bytes, usage: Usage | None, model: str) -> None:
    """Both endpoints; the vectors are not looked at."""
    tap = OllamaTap()
    tap.read_whole(body)
    assert (tap.usage, tap.model, tap.complete) == (usage, model, True)


def test_the_end_of_a_large_answer() -> None:
    """The counts stand there."""
    tap = OllamaTap()
    tap.read_tail(b'0.5]],"total_duration":1,"prompt_eval_count":4, "eval_count" : 9}')
    assert tap.usage == Usage(4, 9)
    tap = OllamaTap()
    tap.read_tail(b"0.5]]}")
    assert tap.usage is None
