"""Content codings both ways."""

from __future__ import annotations

import gzip

import pytest

from flumegate.mock import codings
from flumegate.mock.codings import CodingError, decode, encode

CODINGS = ["gzip", "deflate", "br", "zstd"]
PIECES = [b"one ", b"two " * 1000, b"", b"three"]


@pytest.mark.parametrize("coding", CODINGS)
def test_what_is_encoded_can_be_decoded(coding: str) -> None:
    """Piece by piece out, whole again in."""
    encoded = list(encode(PIECES, coding))
    assert len(encoded) == len(PIECES) + 1
    assert decode(b"".join(encoded), coding) == b"".join(PIECES)


def test_several_codings_are_undone_from_the_outside() -> None:
    """The last one named is the outermost."""
    inner = b"".join(encode([b"x"], "br"))
    assert decode(gzip.compress(inner), "br, GZIP") == b"x"
    assert decode(b"x", "identity") == decode(b"x", "") == b"x"


@pytest.mark.parametrize("coding", CODINGS)
def test_damage_is_told(coding: str) -> None:
    """Garbage, and a body that stops short."""
    whole = b"".join(encode([b"text " * 1000], coding))
    with pytest.raises(CodingError, match=coding):
        decode(b"\x00garbage\xff", coding)
    with pytest.raises(CodingError, match=coding):
        decode(whole[: len(whole) // 2], coding)


@pytest.mark.parametrize("coding", CODINGS)
def test_bombs_are_refused(coding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than the limit is ever unfolded."""
    monkeypatch.setattr(codings, "DECODED_BYTES_MAX", 1000)
    with pytest.raises(CodingError, match="too large"):
        decode(b"".join(encode([b"0" * 100_000], coding)), coding)


def test_unknown_coding_is_told_apart() -> None:
    """It is the caller's mistake, not damage."""
    with pytest.raises(CodingError) as caught:
        decode(b"x", "rot13")
    assert caught.value.unknown
