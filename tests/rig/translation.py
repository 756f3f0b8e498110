"""One gateway before one fake server for every kind of provider, for the proofs of translation with real clients."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from rig.gateway import Gateway, run_gateway
from rig.mock import Mock, run_mock

KEY = "sk-translation-client-canary"
UPSTREAM_KEY = "sk-translation-upstream-canary"
PROVIDERS = ("openai", "compatible", "anthropic", "ollama", "gemini", "bedrock")
"""Kinds of provider; a model name is `<kind>/<anything>`."""
WITHOUT_EMBEDDINGS = ("anthropic", "bedrock")
"""Kinds that are asked in a dialect without embeddings."""
WEATHER_PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
}


class Stage(NamedTuple):
    """The gateway and what stands behind it."""

    gateway: Gateway
    mock: Mock


def thinker(provider: str) -> str:
    """Return a model that thinks; at Bedrock each family of models has its own word for it."""
    return f"{provider}/anthropic.claude-sonnet-4-5-20250929-v1:0" if provider == "bedrock" else f"{provider}/m1"


@contextlib.contextmanager
def run_stage(**sections: Any) -> Iterator[Stage]:
    """Start mock and gateway with a provider of every kind."""
    with run_mock("--key", UPSTREAM_KEY) as mock:
        providers = {
            "openai": {"type": "openai", "base_url": f"{mock.url}/v1", "api_key": UPSTREAM_KEY},
            "compatible": {"type": "openai_compatible", "base_url": f"{mock.url}/v1", "api_key": UPSTREAM_KEY},
            "anthropic": {"type": "anthropic", "base_url": mock.url, "api_key": UPSTREAM_KEY},
            "anthropic-strict": {
                "type": "anthropic",
                "base_url": mock.url,
                "api_key": UPSTREAM_KEY,
                "betas": {"context-management-2025-06-27": "drop"},
            },
            "ollama": {"type": "ollama", "base_url": mock.url, "api_key": UPSTREAM_KEY},
            "bedrock": {"type": "bedrock", "base_url": mock.url, "api_key": UPSTREAM_KEY},
            "gemini": {"type": "gemini", "base_url": f"{mock.url}/v1beta/openai", "api_key": UPSTREAM_KEY},
        }
        models = {"listed": "openai/gpt-4o", "listed-claude": "anthropic/claude-sonnet-4-5"}
        settings = {"auth": {"static_keys": [KEY]}, "providers": providers, "models": models, **sections}
        with run_gateway(config=settings) as gateway:
            yield Stage(gateway, mock)
