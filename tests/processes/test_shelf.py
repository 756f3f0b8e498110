from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flumegate.processes import shelf
from flumegate.processes.shelf import SLOT_BYTES, Shelf, ShelfFullError


@pytest.fixture
def descriptor() -> Iterator[int]:
    made = shelf.make("test")
    yield made
    os.close(made)


def test_an_empty_shelf_holds_nothing(descriptor: int) -> None:
    """There is no value before the first write."""
    assert Shelf(descriptor).read() is None


def test_the_last_value_is_read_by_whoever_inherits_the_descriptor(descriptor: int) -> None:
    """Values of any size replace one another, and another reader of the same file sees the newest."""
    writer, reader = Shelf(descriptor), Shelf(os.dup(descriptor))
    for payload in (b"one", b"", b"x" * 300_000, b"four"):
        writer.write(payload)
        assert reader.read() == payload
    os.close(reader._descriptor)


def test_a_new_writer_goes_on_where_the_dead_one_was(descriptor: int) -> None:
    """A writer that knows nothing of the one before it never overwrites the newest value in place."""
    Shelf(descriptor).write(b"first")
    Shelf(descriptor).write(b"second")
    Shelf(descriptor).write(b"third")
    assert Shelf(descriptor).read() == b"third"


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_writer_that_dies_at_any_moment_leaves_the_value_before(descriptor: int, data: st.DataObject) -> None:
    """Whatever part of a write reached the file, a reader sees the old value or the new one, whole."""
    os.ftruncate(descriptor, 0)
    kept = Shelf(descriptor)
    kept.write(b"older" * 40)
    kept.write(b"old" * 50)
    steps: list[tuple[bytes, int]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shelf, "_write_all", lambda _, payload, offset: steps.append((payload, offset)))
        kept.write(b"new" * 60)
    total = sum(len(payload) for payload, _ in steps)
    budget = data.draw(st.integers(0, total))
    for payload, offset in steps:
        os.pwrite(descriptor, payload[:budget], offset)
        budget = max(0, budget - len(payload))
    found = Shelf(descriptor).read()
    assert found in {b"old" * 50, b"new" * 60}


@given(position=st.integers(0, 400), bit=st.integers(0, 7))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_flipped_bit_in_the_newest_slot_brings_the_value_before_it(descriptor: int, position: int, bit: int) -> None:
    """Damage is never handed out as a value."""
    os.ftruncate(descriptor, 0)
    kept = Shelf(descriptor)
    kept.write(b"old" * 100)
    kept.write(b"new" * 100)
    byte = os.pread(descriptor, 1, SLOT_BYTES + position) or b"\0"
    os.pwrite(descriptor, bytes([byte[0] ^ (1 << bit)]), SLOT_BYTES + position)
    found = kept.read()
    assert found in {b"old" * 100, b"new" * 100}
    if position < 4 + 8 + 8 + 4 + 300:
        assert found == b"old" * 100


def test_a_value_that_does_not_fit_is_refused_and_the_old_one_stays(
    descriptor: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slot has an end."""
    monkeypatch.setattr(shelf, "SLOT_BYTES", 1024)
    kept = Shelf(descriptor)
    kept.write(b"fits")
    with pytest.raises(ShelfFullError):
        kept.write(b"x" * 1024)
    assert kept.read() == b"fits"


def test_where_there_is_no_memory_file_an_unlinked_one_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fallback has no name on any disk either."""
    monkeypatch.delattr(os, "memfd_create", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    made = shelf.make("test")
    Shelf(made).write(b"value")
    assert Shelf(made).read() == b"value"
    assert list(tmp_path.iterdir()) == []
    os.close(made)
