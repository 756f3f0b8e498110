from __future__ import annotations

import re

from flumegate.catalog.load import Price
from flumegate.config.access import ModelPrice
from flumegate.manage.compile_prices import price_rows, price_version


def test_the_most_exact_price_comes_first() -> None:
    """Workers take the first that fits: whole names before patterns, long patterns before short ones."""
    given = {"*": 1.0, "gpt-*": 2.0, "openai/gpt-*": 3.0, "gpt-4o": 4.0, "openai/gpt-4o": 5.0}
    rows = price_rows({name: ModelPrice(input=dollars) for name, dollars in given.items()})
    assert [row.pattern for row in rows] == ["openai/gpt-4o", "gpt-4o", "openai/gpt-*", "gpt-*", "*"]


def test_dollars_become_whole_micro_dollars() -> None:
    """What is not stated is not known; what is free is free."""
    (row,) = price_rows({"m": ModelPrice(input=0.15, output=0, cached_input=0.075, cache_write=18.75)})
    assert row.price == Price(input=150_000, output=0, cached_input=75_000, cache_write=18_750_000)
    (row,) = price_rows({"m": ModelPrice()})
    assert row.price == Price()


def test_prices_have_a_name_that_changes_with_them() -> None:
    """Records note it, so that a cost can be explained years later."""
    plain = price_version(())
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", plain)
    cheap, dear = (price_version(price_rows({"m": ModelPrice(input=each)})) for each in (1.0, 2.0))
    assert cheap.startswith(f"{plain}+")
    assert cheap != dear
