"""What a request costs, or will cost by an estimate, in whole micro-dollars.

What is not known is None, never 0: who cannot be priced is not the cheapest. A cost is rounded up, so that what costs
something never looks free.
"""

from __future__ import annotations

from flumegate.catalog.load import Price, Rates
from flumegate.catalog.lookup import price
from flumegate.ir.usage import Usage

_MILLION = 1_000_000
FREE = Price(input=0, output=0)
"""Of questions for a number of tokens: no vendor takes anything for them."""


def cost_micros(price: Price, input_tokens: int, output_tokens: int, cached_tokens: int = 0) -> int | None:
    """Return what a request costs in micro-dollars; None = a rate that it needs is not known.

    Args:
        price: of the model.
        input_tokens: all of the input, that from the cache among it.
        output_tokens: reasoning among them.
        cached_tokens: those of the input that the provider's cache knew.
    """
    rates: Rates = price
    if price.long is not None and input_tokens > price.long.above_tokens:
        rates = price.long
    total = 0
    cached = min(cached_tokens, input_tokens)
    if cached > 0:
        # Where no other rate is stated, a hit costs what input costs: providers without a cache report no hits.
        rate = rates.input if rates.cached_input is None else rates.cached_input
        if rate is None:
            return None
        total = cached * rate
        input_tokens -= cached
    if input_tokens > 0:
        if rates.input is None:
            return None
        total += input_tokens * rates.input
    if output_tokens > 0:
        if rates.output is None:
            return None
        total += output_tokens * rates.output
    return -(-total // _MILLION)


def flat(price: Price) -> tuple[int, int] | None:
    """Return what a million tokens of input and of output cost, in micro-dollars, where that is all there is to it."""
    if price.long is not None or price.input is None or price.output is None:
        return None
    return price.input, price.output


def bill(price: Price, usage: Usage) -> int | None:
    """Return what a request cost in micro-dollars by its usage; None = a rate that it needs is not known.

    Usage counts the cache's tokens among the input, and reasoning among the output. What was written to the cache costs
    what input costs where the provider states no rate of its own for that, and for an hour what it costs usually.
    """
    input_tokens, output_tokens = usage.input_tokens or 0, usage.output_tokens or 0
    rates: Rates = price
    into, out = price.input, price.output
    # Most bills are this one, which the loop below takes three times as long for.
    if not (usage.cached_tokens or usage.cache_write_tokens or price.long or into is None or out is None):
        return -(-(input_tokens * into + output_tokens * out) // _MILLION)
    if price.long is not None and input_tokens > price.long.above_tokens:
        rates = price.long
    read = min(usage.cached_tokens or 0, input_tokens)
    written = min(usage.cache_write_tokens or 0, input_tokens - read)
    lasting = min(max(usage.cache_write_1h_tokens or 0, 0), written)
    write = rates.input if rates.cache_write is None else rates.cache_write
    total = 0
    for tokens, rate in (
        (input_tokens - read - written, rates.input),
        (read, rates.input if rates.cached_input is None else rates.cached_input),
        (written - lasting, write),
        (lasting, write if rates.cache_write_1h is None else rates.cache_write_1h),
        (output_tokens, rates.output),
    ):
        if not tokens:
            continue
        if rate is None:
            return None
        total += tokens * rate
    return -(-total // _MILLION)


def blended(server: str, model: str, input_tokens: int, output_tokens: int) -> int | None:
    """Return what a request will cost at a type of provider, in micro-dollars; None = not known."""
    known = price(server, model)
    return None if known is None else cost_micros(known, input_tokens, output_tokens)
