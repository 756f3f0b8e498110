"""What a key or a project may use: models, endpoints, networks, tags; each checked before it is stored.

A key never has more than its project. That holds at use in the data plane, whatever is stored; here it is told to
whoever makes the key, instead of leaving them with a key that cannot do what its row says.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence

import msgspec
from sqlalchemy import Connection

from flumegate.dialects.registry import ENDPOINTS
from flumegate.manage.desk import refuse
from flumegate.records.access import NO_LIMITS, Limits
from flumegate.store import keys, projects
from flumegate.store.keys import StoredKey
from flumegate.store.projects import StoredProject

ENDPOINT_NAMES = tuple(sorted({endpoint.name for endpoint in ENDPOINTS} | {"transparent"}))
MOST_ENTRIES = 200
MOST_OF_A_LIMIT = 10**12
_MODEL = re.compile(r"[!-~]{1,200}")
_TAG = re.compile(r"[0-9A-Za-z][0-9A-Za-z._:/-]{0,63}")
_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,100}")
MASKED = ("...", "…", "****")
"""What stands in a secret that was copied from a page that hides it."""


def check_name(name: str) -> str:
    """Return a name without the space around it.

    Raises:
        RefusedError: it is empty, too long, or holds control characters.
    """
    name = name.strip()
    if not _NAME.fullmatch(name):
        raise refuse("invalid_value", "name has 1 to 100 characters, and no control characters.")
    return name


def check_models(models: Sequence[str]) -> tuple[str, ...]:
    """Return patterns of models' names.

    Raises:
        RefusedError: one is none, or there are too many.
    """
    for model in _few(models, "models"):
        if not _MODEL.fullmatch(model):
            raise refuse("invalid_value", "models are names of up to 200 visible characters, * standing for anything.")
    return tuple(dict.fromkeys(models))


def check_endpoints(endpoints: Sequence[str]) -> tuple[str, ...]:
    """Return names of endpoints.

    Raises:
        RefusedError: there is no such endpoint.
    """
    for endpoint in _few(endpoints, "endpoints"):
        if endpoint not in ENDPOINT_NAMES:
            raise refuse("invalid_value", f"endpoints are any of {', '.join(ENDPOINT_NAMES)}.")
    return tuple(dict.fromkeys(endpoints))


def check_networks(networks: Sequence[str]) -> tuple[str, ...]:
    """Return networks in their usual form.

    Raises:
        RefusedError: one is none, or there are too many.
    """
    try:
        return tuple(
            dict.fromkeys(str(ipaddress.ip_network(each.strip(), strict=False)) for each in _few(networks, "networks"))
        )
    except ValueError:
        raise refuse("invalid_value", "networks are addresses or ranges like 10.0.0.0/8 and 2001:db8::/32.") from None


def check_tags(tags: Sequence[str]) -> tuple[str, ...]:
    """Return tags.

    Raises:
        RefusedError: one is none, or there are too many.
    """
    for tag in _few(tags, "tags"):
        if not _TAG.fullmatch(tag):
            raise refuse("invalid_value", "tags have up to 64 letters, digits and . _ : / -, a letter or digit first.")
    return tuple(dict.fromkeys(tags))


def check_secret(secret: str, name: str) -> str:
    """Return a provider's credential.

    Raises:
        RefusedError: it is a masked one, or cannot stand in a header.
    """
    secret = secret.strip()
    if any(mark in secret for mark in MASKED):
        raise refuse("masked_credential", f"{name} is a masked value, not the credential itself. Send the whole of it.")
    if not secret or len(secret) > 8192 or not all("!" <= letter <= "~" for letter in secret):
        raise refuse("invalid_value", f"{name} must be a credential of visible characters, without spaces.")
    return secret


def check_within(outer: Sequence[str], inner: Sequence[str], what: str) -> None:
    """Make sure that a key's list adds nothing to its project's.

    Raises:
        RefusedError: it does.
    """
    beyond = [] if not outer else [each for each in inner if not any(_covers(pattern, each) for pattern in outer)]
    if beyond:
        raise refuse("beyond_project", f"The project does not allow these {what}: {', '.join(beyond[:10])}.")


def check_limits(may_limit: Callable[[], str | None], limits: Limits) -> Limits:
    """Return limits that this gateway can hold.

    Raises:
        RefusedError: one is negative or absurd, or several workers would each count for themselves.
    """
    for name, value in msgspec.structs.asdict(limits).items():
        if not 0 <= value <= MOST_OF_A_LIMIT:
            raise refuse("invalid_value", f"{name} is a number from 0 (no limit) to {MOST_OF_A_LIMIT}.")
    if limits != NO_LIMITS:
        check_may_limit(may_limit)
    return limits


def check_may_limit(may_limit: Callable[[], str | None]) -> None:
    """Make sure that limits and budgets can be held.

    Raises:
        RefusedError: they cannot.
    """
    reason = may_limit()
    if reason is not None:
        raise refuse("limits_need_redis", reason)


def need_project(connection: Connection, project_id: str) -> StoredProject:
    """Return a project.

    Raises:
        RefusedError: there is none.
    """
    found = projects.find(connection, project_id)
    if found is None:
        raise refuse("project_not_found", "There is no project of that id.")
    return found


def need_key(connection: Connection, key_id: str) -> StoredKey:
    """Return a key.

    Raises:
        RefusedError: there is none.
    """
    found = keys.find(connection, key_id)
    if found is None:
        raise refuse("key_not_found", "There is no key of that id.")
    return found


def _covers(pattern: str, inner: str) -> bool:
    """Tell whether everything that `inner` matches is matched by the pattern.

    A star of `inner` counts as a letter: only a star of the pattern takes it.
    """
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), inner) is not None


def _few(entries: Sequence[str], name: str) -> Sequence[str]:
    if len(entries) > MOST_ENTRIES:
        raise refuse("invalid_value", f"{name} may have {MOST_ENTRIES} entries.")
    return entries
