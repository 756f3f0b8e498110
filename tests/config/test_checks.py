from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from flumegate.config.checks import certificate_files
from flumegate.config.load import Loaded

Load = Callable[..., Loaded]
Refuse = Callable[..., list[str]]

_OPEN_TO_ALL = 'server: {listen: "0.0.0.0:4100"}\n'


@pytest.mark.parametrize(
    "text",
    [
        "header_rules: [{drop_all: true}]",
        "transformations: [{name: x}]",
        "cache: {enabled: true}",
        "cache: {backend: redis}",
        "dispatch: [{type: file}]",
        "telemetry: {otlp_endpoint: http://o}",
        "records: {redact: [email]}",
    ],
)
def test_what_this_release_cannot_do_is_refused(problems: Refuse, text: str) -> None:
    """Never accepted in silence: an operator would rely on it."""
    (problem,) = problems(text)
    assert "not available in this release yet" in problem
    assert problem.startswith("flumegate.yaml:1:")


def test_later_features_may_stand_at_their_defaults(load_text: Load) -> None:
    """So that a file which spells everything out can be kept."""
    text = """
console: {listen: 127.0.0.1:4101}
redis: {url: null}
cache: {enabled: false, backend: memory}
header_rules: []
models: {a: {targets: [{use: o/x, weight: 1}], strategy: priority, fallback: [], retry: null}}
providers: {o: {type: ollama}}
"""
    assert load_text(text).warnings == []


@pytest.mark.parametrize("listen", ["0.0.0.0:4101", ":4101", "192.0.2.1:4101", "[::]:4101"])
def test_the_console_is_for_loopback_only(load_text: Load, problems: Refuse, listen: str) -> None:
    """It has no TLS: whoever reads along would have the operator's token."""
    assert load_text('console: {listen: "[::1]:0"}').warnings == []
    (problem,) = problems(f'console: {{listen: "{listen}"}}')
    assert problem.startswith("flumegate.yaml:1:19: console.listen:")
    assert "ssh -L" in problem


def test_listening_beyond_loopback_in_the_clear_is_warned_about(load_text: Load) -> None:
    """A proxy in front that is named says that the operator has thought of it."""
    text = 'auth: {static_keys: ["env:KEY"]}\n'
    environ = {"KEY": "a-key-that-is-long"}
    (warning,) = load_text(_OPEN_TO_ALL + text, environ).warnings
    assert "in the clear" in str(warning)
    behind = 'server: {listen: "0.0.0.0:1", trusted_proxies: [10.0.0.1]}\n'
    assert load_text(behind + text, environ).warnings == []


@pytest.mark.parametrize(
    ("provider", "message"),
    [
        ("p: {type: grok}", 'providers.p.type: there is no provider type "grok"; did you mean "groq"?'),
        ("p: {}", 'providers.p.type: there is no provider type "p"; known: openai,'),
        ("p: {type: openai_compatible}", "providers.p.base_url: a provider of type openai_compatible needs one"),
        ("p: {type: azure}", "write it like https://<resource>.openai.azure.com"),
        ('p: {type: openai, base_url: "api.example.com"}', "providers.p.base_url: must be a URL like"),
        ('p: {type: openai, base_url: "https://k@h/v1"}', "providers.p.base_url: must not hold a credential"),
        ('p: {type: openai, base_url: "https://h/v1/chat/completions"}', "must stop before /chat/completions"),
        ('p: {type: openai, api_version: "2024-10-21"}', "providers.p.api_version: only providers of type azure"),
        ('p: {type: azure, base_url: "https://h", api_version: soon}', "must be a date such as 2024-10-21, or v1"),
        ("p: {type: openai, region: us-east-1}", "providers.p.region: only providers of type bedrock have one"),
        ("p: {type: bedrock, region: us-east-1, project: x}", "providers.p.project: only providers of type vertex"),
        ("p: {type: bedrock, api_key: k}", "providers.p: needs the region"),
        ("p: {type: bedrock, region: Paris}", 'providers.p.region: "Paris" is no region'),
        (
            "p: {type: bedrock, region: eu-west-3, aws_access_key_id: a}",
            "providers.p: aws_access_key_id and",
        ),
        ("p: {type: bedrock, region: eu-west-3, aws_session_token: a}", "providers.p.aws_session_token: needs aws_acc"),
        (
            "p: {type: bedrock, region: eu-west-3, aws_access_key_id: a, aws_secret_access_key: b, api_key: c}",
            "providers.p.api_key: requests are either signed or carry a key",
        ),
        (
            "p: {type: bedrock, region: eu-west-3, aws_access_key_id: a, aws_secret_access_key: b, api_keys: [c]}",
            "providers.p.api_keys: requests are either signed or carry a key",
        ),
        (
            'p: {type: bedrock, base_url: "https://h", aws_access_key_id: a, aws_secret_access_key: b}',
            "providers.p: needs the region",
        ),
        ("p: {type: vertex, location: global}", "providers.p: needs the id of a Google Cloud project"),
        ("p: {type: vertex, project: p-1}", "providers.p: needs a location"),
        (
            "p: {type: vertex, project: p-1, location: eu, dialects: [gemini]}",
            "providers.p.dialects: a provider",
        ),
        ("p: {type: ollama, dialects: []}", "providers.p.dialects: must name at least one"),
        ("p: {type: ollama, client_cert: /c}", "providers.p.client_cert: needs client_key beside it"),
        ("p: {type: ollama, ca_file: /none.pem}", "providers.p.ca_file: cannot read /none.pem"),
        ("p: {type: ollama, default: true}\n  q: {type: ollama, default: true}", 'providers.q.default: "p" is the'),
    ],
)
def test_a_provider_that_cannot_work_is_refused(problems: Refuse, provider: str, message: str) -> None:
    """At start, where it can be put right, and not with the first request."""
    assert any(message in problem for problem in problems(f"providers:\n  {provider}\n"))


