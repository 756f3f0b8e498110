"""How the command line finds the console: options, else the environment, else what the gateway left in its folder.

Reads files and an environment that it is handed; it loads nothing of the configuration itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

URL_VARIABLE = "FLUMEGATE_ADMIN_URL"
TOKEN_VARIABLE = "FLUMEGATE_ADMIN_TOKEN"  # noqa: S105 - the variable's name
URL_NAME = "console.url"
TOKEN_NAME = "admin.token"  # noqa: S105 - the file's name


class NotFoundError(Exception):
    """There is no console to be found; the message says where it was looked for and what to do."""


class Operator(NamedTuple):
    """Where the console is, and what opens it."""

    url: str
    """Without a slash at the end."""
    token: str

    def __repr__(self) -> str:
        return f"Operator({self.url!r})"  # never the token: tracebacks show this


def find(*, url: str | None, token: str | None, folder: Path, environ: Mapping[str, str]) -> Operator:
    """Return where the console is, and its token.

    Args:
        url: as given on the command line.
        token: likewise.
        folder: the gateway's data folder.
        environ: the environment.

    Raises:
        NotFoundError: one of them is nowhere.
    """
    found = url or environ.get(URL_VARIABLE) or _read(folder / URL_NAME)
    if found is None:
        raise NotFoundError(
            f"no gateway with an open console keeps its data in {folder}: start it, or name its folder with "
            f"--data-dir, or its console with --url or {URL_VARIABLE}"
        )
    secret = token or environ.get(TOKEN_VARIABLE) or _read(folder / TOKEN_NAME)
    if secret is None:
        raise NotFoundError(
            f"there is no {folder / TOKEN_NAME}: name the gateway's folder with --data-dir, or give the token "
            f"with --token or {TOKEN_VARIABLE}"
        )
    return Operator(found.strip().rstrip("/"), secret.strip())


def _read(path: Path) -> str | None:
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as problem:
        raise NotFoundError(f"{path}: cannot be read ({problem}): are you the user that runs the gateway?") from problem
