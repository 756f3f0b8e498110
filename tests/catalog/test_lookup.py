"""What the catalogue says of models, however they are called."""

from __future__ import annotations

import pytest

from flumegate.catalog.load import FACTS, CatalogError
from flumegate.catalog.lookup import REMEMBERED, _lookup, find, lookup, price
from flumegate.ir.written import Abilities


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("claude-opus-4-7", "claude-opus-4-7"),
        ("claude-opus-4.7", "claude-opus-4-7"),
        ("Claude-Opus-4-7", "claude-opus-4-7"),
        ("anthropic/claude-opus-4.7:beta", "claude-opus-4-7"),
        ("claude-opus-4-7[1m]", "claude-opus-4-7"),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5"),
        ("arn:aws:bedrock:us-east-1:1:inference-profile/eu.anthropic.claude-3-haiku-20240307-v1:0", "claude-3-haiku"),
        ("claude-sonnet-4@20250514", "claude-sonnet-4"),
        ("claude-opus-4-20250514", "claude-opus-4"),
        ("claude-opus-5-20260724", "claude-opus-5"),
        ("claude-opus-5-5", "claude-opus-5-5"),
        ("claude-fable-5-2", "claude-fable-5-2"),
        ("claude-fable-5-20260630", "claude-fable-5"),
        ("claude-something-9", "claude"),
        ("gpt-5-2025-08-07", "gpt-5"),
        ("gpt-5.2-2025-12-11", "gpt-5-2"),
        ("gpt-5.2-chat-latest", "gpt-5-chat"),
        ("gpt-4o-2024-11-20", "gpt-4o"),
        ("gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
        ("gpt-4-0613", "gpt-4"),
        ("o3-mini", "o3-mini"),
        ("openai/gpt-oss-120b", "gpt-oss"),
        ("openai.gpt-oss-20b-1:0", "gpt-oss"),
        ("models/gemini-2.5-flash", "gemini-2-5-flash"),
        ("gemini-2.5-flash-lite", "gemini-2-5-flash-lite"),
        ("gemini-3-pro-preview", "gemini-3-pro"),
        ("meta-llama/Llama-3.3-70B-Instruct", "llama-3-1"),
        ("llama3.2:3b", "llama-3-2"),
        ("meta.llama3-1-70b-instruct-v1:0", "llama-3-1"),
        ("us.deepseek.r1-v1:0", "deepseek-r1"),
        ("qwen2.5-coder:7b", "qwen-2-5"),
        ("grok-4-0709", "grok-4"),
        ("amazon.nova-micro-v1:0", "nova-micro"),
        ("mistral-large-latest", "mistral"),
    ],
)
def test_a_model_is_known_under_all_its_names(name: str, row: str) -> None:
    found = find(name)
    assert found is not None
    assert found.name == row


@pytest.mark.parametrize("name", ["", "/", "gpt", "o", "my-own-model", "claude", "us.", "x" * 10_000])
def test_of_an_unknown_model_nothing_is_said(name: str) -> None:
    """All None: whoever writes says it as if the model could."""
    assert lookup("nowhere", name) == Abilities(name, "nowhere")
    assert price("openai", name) is None


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("claude-sonnet-4-5", {"sampling": True, "temperature_and_top_p": False, "thinking_budget": True}),
        ("claude-opus-4-6", {"prefill": False, "adaptive_thinking": True, "sampling": True}),
        ("claude-opus-4-7", {"sampling": False, "thinking_budget": False, "adaptive_thinking": True, "prefill": False}),
        ("claude-opus-4-8", {"system_anywhere": True, "sampling": False}),
        ("claude-opus-5-5", {"efforts": ("low", "medium", "high", "xhigh", "max")}),
        ("gpt-5.1", {"sampling": False, "efforts": ("none", "low", "medium", "high"), "prefill": False}),
        ("gpt-4.1", {"sampling": True, "efforts": ()}),
        ("o1-mini", {"tools": False, "json_schema": False}),
        ("gemini-2.5-pro", {"thinking_budget": True, "adaptive_thinking": False}),
        ("gemini-3-pro-preview", {"thinking_budget": False, "adaptive_thinking": True, "efforts": ("low", "high")}),
    ],
)
def test_what_models_refuse_is_known(name: str, facts: dict[str, object]) -> None:
    known = lookup("anywhere", name)
    assert {fact: getattr(known, fact) for fact in facts} == facts


@pytest.mark.parametrize(
    ("server", "facts"),
    [
        ("openai", {"developer_role": True, "max_completion_tokens": True, "reasoning_field": ""}),
        ("mistral", {"developer_role": False, "max_completion_tokens": False}),
        ("deepseek", {"reasoning_field": "reasoning_content"}),
        ("vllm", {"reasoning_field": "reasoning"}),
        ("anthropic", {"developer_role": None}),
    ],
)
def test_a_server_says_what_its_wire_takes(server: str, facts: dict[str, object]) -> None:
    known = lookup(server, "some-model")
    assert {fact: getattr(known, fact) for fact in facts} == facts


def test_a_model_knows_better_than_its_server_and_the_operator_better_than_both() -> None:
    assert lookup("openai", "o1-mini").developer_role is False
    assert lookup("openai", "o3").developer_role is True
    known = lookup("openai", "o1-mini", {"developer_role": True, "efforts": ["low"], "context_tokens": None})
    assert known.developer_role is True
    assert known.efforts == ("low",)
    assert known.context_tokens is None
    assert known.max_output_tokens == 32_768
    assert lookup("openai", "o1-mini", {}) is lookup("openai", "o1-mini")


@pytest.mark.parametrize("overrides", [{"toolz": True}, {"tools": "yes"}, {"model": "other"}])
def test_an_override_that_means_nothing_is_refused(overrides: dict[str, object]) -> None:
    with pytest.raises(CatalogError, match="overrides"):
        lookup("openai", "gpt-4o", overrides)


def test_the_name_for_the_wire_stays_as_it_was_given() -> None:
    known = lookup("bedrock", "us.anthropic.claude-opus-4-7-v1:0")
    assert known.model == "us.anthropic.claude-opus-4-7-v1:0"
    assert known.server == "bedrock"


def test_what_is_remembered_is_bounded() -> None:
    """Clients may ask for names without end."""
    for number in range(REMEMBERED + 50):
        lookup("openai", f"invented-{number}")
    for cache in (_lookup, find):
        assert cache.cache_info().currsize <= REMEMBERED == cache.cache_info().maxsize


def test_a_price_is_known_at_the_models_own_vendor_alone() -> None:
    """A reseller charges what it likes."""
    known = price("anthropic", "claude-haiku-5-5")
    assert known is not None
    assert (known.input, known.output, known.cached_input) == (100_000, 500_000, 10_000)
    assert known.long is not None
    assert known.long.input == 500_000
    assert price("bedrock", "claude-haiku-5-5") is None
    assert price("mistral", "mistral-small-latest") is None


def test_facts_are_all_that_lookup_fills() -> None:
    assert set(FACTS) | {"model", "server"} == set(Abilities.__struct_fields__)
