from __future__ import annotations

from collections.abc import Callable

import pytest

from flumegate.config.aliases import spell_out
from flumegate.config.document import parse
from flumegate.config.load import Loaded

Load = Callable[..., Loaded]
Refuse = Callable[..., list[str]]

_PROVIDERS = "providers: {o: {type: ollama}}\n"


def test_the_retries_of_other_gateways_are_ours(load_text: Load) -> None:
    """For all models and for one, under their names or a mixture of theirs and ours."""
    theirs = """
default_retry_config: {max_retries: 4, retry_status_codes: [500], backoff_factor: 3, initial_delay: 2, max_delay: 5}
models: {a: {targets: [o/x], retry_config: {backoff_factor: 7}}, b: {targets: [o/x], retry: {backoff_factor: 8}}}
"""
    ours = """
routing: {retry: {max_retries: 4, on_status: [500], factor: 3, initial_delay: 2, max_delay: 5}}
models: {a: {targets: [o/x], retry: {factor: 7}}, b: {targets: [o/x], retry: {factor: 8}}}
"""
    assert load_text(_PROVIDERS + theirs).config == load_text(_PROVIDERS + ours).config
    assert load_text("default_retry_config:\n").config == load_text("").config


def test_the_environment_wins_over_them_too(load_text: Load) -> None:
    """A variable of ours sets one member; the others stay."""
    text = "default_retry_config: {max_retries: 4, backoff_factor: 3}"
    loaded = load_text(text, {"FLUMEGATE_ROUTING__RETRY__FACTOR": "2"})
    assert (loaded.config.routing.retry.max_retries, loaded.config.routing.retry.factor) == (4, 2)
    assert loaded.origin(("routing", "retry", "max_retries")).endswith("flumegate.yaml:1:37")
    assert loaded.origin(("routing", "retry", "factor")) == "$FLUMEGATE_ROUTING__RETRY__FACTOR"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "default_retry_config: {backoff_factor: 0.5}",
            "flumegate.yaml:1:40: routing.retry.factor: must be at least 1",
        ),
        (
            "default_retry_config: {retry_status_codes: [200]}",
            "flumegate.yaml:1:45: routing.retry.on_status[0]: must be at least 400",
        ),
        (
            "default_retry_config: {jitter: true}",
            "flumegate.yaml:1:24: routing.retry.jitter: unknown setting; known here: max_retries,",
        ),
        (
            "routing: {retry: {max_retries: 1}}\ndefault_retry_config: {max_retries: 2}",
            "flumegate.yaml:2:1: default_retry_config: is another name of routing.retry, which is set too; keep one",
        ),
        (
            "routing: {retry: {factor: 1, backoff_factor: 2}}",
            "flumegate.yaml:1:30: routing.retry.backoff_factor: is another name of routing.retry.factor, which is set",
        ),
        ("default_retry_config: 3", "flumegate.yaml:1:23: routing.retry: must be a mapping of settings"),
    ],
)
def test_what_is_wrong_is_said_of_our_setting_at_their_place(problems: Refuse, text: str, problem: str) -> None:
    """So that both the line and the page of reference are found."""
    (found,) = problems(text)
    assert found.startswith(problem)


@pytest.mark.parametrize("text", ["routing: 5\ndefault_retry_config: {}", "models: {a: o/x, b: 3}", "models: [a]"])
def test_what_is_no_mapping_is_left_to_its_own_check(text: str) -> None:
    """Nothing is renamed, and nothing fails on the way."""
    document = parse(text.encode(), "flumegate.yaml")
    before = repr(document)
    assert spell_out(document, "flumegate.yaml") == []
    assert repr(document) == before
