from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections.abc import Callable

import brotli
import pytest
import zstandard
from hypothesis import example, given
from hypothesis import strategies as st

from flumegate.wire.coding import MAX_RATIO, STEP_BYTES, CodingError, Decoder, UnknownCodingError, decode_whole
from rig import cuts


def deflated(data: bytes, window_bits: int) -> bytes:
    engine = zlib.compressobj(9, zlib.DEFLATED, window_bits)
    return engine.compress(data) + engine.flush()


def two_members(data: bytes) -> bytes:
    return gzip.compress(data[: len(data) // 2]) + gzip.compress(data[len(data) // 2 :])


def two_frames(data: bytes) -> bytes:
    squeeze = zstandard.ZstdCompressor().compress
    return squeeze(data[: len(data) // 2]) + squeeze(data[len(data) // 2 :])


def brotlied(data: bytes) -> bytes:
    return bytes(brotli.compress(data, quality=5))


ENCODERS: dict[str, tuple[bytes, Callable[[bytes], bytes]]] = {
    "gzip": (b"gzip", gzip.compress),
    "x-gzip": (b" X-GZip ", gzip.compress),
    "gzip-members": (b"gzip", two_members),
    "zlib": (b"deflate", zlib.compress),
    "raw-deflate": (b"deflate", lambda data: deflated(data, -zlib.MAX_WBITS)),
    "br": (b"br", brotlied),
    "zstd": (b"zstd", zstandard.ZstdCompressor().compress),
    "zstd-frames": (b"zstd", two_frames),
}
every_coding = pytest.mark.parametrize("name", ENCODERS)
BODIES = st.binary(max_size=300) | st.text(max_size=300).map(str.encode) | st.just(b'{"model":"a"}' * 50)
LIMIT = 10_000_000


@every_coding
@cuts.short_law
@given(data=BODIES, positions=cuts.POSITIONS)
@example(data=b"", positions=[])
@example(data=b"x" * (STEP_BYTES + 40), positions=list(range(400)))
def test_what_was_encoded_comes_back_in_any_pieces(name: str, data: bytes, positions: list[int]) -> None:
    """Decoding is the opposite of encoding, however the bytes are cut."""
    coding, encode = ENCODERS[name]
    decoder = Decoder(coding)
    pieces = [piece for cut in cuts.at(encode(data), positions) for piece in decoder.feed(cut)]
    decoder.finish()
    assert b"".join(pieces) == data
    assert all(0 < len(piece) <= 2 * STEP_BYTES for piece in pieces)


@pytest.mark.parametrize("beyond", range(0, 2600, 100))
def test_output_that_fills_a_step_is_not_the_end(beyond: int) -> None:
    """Deflate without a trailer may have handed over all input and still hold output."""
    data = b"a" * (STEP_BYTES + beyond)
    assert decode_whole(b"deflate", deflated(data, -zlib.MAX_WBITS), LIMIT) == data


@every_coding
@cuts.short_law
@given(data=BODIES.filter(bool), cut=st.integers(1, 60))
def test_data_that_ends_too_early_is_refused(name: str, data: bytes, cut: int) -> None:
    """A truncated body never passes for a whole one, except at the seam of two members, where it is one."""
    coding, encode = ENCODERS[name]
    encoded = encode(data)[:-cut]
    half = encode(data[: len(data) // 2])
    if not encoded or ("s" in name.rpartition("-")[2] and len(encoded) <= len(half)):
        return
    with pytest.raises(CodingError) as refused:
        decode_whole(coding, encoded, LIMIT)
    assert not refused.value.bomb


@every_coding
@cuts.short_law
@given(data=st.binary(min_size=20, max_size=200))
def test_damaged_data_is_refused_or_what_it_decodes_to(name: str, data: bytes) -> None:
    """Bytes that are no such coding raise CodingError and nothing else."""
    coding, _ = ENCODERS[name]
    with pytest.raises(CodingError):
        decode_whole(coding, b"\xff\xff\xff\xff" + data, LIMIT)


@pytest.mark.parametrize("name", ["gzip", "gzip-members", "zlib", "raw-deflate", "br", "zstd", "zstd-frames"])
def test_a_bomb_is_refused_in_bounded_memory(name: str) -> None:
    """64 MB of zeros in a few kilobytes stop at the limit; meanwhile a few steps' worth of memory is used."""
    coding, encode = ENCODERS[name]
    bomb = encode(bytes(1 << 26))
    assert len(bomb) < 100_000
    tracemalloc.start()
    try:
        with pytest.raises(CodingError) as refused:
            decode_whole(coding, bomb, 2 * STEP_BYTES)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert refused.value.bomb
    assert peak_bytes < 8 * STEP_BYTES


@pytest.mark.parametrize("name", ["gzip", "zlib", "br", "zstd"])
def test_a_stream_without_limit_is_bounded_by_its_ratio(name: str) -> None:
    """Where no size limit applies, what unfolds beyond any ratio of text is refused once it is large."""
    coding, encode = ENCODERS[name]
    decoder = Decoder(coding, free_bytes=STEP_BYTES)
    with pytest.raises(CodingError, match="ratio") as refused:
        for _ in decoder.feed(encode(bytes(1 << 24))):
            pass
    assert refused.value.bomb


def test_below_the_free_size_any_ratio_passes() -> None:
    """A small body of blanks is no bomb."""
    data = b" " * 100_000
    encoded = gzip.compress(data)
    assert len(data) > len(encoded) * MAX_RATIO
    assert b"".join(Decoder(b"gzip").feed(encoded)) == data


@pytest.mark.parametrize(("limit", "fits"), [(1000, True), (999, False)])
def test_the_limit_is_the_largest_size_that_passes(limit: int, fits: bool) -> None:
    """A body of exactly the limit passes, one byte more does not."""
    encoded = gzip.compress(bytes(1000))
    if fits:
        assert decode_whole(b"gzip", encoded, limit) == bytes(1000)
    else:
        with pytest.raises(CodingError, match="larger than the limit"):
            decode_whole(b"gzip", encoded, limit)


def test_several_codings_are_undone_from_the_last_to_the_first() -> None:
    """The field names codings in the order in which they were applied (RFC 9110 §8.4)."""
    encoded = brotlied(gzip.compress(b"text"))
    assert decode_whole(b"gzip, identity ,br", encoded, LIMIT) == b"text"
    with pytest.raises(CodingError):
        decode_whole(b"br, gzip", encoded, LIMIT)


@pytest.mark.parametrize("coding", [b"identity", b"", b" , identity"])
def test_identity_changes_nothing(coding: bytes) -> None:
    """No coding, no change."""
    assert decode_whole(coding, b"as it is", LIMIT) == b"as it is"


@pytest.mark.parametrize("coding", [b"compress", b"gzip2", b"\xff", b"identity"])
def test_an_unknown_coding_is_named(coding: bytes) -> None:
    """The error names what we cannot decode."""
    with pytest.raises(UnknownCodingError, match=coding.decode("latin-1")):
        Decoder(coding)


def test_no_data_at_all_is_an_empty_body() -> None:
    """Some servers name a coding on an answer without a body."""
    for coding in (b"gzip", b"deflate", b"br", b"zstd"):
        decoder = Decoder(coding)
        assert list(decoder.feed(b"")) == []
        decoder.finish()


def test_bytes_behind_a_zlib_body_are_passed_over() -> None:
    """Only gzip and zstd have members; behind the end of others nothing is read."""
    assert decode_whole(b"deflate", zlib.compress(b"text") + b"noise", LIMIT) == b"text"


@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_a_body_of_a_million_empty_parts_is_refused(name: str) -> None:
    """Twenty bytes that unfold to nothing must not cost more the more of them there are."""
    part = gzip.compress(b"") if name == "gzip" else zstandard.compress(b"")
    with pytest.raises(CodingError, match="10000 parts"):
        decode_whole(name.encode(), part * 1_000_000, 1 << 25)


def test_a_body_of_some_parts_is_joined() -> None:
    """RFC 1952 §2.2: a gzip file is a series of members; where they are split does not matter."""
    whole = b"".join(gzip.compress(b"%d," % number) for number in range(9_000))
    decoder = Decoder(b"gzip")
    pieces = [piece for cut in cuts.at(whole, [7, 65_536, 65_537, 150_000]) for piece in decoder.feed(cut)]
    decoder.finish()
    assert b"".join(pieces) == b"".join(b"%d," % number for number in range(9_000))


def test_codings_cannot_be_piled_up() -> None:
    """Each may cost as much as the largest body does."""
    data = b"{}"
    for _ in range(4):
        data = gzip.compress(data)
    assert decode_whole(b"gzip,gzip, identity,gzip", gzip.decompress(data), 100) == b"{}"
    with pytest.raises(CodingError, match="more than 3 codings"):
        decode_whole(b"gzip,gzip,gzip,gzip", data, 100)
