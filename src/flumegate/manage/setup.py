"""The setup token exchanged for the first token of an owner: once, or not at all.

Its file is taken away before the new token is stored, and put back where that fails, so that it is never good twice.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path

from sqlalchemy import Connection

from flumegate.manage import tokens
from flumegate.manage.actor import Actor
from flumegate.manage.desk import Desk, Entry, refuse
from flumegate.manage.grants import check_name
from flumegate.manage.offer import SETUP_NAME, is_good
from flumegate.manage.tokens import IssuedToken
from flumegate.store import tokens as rows

_TURN = threading.Lock()
"""Of two who come at once with the same token one is late."""


def exchange(desk: Desk, actor: Actor, folder: Path, text: str, name: str = "first owner") -> IssuedToken:
    """Return a token of the console, of an owner, for the setup token.

    Args:
        desk: where it is stored.
        actor: who brings the setup token.
        folder: the data folder.
        text: the setup token.
        name: what the new token is called.

    Raises:
        RefusedError: the setup token is none, was used, or its hour is over: one answer for all of these; or the name
            cannot be.
    """
    name = check_name(name)
    path = folder / SETUP_NAME
    taken = path.with_suffix(".taken")
    with _TURN:
        try:
            content = path.read_bytes()
        except OSError:
            content = b""
        if not is_good(content, desk.pepper, text, desk.clock()):
            raise refuse(
                "invalid_setup_token",
                "This setup token is not known here, was used, or is older than an hour. "
                "The owner's token stands in admin.token in the data folder.",
            )
        path.replace(taken)
        try:
            issued = _store(desk, actor, name)
        except BaseException:
            taken.replace(path)
            raise
        with suppress(OSError):
            taken.unlink()
    return issued


def _store(desk: Desk, actor: Actor, name: str) -> IssuedToken:
    entry = Entry("setup.exchange", details={"name": name, "given_role": "owner"})

    def perform(connection: Connection) -> IssuedToken:
        issued = tokens.make(desk, name, "owner")
        entry.target = issued.token.id
        rows.insert(connection, issued.token)
        return issued

    return desk.change(actor, entry, perform)
