"""From a document to a Config, and to located errors in our own words."""

from __future__ import annotations

import copy
from collections.abc import Mapping

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from flumegate.config.document import Document
from flumegate.config.problem import Mark, Path, Problem, dotted, nearest
from flumegate.config.sections import Config
from flumegate.config.settings import section_at

_SHORT_FORMS: frozenset[Path] = frozenset((("targets",), ("targets", 0), ("targets", 0, "use"), ("use",)))
"""What `provider/model` says of a route or of a target; the rest of it is at its default."""


def validate(document: Document, environ: Mapping[str, str], source: str) -> tuple[Config, list[Problem]]:
    """Return the configuration that a document describes, its secrets resolved, and what is wrong with it.

    Where something is wrong, the configuration is what remains without the faulty parts, so that the checks which
    compare values can report their findings in the same run.
    """
    problems: list[Problem] = []
    tree = copy.deepcopy(document.tree)
    # Each round removes at least one part; the empty document is valid.
    while True:
        try:
            return Config.model_validate(tree, context={"environ": environ}), problems
        except ValidationError as error:
            found = error.errors(include_url=False, include_input=True)
        for detail in found:
            problem = _problem(document, detail, source)
            if problem not in problems:
                problems.append(problem)
        for detail in reversed(found):
            _remove(tree, _path_of(detail))


def locate(document: Document, path: Path, message: str, source: str = "", *, at_key: bool = False) -> Problem:
    """Return a problem with the value (or, `at_key`, the key) at a path, located where it or its nearest parent is."""
    path = _as_written(document, path)
    marks = (document.keys, document.values) if at_key else (document.values, document.keys)
    for end in range(len(path), -1, -1):
        for mark in (kind.get(path[:end]) for kind in marks):
            if mark is not None:
                return Problem(mark.file, mark.line, mark.column, dotted(path), message)
    return Problem(source or "configuration", 0, 0, dotted(path), message)


def origin(document: Document, path: Path) -> Mark | None:
    """Return where a setting's value comes from; None = its default."""
    tree = document.tree
    for end, part in enumerate(path):
        if not isinstance(tree, dict | list):
            return document.values.get(path[:end]) if path[end:] in _SHORT_FORMS else None
        if not _has(tree, part):
            return None
        tree = tree[part]  # type: ignore[index] # _has has tried it
    for end in range(len(path), 0, -1):
        if path[:end] in document.values:
            return document.values[path[:end]]
    return None


def _problem(document: Document, detail: ErrorDetails, source: str) -> Problem:
    path = _path_of(detail)
    at_key = "[key]" in detail["loc"] or detail["type"] in {"extra_forbidden", "missing"}
    message = _message(detail, path)
    return locate(document, path, message, source, at_key=at_key)


def _path_of(detail: ErrorDetails) -> Path:
    return tuple(part for part in detail["loc"] if part != "[key]")


def _remove(tree: object, path: Path) -> None:
    """Take the faulty part out of a document: the innermost mapping entry on the way to it."""
    holder: dict[str, object] | None = None
    name = ""
    for part in path:
        if isinstance(tree, dict) and part in tree:
            holder, name = tree, str(part)
            tree = tree[part]
        elif isinstance(tree, list) and isinstance(part, int) and part < len(tree):
            tree = tree[part]
        else:
            break
    if holder is not None:
        holder.pop(name, None)


def _as_written(document: Document, path: Path) -> Path:
    """Cut a path where the document stops being a mapping or list: the short form of a route has no inside."""
    tree = document.tree
    for end, part in enumerate(path):
        if not isinstance(tree, dict | list):
            return path if tree is None else path[:end]
        if not _has(tree, part):
            return path
        tree = tree[part]  # type: ignore[index] # _has has tried it
    return path


def _has(tree: dict[str, object] | list[object], part: str | int) -> bool:
    if isinstance(tree, dict):
        return part in tree
    return isinstance(part, int) and part < len(tree)


_WANTED = {
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a number; write null for no limit",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be text; put it in quotes",
    "list_type": "must be a list, as in [a, b]",
    "dict_type": "must be a mapping of names to values",
    "model_type": "must be a mapping of settings",
    "path_type": "must be a path",
    "greater_than": "must be more than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be less than {lt:g}",
    "less_than_equal": "must be at most {le:g}",
    "missing": "is required; add it",
}


def _message(detail: ErrorDetails, path: Path) -> str:
    kind = detail["type"]
    context = detail.get("ctx", {})
    if kind == "extra_forbidden":
        section = section_at(path[:-1])
        known = section.model_fields if section else ()
        near = nearest(str(path[-1]), known)
        return f"unknown setting{near}" if near else f"unknown setting; known here: {', '.join(known)}"
    if kind == "literal_error":
        value = detail.get("input")
        expected = str(context.get("expected", "")).replace("'", "")
        near = nearest(value, expected.replace(" or ", ", ").split(", ")) if isinstance(value, str) else ""
        return f"must be {expected}{near}"
    wanted = _WANTED.get(kind)
    return wanted.format(**context) if wanted else detail["msg"]


def mark_text(mark: Mark | None) -> str:
    """Return where a value comes from in words: `flumegate.yaml:3:5`, `$GROQ_API_KEY`, `default`."""
    if mark is None:
        return "default"
    return f"{mark.file}:{mark.line}:{mark.column}" if mark.line else mark.file
