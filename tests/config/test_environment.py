from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from flumegate.config.load import Loaded

Load = Callable[..., Loaded]
Refuse = Callable[..., list[str]]

_FILE = """
server: {listen: "127.0.0.1:1", workers: 2, trusted_proxies: [10.0.0.0/8]}
providers:
  my-groq: {type: groq, timeouts: {connect: 3, total: 9}}
models: {gpt-4o: my-groq/a}
"""


def test_the_environment_wins_over_the_file_and_the_file_over_the_default(load_text: Load) -> None:
    """Each setting is decided on its own: what the environment does not name stays as the file says."""
    server = load_text(_FILE, {"FLUMEGATE_SERVER__LISTEN": "127.0.0.1:9"}).config.server
    assert (server.listen, server.workers, server.max_headers) == ("127.0.0.1:9", 2, 100)


def test_values_of_every_kind_can_be_set(load_text: Load) -> None:
    """Numbers, booleans, null, lists by comma or as JSON, mappings as JSON."""
    config = load_text(
        _FILE,
        {
            "FLUMEGATE_SERVER__WORKERS": "4",
            "FLUMEGATE_SERVER__TRUSTED_PROXIES": "10.0.0.0/8, ::1",
            "FLUMEGATE_SERVER__CORS_ORIGINS": '["*"]',
            "FLUMEGATE_SERVER__TLS__CERT": "",
            "FLUMEGATE_PROVIDERS__MY_GROQ__TLS_VERIFY": "false",
            "FLUMEGATE_PROVIDERS__MY_GROQ__TIMEOUTS__TOTAL": "",
            "FLUMEGATE_PROVIDERS__MY_GROQ__TIMEOUTS__IDLE": "null",
            "FLUMEGATE_PROVIDERS__MY_GROQ__HEADERS": '{"X-A": "b"}',
            "FLUMEGATE_PROVIDERS__OTHER__TYPE": "ollama",
            "FLUMEGATE_RECORDS__CONTENT": "full",
        },
    ).config
    assert config.server.workers == 4
    assert config.server.trusted_proxies == ["10.0.0.0/8", "::1/128"]
    assert config.server.cors_origins == ["*"]
    groq = config.providers["my-groq"]
    assert not groq.tls_verify
    assert (groq.timeouts.connect, groq.timeouts.total, groq.timeouts.idle) == (3, None, None)
    assert groq.headers["X-A"].reveal() == "b"
    assert config.providers["other"].type == "ollama"
    assert config.records.content == "full"


def test_names_are_matched_without_case_and_punctuation(load_text: Load) -> None:
    """`GPT_4O` is `gpt-4o`; whole sections take JSON."""
    models = load_text(_FILE, {"FLUMEGATE_MODELS__GPT_4O": "my-groq/b"}).config.models
    assert {name: route.targets[0].use for name, route in models.items()} == {"gpt-4o": "my-groq/b"}
    models = load_text(_FILE, {"FLUMEGATE_MODELS": '{"x": "my-groq/c"}'}).config.models
    assert {name: route.targets[0].use for name, route in models.items()} == {"x": "my-groq/c"}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("FLUMEGATE_SERVER__LISTN", "x", 'names no setting; did you mean "FLUMEGATE_SERVER__LISTEN"?'),
        ("FLUMEGATE_SERVR__LISTEN", "x", "names no setting"),
        (
            "FLUMEGATE_SERVER__LISTEN__PORT",
            "1",
            "goes deeper than the setting; set FLUMEGATE_SERVER__LISTEN as a whole",
        ),
        ("FLUMEGATE_SERVER__WORKERS", "two", "server.workers: must be a whole number"),
        ("FLUMEGATE_SERVER__WORKERS", "0", "server.workers: must be at least 1"),
        ("FLUMEGATE_SERVER__CORS_ORIGINS", "[x", "must be a JSON list"),
        ("FLUMEGATE_PROVIDERS", "x", "must be a JSON object"),
        ("FLUMEGATE_PROVIDERS__MY_GROQ__TIMEOUTS", "5", "providers.my-groq.timeouts: must be a mapping"),
        ("FLUMEGATE_CACHE__ENABLED", "true", "cache.enabled: not available in this release yet"),
    ],
)
def test_a_variable_that_is_wrong_is_an_error_that_names_it(
    problems: Refuse, name: str, value: str, message: str
) -> None:
    """A typo in a variable is as loud as one in the file."""
    (problem,) = problems(_FILE, {name: value})
    assert problem.startswith(f"${name}: ")
    assert message in problem


