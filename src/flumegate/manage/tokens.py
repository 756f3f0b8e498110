"""Tokens of the console: who may operate the gateway, in which role, until when. Kept as digests, shown once."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from sqlalchemy import Connection

from flumegate.manage import mint
from flumegate.manage.actor import Actor, Role, may_give
from flumegate.manage.desk import Desk, Entry, refuse
from flumegate.manage.grants import check_name
from flumegate.store import tokens as rows
from flumegate.store.errors import RowRefused, StoreUnavailable
from flumegate.store.tokens import AdminToken

_NOTED_EVERY_SECONDS = 60.0
"""How exact `last_used_at` is: a token that is used all the time costs no write each time."""

_ROSTER_SECONDS = 1.0


class IssuedToken(NamedTuple):
    """A new token, this once with its text."""

    token: AdminToken
    text: str

    def __repr__(self) -> str:
        return f"IssuedToken({self.token.id!r})"  # never the text: tracebacks show this


class Roster:
    """What is stored of all tokens, read at most once a second: what is not among it need not be looked up.

    Anybody can write right check digits, so the form of a token keeps no look-up from whoever guesses on purpose.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._turn = threading.Lock()
        self._digests: frozenset[bytes] = frozenset()
        self._read_at = -math.inf

    def has(self, desk: Desk, digest: bytes) -> bool:
        """Tell whether there is a token with a digest; one that was made within the last second may be missing.

        Raises:
            StoreUnavailable: the database cannot be used now.
        """
        with self._turn:
            if digest not in self._digests and self._clock() >= self._read_at + _ROSTER_SECONDS:
                self._digests = frozenset(token.digest for token in listed(desk))
                self._read_at = self._clock()
            return digest in self._digests


def create(desk: Desk, actor: Actor, name: str, role: Role, expires_at: float = 0.0) -> IssuedToken:
    """Make a token.

    Raises:
        RefusedError: its role is above the actor's own, or its time is over.
    """
    entry = Entry("token.create", details={"name": name[:100], "given_role": role})

    def perform(connection: Connection) -> IssuedToken:
        if not may_give(actor.role, role):
            raise refuse("role_too_high", f"Who is {actor.role} cannot let in somebody who is {role}.")
        if expires_at and expires_at <= desk.clock():
            raise refuse("invalid_value", "expires_at is a time to come.")
        issued = make(desk, check_name(name), role, expires_at)
        entry.target = issued.token.id
        rows.insert(connection, issued.token)
        return issued

    return desk.change(actor, entry, perform)


def make(desk: Desk, name: str, role: Role, expires_at: float = 0.0) -> IssuedToken:
    """Return a new token that nobody has stored yet."""
    minted = mint.mint(mint.TOKEN)
    digest = mint.digest_of(desk.pepper, minted.text)
    return IssuedToken(AdminToken(minted.id, name, digest, role, desk.clock(), expires_at), minted.text)


def listed(desk: Desk) -> list[AdminToken]:
    """Return all tokens, revoked ones too."""
    with desk.reading() as connection:
        return rows.all_tokens(connection)


def find(desk: Desk, token_id: str) -> AdminToken:
    """Return a token.

    Raises:
        RefusedError: there is none.
    """
    with desk.reading() as connection:
        return _need(connection, token_id)


def revoke(desk: Desk, actor: Actor, token_id: str) -> None:
    """Revoke a token; one that is revoked stays so.

    Raises:
        RefusedError: there is none, or its role is above the actor's own.
    """
    entry = Entry("token.revoke", token_id)

    def perform(connection: Connection) -> None:
        token = _need(connection, token_id)
        if not may_give(actor.role, token.role):
            raise refuse("role_too_high", f"Who is {actor.role} cannot shut out somebody who is {token.role}.")
        rows.revoke(connection, token_id, desk.clock())

    desk.change(actor, entry, perform)


def find_valid(desk: Desk, text: str, roster: Roster | None = None) -> AdminToken | None:
    """Return the token with that text, if it is good for anything now. Its form is looked at first.

    Args:
        desk: where it is stored.
        text: the token.
        roster: says whether a look-up is worth it; None = it is.

    Raises:
        StoreUnavailable: the database cannot be used now.
    """
    if mint.id_of(text, mint.TOKEN) is None:
        return None
    digest = mint.digest_of(desk.pepper, text)
    if roster is not None and not roster.has(desk, digest):
        return None
    with desk.reading() as connection:
        found = rows.find_by_digest(connection, digest)
    now = desk.clock()
    if found is None or state_of(found, now) != "active":
        return None
    if now - found.last_used_at >= _NOTED_EVERY_SECONDS:
        with suppress(StoreUnavailable, RowRefused), desk.database.transaction() as connection:
            rows.note_use(connection, found.id, now)
    return found


def state_of(token: AdminToken, now: float) -> str:
    """Return `active`, `expired` or `revoked`."""
    if token.revoked_at:
        return "revoked"
    return "expired" if token.expires_at and token.expires_at <= now else "active"


def _need(connection: Connection, token_id: str) -> AdminToken:
    found = rows.find(connection, token_id)
    if found is None:
        raise refuse("token_not_found", "There is no token of that id.")
    return found
