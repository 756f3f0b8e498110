from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import pytest

from flumegate import snapshot
from flumegate.config.load import load
from flumegate.manage.compile import compile_snapshot
from flumegate.records.access import Key
from flumegate.routing.match import Matcher
from flumegate.snapshot import Route, Snapshot, Target, Timeouts, Tls

PEPPER = b"p" * 32
Compile = Callable[..., Snapshot]


@pytest.fixture
def compiled(tmp_path: Path) -> Compile:
    """Compile a file of this text with this environment."""

    def run(text: str, environ: Mapping[str, str] | None = None, extra_keys: tuple[str, ...] = ()) -> Snapshot:
        path = tmp_path / "flumegate.yaml"
        path.write_text(text, encoding="utf-8")
        return compile_snapshot(load(path, environ or {}), version=7, pepper=PEPPER, extra_keys=extra_keys, mock_port=9)

    return run


def test_redis_is_waited_for_as_long_as_configured(compiled: Compile) -> None:
    """Its address and a request's patience reach the workers."""
    value = compiled('redis: {url: "redis://r", timeout: 0.5}')
    assert (value.redis_url, value.redis_seconds) == ("redis://r", 0.5)


def test_keys_are_kept_as_keyed_digests_only(compiled: Compile) -> None:
    """A snapshot that leaks does not leak the keys; each is named by the first digits of its digest."""
    value = compiled(
        'auth: {static_keys: ["one-key-0123456789", "env:K"]}',
        {"K": "two-key-0123456789,three-key-0123456789"},
        ("made-at-start",),
    )
    digests = [
        hmac.digest(PEPPER, key, "sha256")
        for key in (b"one-key-0123456789", b"two-key-0123456789", b"three-key-0123456789", b"made-at-start")
    ]
    assert value.keys == {digest: Key(f"static-{digest.hex()[:8]}") for digest in digests}
    assert b"one-key" not in snapshot.encode(value)
    assert not value.auth_open
    assert compiled("auth: {mode: open}").auth_open


def test_without_providers_the_mock_answers_everything(compiled: Compile, tmp_path: Path) -> None:
    """In every dialect, on the port that the caller has bound."""
    value = compiled("")
    mock = value.providers["mock"]
    assert (mock.type, mock.scheme, mock.host, mock.port, mock.base_path) == ("mock", "http", "127.0.0.1", 9, "/v1")
    assert mock.speaks == ("openai", "anthropic", "gemini", "ollama")
    assert Matcher(value).match(model="gpt-4o").targets == (Target("mock", "gpt-4o"),)
    with pytest.raises(ValueError, match="mock_port"):
        compile_snapshot(load(tmp_path / "flumegate.yaml", {}), version=1, pepper=PEPPER)


def test_every_setting_of_a_provider_reaches_the_worker(compiled: Compile) -> None:
    """Host and credential, headers, timeouts, TLS, proxy, limits."""
    text = """
providers:
  g:
    type: groq
    api_key: "env:K"
    timeouts: {connect: 1, first_byte: 2, idle: null, total: 4, first_token: 5}
    health_check: {every: 30, path: /health}
    tls_verify: false
    proxy: "http://u:p@h:3128"
    headers: {X-A: b}
    allowed_endpoints: [/v1/chat/completions]
    allowed_methods: [post]
    max_connections: 5
    dialects: [anthropic]
"""
    provider = compiled(text, {"K": "sk"}).providers["g"]
    assert (provider.scheme, provider.host, provider.port) == ("https", "api.groq.com", 443)
    assert provider.base_path == "/openai/v1"
    assert (provider.credential, provider.credential_header, provider.credential_prefix) == (
        "sk",
        "authorization",
        "Bearer ",
    )
    assert provider.timeouts == Timeouts(1, 2, None, 4, 5)
    assert provider.tls == Tls(verify=False)
    assert provider.proxy == "http://u:p@h:3128"
    assert provider.headers == (("X-A", "b"),)
    assert (provider.allowed_endpoints, provider.allowed_methods) == (("/v1/chat/completions",), ("POST",))
    assert (provider.max_connections, provider.speaks) == (5, ("anthropic",))
    assert (provider.check_seconds, provider.check_path) == (30, "/health")


def test_several_keys_of_a_provider_are_kept_in_their_order_and_once(compiled: Compile) -> None:
    """That of `api_key` first; a variable separates them by commas."""
    text = 'providers: {o: {type: groq, api_key: %s, api_keys: ["env:MORE", "env:K", last]}}'
    provider = compiled(text % '"env:K"', {"K": "one", "MORE": "two, three,two"}).providers["o"]
    assert (provider.credential, provider.more_credentials) == ("one", ("two", "three", "last"))
    provider = compiled(text % "null", {"K": "one", "MORE": "two"}).providers["o"]
    assert (provider.credential, provider.more_credentials) == ("two", ("one", "last"))
    assert (provider.check_seconds, provider.check_path) == (0, "")


def test_vendors_sign_in_their_own_way(compiled: Compile) -> None:
    """Anthropic and Azure carry the key in headers of their own; Mistral is not asked for stream usage."""
    text = """
providers:
  anthropic: {api_key: "env:K"}
  azure: {base_url: "https://x.openai.azure.com", api_key: "env:K", api_version: "2024-10-21"}
  mistral: {api_key: "env:K"}
"""
    providers = compiled(text, {"K": "sk"}).providers
    anthropic, azure = providers["anthropic"], providers["azure"]
    assert (anthropic.credential_header, anthropic.credential_prefix) == ("x-api-key", "")
    assert anthropic.default_headers == (("anthropic-version", "2023-06-01"),)
    assert (azure.credential_header, azure.credential_prefix) == ("api-key", "")
    assert (azure.base_path, azure.azure_api_version) == ("/openai", "2024-10-21")
    assert not providers["mistral"].stream_usage
    assert anthropic.stream_usage