@pytest.mark.parametrize(
    ("provider", "message"),
    [
        ('p: {type: openai_compatible, base_url: "http://llm.example/v1"}', "travel in the clear; use https://"),
        ("p: {type: ollama, tls_verify: false}", "providers.p.tls_verify: certificates are not checked"),
        ("p: {type: groq}", "providers.p: has no api_key, so Groq will refuse its requests; set api_key: env:GROQ"),
        ("p: {type: bedrock, region: eu-west-3}", "refuse its requests; set api_key: env:AWS_BEARER_TOKEN_BEDROCK"),
        ("p: {type: vertex, project: p-1, location: europe-west4}", "set api_key: file:/path of an access token"),
    ],
)
def test_what_is_dangerous_or_useless_is_warned_about(load_text: Load, provider: str, message: str) -> None:
    """It may be meant, so it works."""
    (warning,) = load_text(f"providers:\n  {provider}\n").warnings
    assert message in str(warning)


@pytest.mark.parametrize(
    "provider",
    [
        "p: {type: ollama}",
        'groq: {api_keys: ["env:K"]}',
        'p: {type: openai_compatible, base_url: "http://127.0.0.1:1/v1"}',
        'groq: {api_key: "env:K", headers: {X-Team: search}}',
    ],
)
def test_a_sound_provider_gives_no_warning(load_text: Load, provider: str) -> None:
    """Plain HTTP on loopback is what local servers speak; a plain header is no secret; the name may say the type."""
    assert load_text(f"providers:\n  {provider}\n", {"K": "sk"}).warnings == []


def test_a_private_key_that_everyone_can_read_is_refused(tmp_path: Path, problems: Refuse, load_text: Load) -> None:
    """It is a secret like any other; with its certificate it is watched."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    for file, mode in ((cert, 0o644), (key, 0o644)):
        file.write_text("PEM", encoding="utf-8")
        file.chmod(mode)
    text = f"server: {{tls: {{cert: {cert}, key: {key}}}}}"
    (problem,) = problems(text)
    assert f"server.tls.key: every user of this machine may read or write {key}; run: chmod 600" in problem
    key.chmod(0o600)
    loaded = load_text(text)
    assert [name for _, _, name in certificate_files(loaded.config)] == [str(cert), str(key)]
    assert loaded.watched[1:] == [cert, key]


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "flumegate.db", "sqlite:///:memory:"])
def test_a_database_must_be_a_file(problems: Refuse, url: str) -> None:
    """Records are kept."""
    (problem,) = problems(f'database: {{url: "{url}"}}')
    assert "sqlite:///data/flumegate.db" in problem


def test_a_database_may_be_a_server(load_text: Load, problems: Refuse) -> None:
    """PostgreSQL, by either of its names; others are named as what they are."""
    for scheme in ("postgresql", "postgres"):
        assert load_text(f'database: {{url: "{scheme}://u:p@h/d"}}').config.database.url is not None
    (problem,) = problems('database: {url: "mysql://u:p@h/d"}')
    assert "a mysql database cannot be used" in problem
    assert "u:p" not in problem
