"""The audit trail: what was done and what was refused stands there, and nobody edits it unseen; on either database."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, text

from flumegate.manage import audit, keys, projects
from flumegate.manage.audit import Filters
from flumegate.manage.keys import NewKey
from flumegate.manage.projects import NewProject
from flumegate.store.errors import StoreUnavailable
from rig.desk import Bench, actor

OWNER = actor()


def fill(desk: Bench, count: int = 5) -> list[str]:
    """Return ids of keys whose making stands in the trail."""
    return [keys.create(desk, OWNER, NewKey(name=f"k{number}")).key.id for number in range(count)]


def edit(desk: Bench, *statements: str) -> None:
    """Change the trail as somebody would who has the database, its triggers gone."""
    with desk.database.transaction() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("DROP TRIGGER IF EXISTS audit_insert_only ON audit"))
        else:
            names = connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).scalars().all()
            for name in names:
                connection.execute(text(f"DROP TRIGGER {name}"))
        for statement in statements:
            connection.execute(text(statement))


def test_a_trail_that_nobody_touched_is_whole(desk: Bench) -> None:
    made = fill(desk)
    assert audit.verify(desk) == audit.Verdict(len(made), None)


@pytest.mark.parametrize(
    ("statements", "says"),
    [
        (["UPDATE audit SET actor = 'somebody' WHERE sequence = 2"], "entry 2 was changed"),
        (["UPDATE audit SET details = '{}' WHERE sequence = 5"], "entry 5 was changed"),
        (["DELETE FROM audit WHERE sequence = 3"], "entry 3 is missing"),
        (["DELETE FROM audit WHERE sequence = 1"], "entry 1 is missing"),
        (
            [
                "UPDATE audit SET sequence = 99 WHERE sequence = 2",
                "UPDATE audit SET sequence = 2 WHERE sequence = 3",
                "UPDATE audit SET sequence = 3 WHERE sequence = 99",
            ],
            "entry 2 was changed",
        ),
        (["DELETE FROM audit WHERE sequence > 3"], "entries up to 5 were written, and the trail ends at 3"),
        (["DELETE FROM audit"], "entries up to 5 were written, and the trail ends at 0"),
        (["UPDATE audit SET mac = hash WHERE sequence = 4"], "entry 4 was not written with this installation's key"),
    ],
    ids=["edited", "edited at the end", "deleted", "beginning cut", "reordered", "end cut", "emptied", "forged"],
)
def test_every_touch_is_told(desk: Bench, statements: list[str], says: str) -> None:
    fill(desk)
    edit(desk, *statements)
    assert audit.verify(desk).fault == says


@pytest.mark.parametrize("kept", [0, 3, 4])
@pytest.mark.parametrize("restarted", [False, True], ids=["running", "restarted"])
def test_later_entries_do_not_hide_that_the_end_was_cut(
    desk: Bench, capfd: pytest.CaptureFixture[str], *, restarted: bool, kept: int
) -> None:
    """Nor that an older copy was put back: the entry that was noted is missed for ever, and each change says so."""
    fill(desk)
    edit(desk, f"DELETE FROM audit WHERE sequence > {kept}")  # noqa: S608 - a number of ours
    at_work = desk.restarted() if restarted else desk
    while (after := audit.verify(desk)).entries < 5:
        assert after.fault == f"entries up to 5 were written, and the trail ends at {after.entries}"
        fill(at_work, 1)
    told = "entry 5 is not the one that was noted: the trail was cut, or is from an older copy"
    assert after.fault == told
    capfd.readouterr()
    fill(at_work, 3)
    assert audit.verify(desk) == audit.Verdict(8, told)
    assert capfd.readouterr().err.count("audit_trail_broken") == 3


@pytest.mark.parametrize("restarted", [False, True], ids=["running", "restarted"])
def test_entries_that_were_not_noted_are_no_fault(desk: Bench, *, restarted: bool) -> None:
    """A process was killed between an entry and its note: the next change notes what is the end then."""
    assert desk.head is not None
    fill(desk, 2)
    noted = desk.head.read_bytes()
    fill(desk, 3)
    desk.head.write_bytes(noted)
    fill(desk.restarted() if restarted else desk, 1)
    assert audit.verify(desk) == audit.Verdict(6, None)
    edit(desk, "DELETE FROM audit WHERE sequence > 5")
    assert audit.verify(desk).fault == "entries up to 6 were written, and the trail ends at 5"


def test_an_operator_accepts_a_trail_by_taking_the_note_away(desk: Bench) -> None:
    """A copy that they put back themselves: the next change notes the end anew."""
    assert desk.head is not None
    fill(desk)
    edit(desk, "DELETE FROM audit WHERE sequence > 3")
    fill(desk, 4)
    desk.head.rename(desk.head.with_suffix(".before"))
    assert audit.verify(desk) == audit.Verdict(7, None)
    fill(desk, 1)
    edit(desk, "DELETE FROM audit WHERE sequence > 7")
    assert audit.verify(desk).fault == "entries up to 8 were written, and the trail ends at 7"


def test_of_changes_that_come_at_once_the_last_is_noted(desk: Bench) -> None:
    threads = [threading.Thread(target=fill, args=(desk, 2)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert audit.verify(desk) == audit.Verdict(8, None)
    edit(desk, "DELETE FROM audit WHERE sequence > 7")
    assert audit.verify(desk).fault == "entries up to 8 were written, and the trail ends at 7"


def test_the_database_itself_refuses_to_change_it(desk: Bench) -> None:
    fill(desk)
    for statement in ("UPDATE audit SET actor = 'x'", "DELETE FROM audit"):
        with pytest.raises(Exception, match="never changed"), desk.database.transaction() as connection:
            connection.execute(text(statement))
    assert audit.verify(desk).fault is None


def test_what_cannot_be_audited_is_not_done(desk: Bench) -> None:
    """Fail closed: without its entry there is no change."""
    fill(desk, 1)
    edit(desk, "ALTER TABLE audit RENAME COLUMN mac TO gone")
    with pytest.raises(StoreUnavailable):
        projects.create(desk, OWNER, NewProject("team"))
    edit(desk, "ALTER TABLE audit RENAME COLUMN gone TO mac")
    assert projects.page(desk, limit=10) == ([], None)
    assert desk.pushed == 1


def test_an_entry_says_who_what_and_from_where(desk: Bench) -> None:
    who = actor()._replace(
        name="token:abc", correlation_id="flow", client="10.0.0.9", method="POST", endpoint="/e", user_agent="curl"
    )
    made = projects.create(desk, who, NewProject("team"))
    (stored,), _ = audit.search(desk, Filters())
    entry = stored.entry
    assert (entry.at, entry.actor, entry.action, entry.outcome) == (
        desk.time.now,
        "token:abc",
        "project.create",
        "success",
    )
    assert (entry.target, entry.project, entry.request_id, entry.client) == (
        made.project.id,
        made.project.id,
        "r-1",
        "10.0.0.9",
    )
    assert entry.details["correlation_id"] == "flow"
    assert entry.details["user_agent"] == "curl"


FILTERS: list[tuple[Filters, Callable[[dict[str, Any]], bool]]] = [
    (Filters(action="key.revoke"), lambda row: row["action"] == "key.revoke"),
    (Filters(actor="nobody"), lambda _: False),
    (Filters(text="K2"), lambda row: "k2" in json.dumps(row).lower()),
    (Filters(since=2e9), lambda _: False),
    (Filters(until=2e9), lambda _: True),
]


@pytest.mark.parametrize(("filters", "fits"), FILTERS)
def test_entries_are_found_page_by_page(desk: Bench, filters: Filters, fits: Callable[[dict[str, Any]], bool]) -> None:
    """Newest first, each once."""
    for key_id in fill(desk):
        keys.revoke(desk, OWNER, key_id)
    every = [json.loads(line) for line in audit.export(desk)]
    wanted = [row["sequence"] for row in reversed(every) if fits(row)]
    found: list[int] = []
    before = None
    while True:
        some, before = audit.search(desk, filters, before=before, limit=2)
        found += [stored.sequence for stored in some]
        if before is None:
            break
    assert found == wanted


def test_the_trail_can_be_taken_away(desk: Bench) -> None:
    """As JSON lines, with what proves each entry; the next export goes on where the last one ended."""
    fill(desk)
    lines = [json.loads(line) for line in audit.export(desk, limit=3)]
    assert [row["sequence"] for row in lines] == [1, 2, 3]
    assert lines[1]["previous"] == lines[0]["hash"]
    rest = [json.loads(line) for line in audit.export(desk, after=3)]
    assert [row["sequence"] for row in rest] == [4, 5]


def test_its_key_does_not_stand_in_the_database(desk: Bench) -> None:
    """Whoever has all of it makes no entry that verifies."""
    fill(desk, 1)
    with desk.database.transaction() as connection:
        key = audit.key_of(connection, desk.ring(connection))
        assert key not in _dump(connection)
        assert key.hex().encode() not in _dump(connection)


def _dump(connection: Connection) -> bytes:
    return repr(connection.execute(text("SELECT * FROM meta")).all()).encode()


def test_a_head_that_cannot_be_read_is_none(desk: Bench) -> None:
    assert desk.head is not None
    assert audit.read_head(desk.head) is None
    desk.head.write_bytes(b"{")
    assert audit.read_head(desk.head) is None
