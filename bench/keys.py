"""A data folder with a hundred thousand client keys in its database, made once a run by the product's own code.

Every key belongs to one of a hundred projects and has limits; the one that is asked with has a budget, too. None of
that is ever reached: what is measured is the looking, not the refusing.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from bench import question

from flumegate.manage import mint
from flumegate.processes import first_start
from flumegate.records.access import Budget, Limits
from flumegate.store import budgets, keys, projects
from flumegate.store.database import Database
from flumegate.store.keys import StoredKey
from flumegate.store.projects import StoredProject

COUNT = 100_000
SECTIONS: dict[str, object] = {
    # A free port: a gateway that runs beside the bench has the usual one.
    "console": {"listen": "127.0.0.1:0"},
    "prices": {question.MODEL: {"input": 0.15, "output": 0.6}},
}
"""What the configuration says beside: where keys are managed, and the price without which no budget can be held."""
_PROJECTS = 100
_ROWS_AT_ONCE = 5_000
_PLENTY = 10**12
_LIMITS = Limits(requests_per_minute=10**9, tokens_per_minute=_PLENTY, concurrency=10**6)


def lend(folder: Path, *, kept: Path) -> str:
    """Make a data folder with all the keys and return the text of the one to ask with.

    Args:
        folder: which must not exist yet.
        kept: where the first one is kept, of which all are copies.
    """
    text = kept / "asked"
    if not text.exists():
        text.write_text(_fill(kept / "data"))
    shutil.copytree(kept / "data", folder)
    return text.read_text()


def _fill(folder: Path) -> str:
    """Make the first folder; return the text of the last key that was made."""
    first_start.open_folder(folder)
    pepper, now = first_start.pepper(folder), time.time()
    teams = [mint.make_id() for _ in range(_PROJECTS)]
    minted = [mint.mint(mint.KEY) for _ in range(COUNT)]
    rows = [
        StoredKey(
            each.id,
            mint.digest_of(pepper, each.text),
            project=teams[number % _PROJECTS],
            name=f"bench {number}",
            limits=_LIMITS,
            created_at=now,
        )
        for number, each in enumerate(minted)
    ]
    database = Database(f"sqlite:///{folder / 'flumegate.db'}")
    try:
        with database.transaction() as connection:
            for number, team in enumerate(teams):
                projects.insert(connection, StoredProject(team, f"team {number}", created_at=now, updated_at=now))
            for begin in range(0, COUNT, _ROWS_AT_ONCE):
                keys.insert_many(connection, rows[begin : begin + _ROWS_AT_ONCE])
            budgets.insert(connection, Budget(f"key:{minted[-1].id}", "day", _PLENTY), now)
    finally:
        database.close()
    return minted[-1].text