def test_a_variable_hides_no_error_of_the_file(problems: Refuse) -> None:
    """A section that is no mapping is reported, also where a variable would set something in it."""
    (problem,) = problems("server: [1]", {"FLUMEGATE_SERVER__WORKERS": "2"})
    assert problem.startswith("flumegate.yaml:1:9: server: must be a mapping")
    assert "auth.static_keys: must be a list" in problems("auth: {static_keys: 5}", {"FLUMEGATE_KEYS": "a-key"})[0]


def test_the_short_form_of_a_model_can_be_extended(load_text: Load) -> None:
    """A setting of a route that the file wrote as `provider/model` keeps that target."""
    routes = load_text(_FILE, {"FLUMEGATE_MODELS__GPT_4O__STRATEGY": "priority"}).config.models
    assert routes["gpt-4o"].targets[0].use == "my-groq/a"


def test_other_names_of_this_prefix_are_left_alone(load_text: Load) -> None:
    """Deployments keep variables of their own."""
    assert load_text(_FILE, {"FLUMEGATE_IMAGE": "x", "PATH": "/bin"}).config.server.workers == 2


def test_keys_of_the_environment_join_those_of_the_file(load_text: Load) -> None:
    """FLUMEGATE_KEYS is a list; naming it in the file too does not double it."""
    environ = {"FLUMEGATE_KEYS": "key-one-0123456789,key-two-0123456789"}
    for text in ("", "auth: {mode: keys}", 'auth: {static_keys: ["env:FLUMEGATE_KEYS"]}'):
        keys = load_text(text, environ).config.auth.static_keys
        assert [secret.entries() for secret in keys] == [["key-one-0123456789", "key-two-0123456789"]]
    keys = load_text("auth: {static_keys: [a-third-key-0123456]}", environ).config.auth.static_keys
    assert [secret.entries() for secret in keys] == [
        ["a-third-key-0123456"],
        ["key-one-0123456789", "key-two-0123456789"],
    ]


def test_names_of_other_gateways_are_understood_and_lose_to_our_own(load_text: Load) -> None:
    """PROXY_PREFIX, DATABASE_URL, LOG_LEVEL and LOG_FORMAT, in the spelling that their users have."""
    environ = {"PROXY_PREFIX": "/p/", "DATABASE_URL": "sqlite:///x.db", "LOG_LEVEL": "WARN", "LOG_FORMAT": "text"}
    config = load_text("", environ).config
    assert (config.server.proxy_prefix, config.log.level, config.log.format) == ("/p", "warning", "console")
    assert config.database.url is not None
    assert config.database.url.reveal() == "sqlite:///x.db"
    assert load_text("", environ | {"FLUMEGATE_LOG__LEVEL": "error"}).config.log.level == "error"


@pytest.mark.parametrize(
    ("name", "value"),
    [("HTTP_CACHE_ENABLED", "true"), ("HTTP_CACHE_BACKEND", "redis"), ("REDIS_CACHE_URL", "redis://r")],
)
def test_what_switches_the_cache_on_is_refused(problems: Refuse, name: str, value: str) -> None:
    """Nobody should believe that answers are cached."""
    (problem,) = problems("", {name: value})
    assert problem.startswith(f"${name}: ")
    assert "not available in this release yet" in problem


def test_what_leaves_the_cache_off_is_accepted(load_text: Load) -> None:
    """An environment made for another gateway starts this one."""
    environ = {"HTTP_CACHE_ENABLED": "false", "HTTP_CACHE_BACKEND": "memory", "REDIS_CACHE_KEY_PREFIX": "x:"}
    assert not load_text("", environ).config.cache.enabled


