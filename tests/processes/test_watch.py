from __future__ import annotations

import os
from pathlib import Path

from flumegate.processes.watch import Watch


def write(path: Path, text: str, time_ns: int) -> None:
    """Write with a time of our own: two edits within one tick of the file system's clock must still differ."""
    path.write_text(text)
    os.utime(path, ns=(time_ns, time_ns))


def test_nothing_changed_is_no_change(tmp_path: Path) -> None:
    """Polling alone reports nothing."""
    write(tmp_path / "a", "x", 1)
    watch = Watch([tmp_path / "a", tmp_path / "missing"])
    assert [watch.poll() for _ in range(3)] == [False, False, False]


def test_a_change_counts_once_the_file_is_at_rest(tmp_path: Path) -> None:
    """A file that is still being written is left alone; one poll later it counts, until it is noted as loaded."""
    path = tmp_path / "a"
    write(path, "x", 1)
    watch = Watch([path])
    write(path, "xy", 2)
    assert not watch.poll()
    write(path, "xyz", 3)
    assert not watch.poll()
    assert watch.poll()
    watch.loaded(watch.look())
    assert not watch.poll()


def test_replacement_by_rename_deletion_and_return_are_changes(tmp_path: Path) -> None:
    """Editors and secret stores replace files instead of writing them."""
    path = tmp_path / "a"
    write(path, "x", 1)
    watch = Watch([path])
    write(tmp_path / "b", "x", 1)
    (tmp_path / "b").replace(path)
    assert [watch.poll(), watch.poll()] == [False, True]
    watch.loaded(watch.look())
    path.unlink()
    assert [watch.poll(), watch.poll()] == [False, True]
    watch.loaded(watch.look())
    write(path, "x", 1)
    assert [watch.poll(), watch.poll()] == [False, True]


def test_what_changes_while_it_is_loaded_is_loaded_again(tmp_path: Path) -> None:
    """The look is taken before the load; a later change is not lost."""
    path = tmp_path / "a"
    write(path, "x", 1)
    watch = Watch([path])
    write(path, "xy", 2)
    look = watch.look()
    write(path, "xyz", 3)
    watch.loaded(look)
    assert [watch.poll(), watch.poll()] == [False, True]


def test_a_new_list_of_files_is_watched_from_then_on(tmp_path: Path) -> None:
    """A reload may name other secret files."""
    for name in ("a", "b"):
        write(tmp_path / name, "x", 1)
    watch = Watch([tmp_path / "a"])
    watch.loaded(watch.look(), [tmp_path / "a", tmp_path / "b"])
    assert [watch.poll(), watch.poll()] == [False, False]
    write(tmp_path / "b", "xy", 2)
    assert [watch.poll(), watch.poll()] == [False, True]
