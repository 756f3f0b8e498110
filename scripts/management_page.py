# ruff: noqa: INP001 - a script's part, not a package
"""Writes docs/management-api.md from the OpenAPI description of the console."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from flumegate.console.application import compose
from flumegate.console.permission import PERMISSIONS

_HEAD = """
# The management API

JSON over HTTP on the console's address (`data/console.url`), with `Authorization: Bearer` and a token of the console.
What it means: [keys, projects and budgets](keys.md), [operating](console.md), [security](security.md).
`GET /manage/openapi.json` is this page for programs.

* **Refusals** have one shape and a stable code: [errors](errors.md#of-the-console).
* **Lists** are pages, newest first: `limit` (20, at most 100) and `cursor`, which is `next` of the page before.
* **Changes** of a project, a key or a budget, removal and rotation too, may say what version they have seen: `If-Match`
  with the `ETag` of a GET, or the `version` that a list shows. Another version is 409 `version_conflict`, with the one
  that there is now.
* **A POST with an `Idempotency-Key`** that is sent again within a day is answered again and done once; with another
  body it is 422. `setup`, `explain` and `targets` take none.
* `X-Request-ID` and `X-Correlation-ID` are taken, sent back and written into the audit trail.
* Money is millionths of a dollar (`micros`), times are ISO 8601 with a zone.

## Who may do what
"""


def page(notice: str) -> str:
    """Return the page."""
    described = compose().openapi()
    lines = [f"<!-- {notice} -->", _HEAD.rstrip(), ""]
    names = sorted({permission.name for granted in PERMISSIONS.values() for permission in granted})
    lines += [f"| permission | {' | '.join(PERMISSIONS)} |", f"|---|{'---|' * len(PERMISSIONS)}"]
    for name in names:
        marks = ["yes" if any(each.name == name for each in granted) else "" for granted in PERMISSIONS.values()]
        lines.append(f"| `{name}` | {' | '.join(marks)} |")
    lines += ["", "`set_up` is for whoever has the setup token, and nobody else.", ""]
    operations = sorted(_operations(described), key=lambda row: row[0])
    for room, rows in groupby(operations, key=lambda row: row[0]):
        lines += [f"## {room}", "", "| endpoint | permission | what |", "|---|---|---|"]
        lines += [f"| `{method} {path}` | `{permission}` | {what} |" for _, path, method, permission, what in rows]
        lines.append("")
    lines += ["# Bodies", ""]
    for name, schema in sorted(described["components"]["schemas"].items()):
        if name.endswith("Body"):
            lines += _body(name, schema)
    return "\n".join(lines)


def _operations(described: dict[str, Any]) -> Iterator[tuple[str, str, str, str, str]]:
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            what = operation.get("description", "").split("\n")[0]
            yield path.split("/")[2].split(".")[0], path, method.upper(), operation["x-permission"], what


def _body(name: str, schema: dict[str, Any]) -> list[str]:
    lines = [
        f"## {name}",
        "",
        schema.get("description", "").split("\n")[0],
        "",
        "| field | type | what |",
        "|---|---|---|",
    ]
    wanted = set(schema.get("required", ()))
    for field, told in schema.get("properties", {}).items():
        mark = " (needed)" if field in wanted else ""
        lines.append(f"| `{field}`{mark} | {_type(told)} | {told.get('description', '')} |")
    return [*lines, ""]


def _type(told: dict[str, Any]) -> str:
    if "anyOf" in told:
        return " or ".join(_type(each) for each in told["anyOf"])
    if "$ref" in told:
        return str(told["$ref"]).rpartition("/")[2]
    if "enum" in told:
        return " or ".join(f"`{value}`" for value in told["enum"])
    if told.get("type") == "array":
        return f"list of {_type(told['items'])}"
    return str(told.get("format") or told.get("type") or "any")
