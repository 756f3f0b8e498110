"""`flumegate db migrate|status|rotate-keys`: the database's schema, and the master keys of what is sealed in it.

These speak with the database itself, not with a gateway; a running one goes on meanwhile.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from flumegate.cli import operator
from flumegate.cli.operator import REFUSED_EXIT, CommandError
from flumegate.cli.page import print_fields

if TYPE_CHECKING:
    from flumegate.config.load import Loaded
    from flumegate.manage.seal import Ring


def migrate(*, config: Path | None = None, json: bool = False) -> int:
    """Bring the database's schema to the one of this release. A start does the same.

    An SQLite file is copied first, beside itself.

    Args:
        config: Configuration file; without it, what `flumegate serve` would read here.
        json: Print JSON.
    """

    def action() -> None:
        from flumegate.store import migrate as migrations
        from flumegate.store.errors import StoreUnavailable

        try:
            before = migrations.upgrade(database_url(load_config(config)))
        except StoreUnavailable as problem:
            raise CommandError(REFUSED_EXIT, str(problem)) from problem
        _print({"was": before.revision or "empty", "is": before.head, "ran": before.pending}, json=json)

    return operator.run("db migrate", action)


def status(*, config: Path | None = None, json: bool = False) -> int:
    """Say where the database's schema stands; nothing is changed.

    Args:
        config: Configuration file; without it, what `flumegate serve` would read here.
        json: Print JSON.
    """

    def action() -> None:
        from flumegate.store import migrate as migrations
        from flumegate.store.errors import StoreUnavailable

        try:
            found = migrations.status(database_url(load_config(config)))
        except StoreUnavailable as problem:
            raise CommandError(REFUSED_EXIT, str(problem)) from problem
        _print({"is": found.revision or "empty", "wanted": found.head, "pending": found.pending}, json=json)

    return operator.run("db status", action)


def rotate_keys(*, dry_run: bool = False, config: Path | None = None, json: bool = False) -> int:
    """Seal every stored secret anew under the first of encryption.keys, all or none.

    Put a new key before the old one, start the gateway again, run this, then take the old key away.

    Args:
        dry_run: Only say what would be done, and whether every secret opens.
        config: Configuration file; without it, what `flumegate serve` would read here.
        json: Print JSON.
    """

    def action() -> None:
        from flumegate.manage.rotation import RotationError, WrongMasterKeyError, rotate
        from flumegate.processes.first_start import StartRefusedError
        from flumegate.store.database import Database
        from flumegate.store.errors import StoreUnavailable

        loaded = load_config(config)
        try:
            database = Database(database_url(loaded))
            with database.transaction() as connection:
                done = rotate(connection, read_ring(loaded), dry_run=dry_run)
            database.close()
        except (StoreUnavailable, RotationError, WrongMasterKeyError, StartRefusedError) as problem:
            raise CommandError(REFUSED_EXIT, str(problem)) from problem
        _print({"key": done.key, "resealed": done.resealed, "kept": done.kept, "dry_run": dry_run}, json=json)

    return operator.run("db rotate-keys", action)


def load_config(path: Path | None) -> Loaded:
    """Return the configuration.

    Raises:
        CommandError: it is invalid.
    """
    from flumegate.config.load import load
    from flumegate.config.problem import ConfigInvalid

    try:
        return load(path)
    except ConfigInvalid as invalid:
        raise CommandError(REFUSED_EXIT, "; ".join(map(str, invalid.problems))) from invalid


def database_url(loaded: Loaded) -> str:
    """Return the URL of the database."""
    url = loaded.config.database.url
    return url.reveal() if url else f"sqlite:///{loaded.config.server.data_dir / 'flumegate.db'}"


def read_ring(loaded: Loaded) -> Ring:
    """Return the master keys of the installation.

    Raises:
        StartRefusedError: one is weak, others can read it, or it is gone.
    """
    from flumegate.manage.seal import Ring
    from flumegate.processes.first_start import MASTER_NAME, StartRefusedError, master_keys
    from flumegate.processes.kept_state import STATE_NAME

    folder = loaded.config.server.data_dir
    texts = [text for secret in loaded.config.encryption.keys for text in secret.entries()]
    if not texts and not (folder / MASTER_NAME).exists():
        raise StartRefusedError(f"{folder / MASTER_NAME}: is not there")
    return Ring(master_keys(folder, texts, sealed=folder / STATE_NAME))


def _print(told: dict[str, object], *, json: bool) -> None:
    operator.print_json(told) if json else print_fields(told)
