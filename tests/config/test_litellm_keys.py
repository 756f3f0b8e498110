"""A key of LiteLLM's as one of ours: with its limits and budget, or not at all; never more than it may there."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flumegate.config.litellm_keys import read_key
from flumegate.manage.grants import check_endpoints

NOW = datetime(2026, 11, 21, tzinfo=UTC)
HASH = "ab" * 32
_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)


def test_a_key_is_taken_with_all_that_bounds_it() -> None:
    """Rates, places, a budget, models, an end: each where it belongs here."""
    row = {
        "token": HASH,
        "key_name": "sk-...wxyz",
        "key_alias": "ci",
        "spend": 3.5,
        "expires": "2027-01-31T12:00:00",
        "models": ["gpt-4o", "claude-*"],
        "rpm_limit": 60,
        "tpm_limit": 100_000,
        "max_parallel_requests": 4,
        "max_budget": 12.5,
        "budget_duration": "1d",
        "blocked": None,
        "metadata": {},
        "model_max_budget": {},
        "team_id": None,
    }
    found = read_key(row, NOW)
    assert found.notes == []
    assert found.body == {
        "name": "ci",
        "sha256": HASH,
        "expires_at": "2027-01-31T12:00:00+00:00",
        "models": ["gpt-4o", "claude-*"],
        "limits": {"requests_per_minute": 60, "tokens_per_minute": 100_000, "concurrency": 4},
        "budgets": [{"period": "day", "limit_micros": 12_500_000}],
    }


@pytest.mark.parametrize(
    ("row", "body"),
    [
        ({}, {}),
        ({"models": ["all-team-models"]}, {}),
        ({"models": [], "rpm_limit": None, "max_budget": None, "budget_duration": "30d"}, {}),
        ({"allowed_routes": []}, {}),
        ({"allowed_routes": ["llm_api_routes"]}, {}),
        ({"max_budget": 0}, {"budgets": [{"period": "total", "limit_micros": 0}]}),
        ({"max_budget": 1, "budget_duration": "1mo"}, {"budgets": [{"period": "month", "limit_micros": 1_000_000}]}),
        ({"expires": "2026-11-22T00:00:00+00:00"}, {"expires_at": "2026-11-22T00:00:00+00:00"}),
    ],
)
def test_what_bounds_nothing_there_bounds_nothing_here(row: dict[str, Any], body: dict[str, Any]) -> None:
    found = read_key({"token": "sk-their-own-key-text"} | row, NOW)
    assert (found.body, found.notes) == ({"name": "", "token": "sk-their-own-key-text"} | body, [])


@pytest.mark.parametrize("token", [HASH, HASH.upper()])
def test_a_hash_is_never_taken_for_a_key(token: str) -> None:
    """However it is written: whoever reads it in their database could come in with it."""
    assert read_key({"token": token}, NOW).body == {"name": "", "sha256": token}


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"token": None}, "no token"),
        ({"blocked": True}, "blocked"),
        ({"blocked": "true"}, "blocked"),
        ({"blocked": 1}, "blocked"),
        ({"max_budget": 10**400}, "no amount"),
        ({"max_budget": 1e308}, "no amount"),
        ({"expires": "2026-11-20T00:00:00"}, "expired"),
        ({"expires": "soon"}, "no time"),
        ({"models": ["no-default-models"]}, "no model"),
        ({"models": "gpt-4o"}, "no list"),
        ({"rpm_limit": 0}, "lets nothing through"),
        ({"tpm_limit": "many"}, "no number"),
        ({"max_parallel_requests": True}, "no number"),
        ({"allowed_routes": ["/v1/audio/speech", "management_routes"]}, "/v1/audio/speech, management_routes"),
        ({"allowed_routes": ["/v1/*"]}, "no endpoint of here"),
        ({"allowed_routes": "/v1/chat/completions"}, "no list"),
        ({"allowed_routes": [1]}, "no list"),
        ({"max_budget": float("inf")}, "no amount"),
        ({"max_budget": -1}, "no amount"),
        ({"max_budget": 5, "budget_duration": "7d"}, "'7d'"),
    ],
)
def test_a_key_that_could_do_more_here_is_left_out(row: dict[str, Any], why: str) -> None:
    """With the reason: a limit that cannot be held is not forgotten."""
    found = read_key({"token": HASH, "key_alias": "ci"} | row, NOW)
    assert (found.name, found.body) == ("ci", None)
    assert why in found.notes[0]


@pytest.mark.parametrize(
    ("routes", "endpoints", "named"),
    [
        (["/v1/chat/completions", "/chat/completions", "/embeddings"], ["chat", "embeddings"], []),
        (["/v1/messages", "/v1/messages/count_tokens"], ["messages", "count_tokens"], []),
        (["/v1/responses", "/key/info"], ["responses"], ["/key/info"]),
        (["openai_routes"], ["chat", "completions", "embeddings", "responses"], ["openai_routes"]),
        (["anthropic_routes", "info_routes"], ["messages", "count_tokens"], ["anthropic_routes", "info_routes"]),
        (["google_routes"], ["gemini", "gemini_stream", "gemini_count"], ["google_routes"]),
    ],
)
def test_a_key_uses_the_endpoints_of_the_routes_that_it_may_use_there(
    routes: list[str], endpoints: list[str], named: list[str]
) -> None:
    """And no others; what of them is not here, or is more than one endpoint, is named."""
    found = read_key({"token": HASH, "allowed_routes": routes}, NOW)
    assert found.body == {"name": "", "sha256": HASH, "endpoints": endpoints}
    assert check_endpoints(endpoints) == tuple(endpoints)
    assert [note.split()[1] for note in found.notes] == named


def test_what_stands_elsewhere_here_is_named() -> None:
    """With the command that sets it; also where it stands in the key's metadata."""
    row = {
        "token": HASH,
        "model_max_budget": {"gpt-4o": 5},
        "metadata": {"model_rpm_limit": {"gpt-4o": 5}},
        "team_id": "t",
        "max_budget": 5,
        "budget_duration": "30d",
    }
    found = read_key(row, NOW)
    assert found.body is not None
    assert [note.split()[0] for note in found.notes] == ["its", "model_max_budget", "model_rpm_limit", "team_id"]


@given(row=st.fixed_dictionaries({"token": st.just(HASH)}, optional=dict.fromkeys(
    ("key_alias", "expires", "models", "rpm_limit", "max_budget", "budget_duration", "metadata", "team_id",
     "allowed_routes"), _ANY
)))  # fmt: skip
def test_whatever_is_exported_is_read_or_left_out(row: dict[str, Any]) -> None:
    """Nothing fails, and nothing is lost without a word."""
    found = read_key(row, NOW)
    assert found.body is not None or found.notes
