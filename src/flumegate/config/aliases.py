"""Names that other gateways' files have for settings of ours: they are read as if ours stood there.

Errors name our setting at the place where the other name was written. Only the file knows them; variables have names of
their own (`environment.ALIASES`).
"""

from __future__ import annotations

from collections.abc import Mapping

from flumegate.config.document import Document
from flumegate.config.problem import Path, Problem, dotted
from flumegate.config.validation import locate

SECTIONS: tuple[tuple[Path, Path], ...] = (
    (("default_retry_config",), ("routing", "retry")),
    (("models", "<model>", "retry_config"), ("models", "<model>", "retry")),
)
"""The other name and ours, as places in the document; `<model>` is any."""
RETRY_MEMBERS: tuple[tuple[str, str], ...] = (("retry_status_codes", "on_status"), ("backoff_factor", "factor"))
"""The same within both of these, under either name."""


def spell_out(document: Document, source: str) -> list[Problem]:
    """Put our names in place of the others; return what is set under both."""
    tree = document.tree
    models = tree.get("models") if isinstance(tree, dict) else None
    names = [name for name, route in models.items() if isinstance(route, dict)] if isinstance(models, dict) else []
    (everywhere, ours), (one, its) = SECTIONS
    sections = {everywhere: ours} | {_of(one, name): _of(its, name) for name in names}
    problems = _rename(document, sections, source)
    members = {(*place, old): (*place, new) for place in sections.values() for old, new in RETRY_MEMBERS}
    return problems + _rename(document, members, source)


def _of(path: Path, model: str) -> Path:
    return tuple(model if part == "<model>" else part for part in path)


def _rename(document: Document, names: Mapping[Path, Path], source: str) -> list[Problem]:
    """Move what stands under some names to others, with the marks of where it was written."""
    problems: list[Problem] = []
    moved: dict[Path, Path] = {}
    for old, new in names.items():
        holder = _mapping(document, old[:-1], make=False)
        if holder is None or old[-1] not in holder:
            continue
        goal = _mapping(document, new[:-1], make=True)
        if goal is None:
            continue  # something that is no mapping is in the way, and reported for that
        value = holder.pop(str(old[-1]))
        if goal.get(str(new[-1])) is not None:
            message = f"is another name of {dotted(new)}, which is set too; keep one of the two"
            problems.append(locate(document, old, message, source, at_key=True))
            continue
        goal[str(new[-1])] = value
        moved[old] = new
    # In one pass: a file may hold thousands of names, each with its marks.
    for marks in (document.keys, document.values) if moved else ():
        for place in list(marks):
            for end in range(1, len(place) + 1):
                if place[:end] in moved:
                    marks[*moved[place[:end]], *place[end:]] = marks.pop(place)
                    break
    return problems


def _mapping(document: Document, path: Path, *, make: bool) -> dict[str, object] | None:
    """Return the mapping at a place, if there is one; with `make`, an empty one where there is nothing."""
    tree = document.tree
    for part in path:
        if not isinstance(tree, dict):
            return None
        if make and tree.get(str(part)) is None:
            tree[str(part)] = {}
        tree = tree.get(str(part))
    return tree if isinstance(tree, dict) else None
