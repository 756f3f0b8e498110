"""What a deployment in a LiteLLM configuration means here: which provider, with which address and credential."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from flumegate.providers.rows import BY_TYPE

_TYPES = {
    "openai": "openai",
    "text-completion-openai": "openai",
    "anthropic": "anthropic",
    "azure": "azure",
    "gemini": "gemini",
    "bedrock": "bedrock",
    "bedrock_converse": "bedrock",
    "vertex_ai": "vertex",
    "groq": "groq",
    "mistral": "mistral",
    "deepseek": "deepseek",
    "xai": "xai",
    "moonshot": "moonshot",
    "openrouter": "openrouter",
    "together_ai": "together",
    "fireworks_ai": "fireworks",
    "cerebras": "cerebras",
    "nvidia_nim": "nvidia",
    "perplexity": "perplexity",
    "sambanova": "sambanova",
    "huggingface": "huggingface",
    "hosted_vllm": "vllm",
    "vllm": "vllm",
    "lm_studio": "lmstudio",
    "llamafile": "llamacpp",
    "ollama": "ollama",
    "ollama_chat": "ollama",
    "custom_openai": "openai_compatible",
    "litellm_proxy": "openai_compatible",
    "openai_like": "openai_compatible",
}
"""Their prefixes of models → our types of providers."""
_BARE = (
    (re.compile(r"(gpt-|o[134](-|$)|chatgpt-|text-embedding-|dall-e)"), "openai"),
    (re.compile("claude"), "anthropic"),
)
"""How a model without a prefix is known."""
_BEDROCK_ROUTES = ("converse/", "invoke/", "converse_like/")
_REFERENCE = re.compile(r"os\.environ/([A-Za-z_][A-Za-z0-9_]*)")
_PLAIN = (
    ("aws_region_name", "region"),
    ("vertex_project", "project"),
    ("vertex_ai_project", "project"),
    ("vertex_location", "location"),
    ("vertex_ai_location", "location"),
    ("api_version", "api_version"),
)
_SECRETS = ("api_key", "aws_access_key_id", "aws_secret_access_key", "aws_session_token")


class Upstream(NamedTuple):
    """A deployment, as ours."""

    name: str
    """What the provider is called, as far as nobody else is."""
    model: str
    settings: dict[str, str]
    variables: list[str]
    warnings: list[str]


def read_upstream(params: Mapping[str, Any]) -> Upstream | str:
    """Return what a deployment's parameters mean, or why they mean nothing here."""
    stated = params.get("model")
    if not isinstance(stated, str) or not stated:
        return "it has no litellm_params.model"
    kind, model = _split(stated, params.get("custom_llm_provider"))
    if kind is None:
        return f"no provider here answers to {stated.partition('/')[0]!r}"
    warnings: list[str] = []
    variables: list[str] = []
    settings: dict[str, str] = {}
    base = params.get("api_base") or params.get("base_url")
    if isinstance(base, str) and base:
        if kind == "openai" and (urlsplit(base).hostname or "") != "api.openai.com":
            kind = "openai_compatible"
        settings["base_url"] = _referred(base, variables) if not _REFERENCE.fullmatch(base) else ""
        if not settings["base_url"]:
            warnings.append("api_base comes from a variable: write the address into base_url")
            settings["base_url"] = "http://127.0.0.1:8000/v1"
    settings = {"type": kind, **settings}
    for theirs, ours in _PLAIN:
        value = params.get(theirs)
        if isinstance(value, str) and value and not _REFERENCE.fullmatch(value):
            settings[ours] = value
        elif value:
            warnings.append(f"{theirs} comes from a variable or is no text: write it into {ours}")
    _read_secrets(kind, params, settings, variables, warnings)
    return Upstream(kind.replace("_", "-"), model, settings, variables, warnings)


def _split(stated: str, custom: object) -> tuple[str | None, str]:
    prefix, slash, rest = stated.partition("/")
    if isinstance(custom, str) and custom in _TYPES:
        return _TYPES[custom], rest if slash and prefix == custom else stated
    if slash and prefix in _TYPES:
        kind = _TYPES[prefix]
        if kind == "bedrock":
            for route in _BEDROCK_ROUTES:
                rest = rest.removeprefix(route)
        return kind, rest
    return next((kind for pattern, kind in _BARE if pattern.match(stated)), None), stated


def _read_secrets(
    kind: str, params: Mapping[str, Any], settings: dict[str, str], variables: list[str], warnings: list[str]
) -> None:
    for name in _SECRETS:
        value = params.get(name)
        if not isinstance(value, str) or not value:
            continue
        if _REFERENCE.fullmatch(value):
            settings[name] = _referred(value, variables)
            continue
        variable = f"{kind.upper()}_{name.upper()}".replace("OPENAI_COMPATIBLE", "UPSTREAM")
        settings[name] = f"env:{variable}"
        variables.append(variable)
        warnings.append(f"{name} stands in the file itself and is not copied: put it into the variable {variable}")
    if "api_key" not in settings and "aws_access_key_id" not in settings and BY_TYPE[kind].key_variables:
        row = BY_TYPE[kind]
        if not row.local:
            settings["api_key"] = f"env:{row.key_variables[0]}"
            variables.append(row.key_variables[0])


def _referred(value: str, variables: list[str]) -> str:
    found = _REFERENCE.fullmatch(value)
    if found is None:
        return value
    variables.append(found[1])
    return f"env:{found[1]}"
