from __future__ import annotations

import pytest

from flumegate.dialects.registry import CODECS
from flumegate.ir.failure import PAGE, Reason, plain_message, reason_of


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (400, "invalid_request"),
        (401, "authentication"),
        (402, "quota"),
        (403, "permission"),
        (404, "not_found"),
        (408, "timeout"),
        (409, "invalid_request"),
        (413, "too_large"),
        (422, "invalid_request"),
        (429, "rate_limited"),
        (500, "internal"),
        (502, "internal"),
        (503, "overloaded"),
        (504, "timeout"),
        (529, "overloaded"),
        (599, "internal"),
    ],
)
def test_a_status_alone_says_something(status: int, reason: Reason) -> None:
    """An error without a readable body still has a reason."""
    assert reason_of(status) == reason


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", ""),
        (b" no healthy upstream\n", "no healthy upstream"),
        (b"<html><h1>502</h1></html>", PAGE),
        (b"\n<!DOCTYPE html><title>Bad gateway</title>", PAGE),
        (b"Error<HTML>", PAGE),
        (b"a < b > c", "a < b > c"),
        (b"\xff", "\ufffd"),
        (b"x" * 3_000, "x" * 500),
    ],
)
def test_what_is_no_json_is_a_sentence(body: bytes, message: str) -> None:
    """A proxy's own words are kept, bounded; its page is not shown to anybody."""
    assert plain_message(body) == message


@pytest.mark.parametrize("status", [404, 502, 503])
@pytest.mark.parametrize("name", [codec.name for codec in CODECS.values() if codec.read_error is not None])
def test_no_dialect_shows_a_page(name: str, status: int) -> None:
    """Whoever is asked, a page in front of it is told in the same words, and the status says the rest."""
    read = CODECS[name].read_error
    assert read is not None
    failure = read(status, b"<html><body>secret</body></html>")
    assert (failure.message, failure.reason, failure.status) == (PAGE, reason_of(status), status)
    assert read(status, b"no healthy upstream").message == "no healthy upstream"