def test_without_models_vendors_names_go_to_their_vendor_and_the_rest_to_the_default(compiled: Compile) -> None:
    """The first provider of a type takes its names; the first, or the marked one, takes what nobody claims."""
    text = "providers: {a: {type: openai}, b: {type: anthropic}, c: {type: anthropic}, d: {type: ollama%s}}"
    value = compiled(text % "")
    assert Matcher(value).match(model="gpt-4o").targets == (Target("a", "gpt-4o"),)
    assert Matcher(value).match(model="claude-x").targets == (Target("b", "claude-x"),)
    assert Matcher(value).match(model="gemini-x").targets == (Target("a", "gemini-x"),)
    assert Matcher(value).match(model="c/claude-x").targets == (Target("c", "claude-x"),)
    assert compiled(text % ", default: true").default_provider == "d"


def test_configured_models_are_a_closed_list(compiled: Compile) -> None:
    """No vendor's names, and no default unless a provider says so."""
    text = 'providers: {a: {type: openai%s}}\nmodels: {fast: a/gpt-x, "claude-*": a/*, "*-mini": a/small}'
    value = compiled(text % "")
    assert value.default_provider == ""
    assert value.models == {"fast": Route((Target("a", "gpt-x"),))}
    assert Matcher(value).match(model="claude-y").targets == (Target("a", "claude-y"),)
    assert Matcher(value).match(model="o-mini").targets == (Target("a", "small"),)
    assert len(value.wildcards) == 2
    assert compiled(text % ", default: true").default_provider == "a"


def test_the_longest_wildcard_comes_first(compiled: Compile) -> None:
    """By its literal part, wherever the star stands."""
    text = 'providers: {a: {type: ollama}}\nmodels: {"*": a/x, "gpt-*": a/y, "gpt-4*-mini": a/z}'
    value = compiled(text)
    assert [(each.prefix, each.suffix) for each in value.wildcards] == [("gpt-4", "-mini"), ("gpt-", ""), ("", "")]
    assert Matcher(value).match(model="gpt-4o-mini").targets == (Target("a", "z"),)


def test_door_and_records_are_as_configured(compiled: Compile) -> None:
    """Each limit of the door and each choice about records arrives; the defaults are those of the snapshot."""
    plain = compiled("")
    assert (plain.door, plain.records) == (snapshot.Door(), snapshot.RecordPolicy())
    text = """
server: {proxy_prefix: /p, max_body_bytes: 1, max_header_bytes: 2000, max_headers: 30, header_seconds: 4,
         min_body_rate: 5, keep_alive_seconds: 6, max_connections: 7, trusted_proxies: [10.0.0.0/8],
         cors_origins: ["*"], max_active: 8, max_queued: 0, queue_seconds: 9, max_memory_bytes: 10}
telemetry: {metrics: off}
records: {content: full, max_request_bytes: 8, max_response_bytes: 9, durability: durable, spool_max_bytes: 2000000}
"""
    value = compiled(text)
    door = snapshot.Door("/p", 1, 2000, 30, 4, 5, 6, 7, ("10.0.0.0/8",), ("*",), metrics=False)
    overload = {"max_active": 8, "max_queued": 0, "queue_seconds": 9, "max_memory_bytes": 10}
    assert value.door == msgspec.structs.replace(door, **overload)
    assert value.records == snapshot.RecordPolicy("full", 8, 9, durable=True, spool_max_bytes=2_000_000)


def test_bedrock_signs_or_sends_its_key(compiled: Compile) -> None:
    """A key is a credential like any other; AWS credentials are for signing, and never a header's value."""
    text = "providers: {bedrock: {region: eu-west-3, %s}}"
    keyed = compiled(text % "api_key: k-1").providers["bedrock"]
    assert (keyed.host, keyed.base_path, keyed.credential) == ("bedrock-runtime.eu-west-3.amazonaws.com", "", "k-1")
    assert keyed.signing is None
    aws = "aws_access_key_id: a, aws_secret_access_key: s, aws_session_token: t"
    signed = compiled(text % aws).providers["bedrock"]
    assert signed.credential == ""
    assert signed.signing == snapshot.Signing("a", "s", "eu-west-3", "bedrock", "t")


def test_vertex_stands_below_project_and_location(compiled: Compile) -> None:
    """Both are part of the path, and the location of the host."""
    text = "providers: {vertex: {project: p-1, location: europe-west4, api_key: ya29}}"
    value = compiled(text).providers["vertex"]
    assert (value.host, value.credential) == ("europe-west4-aiplatform.googleapis.com", "ya29")
    assert value.base_path == value.native_path == "/v1/projects/p-1/locations/europe-west4"


def test_a_snapshot_survives_the_way_to_a_worker(compiled: Compile) -> None:
    """What is sent is what arrives."""
    value = compiled('providers: {a: {type: openai}}\nauth: {static_keys: ["k-l-m-n-o-p-q-r-s"]}')
    assert value.version == 7
    assert snapshot.decode(snapshot.encode(value)) == value


def test_prices_of_the_file_reach_the_worker(compiled: Compile) -> None:
    """In micro-dollars, with a name of their own."""
    value = compiled('prices: {"a/*": {input: 1.5, output: 3}}\nproviders: {a: {type: openai}}')
    (row,) = value.prices
    assert (row.pattern, row.price.input, row.price.output) == ("a/*", 1_500_000, 3_000_000)
    assert "+" in value.price_version
    assert "+" not in compiled("").price_version
