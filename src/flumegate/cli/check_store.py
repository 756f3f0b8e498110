"""What `flumegate doctor` finds out about what is stored: database, spool, secrets, keys, audit trail."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Connection, func, select

from flumegate.cli.checkup import Check, failed, ok, skipped, warning
from flumegate.cli.storage import database_url, read_ring
from flumegate.config.load import Loaded
from flumegate.keytable import DamagedTableError, KeyTable
from flumegate.manage.audit import HEAD_NAME, holds, read_head
from flumegate.manage.rotation import CANARY, WrongMasterKeyError, check_canary, installation_of, unreadable
from flumegate.processes.first_start import StartRefusedError
from flumegate.store import audit as audits
from flumegate.store import migrate
from flumegate.store.database import read_only
from flumegate.store.errors import QueryTooSlow, StoreUnavailable
from flumegate.store.tables import meta, requests

_MUCH_SPOOL = 64 << 20
_SKEW_SECONDS = 60.0


def check_store(loaded: Loaded) -> Iterator[Check]:
    """Yield what is found."""
    folder = loaded.config.server.data_dir
    url = database_url(loaded)
    yield _check_spool(folder / "spool", loaded.config.records.spool_max_bytes)
    yield _check_key_tables(folder / "run")
    try:
        standing = migrate.status(url)
    except StoreUnavailable as problem:
        yield failed("database", str(problem), "see docs/failure-policy.md; the gateway serves known keys meanwhile")
        return
    if not standing.revision:
        yield skipped("database", "there is none yet: the first start makes it")
        return
    yield ok("database", f"schema {standing.revision}, this release wants {standing.head}")
    yield _check_migrations(standing)
    if standing.pending:
        return
    try:
        # As the commands that read records do, at the path itself where it is a file.
        with read_only(url) as connection:
            yield from _check_rows(connection, loaded, folder)
    except (StoreUnavailable, QueryTooSlow) as problem:
        yield failed("database reads", str(problem), "see whether another program has it locked")


def _check_migrations(standing: migrate.Status) -> Check:
    if standing.pending:
        return warning("migrations", f"{', '.join(standing.pending)} to run", "flumegate db migrate, or start it")
    return ok("migrations", "all have run")


def _check_rows(connection: Connection, loaded: Loaded, folder: Path) -> Iterator[Check]:
    newest = connection.execute(select(func.max(requests.c.started_at))).scalar()
    ahead = (newest or 0.0) - time.time()
    if ahead > _SKEW_SECONDS:
        yield warning("clock", f"the newest record is {ahead:.0f} s in the future", "let NTP set this machine's clock")
    else:
        yield ok("clock", "no record is in the future")
    yield from _check_master_key(connection, loaded)
    yield _check_head(connection, folder / HEAD_NAME)


def _check_master_key(connection: Connection, loaded: Loaded) -> Iterator[Check]:
    canary = connection.execute(select(meta.c.value).where(meta.c.name == CANARY)).scalar()
    installation = installation_of(connection)
    if canary is None or not installation:
        yield skipped("master key", "nothing was sealed yet")
        return
    try:
        ring = read_ring(loaded).of(installation)
        check_canary(ring, canary)
    except (WrongMasterKeyError, StartRefusedError) as problem:
        yield failed("master key", str(problem), "give the right one back: without it stored credentials are lost")
        return
    yield ok("master key", f"{ring.write_id} seals, {len(ring.ids)} open")
    broken = unreadable(connection, ring)
    if broken:
        rows = ", ".join(each.row for each in broken[:5])
        yield failed(
            "stored secrets", f"{len(broken)} do not open: {rows}", "add their master key, or store them again"
        )
    else:
        yield ok("stored secrets", "all open")


def _check_head(connection: Connection, path: Path) -> Check:
    name = "audit trail"
    last, head = audits.last(connection), read_head(path)
    if head is None:
        return skipped(name, "nothing was done yet" if last is None else "no newest entry is noted on this machine")
    if last is None or not holds(connection, head):
        found = f"entry {head.sequence} was written, and is not there as it was"
        return failed(name, found, "flumegate audit verify; the trail was cut, or is an older copy: docs/security.md")
    return ok(name, f"{last.sequence} entries; flumegate audit verify proves them")


def _check_spool(folder: Path, most: int) -> Check:
    name = "spool"
    size = sum(each.stat().st_size for each in folder.glob("*") if each.is_file()) if folder.is_dir() else 0
    found = f"{size >> 10:,} KiB wait to be stored"
    if size > min(_MUCH_SPOOL, most // 2):
        return warning(name, found, "see in the log why the database does not take them; then they are stored")
    return ok(name, found)


def _check_key_tables(folder: Path) -> Check:
    name = "key table"
    tables = sorted(folder.glob("keys-*.tbl"), key=lambda path: path.stat().st_mtime) if folder.is_dir() else []
    if not tables:
        return skipped(name, "no keys were made yet")
    try:
        return ok(name, f"{KeyTable(tables[-1]).count:,} keys")
    except (OSError, DamagedTableError) as problem:
        return failed(name, str(problem), "start the gateway again: it writes the table anew from the database")
