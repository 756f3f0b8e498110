"""The catalogue's file, read and checked: servers' rows, models' rows with what they inherit, and patterns of names."""

from __future__ import annotations

import datetime as dt
import functools
import importlib.resources
import tomllib
from typing import NamedTuple, TypeVar

import msgspec

from flumegate.ir.written import Abilities

_Kind = TypeVar("_Kind")
_NOT_FACTS = ("model", "server")
FACTS: tuple[str, ...] = tuple(name for name in Abilities.__struct_fields__ if name not in _NOT_FACTS)
"""Names of the abilities that rows and overrides may state."""


class CatalogError(ValueError):
    """The catalogue, or what somebody wants to change in it, contradicts itself; the message says where."""


class Rates(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Micro-dollars per million tokens; None = not known. Reasoning counts as output."""

    input: int | None = None
    output: int | None = None
    cached_input: int | None = None
    cache_write: int | None = None
    """At the provider's usual time to live (Anthropic: five minutes)."""
    cache_write_1h: int | None = None


class LongRates(Rates, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What all tokens of a request cost whose input is long."""

    above_tokens: int


class Price(Rates, frozen=True, forbid_unknown_fields=True):
    """What a model costs at its vendor's own API."""

    long: LongRates | None = None


class _Server(msgspec.Struct, frozen=True):
    type: str


class _Model(msgspec.Struct, frozen=True):
    name: str
    match: tuple[str, ...]
    like: str = ""
    vendor: str = ""
    price: Price | None = None


class Row(NamedTuple):
    """A model's row, with what it inherits."""

    name: str
    vendor: str
    facts: dict[str, object]
    price: Price | None
    """Its own: prices are not inherited."""


class Catalog(NamedTuple):
    """The whole file."""

    checked: dt.date
    """When its facts were last compared with the vendors' documentation."""
    prefixes: tuple[str, ...]
    servers: dict[str, dict[str, object]]
    rows: dict[str, Row]
    exact: dict[str, Row]
    patterns: tuple[tuple[str, str, Row], ...]
    """Beginning and end of names, the longest first."""


@functools.cache
def load() -> Catalog:
    """Return the catalogue that comes with the program."""
    return read((importlib.resources.files(__package__) / "models.toml").read_text("utf-8"))


def read(text: str) -> Catalog:
    """Return a catalogue.

    Raises:
        CatalogError: a fact is of no known name or of the wrong type, a row inherits from none or from itself, or a
            name or pattern stands there twice.
    """
    document = tomllib.loads(text)
    servers: dict[str, dict[str, object]] = {}
    for entry in document["server"]:
        server = _convert(entry, _Server, "server")
        if server.type in servers:
            raise CatalogError(f"server {server.type}: it stands there twice")
        servers[server.type] = read_facts(_without(entry, _Server), f"server {server.type}")
    rows: dict[str, Row] = {}
    exact: dict[str, Row] = {}
    patterns: dict[tuple[str, str], Row] = {}
    for entry in document["model"]:
        model = _convert(entry, _Model, f"model {entry.get('name')}")
        row = _read_row(model, _without(entry, _Model), rows)
        rows[row.name] = row
        for pattern in model.match:
            _place(pattern, row, exact, patterns)
    ordered = sorted(patterns.items(), key=lambda item: -len(item[0][0] + item[0][1]))
    return Catalog(
        document["checked"],
        tuple(document["prefixes"]),
        servers,
        rows,
        exact,
        tuple((beginning, end, row) for (beginning, end), row in ordered),
    )


def read_facts(entry: dict[str, object], place: str) -> dict[str, object]:
    """Return facts of the right types, ready for `Abilities`.

    Raises:
        CatalogError: one is of no known name or of the wrong type.
    """
    unknown = sorted(set(entry) - set(FACTS))
    if unknown:
        raise CatalogError(f"{place}: no fact is called {unknown[0][:80]!r}")
    known = _convert({"model": "", **entry}, Abilities, place)
    return {name: getattr(known, name) for name in entry}


def canonical(name: str) -> str:
    """Return a name, or a pattern, as it is compared: lower case, `-` for `.`."""
    return name.lower().replace(".", "-")


def _read_row(model: _Model, stated: dict[str, object], rows: dict[str, Row]) -> Row:
    place = f"model {model.name}"
    if model.name in rows:
        raise CatalogError(f"{place}: it stands there twice")
    parent = rows.get(model.like)
    if model.like and parent is None:
        raise CatalogError(f"{place}: there is no row {model.like!r} before it")
    inherited = parent.facts if parent is not None else {}
    vendor = model.vendor or (parent.vendor if parent is not None else "")
    return Row(model.name, vendor, inherited | read_facts(stated, place), model.price)


def _place(pattern: str, row: Row, exact: dict[str, Row], patterns: dict[tuple[str, str], Row]) -> None:
    beginning, star, end = canonical(pattern).partition("*")
    if "*" in end:
        raise CatalogError(f"model {row.name}: {pattern!r} has more than one star")
    if (beginning, end) in patterns if star else beginning in exact:
        raise CatalogError(f"model {row.name}: {pattern!r} stands there twice")
    if star:
        patterns[beginning, end] = row
    else:
        exact[beginning] = row


def _without(entry: dict[str, object], kind: type[msgspec.Struct]) -> dict[str, object]:
    return {name: value for name, value in entry.items() if name not in kind.__struct_fields__}


def _convert(entry: dict[str, object], kind: type[_Kind], place: str) -> _Kind:
    try:
        return msgspec.convert(entry, kind)
    except msgspec.ValidationError as error:
        raise CatalogError(f"{place}: {error}") from None
