from __future__ import annotations

from typing import Any

import pytest

from flumegate.config.litellm_providers import _TYPES, Upstream, read_upstream
from flumegate.providers.rows import BY_TYPE


@pytest.mark.parametrize(
    ("params", "kind", "model"),
    [
        ({"model": "gpt-4o"}, "openai", "gpt-4o"),
        ({"model": "claude-3-5-haiku"}, "anthropic", "claude-3-5-haiku"),
        ({"model": "together_ai/meta/llama"}, "together", "meta/llama"),
        ({"model": "bedrock/converse/us.amazon.nova"}, "bedrock", "us.amazon.nova"),
        ({"model": "m", "custom_llm_provider": "groq"}, "groq", "m"),
        ({"model": "groq/m", "custom_llm_provider": "groq"}, "groq", "m"),
        ({"model": "openai/x", "api_base": "https://api.openai.com/v1"}, "openai", "x"),
        ({"model": "openai/x", "api_base": "http://10.0.0.1/v1"}, "openai_compatible", "x"),
    ],
)
def test_a_deployment_is_known_by_its_model(params: dict[str, Any], kind: str, model: str) -> None:
    found = read_upstream(params)
    assert isinstance(found, Upstream)
    assert (found.settings["type"], found.model) == (kind, model)


@pytest.mark.parametrize("params", [{}, {"model": ""}, {"model": 1}, {"model": "llama3"}, {"model": "sagemaker/x"}])
def test_what_is_not_known_is_said(params: dict[str, Any]) -> None:
    assert isinstance(read_upstream(params), str)


def test_every_type_is_one_of_ours() -> None:
    assert set(_TYPES.values()) <= set(BY_TYPE)
