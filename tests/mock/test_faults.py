"""The grammar in which faults are asked for."""

from __future__ import annotations

import msgspec
import pytest

from flumegate.mock import faults
from flumegate.mock.faults import KNOBS, FaultError, Faults

NO_HEADERS: list[tuple[bytes, bytes]] = []


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("gpt-4o", Faults()),
        ("mock-fault:hang", Faults(hang=1)),
        ("mock-fault:latency=200,status=429", Faults(latency_ms=200, status=429)),
        ("gpt-4o+latency=200", Faults(latency_ms=200)),
        ("org/model:free+rst, gzip", Faults(rst=0, coding="gzip")),
        ("m+stall_ms=500,stall_at=3", Faults(stall_ms=500, stall_at=3)),
        ("m+malformed,error_in_stream", Faults(malformed=1, error_in_stream=2)),
        ("m+crlf,no_done=1,no_usage=0", Faults(line_end="\r\n", no_done=True)),
        ("m+interval=0.5,code=insufficient_quota", Faults(interval_ms=0.5, code="insufficient_quota")),
    ],
)
def test_model_names_carry_faults(model: str, expected: Faults) -> None:
    """Behind `mock-fault:`, or behind a plus after any real name."""
    assert faults.read(model, NO_HEADERS) == expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([(b"x-mock-fault", b"hang=2,br")], Faults(hang=2, coding="br")),
        ([(b"x-mock-latency-ms", b"5"), (b"x-mock-no-done", b"true")], Faults(latency_ms=5, no_done=True)),
        ([(b"x-mock-hang", b"")], Faults(hang=1)),
        ([(b"x-mock-zstd", b"1")], Faults(coding="zstd")),
        ([(b"x-mock-tag", b"anything"), (b"x-other", b"status=500")], Faults()),
    ],
)
def test_headers_carry_faults(headers: list[tuple[bytes, bytes]], expected: Faults) -> None:
    """One list, or one header a fault; a tag is none."""
    assert faults.read("m", headers) == expected


def test_headers_have_the_last_word() -> None:
    """A header overrules the same name in the model."""
    assert faults.read("m+status=500,hang", [(b"x-mock-status", b"503")]) == Faults(status=503, hang=1)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("m+latncy=1", "did you mean `latency_ms`"),
        ("m+nothing_like_it", "the known ones are"),
        ("m+status", "needs a value"),
        ("m+status=abc", "takes a number"),
        ("m+status=999", "from 200 to 599"),
        ("m+cut=-1", "from 0"),
        ("m+one_byte=maybe", "is a switch"),
        ("m+share=2", "from 0 to 1"),
    ],
)
def test_what_cannot_be_read_is_an_error(model: str, message: str) -> None:
    """A fault that silently does not happen would prove nothing."""
    with pytest.raises(FaultError, match=message):
        faults.read(model, NO_HEADERS)


@pytest.mark.parametrize("name", list(KNOBS))
def test_every_knob_does_something(name: str) -> None:
    """Each name of the grammar changes a field that exists, and tells what it means."""
    knob = KNOBS[name]
    value = {"share": "0.5", "status": "418"}.get(name, "7")
    found = faults.read(f"m+{name}" if knob.bare is not None else f"m+{name}={value}", NO_HEADERS)
    assert knob.field in Faults.__struct_fields__
    assert knob.meaning
    assert (found != Faults()) == (name != "lf")


def test_every_field_can_be_asked_for() -> None:
    """No fault is built and then unreachable."""
    assert {knob.field for knob in KNOBS.values()} == set(Faults.__struct_fields__)


def test_spared_calls_keep_their_words() -> None:
    """`times` and `share` take the faults away, not what the answer is made of."""
    asked = Faults(status=500, tokens=9, interval_ms=3, event_bytes=4, chunk=2)
    assert faults.spared(asked) == msgspec.structs.replace(asked, status=0)


def test_a_share_falls_by_the_dice() -> None:
    """A throw below the share means the faults happen."""
    assert not faults.share_falls(Faults(share=0.3), 0.29)
    assert faults.share_falls(Faults(share=0.3), 0.3)


@pytest.mark.parametrize(
    ("asked", "whole"),
    [
        (Faults(), True),
        (Faults(status=500, coding="gzip", tokens=3), True),
        (Faults(one_byte=True), False),
        (Faults(cut=3), False),
        (Faults(first_byte_ms=1), False),
        (Faults(no_length=True), False),
    ],
)
def test_only_content_faults_leave_a_body_whole(asked: Faults, whole: bool) -> None:
    """A body goes out in one write unless a fault of the wire takes it apart."""
    assert asked.whole is whole
