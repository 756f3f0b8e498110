"""What a model at a provider can do, and what it costs. A model that nobody knows can do anything, as far as we know.

A server's row says least, the model's row more, what the operator says most.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

from flumegate.catalog.load import Price, Row, canonical, load, read_facts
from flumegate.ir.written import Abilities

REMEMBERED = 1_024
"""Answers that are kept: clients may ask for names without end."""


def lookup(server: str, model: str, overrides: Mapping[str, object] | None = None) -> Abilities:
    """Return what a model takes at a type of provider (`openai`, `mistral`, …), as far as it is known.

    Args:
        server: the provider's type.
        model: the name that goes onto the wire, as the provider calls it.
        overrides: facts by name that the operator knows better.

    Raises:
        CatalogError: an override is of no known name or of the wrong type.
    """
    known = _lookup(server, model)
    if not overrides:
        return known
    facts = {name: getattr(known, name) for name in known.__struct_fields__}
    return Abilities(**{**facts, **read_facts(dict(overrides), "overrides")})


def price(server: str, model: str) -> Price | None:
    """Return what a model costs; None = not known, as at any provider but the model's own vendor."""
    row = find(model)
    return row.price if row is not None and row.vendor == server else None


@functools.lru_cache(maxsize=REMEMBERED)
def _lookup(server: str, model: str) -> Abilities:
    row = find(model)
    facts = load().servers.get(server, {}) | (row.facts if row is not None else {})
    return Abilities(model=model, server=server, **facts)  # type: ignore[arg-type] # read_facts has proven the types


@functools.lru_cache(maxsize=REMEMBERED)
def find(model: str) -> Row | None:
    """Return the row whose pattern fits a name best; None = there is none."""
    catalog = load()
    name = model.lower().rpartition("/")[2]
    prefix: str | None = ""
    while prefix is not None:
        name = name.removeprefix(prefix)
        prefix = next((known for known in catalog.prefixes if name.startswith(known)), None)
    name = canonical(name)
    exact = catalog.exact.get(name)
    if exact is not None:
        return exact
    for beginning, end, row in catalog.patterns:
        if name.startswith(beginning) and name.endswith(end) and len(name) >= len(beginning) + len(end):
            return row
    return None
