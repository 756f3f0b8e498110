"""`flumegate key …`: client keys. A new key is printed once, alone on stdout, so that a script can take it."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from flumegate.cli import operator
from flumegate.cli.amounts import read_days, read_dollars, read_end
from flumegate.cli.operator import USAGE_EXIT, CommandError
from flumegate.cli.page import print_fields, print_rows, short_time
from flumegate.cli.projects import find_id
from flumegate.cli.reach import HERE, OrStdin, Reach


def create_key(  # noqa: PLR0913 - one for each option
    *,
    name: str = "",
    project: str = "",
    expires: str | None = None,
    model: list[str] | None = None,
    endpoint: list[str] | None = None,
    network: list[str] | None = None,
    tag: list[str] | None = None,
    rpm: int = 0,
    tpm: int = 0,
    concurrency: int = 0,
    max_requests: int = 0,
    daily: str | None = None,
    monthly: str | None = None,
    total: str | None = None,
    reach: Reach = HERE,
) -> int:
    """Make a key, and print it: it is shown this once.

    Args:
        name: What it is for.
        project: The project that it belongs to, by id or name.
        expires: When it ends, as 30d, 12h or 2027-01-31; without it, never.
        model: A name that it may ask for, with *; several times if need be. Without it, all that its project may.
        endpoint: An endpoint that it may use; several times if need be.
        network: Where it may be used from, as 10.0.0.0/8; several times if need be.
        tag: Added to the records of its requests; several times if need be.
        rpm: Requests a minute; 0 = no limit.
        tpm: Tokens a minute; 0 = no limit.
        concurrency: Requests at once; 0 = no limit.
        max_requests: Requests in all its life; 0 = no limit.
        daily: Dollars that it may spend in a day.
        monthly: Dollars that it may spend in a month.
        total: Dollars that it may spend in all.
        reach: Where the console is.
    """

    def action() -> None:
        budgets = (("day", daily), ("month", monthly), ("total", total))
        body: dict[str, Any] = {
            "name": name,
            "project_id": find_id(reach, project) if project else "",
            "models": model or [],
            "endpoints": endpoint or [],
            "networks": network or [],
            "tags": tag or [],
            "limits": {
                "requests_per_minute": rpm,
                "tokens_per_minute": tpm,
                "concurrency": concurrency,
                "max_requests": max_requests,
            },
            "budgets": [
                {"period": period, "limit_micros": read_dollars(amount)}
                for period, amount in budgets
                if amount is not None
            ],
        }
        if expires is not None:
            body["expires_at"] = read_end(expires)
        _print_new(reach, reach.ask("POST", "/manage/keys", body))

    return operator.run("key create", action)


def list_keys(*, project: str = "", active: bool = False, limit: int = 100, reach: Reach = HERE) -> int:
    """List keys, newest first: by their ids, never the keys themselves.

    Args:
        project: Of this project only, by id or name.
        active: Only those that are not revoked.
        limit: How many at most.
        reach: Where the console is.
    """

    def action() -> None:
        path = f"/manage/keys?active_only={str(active).lower()}"
        path += f"&project_id={find_id(reach, project)}" if project else ""
        found = list(reach.every(path, "keys", limit))
        if reach.json:
            operator.print_json({"keys": found})
            return
        rows = [
            (
                each["id"],
                each["name"],
                each["state"],
                each["request_count"],
                short_time(each["last_used_at"]),
                short_time(each["expires_at"]),
                each["project_id"],
            )
            for each in found
        ]
        headings = ("id", "name", "state", "requests", "last used", "expires", "project")
        print_rows(headings, rows, "there are no keys yet: flumegate key create")

    return operator.run("key list", action)


def show_key(key: str, /, *, reach: Reach = HERE) -> int:
    """Show all that is known of a key.

    Args:
        key: Its id.
        reach: Where the console is.
    """
    return operator.run("key show", lambda: _show(reach, reach.ask("GET", _path(key))))


def set_key(  # noqa: PLR0913 - one for each option
    key: str,
    /,
    *,
    name: str | None = None,
    expires: str | None = None,
    model: list[str] | None = None,
    network: list[str] | None = None,
    tag: list[str] | None = None,
    rpm: int | None = None,
    tpm: int | None = None,
    concurrency: int | None = None,
    max_requests: int | None = None,
    activate: bool = False,
    reach: Reach = HERE,
) -> int:
    """Change a key; what is not named stays.

    Args:
        key: Its id.
        name: What it is for.
        expires: When it ends, as 30d or 2027-01-31, or never.
        model: The names that it may ask for, in place of those before.
        network: Where it may be used from, in place of those before.
        tag: Added to the records of its requests, in place of those before.
        rpm: Requests a minute; 0 = no limit.
        tpm: Tokens a minute; 0 = no limit.
        concurrency: Requests at once; 0 = no limit.
        max_requests: Requests in all its life; 0 = no limit.
        activate: Take a revocation back.
        reach: Where the console is.
    """

    def action() -> None:
        limits = {
            "requests_per_minute": rpm,
            "tokens_per_minute": tpm,
            "concurrency": concurrency,
            "max_requests": max_requests,
        }
        body: dict[str, Any] = {"name": name, "models": model, "networks": network, "tags": tag}
        body["limits"] = {field: value for field, value in limits.items() if value is not None} or None
        if expires == "never":
            body["never_expires"] = True
        elif expires is not None:
            body["expires_at"] = read_end(expires)
        if activate:
            body["active"] = True
        given = {field: value for field, value in body.items() if value is not None}
        if not given:
            raise CommandError(USAGE_EXIT, "say what is to change")
        _show(reach, reach.ask("PATCH", _path(key), given))

    return operator.run("key set", action)


def rotate_key(key: str, /, *, overlap: str = "1d", reach: Reach = HERE) -> int:
    """Make a key that takes the place of another, and print it: it is shown this once.

    Args:
        key: Id of the old one.
        overlap: How long the old one goes on working, up to 7d; 0 = it ends at once.
        reach: Where the console is.
    """

    def action() -> None:
        body = {"overlap_days": read_days(overlap)}
        _print_new(reach, reach.ask("POST", f"{_path(key)}/rotate", body))

    return operator.run("key rotate", action)


def revoke_keys(*keys: str, project: str = "", expired: bool = False, reach: Reach = HERE) -> int:
    """Revoke keys: they are refused within a second, on every worker.

    Args:
        keys: Their ids.
        project: All keys of this project, by id or name.
        expired: All that have expired.
        reach: Where the console is.
    """

    def action() -> None:
        if bool(keys) + bool(project) + expired != 1:
            raise CommandError(USAGE_EXIT, "name keys, or a project with --project, or --expired")
        if keys:
            told = reach.ask("POST", "/manage/keys/revoke", {"ids": list(keys)})
        elif project:
            told = reach.ask("POST", f"/manage/projects/{find_id(reach, project)}/keys/revoke")
        else:
            told = reach.ask("POST", "/manage/keys/revoke-expired")
        operator.print_json(told) if reach.json else print_fields(told)
        if keys and told["total_tokens"] < len(set(keys)):
            raise CommandError(operator.REFUSED_EXIT, "some of these ids belong to no key")

    return operator.run("key revoke", action)


def import_keys(path: OrStdin[Path], /, *, project: str = "", reach: Reach = HERE) -> int:
    """Take over keys that clients have already, so that they need not change theirs.

    The file has one key a line, with a name behind it if you like: the key itself, or `sha256:` and its SHA-256 in
    hexadecimal, as most gateways keep it. A line may also be a JSON object: a key as LiteLLM exports it, which is taken
    with its limits and its budget. What of these is not taken is named on stderr.

    Args:
        path: The file; - reads stdin.
        project: The project that they are to belong to, by id or name.
        reach: Where the console is.
    """

    def action() -> None:
        owner = find_id(reach, project) if project else ""
        lines = [line for line in _read(path).splitlines() if line.strip()]
        foreign = [body for line in lines if (body := _read_line(line, owner)) is not None]
        if not foreign:
            raise CommandError(operator.REFUSED_EXIT, f"{path}: there is no key to take over")
        told = reach.ask("POST", "/manage/keys/import", {"keys": foreign})
        if reach.json:
            operator.print_json(told)
            return
        print_rows(("id", "name"), [(each["id"], each["name"]) for each in told["keys"]], "nothing")

    return operator.run("key import", action)


def _read(path: Path) -> str:
    try:
        return sys.stdin.read() if str(path) == "-" else path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise CommandError(operator.REFUSED_EXIT, f"{path}: cannot be read ({problem})") from problem


def _read_line(line: str, project: str) -> dict[str, Any] | None:
    if line.lstrip().startswith("{"):
        return _read_exported(line, project)
    secret, _, name = line.strip().partition(" ")
    kind, _, digits = secret.partition(":")
    body = {kind: digits} if kind in ("sha256", "hmac") and digits else {"token": secret}
    return {**body, "name": name.strip(), "project_id": project}


def _read_exported(line: str, project: str) -> dict[str, Any] | None:
    """Return a key of LiteLLM's, and say what of it is not taken; None = all of it."""
    from flumegate.config.litellm_keys import read_key
    from flumegate.log import visible

    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as problem:
        raise CommandError(operator.REFUSED_EXIT, f"a line is no JSON object ({problem})") from problem
    found = read_key(row, datetime.now(UTC))
    for note in found.notes:
        taken = "" if found.body is not None else " is left out"
        print(visible(f"key {found.name!r}{taken}: {note}"), file=sys.stderr)
    return None if found.body is None else {**found.body, "project_id": project}


def _path(key: str) -> str:
    return f"/manage/keys/{quote(key, safe='')}"


def _show(reach: Reach, told: dict[str, Any]) -> None:
    operator.print_json(told) if reach.json else print_fields(told)


def _print_new(reach: Reach, told: dict[str, Any]) -> None:
    if reach.json:
        operator.print_json(told)
        return
    print(told["key"])
    print(f"its id is {told['id']}; it is not shown again", file=sys.stderr)
