"""What schema a database has: which migration it is at, and whether this release can use it.

A schema is told by its tables as well as by its stamp, so that one that was made by half is refused, not used. A newer
release may have added tables: its database can be used as long as `meta.schema_version` says so, which lets two
releases run side by side while an installation is upgraded.
"""

from __future__ import annotations

from sqlalchemy import Column, Connection, MetaData, Table, Text, inspect, select

from flumegate.store.errors import StoreUnavailable
from flumegate.store.tables import HEAD, SCHEMA_VERSION, key_accounts, meta, metadata

NOTHING = ""
"""The revision of an empty database."""
NEWER = "newer"
"""Stands for all revisions that this release does not know, and can live with."""
FIRST = "0001"
_RECORDS = frozenset({"meta", "requests", "contents"})
TABLES = {FIRST: _RECORDS, "0002": frozenset(metadata.tables) - {key_accounts.name}, HEAD: frozenset(metadata.tables)}
"""The tables of each revision, oldest first."""
stamp = Table("alembic_version", MetaData(), Column("version_num", Text))


def find_revision(connection: Connection, name: str) -> str:
    """Return the revision that the database is at, NOTHING for an empty one and NEWER for an unknown one.

    Raises:
        StoreUnavailable: it was made by half, or by a release that this one cannot work beside.
    """
    present = set(inspect(connection).get_table_names())
    if meta.name in present:
        refuse_newer(connection, name)
    ours = present & TABLES[HEAD]
    revision = _read_stamp(connection, name) if stamp.name in present else FIRST if ours else NOTHING
    if revision in (NOTHING, NEWER):
        return revision
    if ours != TABLES[revision]:
        odd = ", ".join(sorted(ours ^ TABLES[revision]))
        raise StoreUnavailable(
            f"{name} is at migration {revision}, yet its tables are not ({odd}): restore a backup, "
            "or name another database in database.url"
        )
    return revision


def is_stamped(connection: Connection) -> bool:
    """Tell whether migrations know the database; those of older releases are not stamped."""
    return inspect(connection).has_table(stamp.name)


def refuse_newer(connection: Connection, name: str) -> None:
    """Refuse a database that only a newer release can use.

    Raises:
        StoreUnavailable: it is one.
    """
    version = connection.execute(select(meta.c.value).where(meta.c.name == "schema_version")).scalar()
    if version is not None and not (version.isdecimal() and int(version) <= SCHEMA_VERSION):
        raise StoreUnavailable(
            f"{name} has schema {version}, and this release knows {SCHEMA_VERSION} at most: "
            "run the newer release that wrote it, or name another one in database.url"
        )


def _read_stamp(connection: Connection, name: str) -> str:
    revisions = connection.execute(select(stamp.c.version_num)).scalars().all()
    if len(revisions) > 1:
        raise StoreUnavailable(f"{name} is at several migrations at once: restore a backup")
    if not revisions:
        return NOTHING
    return revisions[0] if revisions[0] in TABLES else NEWER
