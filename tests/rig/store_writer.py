"""A process that stores batches of records, one after the other, and says so: one that may be killed at any moment."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flumegate.store.ingest import Ingest
from rig.gateway import plain_environ
from rig.records import make_record

BATCH_RECORDS = 25
_TESTS = Path(__file__).parents[1]
_PROGRAM = "import sys; from rig.store_writer import write; write(sys.argv[1], int(sys.argv[2]))"


def write(url: str, batch: int) -> None:
    """Store batch after batch, beginning with that one; print the number of each once it is committed."""
    ingest = Ingest(url)
    while True:
        first = batch * BATCH_RECORDS
        ingest.insert([make_record(first + number) for number in range(BATCH_RECORDS)])
        print(batch, flush=True)
        batch += 1


@contextmanager
def writing(url: str, batch: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run `write` in a process of its own; it is killed at the end of a `with` block."""
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, url, str(batch)],
        env=plain_environ({"PYTHONPATH": str(_TESTS)}),
        stdout=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()
