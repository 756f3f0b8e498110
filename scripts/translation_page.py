# ruff: noqa: INP001 - a script, not a package
"""docs/translation.md: what translation is, and the table of losses as the golden files show it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

TARGETS = {
    "openai": ("chat at OpenAI", "chat"),
    "compatible": ("chat at a compatible server", "chat"),
    "responses": ("Responses", "responses"),
    "messages": ("Anthropic Messages", "messages"),
    "ollama_chat": ("Ollama", "ollama_chat"),
    "gemini": ("Gemini", "gemini"),
}
"""Name in the golden files -> title and dialect."""
FATES = ("kept", "approximated", "invented", "dropped", "refused")


def page(root: Path, notice: str) -> str:
    """Return the page's text."""
    rows = _rows(root / "tests" / "golden" / "expected")
    settings = [row for row in rows if row.startswith("`") and row.endswith("`")]
    unsaid = [row for row in rows if row.startswith("(not said)")]
    content = [row for row in rows if row not in settings and row not in unsaid]
    lines = [f"<!-- {notice} -->", "", _HEAD.strip(), ""]
    lines += ["### Content", "", *_table(rows, content), ""]
    lines += ["### Settings", "", _SETTINGS.strip(), "", *_table(rows, settings), ""]
    lines += ["### Added though nobody said it", "", _UNSAID.strip(), "", *_table(rows, unsaid), ""]
    return "\n".join([*lines, _TAIL.strip(), ""])


def _rows(folder: Path) -> dict[str, dict[str, set[str]]]:
    """Return row -> target -> fates, over every golden request that was asked in another dialect."""
    rows: dict[str, dict[str, set[str]]] = {}
    for file in sorted(folder.glob("*/*-to-*.json")):
        client, _, target = file.stem.partition("-to-")
        if target not in TARGETS or TARGETS[target][1] == client:
            continue
        for row, kinds in json.loads(file.read_bytes()).get("fates", {}).items():
            rows.setdefault(row, {}).setdefault(target, set()).update(kinds)
    return rows


def _table(rows: dict[str, dict[str, set[str]]], names: Iterable[str]) -> list[str]:
    titles = [title for title, _ in TARGETS.values()]
    lines = [f"| said | {' | '.join(titles)} |", f"|---|{'---|' * len(titles)}"]
    for name in sorted(names):
        cells = (_cell(rows[name].get(target, set())) for target in TARGETS)
        lines.append(f"| {name.removeprefix('(not said) ')} | {' | '.join(cells)} |")
    return lines


def _cell(kinds: set[str]) -> str:
    return ", ".join(fate for fate in FATES if fate in kinds) or "-"


_HEAD = """
# Translation

A client that speaks one API dialect can use a model whose provider speaks another. If both speak the same one, nothing
is translated: the bytes pass through. Otherwise the request is read into a neutral form, written in the provider's
dialect, and the answer, whole or streamed, comes back the same way, errors included. No vendor's API stands in the
middle, so nothing is lost that both sides can say.

`x-flumegate-lane: translated` marks such an answer. It bears the model name that the client asked for.

## What cannot be said

No dialect can say everything, and nothing is left out in silence. Each difference has one of four kinds:

* **approximated**: said less exactly, as a level of effort that the model has in place of one that it has not;
* **invented**: the provider demands it and the client had not said it;
* **dropped**: a hint or a knob was left out;
* **refused**: without it the request would mean something else. Nothing is sent; the client gets a 400 that names the
  place.

Content is refused, knobs are dropped. What was approximated, invented or dropped is named in the header
`x-flumegate-losses` (`dropped:seed`, separated by commas) and in the record. On a route with `translation: strict`
every loss is a 400.

Opaque state of a provider (signatures, encrypted reasoning) travels through clients of every dialect, and goes back
only to the provider that made it. After a change of provider it is dropped, once, as `dropped:reasoning`.

## The table of losses

It is counted from the golden files in `tests/golden`, which hold what every dialect's requests become at every kind
of provider. `kept` = it arrives as it was said. Several words in one cell: it depends on the value, on what stands
beside it, or on the model. `-` = only clients of this very dialect say it.
"""
_SETTINGS = """
The names are those of the neutral form, which losses bear as well.
"""
_UNSAID = """
What a provider demands, or what keeps a long answer from being cut:
"""
_TAIL = """
What a model takes beyond its provider's dialect (sampling, efforts, images, a first word of the answer) comes from the
catalogue of models; the table is made with a current model of each provider.

## Earlier responses

With `records.content: full` the gateway remembers the responses that it translated: `previous_response_id` continues
one, whole or streamed, also with a model of another provider, and `GET` and `DELETE /v1/responses/{id}` and
`GET /v1/responses/{id}/input_items` serve it to the key that made it. Such answers say `"store": true`; with
`store: false` nothing can be come back to. Otherwise answers say `"store": false`, and what would need the store is a
400 (`responses_not_stored`). `conversation`, `background` and `item_reference` are refused.
"""
