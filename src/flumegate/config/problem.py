"""What is wrong with a configuration, and where: the one form in which all of this room's checks report."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import NamedTuple

from pydantic_core import PydanticCustomError

Path = tuple[str | int, ...]
"""Where a value stands in the document: keys and list indexes from the top."""


class Mark(NamedTuple):
    """Where a value was written."""

    file: str
    """A path, or `$NAME` for an environment variable."""
    line: int = 0
    """From 1; 0 = the source has no lines."""
    column: int = 0


class Problem(NamedTuple):
    """One error or warning, located."""

    file: str
    line: int
    column: int
    path: str
    """`providers.groq.timeouts.conect`; empty where the whole document is meant."""
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return ": ".join(part for part in (place, self.path, self.message) if part)


class ConfigInvalid(Exception):  # noqa: N818 - reads as what it says: the configuration is invalid
    """The configuration cannot be used.

    Attributes:
        problems: every error found, in the order of their positions.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = sorted(problems, key=lambda problem: (problem.file.startswith("$"), problem))
        super().__init__("\n".join(str(problem) for problem in self.problems))


def dotted(path: Path) -> str:
    """Return a path as text: `models.smart.targets[0].use`; keys that hold a dot or a space are quoted."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            name = f'"{part}"' if not part or set(part) & set(". []\"'") else part
            text += f".{name}" if text else name
    return text


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean "x"?` for the known name nearest to this one, or nothing if none is near."""
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f'; did you mean "{found[0]}"?' if found else ""


def wrong(message: str) -> PydanticCustomError:
    """Return the exception by which a check of one value tells the user what is wrong with it."""
    return PydanticCustomError("flumegate", "{message}", {"message": message})
