"""The master keys of an installation against its database: which installation it is, the canary, sealing rows anew.

The canary is a value that everybody knows, sealed: a ring that cannot open it is not the ring of this database, and
must not seal anything into it. Rotation is one transaction over every sealed row, so that at no moment two halves of a
database need two keys.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, Table, select, update

from flumegate.manage.audit import KEY_PLACE
from flumegate.manage.seal import Place, Ring, UnsealError
from flumegate.store.tables import meta, project_credentials, provider_credentials

INSTALLATION = "installation"
CANARY = "seal_probe"
_CANARY_PLACE = Place("meta", CANARY, "value")
_CANARY_TEXT = b"flumegate"
PEPPER = "pepper"
_PEPPER_PLACE = Place("meta", PEPPER, "value")
SEALED: dict[Table, tuple[str, ...]] = {
    project_credentials: ("project", "provider"),
    provider_credentials: ("provider",),
}
"""The tables with a column `sealed`, and what makes a row's name, in that order. Answers that are kept for a repeated
request are sealed, too, but not for long: they go with the old key."""


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


def share_pepper(connection: Connection, ring: Ring, own: bytes) -> bytes:
    """Return the secret that keys are hashed with on every machine of the installation; the first one gives its own.

    Raises:
        UnsealError: it does not open, though the canary did.
    """
    sealed = connection.execute(select(meta.c.value).where(meta.c.name == PEPPER)).scalar()
    if sealed is not None:
        return ring.unseal(bytes.fromhex(sealed), _PEPPER_PLACE)
    connection.execute(meta.insert().values(name=PEPPER, value=ring.seal(own, _PEPPER_PLACE).hex()))
    return own


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


class _Sealed(NamedTuple):
    place: Place
    sealed: bytes
    replace: Callable[[bytes], None]
    """Writes another value in its place."""


def unreadable(connection: Connection, ring: Ring) -> list[Broken]:
    """Return every sealed value that does not open."""
    broken = []
    for each in _all_sealed(connection):
        try:
            ring.unseal(each.sealed, each.place)
        except UnsealError as problem:
            broken.append(Broken(each.place.table, each.place.row, str(problem)))
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
    for each in list(_all_sealed(connection)):
        if ring.seals_with(each.sealed):
            kept += 1
            continue
        resealed += 1
        if not dry_run:
            each.replace(ring.seal(ring.unseal(each.sealed, each.place), each.place))
    if not dry_run:
        connection.execute(update(meta).where(meta.c.name == CANARY).values(value=_sealed_canary(ring)))
    return Rotated(ring.write_id, resealed, kept)


def _sealed_canary(ring: Ring) -> str:
    return ring.seal(_CANARY_TEXT, _CANARY_PLACE).hex()


def _all_sealed(connection: Connection) -> Iterator[_Sealed]:
    for table, names in SEALED.items():
        for row in connection.execute(select(*(table.c[name] for name in names), table.c.sealed)):
            *parts, sealed = row
            where = [table.c[name] == part for name, part in zip(names, parts, strict=True)]

            def replace(fresh: bytes, table: Table = table, where: list[ColumnElement[bool]] = where) -> None:
                connection.execute(update(table).where(*where).values(sealed=fresh))

            # The library's names are a kind of text of their own.
            yield _Sealed(Place(str(table.name), "/".join(parts), "sealed"), bytes(sealed), replace)
    for place in (KEY_PLACE, _PEPPER_PLACE):
        value = connection.execute(select(meta.c.value).where(meta.c.name == place.row)).scalar()
        if value is not None:

            def write(fresh: bytes, name: str = place.row) -> None:
                connection.execute(update(meta).where(meta.c.name == name).values(value=fresh.hex()))

            yield _Sealed(place, bytes.fromhex(value), write)
