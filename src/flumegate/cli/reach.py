"""The options that every command of a running gateway has: where its console is, and in which form to answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from cyclopts import Parameter

from flumegate.cli import operator
from flumegate.config.operator import Operator

T = TypeVar("T")


@Parameter(name="*")
@dataclass(frozen=True)
class Reach:
    """Where the console is."""

    json: bool = False
    """Print JSON."""
    url: str | None = None
    """Address of the console; else $FLUMEGATE_ADMIN_URL, else what the data folder says."""
    token: str | None = None
    """Its token; else $FLUMEGATE_ADMIN_TOKEN, else the one in the data folder."""
    data_dir: Path = Path("data")
    """Folder that the gateway writes to."""

    def ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """Return the console's answer to one question.

        Raises:
            CommandError: there is none, or it is a refusal.
        """
        return operator.ask(self.operator(), method, path, body)

    def operator(self) -> Operator:
        """Return the console's address and token.

        Raises:
            CommandError: it is nowhere.
        """
        return operator.locate(self.url, self.token, self.data_dir)

    def every(self, path: str, name: str, most: int) -> Iterator[dict[str, Any]]:
        """Yield the entries of a list, page by page, at most so many.

        Raises:
            CommandError: the console does not answer, or refuses.
        """
        cursor = ""
        while most > 0:
            mark = "&" if "?" in path else "?"
            page = self.ask("GET", f"{path}{mark}limit={min(most, 100)}{cursor}")
            yield from page[name]
            most -= len(page[name])
            if not page["next"]:
                return
            cursor = f"&cursor={page['next']}"


OrStdin = Annotated[T, Parameter(allow_leading_hyphen=True)]
"""A value that may be `-`, for stdin or stdout."""
HERE = Reach()
"""Nothing was said: the folder `data` of where the command is run."""
