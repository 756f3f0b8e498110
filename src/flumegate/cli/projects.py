"""`flumegate project …`: projects and the credentials of their own."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from flumegate.cli import operator
from flumegate.cli.amounts import read_secret
from flumegate.cli.operator import USAGE_EXIT, CommandError
from flumegate.cli.page import print_fields, print_rows
from flumegate.cli.reach import HERE, Reach


def list_projects(*, limit: int = 100, reach: Reach = HERE) -> int:
    """List projects, newest first.

    Args:
        limit: How many at most.
        reach: Where the console is.
    """

    def action() -> None:
        found = list(reach.every("/manage/projects", "projects", limit))
        if reach.json:
            operator.print_json({"projects": found})
            return
        rows = [
            (each["id"], each["name"], "active" if each["active"] else "inactive", each["limits"]) for each in found
        ]
        print_rows(("id", "name", "state", "limits"), rows, "there are no projects yet: flumegate project create NAME")

    return operator.run("project list", action)


def create_project(  # noqa: PLR0913 - one for each option
    name: str,
    /,
    *,
    model: list[str] | None = None,
    endpoint: list[str] | None = None,
    rpm: int | None = None,
    tpm: int | None = None,
    concurrency: int | None = None,
    default_provider: str = "",
    credential: list[str] | None = None,
    reach: Reach = HERE,
) -> int:
    """Make a project.

    Args:
        name: What it is called; no two have one name.
        model: A name that its keys may ask for, with *; several times if need be. Without it, all.
        endpoint: An endpoint that its keys may use; several times if need be. Without it, all.
        rpm: Requests a minute.
        tpm: Tokens a minute.
        concurrency: Requests at once.
        default_provider: Takes the names that nothing else matches.
        credential: PROVIDER=env:NAME or PROVIDER=file:/path: what its requests carry there.
        reach: Where the console is.
    """

    def action() -> None:
        body: dict[str, Any] = {
            "name": name,
            "models": model or [],
            "endpoints": endpoint or [],
            "limits": _limits(rpm, tpm, concurrency),
            "default_provider": default_provider,
            "credentials": _credentials(credential),
        }
        _show(reach, reach.ask("POST", "/manage/projects", body))

    return operator.run("project create", action)


def show_project(project: str, /, *, reach: Reach = HERE) -> int:
    """Show a project.

    Args:
        project: Its id, or its name.
        reach: Where the console is.
    """
    return operator.run(
        "project show", lambda: _show(reach, reach.ask("GET", f"/manage/projects/{find_id(reach, project)}"))
    )


def set_project(  # noqa: PLR0913 - one for each option
    project: str,
    /,
    *,
    name: str | None = None,
    model: list[str] | None = None,
    any_model: bool = False,
    rpm: int | None = None,
    tpm: int | None = None,
    concurrency: int | None = None,
    default_provider: str | None = None,
    credential: list[str] | None = None,
    activate: bool = False,
    reach: Reach = HERE,
) -> int:
    """Change a project; what is not named stays.

    Args:
        project: Its id, or its name.
        name: A new name.
        model: The names that its keys may ask for, in place of those before.
        any_model: They may ask for any.
        rpm: Requests a minute; 0 = no limit.
        tpm: Tokens a minute; 0 = no limit.
        concurrency: Requests at once; 0 = no limit.
        default_provider: Takes the names that nothing else matches.
        credential: PROVIDER=env:NAME or PROVIDER=file:/path; PROVIDER= takes it away.
        activate: Open an inactive one again.
        reach: Where the console is.
    """

    def action() -> None:
        body: dict[str, Any] = {"name": name, "default_provider": default_provider}
        body["models"] = [] if any_model else model
        body["limits"] = _limits(rpm, tpm, concurrency)
        if credential:
            body["credentials"] = _credentials(credential)
        if activate:
            body["active"] = True
        given = {field: value for field, value in body.items() if value not in (None, {})}
        if not given:
            raise CommandError(USAGE_EXIT, "say what is to change")
        _show(reach, reach.ask("PATCH", f"/manage/projects/{find_id(reach, project)}", given))

    return operator.run("project set", action)


def deactivate_project(project: str, /, *, revoke_keys: bool = False, reach: Reach = HERE) -> int:
    """Close a project: its keys are refused until it is opened again.

    Args:
        project: Its id, or its name.
        revoke_keys: Revoke its keys as well, so that they stay refused.
        reach: Where the console is.
    """
    body = {"active": False, "revoke_tokens": revoke_keys}
    return operator.run(
        "project deactivate",
        lambda: _show(reach, reach.ask("PATCH", f"/manage/projects/{find_id(reach, project)}", body)),
    )


def find_id(reach: Reach, project: str) -> str:
    """Return the id of a project that is named by its id or its name.

    Raises:
        CommandError: there is none.
    """
    for each in reach.every("/manage/projects", "projects", 10_000):
        if project in (each["id"], each["name"]):
            return quote(str(each["id"]), safe="")
    raise CommandError(operator.REFUSED_EXIT, f"there is no project {project!r}: flumegate project list")


def _show(reach: Reach, told: dict[str, Any]) -> None:
    if reach.json:
        operator.print_json(told)
        return
    print_fields(told | {"credentials": [each["provider"] for each in told["credentials"]]})


def _limits(rpm: int | None, tpm: int | None, concurrency: int | None) -> dict[str, int]:
    named = {"requests_per_minute": rpm, "tokens_per_minute": tpm, "concurrency": concurrency}
    return {name: value for name, value in named.items() if value is not None}


def _credentials(given: list[str] | None) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for each in given or []:
        provider, equals, reference = each.partition("=")
        if not equals or not provider:
            raise CommandError(USAGE_EXIT, "write a credential as PROVIDER=env:NAME or PROVIDER=file:/path")
        found[provider] = read_secret(reference) if reference else None
    return found