def test_upstreams_become_providers(load_text: Load) -> None:
    """The first is the default if none is marked; the timeout is the time until an answer begins."""
    upstreams = [
        {"name": "a", "provider": "openai", "base_url": "https://a.example", "api_key": "sk-a"},
        {"name": "b", "provider": "anthropic", "base_url": None, "api_key": "env:B", "timeout": 5},
    ]
    loaded = load_text(None, {"UPSTREAMS": json.dumps(upstreams), "B": "sk-b", "OPENAI_API_KEY": "unused"})
    providers = loaded.config.providers
    assert list(providers) == ["a", "b"]
    assert (providers["a"].default, providers["b"].default) == (True, False)
    assert (providers["a"].timeouts.first_byte, providers["b"].timeouts.first_byte) == (60, 5)
    keys = [provider.api_key.reveal() for provider in providers.values() if provider.api_key]
    assert keys == ["sk-a", "sk-b"]
    assert not loaded.warnings


def test_the_marked_upstream_is_the_default_also_over_the_file(load_text: Load) -> None:
    """Environment over file holds for the default provider too."""
    upstreams = [{"name": "a", "provider": "ollama"}, {"name": "b", "provider": "ollama", "is_default": True}]
    text = "providers: {c: {type: ollama, default: true}}"
    providers = load_text(text, {"UPSTREAMS": json.dumps(upstreams)}).config.providers
    assert [name for name, provider in providers.items() if provider.default] == ["b"]


@pytest.mark.parametrize(
    ("upstreams", "message"),
    [
        ("nonsense", "$UPSTREAMS: must be a JSON list of upstreams"),
        ("[]", "$UPSTREAMS: must be a JSON list with at least one upstream"),
        ("{}", "$UPSTREAMS: must be a JSON list with at least one upstream"),
        ("[1]", "$UPSTREAMS: [0]: must be a JSON object"),
        ('[{"provider": "openai"}]', "$UPSTREAMS: [0].name: is required"),
        ('[{"name": "a", "provider": "openai", "timeout": 0}]', "$UPSTREAMS: [0].timeout: must be a number"),
        ('[{"name": "a", "provider": "openai", "timeout": true}]', "$UPSTREAMS: [0].timeout: must be a number"),
        ('[{"name": "a", "provider": "openai", "is_default": "yes"}]', "$UPSTREAMS: [0].is_default: must be true"),
        ('[{"name": "a", "provider": "openai", "api_key": 5}]', "$UPSTREAMS: [0].api_key: must be text"),
        ('[{"name": "a", "provider": "openai", "basurl": "x"}]', 'unknown field; did you mean "base_url"?'),
        (
            '[{"name": "a", "provider": "ollama"}, {"name": "a", "provider": "ollama"}]',
            '$UPSTREAMS: [1].name: "a" is taken',
        ),
        (
            '[{"name": "a", "provider": "x", "is_default": true}, {"name": "b", "provider": "x", "is_default": true}]',
            '$UPSTREAMS: "a" and "b" are both is_default; keep one',
        ),
        ('[{"name": "a", "provider": "opnai"}]', 'there is no provider type "opnai"; did you mean "openai"?'),
    ],
)
def test_a_faulty_upstream_is_named_by_its_index(problems: Refuse, upstreams: str, message: str) -> None:
    """The start is refused with the entry and the field."""
    assert any(message in problem for problem in problems(None, {"UPSTREAMS": upstreams}))


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("FLUMEGATE_KEY", "FLUMEGATE_KEYS"),
        ("FLUMEGATE_CONFG", "FLUMEGATE_CONFIG"),
        ("FLUMEGATE_LOG_LEVEL", "FLUMEGATE_LOG__LEVEL"),
        ("FLUMEGATE_SERVER_DATA_DIR", "FLUMEGATE_SERVER__DATA_DIR"),
    ],
)
def test_a_slip_in_a_variables_name_is_not_passed_over(problems: Refuse, name: str, meant: str) -> None:
    """Else a key that should be asked for is not, and nobody notices."""
    assert problems("", {name: "some-text-123"}) == [f'${name}: names no setting; did you mean "{meant}"?']


@pytest.mark.parametrize("name", ["PORT", "SERVICE_HOST", "SERVICE_PORT", "PORT_4100_TCP_ADDR", "CONSOLE_SERVICE_HOST"])
def test_what_an_orchestrator_sets_for_a_service_of_our_name_is_not_ours(load_text: Load, name: str) -> None:
    """A pod must not refuse to start because of its neighbours."""
    assert load_text("", {f"FLUMEGATE_{name}": "tcp://10.0.0.1:4100"}).needs_mock
