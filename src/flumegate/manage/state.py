"""What the database adds to the configuration: keys, projects, their credentials, budgets; read in bulk, and merged.

The file owns what it names: a provider with a key in the file keeps that one, a key of the file is found before any of
the database. A credential is used for the host that it was stored for, and for no other: whoever points a provider
somewhere else has to store it anew. What workers need of a hundred thousand keys stands in the key table, so that the
Snapshot stays small.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from flumegate.keytable import DIGEST_BYTES
from flumegate.manage.seal import Credential, Place, Ring, UnsealError, unseal_credential
from flumegate.records.access import NO_LIMITS, Budget, Key, Project
from flumegate.snapshot import Provider, Snapshot

if TYPE_CHECKING:
    from sqlalchemy import Connection

KEPT = Place("state.sealed", "", "state")
"""What the state is bound to where it is kept outside of the database."""
CLOCKS_SECONDS = 300.0
"""How much the clocks of machines that share a database may differ, a long transaction included."""
MOST_WITHDRAWN = 10_000
"""Of revoked keys that are told ahead of the table."""
CURRENT, STALE, EXPIRED = "current", "stale", "expired"


class DatabaseState(msgspec.Struct, frozen=True):
    """The database as workers are to know it."""

    changes: int
    """Of the counter that rises with every change."""
    as_of: float
    """When it was read, or was last seen to be unchanged: Unix time."""
    installation: str
    pepper: bytes = b""
    """What keys are hashed with on every machine of the installation."""
    keys: list[tuple[bytes, Key]] = []
    """By digest; empty once they stand in the key table."""
    accounts: dict[str, str] = {}
    """Of keys that count on another key's, by id."""
    key_count: int = 0
    """Of those that work."""
    key_table: str = ""
    """Path of the table; empty where there are no keys."""
    revoked: list[str] = []
    """Ids of keys that are revoked, whatever the key table says: it is older."""
    projects: dict[str, Project] = {}
    credentials: dict[str, Credential] = {}
    """Of the installation, by provider."""
    project_credentials: dict[str, dict[str, Credential]] = {}
    """By project and provider."""
    model_budgets: dict[str, tuple[Budget, ...]] = {}
    limited: str = ""
    """Whose limit or budget needs one count over all workers; empty = nobody's."""
    metered: list[str] = []
    """Scopes with a budget or a count for life: whose use is asked for."""
    unreadable: list[str] = []
    """What cannot be used: credentials that do not open, digests that are none; `table row: reason`."""

    def __repr__(self) -> str:
        return f"DatabaseState(changes={self.changes}, {self.key_count} keys)"  # never a secret: tracebacks show this


def load_state(connection: Connection, ring: Ring, now: float) -> DatabaseState:
    """Read everything that workers are to know.

    Args:
        connection: reads one state of the database.
        ring: of this installation.
        now: Unix time.
    """
    # Here, and not above: a start without a database has no use for its library.
    from flumegate.store.accounts import all_accounts  # noqa: PLC0415
    from flumegate.store.budgets import all_budgets  # noqa: PLC0415
    from flumegate.store.changes import count_changes  # noqa: PLC0415
    from flumegate.store.keys import all_known  # noqa: PLC0415
    from flumegate.store.projects import all_projects  # noqa: PLC0415

    changes = count_changes(connection)
    budgets: dict[str, tuple[Budget, ...]] = {}
    for stored in all_budgets(connection):
        budget = msgspec.structs.replace(stored.budget, since=int(stored.created_at * 1000))
        budgets[budget.scope] = (*budgets.get(budget.scope, ()), budget)
    unreadable: list[str] = []
    accounts = all_accounts(connection)
    keys = _with_budgets(all_known(connection, now), accounts, budgets, unreadable.append)
    projects = {
        project.id: msgspec.structs.replace(project, budgets=budgets.get(f"project:{project.id}", ()))
        for project in all_projects(connection)
    }
    own, of_projects = _credentials(connection, ring, unreadable.append)
    return DatabaseState(
        changes=changes,
        as_of=now,
        installation=ring.installation,
        keys=keys,
        accounts=accounts,
        key_count=sum(key.state == "active" for _, key in keys),
        projects=projects,
        credentials=own,
        project_credentials=of_projects,
        model_budgets={scope: found for scope, found in budgets.items() if _is_of_model(scope)},
        metered=_metered(keys, projects.values(), budgets),
        limited=_limited(keys, projects.values(), budgets),
        unreadable=unreadable,
    )


def withdraw(connection: Connection, known: DatabaseState) -> DatabaseState:
    """Return what is known, less keys and projects that were revoked since: so much is read in a moment.

    Reading all of many keys takes longer than a revocation may take. `changes` stays: the rest has yet to be read.
    """
    from flumegate.store.keys import revoked_since  # noqa: PLC0415 - see load_state
    from flumegate.store.projects import all_projects  # noqa: PLC0415

    revoked = revoked_since(connection, known.as_of - CLOCKS_SECONDS, MOST_WITHDRAWN)
    active = {project.id for project in all_projects(connection) if project.active}
    projects = {
        name: project if name in active else msgspec.structs.replace(project, active=False)
        for name, project in known.projects.items()
    }
    return msgspec.structs.replace(known, revoked=revoked, projects=projects)


