from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from flumegate.config.address import read_listen
from flumegate.config.discovery import discover, local_ollama
from flumegate.config.load import Loaded

Load = Callable[..., Loaded]
LISTEN = read_listen("127.0.0.1:4100")


def names(environ: dict[str, str]) -> list[str]:
    found, _ = discover(environ, LISTEN)
    return [provider.name for provider in found]


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, []),
        ({"OPENAI_API_KEY": "k"}, ["openai"]),
        ({"OPENAI_API_KEY": " "}, []),
        ({"ANTHROPIC_API_KEY": "k", "OPENAI_API_KEY": "k", "GROQ_API_KEY": "k"}, ["openai", "anthropic", "groq"]),
        ({"GEMINI_API_KEY": "k"}, ["gemini"]),
        ({"GOOGLE_API_KEY": "k"}, ["gemini"]),
        ({"AZURE_OPENAI_API_KEY": "k"}, []),
        ({"AZURE_OPENAI_ENDPOINT": "https://x.openai.azure.com"}, []),
        ({"AZURE_OPENAI_ENDPOINT": "https://x.openai.azure.com", "AZURE_OPENAI_API_KEY": "k"}, ["azure"]),
        ({"AWS_BEARER_TOKEN_BEDROCK": "k"}, []),
        ({"AWS_REGION": "eu-west-3"}, []),
        ({"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "eu-west-3"}, []),
        ({"AWS_BEARER_TOKEN_BEDROCK": "k", "AWS_DEFAULT_REGION": "eu-west-3"}, ["bedrock"]),
        ({"VLLM_API_KEY": "k"}, []),
        ({"VLLM_BASE_URL": "http://127.0.0.1:8000"}, ["vllm"]),
        ({"OPENAI_BASE_URL": "http://127.0.0.1:8000/v1"}, ["openai"]),
        ({"OPENAI_BASE_URL": "https://api.openai.com/v1"}, []),
    ],
)
def test_providers_join_by_the_variables_of_their_own_tools(environ: dict[str, str], expected: list[str]) -> None:
    """A key makes a hosted vendor known, a base URL a server of one's own; in the table's order."""
    assert names(environ) == expected


def test_the_key_is_kept_as_a_reference() -> None:
    """So that what is shown of the configuration never holds it."""
    found, _ = discover({"GOOGLE_API_KEY": "k"}, LISTEN)
    assert found[0].entry == {"type": "gemini", "api_key": "env:GOOGLE_API_KEY"}


def test_bedrock_takes_its_region_from_the_environment() -> None:
    """As AWS's own tools do: AWS_REGION before AWS_DEFAULT_REGION."""
    environ = {"AWS_BEARER_TOKEN_BEDROCK": "k", "AWS_REGION": "eu-west-3", "AWS_DEFAULT_REGION": "us-east-1"}
    found, _ = discover(environ, LISTEN)
    assert found[0].entry == {"type": "bedrock", "region": "eu-west-3", "api_key": "env:AWS_BEARER_TOKEN_BEDROCK"}


def test_azure_takes_its_version_from_the_environment() -> None:
    """AZURE_OPENAI_API_VERSION chooses the deployment paths."""
    environ = {
        "AZURE_OPENAI_ENDPOINT": "https://x.openai.azure.com",
        "AZURE_OPENAI_API_KEY": "k",
        "AZURE_OPENAI_API_VERSION": "2024-10-21",
    }
    found, _ = discover(environ, LISTEN)
    assert found[0].entry["api_version"] == "2024-10-21"


@pytest.mark.parametrize(
    ("environ", "dialects"),
    [
        ({"OPENAI_BASE_URL": "http://127.0.0.1:8000/v1"}, ["openai", "anthropic"]),
        ({"OPENAI_BASE_URL": "http://127.0.0.1:8000/v1", "ANTHROPIC_API_KEY": "k"}, None),
        ({"OPENAI_BASE_URL": "https://api.openai.com/v1", "OPENAI_API_KEY": "k"}, None),
        ({"OPENAI_API_KEY": "k"}, None),
    ],
)
def test_an_unknown_server_is_handed_messages_too(environ: dict[str, str], dialects: list[str] | None) -> None:
    """Compatible servers answer /v1/messages, OpenAI's own does not, and Anthropic's own is preferred."""
    found, _ = discover(environ, LISTEN)
    assert found[0].entry.get("dialects") == dialects


@pytest.mark.parametrize("url", ["http://127.0.0.1:4100", "http://localhost:4100/v1", "http://[::1]:4100"])
def test_a_base_url_that_points_at_the_gateway_itself_is_left_out(url: str) -> None:
    """Clients' variables in the same shell must not make the gateway call itself, nor send its key elsewhere."""
    environ = {"OPENAI_API_KEY": "sk-fg-1", "OPENAI_BASE_URL": url, "GROQ_API_KEY": "k"}
    for listen in ("127.0.0.1:4100", "0.0.0.0:4100"):
        found, warnings = discover(environ, read_listen(listen))
        assert [provider.name for provider in found] == ["groq"]
        assert [warning.file for warning in warnings] == ["$OPENAI_BASE_URL"]
    assert names(environ | {"OPENAI_BASE_URL": "http://127.0.0.1:4101"}) == ["openai", "groq"]


def test_a_local_ollama_joins_if_it_accepts_a_connection(nobody: tuple[str, int]) -> None:
    """One TCP connection on loopback, nothing sent."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()
        found = local_ollama((host, port))
        assert found is not None
        assert found.entry == {"type": "ollama", "base_url": f"http://{host}:{port}"}
    assert local_ollama(nobody) is None


def test_providers_of_the_environment_can_be_adjusted_by_it(load_text: Load) -> None:
    """An override of one setting of a found provider does not hide the others."""
    environ = {"GROQ_API_KEY": "k", "OPENAI_API_KEY": "k", "FLUMEGATE_PROVIDERS__GROQ__TIMEOUTS__CONNECT": "3"}
    providers = load_text(None, environ).config.providers
    assert list(providers) == ["openai", "groq"]
    assert providers["groq"].timeouts.connect == 3
    assert providers["groq"].api_key is not None


def test_a_file_that_names_providers_is_the_whole_list(load_text: Load) -> None:
    """A key in the environment does not open a further way out."""
    text = "providers: {local: {type: ollama}}"
    assert list(load_text(text, {"OPENAI_API_KEY": "k"}).config.providers) == ["local"]
    assert list(load_text("server: {workers: 1}", {"OPENAI_API_KEY": "k"}).config.providers) == ["openai"]


def test_a_base_url_that_cannot_be_one_is_an_error_that_names_its_variable(problems: Callable[..., list[str]]) -> None:
    """It is not dropped in silence: the operator would wait for a provider that never comes."""
    (problem,) = problems(None, {"OPENAI_BASE_URL": "api.example/v1", "OPENAI_API_KEY": "k"})
    assert problem.startswith("$OPENAI_BASE_URL: providers.openai.base_url: must be a URL")
