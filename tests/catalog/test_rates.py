"""What requests cost, counted by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flumegate.catalog.load import LongRates, Price, load
from flumegate.catalog.rates import bill, blended, cost_micros, flat
from flumegate.ir.usage import Usage
from rig import cuts

PLAIN = Price(input=3_000_000, output=15_000_000, cached_input=300_000)
WRITTEN = Price(input=3_000_000, output=15_000_000, cached_input=300_000, cache_write=3_750_000)
HOURLY = Price(input=3_000_000, output=0, cached_input=300_000, cache_write=3_750_000, cache_write_1h=6_000_000)
TIERED = Price(
    input=2_000_000,
    output=10_000_000,
    cached_input=200_000,
    long=LongRates(above_tokens=1_000, input=4_000_000, output=20_000_000, cached_input=400_000),
)


@pytest.mark.parametrize(
    ("price", "tokens", "cost"),
    [
        (PLAIN, (0, 0, 0), 0),
        (PLAIN, (1_000, 0, 0), 3_000),
        (PLAIN, (1_000, 100, 0), 4_500),
        (PLAIN, (1_000, 100, 400), 1_800 + 120 + 1_500),
        (PLAIN, (1_000, 0, 1_000), 300),
        (PLAIN, (1_000, 0, 9_000), 300),
        (PLAIN, (1_000_000, 1_000_000, 0), 18_000_000),
        (TIERED, (1_000, 10, 0), 2_100),
        (TIERED, (1_001, 10, 0), 4_004 + 200),
        (TIERED, (2_000, 10, 1_000), 4_000 + 400 + 200),
        (Price(input=1), (1, 0, 0), 1),
        (Price(input=100_000), (7, 0, 0), 1),
        (Price(input=100_000), (11, 0, 0), 2),
        (Price(input=1_000_000), (10, 0, 10), 10),
    ],
)
def test_a_cost_is_that_of_its_tokens(price: Price, tokens: tuple[int, int, int], cost: int) -> None:
    """Hits of the cache at their own rate, all of a long request at the long rates, fractions rounded up."""
    assert cost_micros(price, *tokens) == cost


@pytest.mark.parametrize(
    ("price", "tokens"),
    [
        (Price(), (1, 0)),
        (Price(input=1), (0, 1)),
        (Price(output=1), (1, 1)),
        (Price(input=1), (1, 1)),
        (Price(output=1), (5, 0, 5)),
        (Price(input=1, output=1, long=LongRates(above_tokens=5, input=1)), (6, 1)),
    ],
)
def test_what_is_not_known_is_not_free(price: Price, tokens: tuple[int, ...]) -> None:
    """A rate that is needed and missing makes the whole cost unknown."""
    assert cost_micros(price, *tokens) is None


def test_a_rate_that_is_not_needed_may_be_missing() -> None:
    """An embedding has no output, so nobody states what its output costs."""
    assert cost_micros(Price(input=20_000), 50_000, 0) == 1_000


@pytest.mark.parametrize(
    ("price", "usage", "cost"),
    [
        (PLAIN, Usage(), 0),
        (PLAIN, Usage(1_000, 100), 4_500),
        (PLAIN, Usage(1_000, 100, 400), 1_800 + 120 + 1_500),
        (PLAIN, Usage(1_000, 100, 400, 200), 1_200 + 120 + 600 + 1_500),
        (WRITTEN, Usage(1_000, 0, 400, 200), 1_200 + 120 + 750),
        (WRITTEN, Usage(1_000, 0, 800, 900), 240 + 750),
        (WRITTEN, Usage(1_000, 0, 400, 200, None, 40), 1_200 + 120 + 750),
        (PLAIN, Usage(1_000, 0, 400, 200, None, 40), 1_200 + 120 + 600),
        (HOURLY, Usage(1_000, 0, 400, 200), 1_200 + 120 + 750),
        (HOURLY, Usage(1_000, 0, 400, 200, None, 40), 1_200 + 120 + 600 + 240),
        (HOURLY, Usage(1_000, 0, 400, 200, None, 200), 1_200 + 120 + 1_200),
        (HOURLY, Usage(1_000, 0, 400, 200, None, 2**64), 1_200 + 120 + 1_200),
        (HOURLY, Usage(1_000, 0, 400, 200, None, -9), 1_200 + 120 + 750),
        (HOURLY, Usage(1_000, 0, 400, None, None, 40), 1_800 + 120),
        (TIERED, Usage(1_000, 10), 2_100),
        (TIERED, Usage(2_000, 10, 1_000), 4_000 + 400 + 200),
        (Price(input=1), Usage(1, 1), None),
        (Price(output=1), Usage(9, 1, 9), None),
        (Price(input=20_000), Usage(50_000), 1_000),
    ],
)
def test_a_bill_is_by_what_was_used(price: Price, usage: Usage, cost: int | None) -> None:
    """What the cache knew and what was written to it are parts of the input, each at its own rate."""
    assert bill(price, usage) == cost


@cuts.law
@given(st.integers(0, 10**7), st.integers(0, 10**6), st.integers(0, 10**7))
def test_a_bill_and_an_estimate_agree(input_tokens: int, output_tokens: int, cached: int) -> None:
    """Where nothing is written to a cache; and a price that is flat needs nothing else for that."""
    for price in (PLAIN, TIERED, WRITTEN):
        usage = Usage(input_tokens, output_tokens, cached)
        assert bill(price, usage) == cost_micros(price, input_tokens, output_tokens, cached)
        rates = flat(price)
        assert (rates is None) == (price is TIERED)
        if rates is not None:
            whole = -(-(input_tokens * rates[0] + output_tokens * rates[1]) // 1_000_000)
            assert whole == cost_micros(price, input_tokens, output_tokens)


@pytest.mark.parametrize("price", [Price(), Price(input=1), Price(output=1)])
def test_a_price_with_a_gap_is_not_flat(price: Price) -> None:
    """Nobody reckons with half of it."""
    assert flat(price) is None


@cuts.law
@given(st.integers(0, 10**7), st.integers(0, 10**6), st.integers(0, 10**7))
def test_more_tokens_never_cost_less(input_tokens: int, output_tokens: int, cached: int) -> None:
    """For every price of the catalogue: more output costs at least as much, and a hit at most what a miss does."""
    for row in load().rows.values():
        if row.price is None:
            continue
        whole = cost_micros(row.price, input_tokens, output_tokens)
        more = cost_micros(row.price, input_tokens, output_tokens + 1)
        hit = cost_micros(row.price, input_tokens, output_tokens, cached)
        assert whole is None or hit is None or hit <= whole
        assert whole is None or more is None or whole <= more


def test_a_request_is_priced_where_the_vendor_sells_it() -> None:
    """Only at the vendor's own API are prices known; another provider's are its own."""
    assert blended("anthropic", "claude-3-haiku-20240307", 1_000, 1_000) == 250 + 1_250
    assert blended("bedrock", "anthropic.claude-3-haiku-20240307-v1:0", 1_000, 1_000) is None
    assert blended("openai", "nobody-knows-this", 1_000, 1_000) is None
