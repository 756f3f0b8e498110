from __future__ import annotations

import pytest

from flumegate.providers.address import Address, is_loopback, is_own_host, locate
from flumegate.providers.rows import BY_TYPE


@pytest.mark.parametrize(
    ("kind", "url", "expected"),
    [
        ("openai", "", "https api.openai.com 443 /v1"),
        ("openai", "https://api.openai.com", "https api.openai.com 443 /v1"),
        ("openai", "https://api.openai.com/v1/", "https api.openai.com 443 /v1"),
        ("openai", "http://127.0.0.1:8000", "http 127.0.0.1 8000 /v1"),
        ("openai", "https://proxy.example/team/openai", "https proxy.example 443 /team/openai"),
        ("anthropic", "", "https api.anthropic.com 443 /v1"),
        ("anthropic", "https://api.anthropic.com/v1", "https api.anthropic.com 443 /v1"),
        ("anthropic", "https://proxy.example/anthropic", "https proxy.example 443 /anthropic/v1"),
        ("groq", "https://api.groq.com", "https api.groq.com 443 /openai/v1"),
        ("groq", "https://api.groq.com/openai", "https api.groq.com 443 /openai/v1"),
        ("groq", "https://api.groq.com/openai/v1", "https api.groq.com 443 /openai/v1"),
        ("openrouter", "https://openrouter.ai/api", "https openrouter.ai 443 /api/v1"),
        (
            "gemini",
            "https://generativelanguage.googleapis.com/v1beta",
            "https generativelanguage.googleapis.com 443 /v1beta/openai",
        ),
        ("perplexity", "", "https api.perplexity.ai 443 "),
        ("ollama", "http://[::1]:11434", "http ::1 11434 /v1"),
        ("ollama", "http://127.0.0.1:11434/v1", "http 127.0.0.1 11434 /v1"),
        ("openai_compatible", "HTTP://LLM.Example:80/api/v3", "http llm.example 80 /api/v3"),
        ("mock", "http://127.0.0.1:5", "http 127.0.0.1 5 /v1"),
    ],
)
def test_either_form_of_a_base_url_leads_to_the_same_place(kind: str, url: str, expected: str) -> None:
    """With or without /v1, a bare origin, half of the vendor's path; a path of one's own is taken at its word."""
    address = locate(BY_TYPE[kind], url)
    assert f"{address.scheme} {address.host} {address.port} {address.base_path}" == expected


def test_azure_chooses_its_paths_by_the_version() -> None:
    """A dated version means deployment paths with the version in the query."""
    url = "https://x.openai.azure.com/"
    assert locate(BY_TYPE["azure"], url, "2024-10-21") == Address(
        "https", "x.openai.azure.com", 443, "/openai", "2024-10-21"
    )
    assert locate(BY_TYPE["azure"], url) == Address("https", "x.openai.azure.com", 443, "/openai/v1")


@pytest.mark.parametrize(
    ("kind", "url", "message"),
    [
        ("openai_compatible", "", "needs one"),
        ("azure", "", "needs one"),
        ("openai", "api.openai.com/v1", "must be a URL"),
        ("openai", "ftp://h/v1", "must be a URL"),
        ("openai", "https://", "must be a URL"),
        ("openai", "https://user:pw@h/v1", "must not hold a credential"),
        ("openai", "https://h/v1?key=x", "must not have a query"),
        ("openai", "https://h:0/v1", "no usable port"),
        ("openai", "https://h:99999/v1", "no usable port"),
        ("openai", "https://h:x/v1", "no usable port"),
        ("openai", "https://h/v1\u00e9", "plain ASCII"),
        ("openai", "https://h/v1/chat/completions", "must stop before /chat/completions"),
        ("anthropic", "https://h/v1/messages", "must stop before /messages"),
    ],
)
def test_a_base_url_that_cannot_be_one_is_refused(kind: str, url: str, message: str) -> None:
    """The message says what to write instead, and never repeats a credential."""
    with pytest.raises(ValueError, match=message) as caught:
        locate(BY_TYPE[kind], url)
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("localhost", True),
        ("api.localhost", True),
        ("localhost.example", False),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
        ("::ffff:10.0.0.1", False),
    ],
)
def test_only_this_machine_is_loopback(host: str, expected: bool) -> None:
    """Names that merely look like it are not."""
    assert is_loopback(host) is expected


def test_a_vendors_host_is_known() -> None:
    """Only there is a missing key certainly a mistake."""
    assert is_own_host(BY_TYPE["openai"], "api.openai.com")
    assert not is_own_host(BY_TYPE["openai"], "127.0.0.1")
    assert not is_own_host(BY_TYPE["azure"], "x.openai.azure.com")
