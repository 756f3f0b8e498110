"""`flumegate token …`, `flumegate credential …` and `flumegate setup`: who may operate, and with which secrets."""

from __future__ import annotations

import sys
from typing import Any, Literal
from urllib.parse import quote, urlencode

from flumegate.cli import operator
from flumegate.cli.amounts import read_end, read_secret
from flumegate.cli.operator import CommandError
from flumegate.cli.page import print_rows, short_time
from flumegate.cli.reach import HERE, OrStdin, Reach

Role = Literal["owner", "admin", "operator", "viewer", "auditor"]


def list_tokens(*, reach: Reach = HERE) -> int:
    """List the tokens of the console.

    Args:
        reach: Where the console is.
    """

    def action() -> None:
        told = reach.ask("GET", "/manage/admin-tokens")
        if reach.json:
            operator.print_json(told)
            return
        rows = [
            (each["id"], each["name"], each["role"], each["state"], short_time(each["expires_at"]))
            for each in told["tokens"]
        ]
        print_rows(("id", "name", "role", "state", "expires"), rows, "there are none besides admin.token")

    return operator.run("token list", action)


def create_token(name: str, /, *, role: Role, expires: str | None = None, reach: Reach = HERE) -> int:
    """Let somebody operate the gateway; the token is printed this once.

    Args:
        name: Whose it is.
        role: owner, admin, operator, viewer or auditor.
        expires: When it ends, as 30d or 2027-01-31; without it, never.
        reach: Where the console is.
    """

    def action() -> None:
        body: dict[str, Any] = {"name": name, "role": role}
        if expires is not None:
            body["expires_at"] = read_end(expires)
        _print_new(reach, reach.ask("POST", "/manage/admin-tokens", body))

    return operator.run("token create", action)


def revoke_token(token_id: str, /, *, reach: Reach = HERE) -> int:
    """Shut somebody out, from this moment.

    Args:
        token_id: Id of the token.
        reach: Where the console is.
    """
    path = f"/manage/admin-tokens/{quote(token_id, safe='')}"
    return operator.run("token revoke", lambda: _done(reach, reach.ask("DELETE", path)))


def set_up(offer: OrStdin[str] = "-", /, *, name: str = "first owner", reach: Reach = HERE) -> int:
    """Exchange the setup token that the first start has printed for the token of an owner, printed this once.

    Args:
        offer: The setup token, as env:NAME, file:/path, or - for stdin.
        name: Whose the new token is.
        reach: Where the console is.
    """

    def action() -> None:
        body = {"setup_token": read_secret(offer), "name": name}
        # What comes with it as a token does not matter; who sets up from elsewhere has none.
        there = operator.locate(reach.url, reach.token or "none", reach.data_dir)
        _print_new(reach, operator.ask(there, "POST", "/manage/setup", body))

    return operator.run("setup", action)


def set_credential(provider: str, secret: OrStdin[str], /, *, project: str = "", reach: Reach = HERE) -> int:
    """Give a provider a credential; it is sealed, and never shown again.

    Args:
        provider: The provider's name in the configuration.
        secret: env:NAME, file:/path, or - for stdin.
        project: For this project only, by id or name.
        reach: Where the console is.
    """

    def action() -> None:
        _done(reach, reach.ask("PUT", _credential(reach, provider, project), {"secret": read_secret(secret)}))

    return operator.run("credential set", action)


def remove_credential(provider: str, /, *, project: str = "", reach: Reach = HERE) -> int:
    """Take a stored credential away.

    Args:
        provider: The provider's name in the configuration.
        project: That of this project, by id or name.
        reach: Where the console is.
    """
    return operator.run(
        "credential remove", lambda: _done(reach, reach.ask("DELETE", _credential(reach, provider, project)))
    )


def list_credentials(*, reach: Reach = HERE) -> int:
    """List which providers have stored credentials, never what they are.

    Args:
        reach: Where the console is.
    """

    def action() -> None:
        told = reach.ask("GET", "/manage/providers")
        if reach.json:
            operator.print_json(told)
            return
        rows = [
            (each["name"], each["configured_credentials"], kept["id"], short_time(kept["updated_at"]))
            for each in told["providers"]
            for kept in each["stored_credentials"] or [{"id": "-", "updated_at": None}]
        ]
        print_rows(("provider", "configured", "stored", "since"), rows, "there are no providers")

    return operator.run("credential list", action)


def _credential(reach: Reach, provider: str, project: str) -> str:
    from flumegate.cli.projects import find_id

    query = f"?{urlencode({'project_id': find_id(reach, project)})}" if project else ""
    return f"/manage/providers/{quote(provider, safe='')}/credential{query}"


def _done(reach: Reach, told: dict[str, Any]) -> None:
    if reach.json:
        operator.print_json(told)


def _print_new(reach: Reach, told: dict[str, Any]) -> None:
    if reach.json:
        operator.print_json(told)
        return
    if not told.get("token"):
        raise CommandError(operator.REFUSED_EXIT, "what answers there is no console of Flumegate")
    print(told["token"])
    print(f"its id is {told['id']}; it is not shown again", file=sys.stderr)