def overlay(snapshot: Snapshot, state: DatabaseState | None, keys_are: str) -> Snapshot:
    """Return a Snapshot of the configuration with what the database adds; None = nothing was ever read of it."""
    if state is None:
        return msgspec.structs.replace(snapshot, keys_are=keys_are)
    hosts = {name: provider.host for name, provider in snapshot.providers.items()}
    return msgspec.structs.replace(
        snapshot,
        providers={name: _dressed(each, state.credentials.get(name)) for name, each in snapshot.providers.items()},
        key_table=state.key_table,
        revoked_keys=frozenset(state.revoked),
        keys_are=keys_are,
        projects=state.projects,
        project_credentials={
            project: found
            for project, credentials in state.project_credentials.items()
            if (found := _for_their_hosts(credentials, hosts))
        },
        model_budgets=state.model_budgets,
    )


def astray(snapshot: Snapshot, state: DatabaseState) -> list[str]:
    """Return the credentials that are not used because their provider is now at another host: `project/provider`."""
    found = []
    for project, credentials in (("", state.credentials), *state.project_credentials.items()):
        for provider, credential in credentials.items():
            known = snapshot.providers.get(provider)
            if known is not None and known.host != credential.host:
                found.append(f"{project}/{provider}".lstrip("/"))
    return found


def seal_state(ring: Ring, state: DatabaseState) -> bytes:
    """Return the state without its keys, sealed, for a file that workers can be started from."""
    # The installation stands inside: nobody knows it before the file is opened.
    data = msgspec.msgpack.encode(msgspec.structs.replace(state, keys=[]))
    return ring.of("").seal(data, KEPT)


def unseal_state(ring: Ring, sealed: bytes) -> DatabaseState | None:
    """Return the state of a file; None where it is of another release.

    Raises:
        UnsealError: the master keys at hand are not those of the file, or it was changed.
    """
    data = ring.of("").unseal(sealed, KEPT)
    try:
        return msgspec.msgpack.decode(data, type=DatabaseState)
    except msgspec.MsgspecError:
        return None


def _with_budgets(
    keys: Iterable[tuple[bytes, Key]],
    accounts: Mapping[str, str],
    budgets: Mapping[str, tuple[Budget, ...]],
    tell: Callable[[str], None],
) -> list[tuple[bytes, Key]]:
    found = []
    for digest, key in keys:
        if len(digest) != DIGEST_BYTES:
            tell(f"keys {key.id}: its digest has {len(digest)} bytes, not {DIGEST_BYTES}")
            continue
        found.append((bytes(digest), _whole(key, accounts, budgets) if key.state == "active" else key))
    return found


def _whole(key: Key, accounts: Mapping[str, str], budgets: Mapping[str, tuple[Budget, ...]]) -> Key:
    whole = msgspec.structs.replace(key, account=accounts[key.id]) if key.id in accounts else key
    own = budgets.get(whole.scope)
    return msgspec.structs.replace(whole, budgets=own) if own else whole


def _credentials(
    connection: Connection, ring: Ring, tell: Callable[[str], None]
) -> tuple[dict[str, Credential], dict[str, dict[str, Credential]]]:
    from flumegate.store.credentials import all_credentials  # noqa: PLC0415 - see load_state

    own: dict[str, Credential] = {}
    of_projects: dict[str, dict[str, Credential]] = {}
    for stored in all_credentials(connection):
        table, row = "provider_credentials", stored.provider
        if stored.project:
            table, row = "project_credentials", f"{stored.project}/{stored.provider}"
        try:
            credential = unseal_credential(ring, stored.sealed, table, row)
        except UnsealError as problem:
            tell(f"{table} {row}: {problem}")
            continue
        (of_projects.setdefault(stored.project, {}) if stored.project else own)[stored.provider] = credential
    return own, of_projects


def _limited(
    keys: Sequence[tuple[bytes, Key]], projects: Iterable[Project], budgets: Mapping[str, tuple[Budget, ...]]
) -> str:
    for scope in budgets:
        return f"the budget of {scope}"
    for project in projects:
        if project.limits != NO_LIMITS:
            return f"the limits of project {project.name!r}"
    return next((f"the limits of key {key.id}" for _, key in keys if key.limits != NO_LIMITS), "")


def _metered(keys: Iterable[tuple[bytes, Key]], projects: Iterable[Project], budgets: Iterable[str]) -> list[str]:
    found = set(budgets)
    found.update(key.scope for _, key in keys if key.limits.max_requests)
    found.update(f"project:{project.id}" for project in projects if project.limits.max_requests)
    return sorted(found)


def _is_of_model(scope: str) -> bool:
    return scope.startswith("model:") or "/model:" in scope


def _dressed(provider: Provider, credential: Credential | None) -> Provider:
    if credential is None or provider.credential or provider.signing is not None or provider.host != credential.host:
        return provider
    return msgspec.structs.replace(provider, credential=credential.secret)


def _for_their_hosts(credentials: Mapping[str, Credential], hosts: Mapping[str, str]) -> dict[str, str]:
    return {name: each.secret for name, each in credentials.items() if hosts.get(name) == each.host}
