"""Row 23: SQLite stays whole however often its one writer is killed, in a checkpoint too; no reader is locked out.

The writer's own word is the oracle: a batch that it called committed is there, and no batch is there in part.
"""

from __future__ import annotations

import contextlib
import random
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import text

from flumegate.store.database import read_only
from flumegate.store.errors import StoreUnavailable
from rig.databases import is_whole
from rig.figures import figure
from rig.store_writer import BATCH_RECORDS, writing

READERS = 4
PAUSE_SECONDS = 0.1
"""Between two looks of one reader: the log can begin anew only while nobody reads in it."""
MOST_BATCHES = 40
"""A life stores half as many batches to so many; a checkpoint comes about every tenth."""


def judge(path: Path) -> tuple[bool, int, bool]:
    """Tell whether the database is whole, how many batches it has, and whether they are all of the first ones."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        count, last = database.execute("SELECT count(*), max(id) FROM requests").fetchone()
    return is_whole(path), count // BATCH_RECORDS, count % BATCH_RECORDS == 0 and last == f"record-{count - 1:08d}"


def salt_of(path: Path) -> int:
    """Return the number in the write-ahead log's header that rises each time the log begins anew."""
    return int.from_bytes(path.with_name(f"{path.name}-wal").read_bytes()[16:20])


@contextlib.contextmanager
def readers(path: Path) -> Iterator[list[str]]:
    """Read again and again; yield what those who read were refused with."""
    stop, refused = threading.Event(), list[str]()

    def read() -> None:
        while not stop.wait(PAUSE_SECONDS):
            try:
                with read_only(path) as connection:
                    connection.execute(text("SELECT max(sequence) FROM requests")).scalar_one()
            except StoreUnavailable as problem:
                refused.append(str(problem))

    with ThreadPoolExecutor(READERS) as pool:
        reading = [pool.submit(read) for _ in range(READERS)]
        try:
            yield refused
        finally:
            stop.set()
        for each in reading:
            each.result()


@pytest.mark.parametrize(
    "kills", [pytest.param(4, id="small"), pytest.param(100, id="stated", marks=pytest.mark.faults)]
)
def test_a_killed_writer_leaves_a_whole_database(tmp_path: Path, kills: int) -> None:
    """SIGKILL at any moment, over and over: whole each time, all that was committed is there, and nothing in part."""
    path, dice = tmp_path / "flumegate.db", random.Random(23)
    with writing(f"sqlite:///{path}", 0) as writer:
        assert writer.stdout
        assert writer.stdout.readline() == b"0\n"
    damaged, lost, torn, batches = 0, 0, 0, judge(path)[1]
    salt = salt_of(path)
    with readers(path) as refused:
        for _ in range(kills):
            with writing(f"sqlite:///{path}", batches) as writer:
                assert writer.stdout
                for _ in range(dice.randint(MOST_BATCHES // 2, MOST_BATCHES)):
                    said = int(writer.stdout.readline())
                time.sleep(dice.uniform(0, 0.02))  # not to wait for something: the moment of the kill
                writer.kill()
                said = max([said, *map(int, writer.stdout.read().split())])
                writer.wait()
            whole, batches, complete = judge(path)
            damaged, lost, torn = damaged + (not whole), lost + max(0, said + 1 - batches), torn + (not complete)
        begun = (salt_of(path) - salt) % 2**32
    figure(23, f"kills: {kills}, log begun anew {begun} times: not whole afterwards: {damaged} (0)")
    figure(23, f"batches lost: {lost}, in part: {torn} (0); readers refused: {len(refused)} (0)")
    assert (damaged, lost, torn, refused) == (0, 0, 0, [])
    assert begun >= kills // 4
