from __future__ import annotations

from collections.abc import Callable

import pytest

from flumegate.config.load import Loaded

Load = Callable[..., Loaded]
Refuse = Callable[..., list[str]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("server: {listen: 4100}", "server.listen: must be text; put it in quotes"),
        ('server: {listen: "4100"}', "server.listen: must be host:port"),
        ("server: {proxy_prefix: proxy}", "server.proxy_prefix: must be a path of its own"),
        ("server: {proxy_prefix: /v1}", "server.proxy_prefix: must be a path of its own"),
        ("server: {trusted_proxies: [ten]}", 'server.trusted_proxies[0]: "ten" is no network'),
        ("server: {trusted_proxies: 10.0.0.1}", "server.trusted_proxies: must be a list"),
        ("server: {cors_origins: [app.example]}", 'server.cors_origins[0]: "app.example" is no origin'),
        ("server: {cors_origins: [https://app.example/x]}", "is no origin"),
        ("server: {workers: 0}", "server.workers: must be at least 1"),
        ("server: {workers: 1.5}", "server.workers: must be a whole number"),
        ("server: {drain_seconds: -1}", "server.drain_seconds: must be at least 0"),
        ("server: {header_seconds: .inf}", "server.header_seconds: must be a number"),
        ("server: [1]", "server: must be a mapping"),
        ("auth: {static_keys: [12345678]}", "auth.static_keys[0]: must be text"),
        ("records: {content: redacted}", "records.content: must be metadata or full"),
        ("log: {level: loud}", "log.level: must be debug, info, warning or error"),
        ("providers: [a]", "providers: must be a mapping of names to values"),
        ("providers: {a/b: {type: ollama}}", 'providers.a/b: "a/b" is no provider name'),
        ("providers: {p: {type: ollama, tls_verify: maybe}}", "providers.p.tls_verify: must be true or false"),
        (
            "providers: {p: {type: ollama, dialects: [opnai]}}",
            'must be openai, anthropic, gemini or ollama; did you mean "openai"?',
        ),
        ("providers: {p: {type: ollama, allowed_endpoints: [chat]}}", '"chat" is no path'),
        ('providers: {p: {type: ollama, allowed_methods: ["GE T"]}}', "is no HTTP method"),
        ('providers: {p: {type: ollama, headers: {"a b": c}}}', '"a b" is no header name'),
        ("providers: {p: {type: ollama, headers: {Host: c}}}", "belongs to the connection"),
        ('providers: {p: {type: ollama, headers: {a: "b\\r\\nc: d"}}}', "holds a line break"),
        ('providers: {p: {type: ollama, api_key: "a\\nb"}}', "providers.p.api_key: holds a line break"),
        ('providers: {p: {type: ollama, api_keys: [a, "b\\nc"]}}', "providers.p.api_keys[1]: holds a line break"),
        ("providers: {p: {type: ollama, api_keys: k}}", "providers.p.api_keys: must be a list"),
        ("providers: {p: {type: ollama, health_check: {every: 0.1}}}", "health_check.every: must be at least 1"),
        ("providers: {p: {type: ollama, health_check: {path: models}}}", '"models" is no path'),
        ("server: {max_active: 0}", "server.max_active: must be at least 1"),
        ("server: {max_queued: -1}", "server.max_queued: must be at least 0"),
        ("server: {queue_seconds: 0}", "server.queue_seconds: must be more than 0"),
        ("server: {max_memory_bytes: -1}", "server.max_memory_bytes: must be at least 0"),
        ("providers: {p: {type: ollama, proxy: socks5://h:1}}", "providers.p.proxy: must be http://host:port"),
        ("providers: {p: {type: ollama, timeouts: {idle: 0}}}", "timeouts.idle: must be more than 0"),
        ("models: {a: [o/x]}", "models.a: must be a mapping"),
        ("models: {a: {}}", "models.a.targets: is required; add it"),
        ("nonsense: 1", "nonsense: unknown setting; known here: server, auth,"),
    ],
)
def test_a_value_that_means_nothing_is_refused_in_our_own_words(problems: Refuse, text: str, message: str) -> None:
    """What is wrong, and what to write instead."""
    (problem,) = problems(text)
    assert message in problem


def test_an_entry_left_empty_means_its_default(load_text: Load) -> None:
    """`providers:` with everything below it commented out is what examples look like."""
    config = load_text("providers:\nmodels:\nserver:\n  workers:\n  tls:\nauth: {static_keys: }\n").config
    assert config.server.workers == 1
    assert config.providers == {}


def test_null_keeps_its_meaning_where_it_has_one(load_text: Load) -> None:
    """`null` for a timeout is no limit, not the default."""
    text = "providers: {o: {type: ollama, timeouts: {connect: null, first_byte: null, idle: null, total: null}}}"
    timeouts = load_text(text).config.providers["o"].timeouts
    assert (timeouts.connect, timeouts.first_byte, timeouts.idle, timeouts.total) == (10, None, None, None)


def test_values_are_brought_to_one_form(load_text: Load) -> None:
    """A trailing slash, the case of a method or a level, a host address in a network."""
    text = """
server: {proxy_prefix: /proxy/, trusted_proxies: [10.1.2.3/8], listen: ":1", cors_origins: ["*", "https://a:1"]}
log: {level: INFO}
auth: {mode: keys, static_keys: ["env:KEY"]}
providers: {o: {type: ollama, allowed_methods: [get], proxy: "http://u:p@h:3128"}}
models: {short: o/x, long: {targets: [{use: o/x}]}}
"""
    config = load_text(text, {"KEY": "a-key-long-enough"}).config
    assert (config.server.proxy_prefix, config.server.trusted_proxies) == ("/proxy", ["10.0.0.0/8"])
    assert config.server.listen == "0.0.0.0:1"
    assert config.log.level == "info"
    assert config.providers["o"].allowed_methods == ["GET"]
    assert config.models["short"] == config.models["long"]
