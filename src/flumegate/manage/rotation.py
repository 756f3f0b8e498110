"""The master keys of an installation against its database: which installation it is, the canary, sealing rows anew.

The canary is a value that everybody knows, sealed: a ring that cannot open it is not the ring of this database, and
must not seal anything into it. Rotation is one transaction over every sealed row, so that at no moment two halves of a
database need two keys.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import NamedTuple

from sqlalchemy import Connection, Table, select, update

from flumegate.manage.seal import Place, Ring, UnsealError
from flumegate.store.tables import meta, project_credentials, provider_credentials

INSTALLATION = "installation"
CANARY = "seal_probe"
_CANARY_PLACE = Place("meta", CANARY, "value")
_CANARY_TEXT = b"flumegate"
SEALED: dict[Table, tuple[str, ...]] = {
    project_credentials: ("project", "provider"),
    provider_credentials: ("provider",),
}
"""The tables with a column `sealed`, and what makes a row's name, in that order."""


class WrongMasterKeyError(Exception):
    """The master keys at hand are not those of this database. The message says which it wants, and what to do."""


class RotationError(Exception):
    """Some rows do not open, so none was sealed anew."""

    def __init__(self, broken: list[Broken]) -> None:
        rows = "; ".join(f"{each.table} {each.row}: {each.reason}" for each in broken)
        super().__init__(
            f"{len(broken)} sealed values do not open, and nothing was changed ({rows}). "
            "Add the master key that sealed them to encryption.keys, or store those credentials again."
        )
        self.broken = broken


class Broken(NamedTuple):
    """A sealed value that does not open."""

    table: str
    row: str
    reason: str


class Rotated(NamedTuple):
    """What a rotation did, or would do."""

    key: str
    """The id of the master key that seals now."""
    resealed: int
    """Values that had been sealed under another key."""
    kept: int
    """Values that were sealed under this key already."""


def installation_of(connection: Connection) -> str:
    """Return the id of the installation that a database belongs to; empty where it has none yet."""
    return connection.execute(select(meta.c.value).where(meta.c.name == INSTALLATION)).scalar() or ""


def claim(connection: Connection, ring: Ring) -> Ring:
    """Return the ring of this database's installation; a database that has none becomes one.

    Raises:
        WrongMasterKeyError: the canary does not open.
    """
    installation = installation_of(connection)
    if not installation:
        installation = secrets.token_hex(8)
        connection.execute(meta.insert().values(name=INSTALLATION, value=installation))
    bound = ring.of(installation)
    canary = connection.execute(select(meta.c.value).where(meta.c.name == CANARY)).scalar()
    if canary is None:
        connection.execute(meta.insert().values(name=CANARY, value=_sealed_canary(bound)))
        return bound
    check_canary(bound, canary)
    return bound


def check_canary(ring: Ring, canary: str) -> None:
    """Make sure that a ring belongs to the database that this canary comes from.

    Raises:
        WrongMasterKeyError: it does not.
    """
    try:
        opened = ring.unseal(bytes.fromhex(canary), _CANARY_PLACE)
    except ValueError as problem:
        raise WrongMasterKeyError(
            f"the master key is not the one that the database's secrets were sealed under: {problem}. "
            "Give the right one back, as master.key in the data folder or in encryption.keys; "
            "without it the credentials in this database are lost"
        ) from problem
    if opened != _CANARY_TEXT:
        raise WrongMasterKeyError("the database's canary holds something else: restore a backup")


def unreadable(connection: Connection, ring: Ring) -> list[Broken]:
    """Return every sealed value that does not open."""
    broken = []
    for table, row, sealed in _sealed_rows(connection):
        try:
            ring.unseal(sealed, _place(table, row))
        except UnsealError as problem:
            broken.append(Broken(str(table.name), row, str(problem)))
    return broken


def rotate(connection: Connection, ring: Ring, *, dry_run: bool = False) -> Rotated:
    """Seal every value anew under the ring's first key, within the caller's transaction.

    Args:
        connection: in a transaction, which is to be rolled back when this raises.
        ring: of this installation, with the old keys among its keys.
        dry_run: only find out what would be done.

    Raises:
        WrongMasterKeyError: the ring is not that of this database.
        RotationError: a value does not open.
    """
    ring = claim(connection, ring)
    broken = unreadable(connection, ring)
    if broken:
        raise RotationError(broken)
    resealed = kept = 0
    for table, row, sealed in list(_sealed_rows(connection)):
        if ring.seals_with(sealed):
            kept += 1
            continue
        resealed += 1
        if not dry_run:
            place = _place(table, row)
            fresh = ring.seal(ring.unseal(sealed, place), place)
            names = dict(zip(SEALED[table], _parts(table, row), strict=True))
            connection.execute(
                update(table).where(*(table.c[name] == value for name, value in names.items())).values(sealed=fresh)
            )
    if not dry_run:
        connection.execute(update(meta).where(meta.c.name == CANARY).values(value=_sealed_canary(ring)))
    return Rotated(ring.write_id, resealed, kept)


def _sealed_canary(ring: Ring) -> str:
    return ring.seal(_CANARY_TEXT, _CANARY_PLACE).hex()


def _place(table: Table, row: str) -> Place:
    # The library's names are a kind of text of their own.
    return Place(str(table.name), row, "sealed")


def _sealed_rows(connection: Connection) -> Iterator[tuple[Table, str, bytes]]:
    for table, names in SEALED.items():
        for row in connection.execute(select(*(table.c[name] for name in names), table.c.sealed)):
            yield table, "/".join(row[:-1]), bytes(row[-1])


def _parts(table: Table, row: str) -> list[str]:
    # A project's id is a UUID: only the provider's name may hold further slashes.
    return row.split("/", len(SEALED[table]) - 1)
