"""What models cost by the operator's word, and the name of all prices that are in force."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import msgspec

from flumegate.catalog.load import Price, load
from flumegate.config.access import MICROS, ModelPrice
from flumegate.snapshot import PriceRow


def price_rows(prices: Mapping[str, ModelPrice]) -> tuple[PriceRow, ...]:
    """Return the prices as workers look them up: exact names first, then the longest pattern."""
    ordered = sorted(prices.items(), key=lambda item: ("*" in item[0], -len(item[0]), item[0]))
    return tuple(
        PriceRow(
            pattern,
            Price(
                input=_micros(stated.input),
                output=_micros(stated.output),
                cached_input=_micros(stated.cached_input),
                cache_write=_micros(stated.cache_write),
            ),
        )
        for pattern, stated in ordered
    )


def price_version(rows: tuple[PriceRow, ...]) -> str:
    """Return what records note beside a cost: the date of the catalogue, and a digest of the operator's own prices."""
    date = load().checked.isoformat()
    return f"{date}+{hashlib.sha256(msgspec.msgpack.encode(rows)).hexdigest()[:8]}" if rows else date


def _micros(dollars: float | None) -> int | None:
    return None if dollars is None else round(dollars * MICROS)
