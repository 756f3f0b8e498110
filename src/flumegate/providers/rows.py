"""The table of providers: one row each, facts only, from the vendors' public API references.

A row says where a vendor's API stands, what it speaks, how it wants its credential, and by which environment variables
its own tools are configured. Adding a compatible provider is adding a row. Plain tuples: a worker may load this.
"""

from __future__ import annotations

from typing import NamedTuple

_OPENAI = ("openai",)
_BOTH = ("openai", "anthropic")
_NO_RESPONSES = ("responses",)


class Row(NamedTuple):
    """One kind of provider."""

    type: str
    title: str
    base_url: str
    """Where it stands if the operator names no `base_url`; empty = a `base_url` is required.

    `{region}` and `{location}` stand for the setting of that name.
    """
    speaks: tuple[str, ...] = _OPENAI
    """Dialects in which it is asked, the preferred one first: `openai`, `anthropic`, `gemini`, `ollama`, `bedrock`.

    `vertex` is a dialect by the model: Claude's models are asked in Anthropic's, all others in Gemini's.
    """
    base_path: str = "/v1"
    """What replaces the client's `/v1`; added to a `base_url` that is a bare origin."""
    key_variables: tuple[str, ...] = ()
    """Environment variables that hold the key, first one found wins."""
    base_url_variable: str = ""
    region_variables: tuple[str, ...] = ()
    """Environment variables that hold the region; a key alone says nothing without one."""
    local: bool = False
    """Runs on one's own machine: a key alone says nothing about where, so only its base URL variable makes it known."""
    sdk_adds_version: bool = False
    """The vendor's SDK appends `/v1/…` to a base URL itself, so one with a path still lacks it."""
    credential_header: str = "authorization"
    credential_prefix: str = "Bearer "
    default_headers: tuple[tuple[str, str], ...] = ()
    """Sent where the client sends none of that name."""
    stream_usage: bool = True
    """Understands `stream_options.include_usage`; False: it refuses the field, or reports usage without being asked."""
    lacks: tuple[str, ...] = ()
    """Endpoints of its dialects that it does not serve."""
    compatible_tail: str = ""
    """How the base path of its OpenAI-compatible API goes on behind that of its own API."""
    native_credential_header: str = ""
    """Where its own API wants the credential, bare."""
    models: tuple[str, ...] = ()
    """Patterns of the model names that are this vendor's own, each with at most one star at its end."""
    example: str = "MODEL"
    """A model that the vendor is likely to serve, for the curl line of the first start."""


