"""A LiteLLM configuration as ours: what means the same is taken, the rest is told, and no secret is copied."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from flumegate.config.litellm import Imported, convert, is_key_hash
from flumegate.config.load import load

CANARY = "sk-canary-literal-secret"
THEIRS: dict[str, Any] = {
    "model_list": [
        {"model_name": "gpt-4o", "litellm_params": {"model": "openai/gpt-4o", "api_key": "os.environ/OAI", "rpm": 60}},
        {
            "model_name": "gpt-4o",
            "litellm_params": {
                "model": "azure/my-deployment",
                "api_base": "https://up.openai.azure.com",
                "api_key": CANARY,
                "api_version": "2024-10-21",
                "weight": 3,
            },
        },
        {"model_name": "claude", "litellm_params": {"model": "claude-sonnet-4-5", "timeout": 30}},
        {"model_name": "local/*", "litellm_params": {"model": "hosted_vllm/*", "api_base": "http://10.0.0.5:8000/v1"}},
        {
            "model_name": "own",
            "litellm_params": {"model": "openai/m", "api_base": "http://10.0.0.6/v1", "api_key": CANARY},
        },
        {
            "model_name": "bed",
            "litellm_params": {"model": "bedrock/converse/anthropic.claude", "aws_region_name": "eu-west-1"},
        },
        {"model_name": "odd", "litellm_params": {"model": "sagemaker/x"}},
        {"model_name": "nothing"},
    ],
    "litellm_settings": {
        "num_retries": 3,
        "drop_params": True,
        "fallbacks": [{"gpt-4o": ["claude", "gone"]}],
        "cache": True,
    },
    "router_settings": {
        "routing_strategy": "least-busy",
        "model_group_alias": {"gpt-4": "gpt-4o", "bad": "gone"},
        "allowed_fails": 2,
        "cooldown_time": 7,
        "timeout": 90,
    },
    "general_settings": {"master_key": CANARY, "database_url": f"postgresql://u:{CANARY}@h/d"},
    "environment_variables": {"A": CANARY},
}


def as_text(imported: Imported) -> str:
    page = io.StringIO()
    YAML(typ="safe", pure=True).dump(imported.tree, page)
    return page.getvalue()


def test_what_comes_out_is_a_configuration_that_starts(tmp_path: Path) -> None:
    """Once its variables are set."""
    imported = convert(THEIRS)
    path = tmp_path / "flumegate.yaml"
    path.write_text(as_text(imported), encoding="utf-8")
    config = load(path, dict.fromkeys(imported.variables, "sk-a-real-looking-key")).config
    assert [target.use for target in config.models["gpt-4o"].targets] == ["openai/gpt-4o", "azure/my-deployment"]
    assert config.models["gpt-4o"].targets[1].weight == 3
    assert config.models["gpt-4o"].strategy == "least_busy"
    assert config.models["gpt-4o"].fallback == ["claude"]
    assert config.models["gpt-4"].targets == config.models["gpt-4o"].targets
    assert config.models["claude"].timeout == 30
    assert config.models["bed"].targets[0].use == "bedrock/anthropic.claude"
    assert config.models["local/*"].targets[0].use == "vllm/*"
    assert config.providers["openai-compatible"].base_url == "http://10.0.0.6/v1"
    assert config.providers["bedrock"].region == "eu-west-1"
    assert config.routing.retry.max_retries == 3
    assert config.routing.breaker.failures == 3
    assert config.routing.breaker.open_seconds == 7
    assert config.routing.timeout == 90


def test_prices_are_taken_in_our_unit(tmp_path: Path) -> None:
    """Theirs are for a token, ours for a million."""
    params = {"model": "openai/m", "api_key": "os.environ/A", "input_cost_per_token": 2.5e-06}
    entry = {"model_name": "m", "litellm_params": params, "model_info": {"output_cost_per_token": 0.00001, "id": "x"}}
    imported = convert({"model_list": [entry]})
    assert imported.tree["prices"] == {"openai/m": {"input": 2.5, "output": 10.0}}
    path = tmp_path / "flumegate.yaml"
    path.write_text(as_text(imported), encoding="utf-8")
    assert load(path, {"A": "sk-a-real-looking-key"}).config.prices["openai/m"].output == 10.0


def test_every_entry_is_accounted_for() -> None:
    """With a reason where it has no counterpart."""
    told = {note.path: note for note in convert(THEIRS).notes}
    for path in (
        "model_list[6]", "model_list[7]", "model_list[0].litellm_params.rpm", "litellm_settings.cache",
        "litellm_settings.drop_params", "litellm_settings.fallbacks.gpt-4o", "general_settings.master_key",
        "router_settings.model_group_alias.bad", "environment_variables",
    ):  # fmt: skip
        assert told[path].why
    assert told["model_list[6]"].outcome == "left_out"
    assert "sagemaker" in told["model_list[6]"].why


def test_no_secret_is_copied() -> None:
    """Neither into the configuration nor into the report; the variable that is to hold it is named."""
    imported = convert(THEIRS)
    assert CANARY not in repr(imported)
    assert imported.tree["providers"]["azure"]["api_key"] == "env:AZURE_API_KEY"
    assert {"OAI", "AZURE_API_KEY", "UPSTREAM_API_KEY", "ANTHROPIC_API_KEY"} <= set(imported.variables)


def test_two_deployments_with_other_credentials_are_two_providers() -> None:
    entries = [
        {"model_name": "m", "litellm_params": {"model": "openai/m", "api_key": f"os.environ/{name}"}} for name in "ABA"
    ]
    tree = convert({"model_list": entries}).tree
    assert sorted(tree["providers"]) == ["openai", "openai-2"]
    assert [target["use"] for target in tree["models"]["m"]["targets"]] == ["openai/m", "openai-2/m", "openai/m"]
    assert tree["models"]["m"]["strategy"] == "weighted"


@pytest.mark.parametrize("name", ["default_fallbacks", "context_window_fallbacks"])
def test_other_fallbacks_are_taken_too(name: str) -> None:
    entries = [{"model_name": each, "litellm_params": {"model": f"openai/{each}"}} for each in ("a", "b")]
    value: Any = ["b"] if name == "default_fallbacks" else [{"a": ["b"]}]
    tree = convert({"model_list": entries, "litellm_settings": {name: value}}).tree
    assert tree["models"]["a"]["fallback"] == ["b"]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["model_list", "model_name", "litellm_params", "model", "fallbacks", "x"]), inner
            )
        ),
        max_leaves=20,
    )
)
def test_whatever_is_written_is_read_without_failing(value: Any) -> None:
    """A report is what tells what is wrong with a file."""
    for tree in ({"model_list": value}, {"litellm_settings": value, "router_settings": value, "model_list": [value]}):
        assert isinstance(convert(tree), Imported)


def test_a_hash_of_theirs_is_known() -> None:
    assert is_key_hash("ab" * 32)
    assert not is_key_hash("sk-1234")
