"""Pages for people: rows under headings, and the fields of one thing. Nothing in them can command a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flumegate.cli import operator


def print_rows(headings: Sequence[str], rows: Sequence[Sequence[object]], none: str) -> None:
    """Print a table, or the words for there being nothing."""
    from rich.table import Table
    from rich.text import Text

    from flumegate.log import visible

    console = operator.open_page()
    if not rows:
        console.print(none)
        return
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(Text(visible(_text(value))) for value in row))
    console.print(table)


def print_fields(told: Mapping[str, Any]) -> None:
    """Print one thing, field by field, without those that say nothing."""
    from flumegate.log import visible

    shown = {name: _text(value) for name, value in told.items() if value not in (None, "", [], {})}
    width = max(map(len, shown), default=0)
    for name, value in shown.items():
        print(visible(f"{name.replace('_', ' '):<{width}}  {value}"))


def short_time(text: str | None) -> str:
    """Return a time of the console to the second."""
    return "" if text is None else f"{text[:19].replace('T', ' ')} UTC"


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_text(each)}" for name, each in value.items() if each not in (0, None, "")) or "-"
    if isinstance(value, list):
        return ", ".join(_text(each) for each in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)