ROWS: tuple[Row, ...] = (
    Row(
        "openai",
        "OpenAI",
        "https://api.openai.com/v1",
        key_variables=("OPENAI_API_KEY",),
        base_url_variable="OPENAI_BASE_URL",
        models=(
            "gpt-*",
            "chatgpt-*",
            "o1*",
            "o3*",
            "o4*",
            "codex-*",
            "text-embedding-*",
            "omni-moderation-*",
            "davinci-*",
            "babbage-*",
            "dall-e-*",
            "whisper-*",
            "tts-*",
        ),
        example="gpt-4o-mini",
    ),
    Row(
        "anthropic",
        "Anthropic",
        "https://api.anthropic.com",
        speaks=("anthropic",),
        key_variables=("ANTHROPIC_API_KEY",),
        base_url_variable="ANTHROPIC_BASE_URL",
        sdk_adds_version=True,
        credential_header="x-api-key",
        credential_prefix="",
        default_headers=(("anthropic-version", "2023-06-01"),),
        models=("claude-*",),
        example="claude-haiku-4-5",
    ),
    Row(
        "azure",
        "Azure OpenAI",
        "",
        base_path="/openai/v1",
        key_variables=("AZURE_OPENAI_API_KEY",),
        base_url_variable="AZURE_OPENAI_ENDPOINT",
        credential_header="api-key",
        credential_prefix="",
    ),
    Row(
        "gemini",
        "Google Gemini",
        "https://generativelanguage.googleapis.com/v1beta/openai",
        speaks=("gemini",),
        base_path="/v1beta/openai",
        compatible_tail="/openai",
        native_credential_header="x-goog-api-key",
        key_variables=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        base_url_variable="GEMINI_BASE_URL",
        models=("gemini-*", "gemma-*"),
        example="gemini-2.5-flash",
    ),
    Row(
        "bedrock",
        "Amazon Bedrock",
        "https://bedrock-runtime.{region}.amazonaws.com",
        speaks=("bedrock",),
        base_path="",
        key_variables=("AWS_BEARER_TOKEN_BEDROCK",),
        base_url_variable="AWS_ENDPOINT_URL_BEDROCK_RUNTIME",
        region_variables=("AWS_REGION", "AWS_DEFAULT_REGION"),
        models=("amazon.*", "anthropic.*", "us.*", "eu.*", "apac.*", "global.*", "arn:aws:bedrock:*"),
        example="amazon.nova-micro-v1:0",
    ),
    Row(
        "vertex",
        "Google Vertex AI",
        "https://{location}-aiplatform.googleapis.com",
        speaks=("vertex",),
    ),
    Row(
        "groq",
        "Groq",
        "https://api.groq.com/openai/v1",
        base_path="/openai/v1",
        key_variables=("GROQ_API_KEY",),
        base_url_variable="GROQ_BASE_URL",
        example="llama-3.1-8b-instant",
    ),
    Row(
        "mistral",
        "Mistral AI",
        "https://api.mistral.ai/v1",
        lacks=_NO_RESPONSES,
        key_variables=("MISTRAL_API_KEY",),
        base_url_variable="MISTRAL_BASE_URL",
        stream_usage=False,
        models=(
            "mistral-*",
            "ministral-*",
            "magistral-*",
            "codestral-*",
            "devstral-*",
            "pixtral-*",
            "voxtral-*",
            "open-mistral-*",
            "open-mixtral-*",
        ),
    ),
    Row(
        "deepseek",
        "DeepSeek",
        "https://api.deepseek.com/v1",
        lacks=_NO_RESPONSES,
        key_variables=("DEEPSEEK_API_KEY",),
        base_url_variable="DEEPSEEK_BASE_URL",
        models=("deepseek-*",),
    ),
    Row(
        "xai",
        "xAI",
        "https://api.x.ai/v1",
        key_variables=("XAI_API_KEY",),
        base_url_variable="XAI_BASE_URL",
        models=("grok-*",),
    ),
    Row(
        "moonshot",
        "Moonshot AI",
        "https://api.moonshot.ai/v1",
        lacks=_NO_RESPONSES,
        key_variables=("MOONSHOT_API_KEY",),
        base_url_variable="MOONSHOT_BASE_URL",
        models=("kimi-*", "moonshot-*"),
    ),
    Row(
        "openrouter",
        "OpenRouter",
        "https://openrouter.ai/api/v1",
        speaks=_BOTH,
        base_path="/api/v1",
        key_variables=("OPENROUTER_API_KEY",),
        base_url_variable="OPENROUTER_BASE_URL",
    ),
    Row(
        "together",
        "Together AI",
        "https://api.together.xyz/v1",
        lacks=_NO_RESPONSES,
        key_variables=("TOGETHER_API_KEY",),
        base_url_variable="TOGETHER_BASE_URL",
    ),
    Row(
        "fireworks",
        "Fireworks AI",
        "https://api.fireworks.ai/inference/v1",
        base_path="/inference/v1",
        key_variables=("FIREWORKS_API_KEY",),
        base_url_variable="FIREWORKS_BASE_URL",
        models=("accounts/fireworks/*",),
    ),
    Row(
        "cerebras",
        "Cerebras",
        "https://api.cerebras.ai/v1",
        lacks=_NO_RESPONSES,
        key_variables=("CEREBRAS_API_KEY",),
        base_url_variable="CEREBRAS_BASE_URL",
    ),
    Row(
        "nvidia",
        "NVIDIA NIM",
        "https://integrate.api.nvidia.com/v1",
        lacks=_NO_RESPONSES,
        key_variables=("NVIDIA_API_KEY",),
        base_url_variable="NVIDIA_BASE_URL",
    ),
    Row(
        "perplexity",
        "Perplexity",
        "https://api.perplexity.ai",
        base_path="",
        lacks=_NO_RESPONSES,
        key_variables=("PERPLEXITY_API_KEY",),
        base_url_variable="PERPLEXITY_BASE_URL",
        stream_usage=False,
        models=("sonar*",),
    ),
    Row(
        "sambanova",
        "SambaNova",
        "https://api.sambanova.ai/v1",
        lacks=_NO_RESPONSES,
        key_variables=("SAMBANOVA_API_KEY",),
        base_url_variable="SAMBANOVA_BASE_URL",
    ),
    Row(
        "huggingface",
        "Hugging Face Inference Providers",
        "https://router.huggingface.co/v1",
        key_variables=("HF_TOKEN",),
        base_url_variable="HUGGINGFACE_BASE_URL",
    ),
    Row(
        "vllm",
        "vLLM",
        "http://127.0.0.1:8000/v1",
        speaks=_BOTH,
        key_variables=("VLLM_API_KEY",),
        base_url_variable="VLLM_BASE_URL",
        local=True,
    ),
    Row(
        "lmstudio",
        "LM Studio",
        "http://127.0.0.1:1234/v1",
        speaks=_BOTH,
        key_variables=("LM_API_TOKEN",),
        base_url_variable="LMSTUDIO_BASE_URL",
        local=True,
    ),
    Row(
        "llamacpp",
        "llama.cpp server",
        "http://127.0.0.1:8080/v1",
        speaks=_BOTH,
        key_variables=("LLAMA_API_KEY",),
        base_url_variable="LLAMACPP_BASE_URL",
        local=True,
    ),
    Row(
        "ollama",
        "Ollama",
        "http://127.0.0.1:11434",
        speaks=("ollama",),
        compatible_tail="/v1",
        key_variables=("OLLAMA_API_KEY",),
        base_url_variable="OLLAMA_BASE_URL",
        local=True,
        sdk_adds_version=True,
    ),
    Row("openai_compatible", "any other OpenAI-compatible server", "", local=True),
    Row("mock", "the built-in mock", "", speaks=(*_BOTH, "gemini", "ollama"), compatible_tail="/v1", local=True),
)

BY_TYPE: dict[str, Row] = {row.type: row for row in ROWS}
