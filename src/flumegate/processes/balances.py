"""What was used so far, as control answers it to workers that begin or meet a budget for the first time.

The database says what was spent once everything in the spool has been carried there. While it does not answer, control
says it from memory: what the database said last of every scope that somebody limits, and on top of that what waits in
the spool, read there without being taken. So a worker that starts anew never counts too little. What was never known
stays unknown: the worker then refuses, rather than spend twice.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from flumegate.quota.period import name_of
from flumegate.records.access import Period
from flumegate.records.balance import Balance, Sought
from flumegate.records.request import Record

if TYPE_CHECKING:
    from sqlalchemy import Connection

TOTAL = "total"
_PERIODS: tuple[Period, ...] = ("day", "month", "total")


class Balances:
    """The memory; filled in the thread that stores records, asked in any."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._known: set[str] = set()
        """Scopes of which the database has said everything that is stored."""
        self._wanted: set[str] = set()
        """Those that are to be read: limited since, or spent on since, maybe by other machines, too."""
        self._accounts: Mapping[str, str] = {}
        """Of keys that count on another key's."""
        self._micros: dict[str, int] = {}
        """By account, as `quota.ledger` names them."""
        self._requests: dict[str, int] = {}
        self._waiting_micros: dict[str, int] = {}
        self._waiting_requests: dict[str, int] = {}

    def watch(self, scopes: Iterable[str], accounts: Mapping[str, str]) -> None:
        """Remember these scopes from now on, and no others; `accounts` says which keys count on another key's."""
        scopes = set(scopes)
        with self._turn:
            self._accounts = accounts
            gone = self._known - scopes
            self._known -= gone
            self._wanted = (self._wanted & scopes) | (scopes - self._known)
            if gone:
                self._requests = {name: count for name, count in self._requests.items() if name not in gone}
                self._micros = {name: spent for name, spent in self._micros.items() if _scope(name) not in gone}

    def spent(self, records: Iterable[Record]) -> None:
        """Count records that were stored; what the database says of their scopes is read again when it can be."""
        with self._turn:
            scopes = _count(records, self._micros, self._requests, self._known, self._accounts)
            self._wanted |= scopes

    def is_behind(self) -> bool:
        """Tell whether there is something that `refresh` would read."""
        return bool(self._wanted)

    def refresh(self, connection: Connection) -> None:
        """Read what was spent on the scopes that are to be read."""
        with self._turn:
            wanted = list(self._wanted)
        balance = read_balance(connection, wanted, _names(time.time()))
        with self._turn:
            self._micros |= balance.micros
            self._requests |= balance.requests
            self._known |= set(wanted)
            self._wanted -= set(wanted)

    def wait_for(self, records: Iterable[Record]) -> None:
        """Count records that are in the spool and not in the database, beside those counted before."""
        with self._turn:
            _count(records, self._waiting_micros, self._waiting_requests, self._known, self._accounts)

    def wait_no_more(self) -> None:
        """Forget what waited: the database takes it again."""
        with self._turn:
            self._waiting_micros, self._waiting_requests = {}, {}

    def answer(self, sought: Sought) -> Balance | None:
        """Return what is remembered; None = not all of it is known."""
        with self._turn:
            scopes = set(map(_scope, sought.accounts)) | set(sought.holders)
            if not scopes <= self._known:
                return None
            micros, requests = self._micros, self._requests
            return Balance(
                {name: requests.get(name, 0) + self._waiting_requests.get(name, 0) for name in sought.holders},
                {name: micros.get(name, 0) + self._waiting_micros.get(name, 0) for name in sought.accounts},
            )


def read_balance(connection: Connection, scopes: Sequence[str], period_names: Sequence[str]) -> Balance:
    """Return what was spent on scopes in periods, and how many requests they ever had; nothing is there as 0."""
    from flumegate.store.spend import totals  # noqa: PLC0415 - see above

    found = totals(connection, scopes, {*period_names, TOTAL})
    requests = {scope: sums.requests for (scope, name), sums in found.items() if name == TOTAL}
    micros = {f"{scope}@{name}": sums.micros for (scope, name), sums in found.items()}
    return Balance(requests, micros)


def read_sought(connection: Connection, sought: Sought) -> Balance:
    """Return what a worker asks for, from the database."""
    scopes = list(map(_scope, sought.accounts))
    names = [account.rpartition("@")[2] for account in sought.accounts]
    found = read_balance(connection, [*scopes, *sought.holders], names)
    return Balance(
        {name: found.requests.get(name, 0) for name in sought.holders},
        {name: found.micros.get(name, 0) for name in sought.accounts},
    )


def _count(
    records: Iterable[Record],
    micros: dict[str, int],
    requests: dict[str, int],
    known: set[str],
    accounts: Mapping[str, str],
) -> set[str]:
    """Add what records spent on scopes that are known, as the database does; return those."""
    # Here: whatever the store loads waits until the gateway answers.
    from flumegate.store.spend import bounded, period_names, scopes_of  # noqa: PLC0415

    touched: set[str] = set()
    for record in records:
        if not record.is_counted:
            continue
        names = period_names(record.started_at)
        for scope in scopes_of(record, accounts):
            if scope not in known:
                continue
            touched.add(scope)
            requests[scope] = requests.get(scope, 0) + 1
            for name in names:
                account = f"{scope}@{name}"
                micros[account] = micros.get(account, 0) + bounded(record.cost_micros)
    return touched


def _scope(account: str) -> str:
    # From the right: the name of a model may hold anything.
    return account.rpartition("@")[0]


def _names(now: float) -> list[str]:
    return [name_of(period, now) for period in _PERIODS]
