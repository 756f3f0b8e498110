from __future__ import annotations

from collections.abc import Callable

import pytest

from flumegate.config.load import Loaded

Load = Callable[..., Loaded]
Refuse = Callable[..., list[str]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('redis: {url: "http://r"}', "redis.url: must be redis://host:port/number"),
        ('redis: {url: "redis://"}', "redis.url: must be redis://host:port/number"),
        ("prices: {openai/gpt-4o: {input: -1}}", "prices.openai/gpt-4o.input: must be at least 0"),
        ("prices: {openai/gpt-4o: {inputs: 1}}", 'did you mean "input"?'),
        ('prices: {"a*b*": {input: 1}}', "names no model; write provider/model or a model, with one * at most"),
        ("auth: {keys_max_age: 0}", "auth.keys_max_age: must be at least 1"),
        ("encryption: {keys: one}", "encryption.keys: must be a list"),
    ],
)
def test_what_makes_no_sense_is_refused_in_its_place(problems: Refuse, text: str, message: str) -> None:
    """With the line, and with what would make sense."""
    (problem,) = problems(text)
    assert problem.startswith("flumegate.yaml:1:")
    assert message in problem


@pytest.mark.parametrize("url", ["redis://r", "redis://u:p@r:6379/1", "rediss://r:6380", "unix:///run/redis.sock"])
def test_redis_is_named_as_its_clients_name_it(load_text: Load, url: str) -> None:
    """A password in it is a secret: it is masked wherever the configuration is shown."""
    loaded = load_text(f'redis: {{url: "{url}"}}')
    assert loaded.config.redis.url is not None
    assert loaded.config.redis.url.reveal() == url
    assert "u:p" not in str(loaded.config.redis.url)


def test_prices_are_stated_in_dollars_per_million_tokens(load_text: Load) -> None:
    """What is not stated is not known, and not free."""
    text = 'prices: {"openai/gpt-*": {input: 2.5, output: 10, cached_input: 1.25}, local: {input: 0, output: 0}}'
    prices = load_text(text).config.prices
    assert (prices["openai/gpt-*"].input, prices["openai/gpt-*"].cache_write) == (2.5, None)
    assert prices["local"].output == 0
    assert load_text("").config.auth.keys_max_age == 3600
