from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flumegate.keytable import DIGEST_BYTES, DamagedTableError, KeyTable, build
from flumegate.records.access import Budget, Key, Limits

DIGESTS = st.binary(min_size=DIGEST_BYTES, max_size=DIGEST_BYTES)
KEYS = 100_000


def key(number: int) -> Key:
    """Return a key as a busy installation has them."""
    name = f"k{number:06d}"
    budgets = (Budget(f"key:{name}", "day", 1_000_000), Budget(f"key:{name}", "month", 20_000_000))
    return Key(name, f"project-{number % 500:03d}", limits=Limits(60, 100_000, 5), budgets=budgets)


def table(folder: Path, keys: list[tuple[bytes, Key]], name: str = "keys") -> KeyTable:
    """Write a table and map it."""
    path = folder / name
    path.write_bytes(build(keys))
    return KeyTable(path)


def test_a_hundred_thousand_keys_are_found(tmp_path: Path) -> None:
    """Each by its digest, nobody by another one, in less than 300 bytes a key."""
    dice = random.Random(7)
    keys = [(dice.randbytes(DIGEST_BYTES), key(number)) for number in range(KEYS)]
    found = table(tmp_path, keys)
    assert found.count == KEYS
    assert (tmp_path / "keys").stat().st_size < 300 * KEYS
    assert all(found.find(digest) == known for digest, known in keys)
    for digest in (b"", b"\0" * 32, b"\xff" * 32, keys[0][0][:-1], keys[0][0] + b"x"):
        assert found.find(digest) is None
    assert all(found.find(dice.randbytes(DIGEST_BYTES)) is None for _ in range(10_000))


@given(
    st.dictionaries(DIGESTS, st.integers(0, 9), max_size=200), st.lists(DIGESTS, max_size=20), st.binary(max_size=24)
)
@settings(deadline=None)
def test_digests_that_are_not_evenly_spread_are_found_too(
    tmp_path_factory: pytest.TempPathFactory, numbers: dict[bytes, int], others: list[bytes], start: bytes
) -> None:
    """All of them, also when they begin alike or stand at either end."""
    rows = {start + digest[len(start) :]: key(number) for digest, number in numbers.items()}
    found = table(tmp_path_factory.mktemp("table"), list(rows.items()))
    for digest in [*rows, *others, *(start + other[len(start) :] for other in others)]:
        assert found.find(digest) == rows.get(digest)


@pytest.mark.parametrize("first", [0x00, 0xFF, 0x80])
def test_thousands_that_begin_alike_are_found(tmp_path: Path, first: int) -> None:
    """Where one would look first is a guess; wherever they stand instead, they are found."""
    keys = [(bytes([first]) * 8 + number.to_bytes(24, "big"), key(number)) for number in range(3_000)]
    found = table(tmp_path, keys)
    assert all(found.find(digest) == known for digest, known in keys)
    assert found.find(b"\x40" * 32) is None
    assert found.find(bytes([first]) * 8 + (3_000).to_bytes(24, "big")) is None


def test_of_two_keys_with_one_digest_the_later_counts(tmp_path: Path) -> None:
    """There is one row a digest."""
    found = table(tmp_path, [(b"d" * 32, key(1)), (b"d" * 32, key(2))])
    assert (found.count, found.find(b"d" * 32)) == (1, key(2))


def test_a_digest_of_another_length_is_refused() -> None:
    """It would make a table that finds nobody."""
    with pytest.raises(ValueError, match="32 bytes, not 31"):
        build([(b"d" * 31, key(1))])


def test_every_cut_and_every_changed_byte_is_refused(tmp_path: Path) -> None:
    """A table is whole, or it is none: no look-up meets an offset that leads astray."""
    whole = build([(bytes([number]) * 32, key(number)) for number in range(3)])
    path = tmp_path / "keys"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedTableError):
            KeyTable(path)
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        with pytest.raises(DamagedTableError):
            KeyTable(path)
    path.write_bytes(whole + b"x")
    with pytest.raises(DamagedTableError):
        KeyTable(path)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        KeyTable(path)


def test_a_table_that_is_replaced_or_removed_stays_readable(tmp_path: Path) -> None:
    """Who has mapped it keeps what was in it; who maps it anew finds the new one."""
    old = table(tmp_path, [(b"o" * 32, key(1))])
    new = table(tmp_path, [(b"n" * 32, key(2))], "next")
    (tmp_path / "next").replace(tmp_path / "keys")
    again = KeyTable(tmp_path / "keys")
    (tmp_path / "keys").unlink()
    assert (old.find(b"o" * 32), old.find(b"n" * 32)) == (key(1), None)
    assert (again.find(b"o" * 32), again.find(b"n" * 32)) == (None, key(2))
    assert new.find(b"n" * 32) == key(2)
