"""How commands speak with the console: one question, one answer, and an exit code for each way to fail.

Exit codes: 1 the console refused, 2 the command line is wrong, 3 the token is not accepted, 4 nobody answers.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flumegate.config.operator import NotFoundError, Operator, find
from flumegate.log import visible

if TYPE_CHECKING:
    from rich.console import Console

REFUSED_EXIT = 1
USAGE_EXIT = 2
TOKEN_EXIT = 3
NETWORK_EXIT = 4
NO_CONTENT = 204
ERRORS = 400
"""The first status of a refusal."""
SECONDS = 10.0
"""A worker's two seconds, twice, and room."""
_PIPE_WIDTH = 200


class CommandError(Exception):
    """The command ends here: with this code, and this message on stderr."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def run(name: str, action: Callable[[], None]) -> int:
    """Run a command's action; return the exit code."""
    try:
        action()
    except CommandError as error:
        print(visible(f"flumegate {name}: {error}"), file=sys.stderr)
        return error.code
    return 0


def locate(url: str | None, token: str | None, folder: Path) -> Operator:
    """Return where the console is.

    Raises:
        CommandError: it is nowhere.
    """
    try:
        return find(url=url, token=token, folder=folder, environ=os.environ)
    except NotFoundError as problem:
        raise CommandError(NETWORK_EXIT, str(problem)) from problem


def ask(operator: Operator, method: str, path: str, body: object = None) -> dict[str, Any]:
    """Return the console's answer to one question; an answer without a body is {}.

    Raises:
        CommandError: there is none, or it is a refusal.
    """
    status, content = _send(operator, method, path, body)
    if status == NO_CONTENT:
        return {}
    try:
        told = json.loads(content)
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise CommandError(REFUSED_EXIT, f"what answers at {operator.url} is no console of Flumegate")
    if status < ERRORS:
        return told
    error = told.get("error")
    message = str(error.get("message")) if isinstance(error, dict) else f"status {status}"
    raise CommandError(TOKEN_EXIT if status in (401, 403) else REFUSED_EXIT, message)


def ask_lines(operator: Operator, path: str) -> list[str]:
    """Return the console's answer where that is lines.

    Raises:
        CommandError: there is none, or it is a refusal.
    """
    status, content = _send(operator, "GET", path, None)
    if status >= ERRORS:
        ask(operator, "GET", path)
    return content.decode("utf-8", "replace").splitlines()


def _send(operator: Operator, method: str, path: str, body: object) -> tuple[int, bytes]:
    import httpx2

    if not _is_address(operator.url):
        raise CommandError(USAGE_EXIT, f"{operator.url} is no address of a console: write http://127.0.0.1:4101")
    try:
        # Without the environment's proxies: the token is for the console alone.
        answer = httpx2.request(
            method,
            f"{operator.url}{path}",
            json=body,
            headers={"authorization": f"Bearer {operator.token}"},
            timeout=SECONDS,
            trust_env=False,
        )
    except (httpx2.InvalidURL, UnicodeEncodeError) as problem:
        raise CommandError(USAGE_EXIT, f"{operator.url} with that token cannot be asked ({problem})") from problem
    except httpx2.TransportError as problem:
        message = f"nobody answers at {operator.url} ({problem}): is the gateway running?"
        raise CommandError(NETWORK_EXIT, message) from problem
    return answer.status_code, answer.content


def _is_address(url: str) -> bool:
    """Tell whether it is one beyond doubt: the token goes to nobody else."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def open_page() -> Console:
    """Return where a page for people is printed: as wide as the terminal, or wide enough for a pipe."""
    from rich.console import Console

    width = shutil.get_terminal_size((_PIPE_WIDTH, 24)).columns
    return Console(highlight=False, markup=False, width=width)


def print_json(value: object) -> None:
    """Print JSON in ASCII: nothing in it can command a terminal."""
    print(json.dumps(value, indent=2).replace("\x7f", "\\u007f"))
