"""A careful look into JSON that nobody has checked: every function takes any value and answers with one of one type.

Absent, null and wrongly typed all read as "nothing", because a fake provider has no reason to be stricter than this.
"""

from __future__ import annotations

from collections.abc import Iterator

Json = dict[str, object]


def mapping(value: object) -> Json:
    """Return the value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def items(value: object) -> list[object]:
    """Return the value if it is an array, else an empty one."""
    return value if isinstance(value, list) else []


def text(value: object) -> str:
    """Return the value if it is a string, else an empty one."""
    return value if isinstance(value, str) else ""


def count(value: object) -> int | None:
    """Return the value if it is a whole number of at least 0, else None."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def either(value: Json, *names: str) -> object:
    """Return the first field that is present under one of these names; Gemini clients write two spellings."""
    return next((value[name] for name in names if name in value), None)


def texts(content: object) -> Iterator[str]:
    """Yield every text in a message's content: a string, parts with `text`, and what tool results hold in them."""
    if isinstance(content, str):
        yield content
        return
    for part in items(content):
        if isinstance(part, str):
            yield part
            continue
        fields = mapping(part)
        yield from texts(text(fields.get("text")) or fields.get("content") or fields.get("output") or [])
