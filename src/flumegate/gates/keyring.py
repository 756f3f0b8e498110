"""The keys of a worker: those of the configuration, and the table that control writes; each made ready for use once.

Keys are found by HMAC-SHA-256(pepper, key). A look-up by digest leaks no time about the key itself: two keys that share
a prefix have unrelated digests.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path

from flumegate import log
from flumegate.gates.digest import digest, digest_by_hash
from flumegate.keytable import DamagedTableError, KeyTable
from flumegate.patterns import fits
from flumegate.quota.book import Holder
from flumegate.quota.stay import NOTHING, Allowance, allowance_at
from flumegate.records.access import NO_LIMITS, Budget, Key, Project
from flumegate.snapshot import Snapshot

REMEMBERED = 4_096
"""Keys that are kept ready; others are made ready anew when they are used."""
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Access:
    """What one key may do under one Snapshot.

    Attributes:
        key: as it is kept.
        project: what it belongs to, or None.
        endpoints: those that it may use, by its own and its project's word; None = all.
        free: nothing restricts or meters it but its own validity: most requests need look no further.
        unbound: it may come from anywhere and use every endpoint.
        any_model: it may use every model.
        holders: whose rates and counts its requests use.
        budgets: whose money, beside those of models.
        allowance: the same as its requests are subject to it, from one time to another.
    """

    __slots__ = (
        "_allowed",
        "_networks",
        "_patterns",
        "allowance",
        "any_model",
        "budgets",
        "endpoints",
        "free",
        "holders",
        "key",
        "project",
        "unbound",
    )

    def __init__(self, key: Key, project: Project | None) -> None:
        self.key = key
        self.project = project
        self._networks: tuple[_Network, ...] = tuple(ipaddress.ip_network(each, strict=False) for each in key.networks)
        self._patterns = [key.models] + ([project.models] if project is not None else [])
        self._allowed: dict[str, bool] = {}
        self.allowance = NOTHING
        holders = [Holder(key.scope, key.limits)]
        budgets: tuple[Budget, ...] = key.budgets
        if project is not None:
            holders.append(Holder(f"project:{project.id}", project.limits))
            budgets += project.budgets
        self.holders = tuple(holder for holder in holders if holder.limits != NO_LIMITS)
        self.budgets = budgets
        self.endpoints = _both(key.endpoints, project.endpoints if project is not None else ())
        self.any_model = not any(self._patterns)
        self.unbound = not self._networks and self.endpoints is None
        self.free = self.any_model and self.unbound and not (key.tags or self.holders or budgets)

    def allow(self, unix_time: float) -> Allowance:
        """Renew what its requests are subject to."""
        self.allowance = allowance_at(self.holders, self.budgets, unix_time)
        return self.allowance

    def may_use(self, model: str) -> bool:
        """Tell whether key and project both let a model's name pass."""
        known = self._allowed.get(model)
        if known is None:
            if len(self._allowed) >= REMEMBERED:
                self._allowed.clear()
            known = self._allowed[model] = all(
                not patterns or any(fits(pattern, model) for pattern in patterns) for patterns in self._patterns
            )
        return known

    def may_use_endpoint(self, name: str) -> bool:
        """Tell whether key and project both let an endpoint be used."""
        return self.endpoints is None or name in self.endpoints

    def may_come_from(self, client: str) -> bool:
        """Tell whether the key may be used from an address."""
        if not self._networks:
            return True
        try:
            address = ipaddress.ip_address(client)
        except ValueError:
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)


class Keyring:
    """The keys of the Snapshot of the moment.

    Attributes:
        whole: all of them could be read; else a key that is not found may exist.
    """

    def __init__(self) -> None:
        self.whole = True
        self._static: dict[bytes, Key] = {}
        self._projects: dict[str, Project] = {}
        self._revoked: frozenset[str] = frozenset()
        self._pepper = b""
        self._table: KeyTable | None = None
        self._table_path = ""
        self._ready: dict[bytes, Access] = {}

    def apply(self, snapshot: Snapshot) -> None:
        """Take the keys of a new Snapshot; a table that cannot be read leaves the one before in use."""
        self._static = snapshot.keys
        self._projects = snapshot.projects
        self._revoked = snapshot.revoked_keys
        self._pepper = snapshot.pepper
        self._ready = {}
        if self.whole and snapshot.key_table == self._table_path:
            return
        try:
            self._table = KeyTable(Path(snapshot.key_table)) if snapshot.key_table else None
            self._table_path = snapshot.key_table
            self.whole = True
        except (OSError, DamagedTableError) as problem:
            self.whole = False
            log.event("error", "key_table_refused", reason=problem, effect="the keys before stay in use")

    def find(self, key: bytes) -> Access | None:
        """Return what a key may do, whatever its state; None = there is no such key."""
        digested = digest(self._pepper, key)
        access = self._ready.get(digested)
        if access is not None:
            return access
        found = self._static.get(digested)
        if found is None and self._table is not None:
            # A key that was taken over from another gateway may be known by a hash of it alone.
            found = self._table.find(digested) or self._table.find(digest_by_hash(self._pepper, key))
        if found is None:
            return None
        if found.id in self._revoked:
            found = Key(found.id, found.project, "revoked")
        access = Access(found, self._projects.get(found.project) if found.project else None)
        if len(self._ready) >= REMEMBERED:
            self._ready.clear()
        self._ready[digested] = access
        return access

    def count(self) -> int:
        """Return how many keys there are."""
        return len(self._static) + (self._table.count if self._table is not None else 0)


def _both(own: tuple[str, ...], theirs: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return what two lists both allow, of which an empty one allows all; None = all."""
    if own and theirs:
        # A project may be narrowed after its key was made, and then nothing may be left.
        return tuple(name for name in own if name in theirs)
    return own or theirs or None
