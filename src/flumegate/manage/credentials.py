"""Credentials for providers: given once, sealed with the host that they are for, and never shown again.

What is told of one is whose it is and for which provider, never a part of the secret. A project's own stand before the
configuration's, and those before the installation's: the file owns what it names.
"""

from __future__ import annotations

from sqlalchemy import Connection

from flumegate.manage.actor import Actor
from flumegate.manage.desk import Desk, Entry, refuse
from flumegate.manage.grants import check_secret, need_project
from flumegate.manage.seal import Credential, seal_credential
from flumegate.store import credentials as rows
from flumegate.store.credentials import Credential as StoredCredential
from flumegate.store.tables import project_credentials, provider_credentials


def put(desk: Desk, actor: Actor, provider: str, secret: str, project: str = "") -> StoredCredential:
    """Store a credential, in place of the one before.

    Raises:
        RefusedError: there is no such provider or project, or the secret is none.
    """
    entry = Entry("credential.set", provider, project)

    def perform(connection: Connection) -> StoredCredential:
        if project:
            need_project(connection, project)
        return put_in(desk, connection, project, provider, secret)

    return desk.change(actor, entry, perform)


def put_in(desk: Desk, connection: Connection, project: str, provider: str, secret: str) -> StoredCredential:
    """Store a credential within the caller's transaction.

    Raises:
        RefusedError: there is no such provider, or the secret is none.
    """
    host = desk.hosts().get(provider)
    if host is None:
        raise refuse("provider_not_found", f"There is no provider {provider[:64]!r} in the configuration.")
    checked = check_secret(secret, f"The credential for {provider}")
    table, row = (project_credentials, f"{project}/{provider}") if project else (provider_credentials, provider)
    sealed = seal_credential(desk.ring(connection), Credential(host, checked), table.name, row)
    rows.put(connection, project, provider, sealed, desk.clock())
    stored = rows.find(connection, project, provider)
    if stored is None:
        raise refuse("credential_not_found", "The credential was taken away at this moment.")
    return stored


def remove(desk: Desk, actor: Actor, provider: str, project: str = "") -> None:
    """Take a credential away.

    Raises:
        RefusedError: there is none.
    """
    desk.change(
        actor,
        Entry("credential.remove", provider, project),
        lambda connection: remove_in(connection, project, provider),
    )


def remove_in(connection: Connection, project: str, provider: str) -> None:
    """Take a credential away within the caller's transaction.

    Raises:
        RefusedError: there is none.
    """
    if rows.find(connection, project, provider) is None:
        raise refuse("credential_not_found", f"There is no credential for {provider[:64]!r} there.")
    rows.remove(connection, project, provider)


def listed(desk: Desk, project: str | None = None) -> list[StoredCredential]:
    """Return what credentials there are, of one project or of all, never what they are."""
    with desk.reading() as connection:
        found = rows.all_credentials(connection)
    return [each for each in found if project is None or each.project == project]
