from __future__ import annotations

import time

from sqlalchemy import text

from flumegate.store.database import read_only
from flumegate.store.ingest import Ingest
from flumegate.store.retention import SECONDS_PER_DAY, delete_older_than
from rig.records import make_content, make_record


def _counts(url: str) -> tuple[int, int]:
    with read_only(url) as connection:
        rows = connection.execute(text("SELECT count(*) FROM requests")).scalar_one()
        bodies = connection.execute(text("SELECT count(*) FROM contents")).scalar_one()
    return rows, bodies


def test_old_rows_go_and_young_ones_stay(url: str) -> None:
    """What is older than the limit goes with its contents, in batches of any size; a row of exactly that age stays."""
    ingest = Ingest(url)
    now = time.time()
    ages = [SECONDS_PER_DAY * days for days in range(10)]
    ingest.insert(
        [make_record(number, started_at=now - age) for number, age in enumerate(ages)],
        [make_content(number) for number in range(10)],
    )
    assert delete_older_than(ingest.database, days=4, now=now, batch_rows=2) == 5
    assert _counts(url) == (5, 5)
    assert delete_older_than(ingest.database, days=4, now=now) == 0
    ingest.close()


def test_contents_without_a_record_go_too(url: str) -> None:
    """Contents whose record was lost do not stay for ever."""
    ingest = Ingest(url)
    ingest.insert([], [make_content(number) for number in range(5)])
    delete_older_than(ingest.database, days=1, now=time.time(), batch_rows=2)
    assert _counts(url) == (0, 5)
    delete_older_than(ingest.database, days=1, now=time.time() + 2 * SECONDS_PER_DAY, batch_rows=2)
    assert _counts(url) == (0, 0)
    ingest.close()


def test_numbers_of_deleted_rows_are_not_given_again(url: str) -> None:
    """A reader that follows by number misses nothing after everything was deleted."""
    ingest = Ingest(url)
    ingest.insert([make_record(number, started_at=0.0) for number in range(5)])
    delete_older_than(ingest.database, days=1, now=time.time())
    ingest.insert([make_record(9)])
    with read_only(url) as connection:
        assert connection.execute(text("SELECT min(sequence) FROM requests")).scalar_one() > 5
    ingest.close()
