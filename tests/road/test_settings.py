"""What the configuration says of the door and of a provider: another prefix, allowed endpoints and methods, CORS."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from rig.gateway import Gateway, run_gateway
from rig.peer import Peer, answer, run_peer
from rig.sockets import WireAnswer, call

KEY = "sk-road-settings-canary"
ORIGIN = "https://app.example"


class Stage(NamedTuple):
    gateway: Gateway
    """All as it is by default."""
    other: Gateway
    """Another prefix, CORS, and a provider that allows little."""
    peer: Peer

    def ask(
        self, method: str, path: str, *headers: tuple[str, str], body: bytes | None = None, key: str = KEY
    ) -> WireAnswer:
        return call(self.gateway.port, method, path, headers, body=body, key=key)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with run_peer() as peer:
        one = {"type": "openai_compatible", "base_url": f"{peer.url}/base/v1", "api_key": "sk-up", "default": True}
        few = one | {"allowed_endpoints": ["/v1/chat", "/v1/files"], "allowed_methods": ["GET", "POST"]}
        settings = {"auth": {"static_keys": [KEY]}, "models": {"known": "one/known"}}
        door = {"proxy_prefix": "/my/llm/", "cors_origins": [ORIGIN]}
        with (
            run_gateway(config=settings | {"providers": {"one": one}}) as gateway,
            run_gateway(config=settings | {"providers": {"one": few}, "server": door}) as other,
        ):
            yield Stage(gateway, other, peer)


@pytest.fixture(autouse=True)
def plain_answers(stage: Stage) -> None:
    stage.peer.say(answer(b'{"ok":true}'))


# Another prefix, and what a provider allows


def test_another_prefix(stage: Stage) -> None:
    """The prefix is the configured one and no other, and the rest of the paths does not move."""
    port = stage.other.port
    assert call(port, "GET", "/my/llm/v1/files/1?a=b", key=KEY).status == 200
    assert stage.peer.last.line == "GET /base/v1/files/1?a=b HTTP/1.1"
    assert call(port, "GET", "/my/llm/v1/upstreams", key=KEY).json()["upstreams"][0]["name"] == "one"
    assert call(port, "GET", "/proxy/v1/files/1", key=KEY).status == 404
    assert call(port, "GET", "/api/health").status == 200
    assert call(port, "GET", "/v1/files/1", key=KEY).status == 200


@pytest.mark.parametrize("prefix", ["/v1", "/my/llm/v1"])
def test_allowed_endpoints(stage: Stage, prefix: str) -> None:
    """A path outside `allowed_endpoints` is 403; the match goes by whole segments."""
    port, count = stage.other.port, len(stage.peer.seen)
    for path in ("/filesystem", "/embeddings", "/chatty", "/files/../embeddings", "/files/%2e%2e/embeddings"):
        got = call(port, "POST", prefix + path, body=b'{"model":"m","input":"x"}', key=KEY)
        assert got.status in (400, 403)
        assert got.json()["error"]["code"] in ("endpoint_not_allowed", "invalid_path")
    assert len(stage.peer.seen) == count
    for path in ("/files", "/files/1", "/chat/completions"):
        assert call(port, "POST", prefix + path, body=b'{"model":"m","messages":[]}', key=KEY).status == 200


@pytest.mark.parametrize("prefix", ["/v1", "/my/llm/v1"])
@pytest.mark.parametrize("method", ["DELETE", "PUT", "HEAD"])
def test_allowed_methods(stage: Stage, method: str, prefix: str) -> None:
    """A method outside `allowed_methods` is 405 and does not reach the provider."""
    count = len(stage.peer.seen)
    assert call(stage.other.port, method, prefix + "/files/1", key=KEY).status == 405
    assert len(stage.peer.seen) == count


# CORS


def preflight(port: int, origin: str, path: str = "/v1/chat/completions") -> WireAnswer:
    wanted = [
        ("origin", origin),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization, anthropic-version, x-stainless-os"),
    ]
    return call(port, "OPTIONS", path, wanted)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/my/llm/v1/files", "/v1/models", "/health"])
def test_a_preflight_needs_no_key(stage: Stage, path: str) -> None:
    """A browser's preflight from a configured origin is answered 204 with what it asked for."""
    got = preflight(stage.other.port, ORIGIN, path)
    assert got.status == 204
    assert got.header("access-control-allow-origin") == ORIGIN
    assert got.header("access-control-allow-headers") == "authorization, anthropic-version, x-stainless-os"
    assert "POST" in (got.header("access-control-allow-methods") or "")
    assert got.header("access-control-max-age") == "86400"
    assert "origin" in (got.header("vary") or "").lower()


@pytest.mark.parametrize("origin", ["https://evil.example", "https://app.example.evil", "http://app.example", "null"])
def test_a_foreign_origin_gets_nothing(stage: Stage, origin: str) -> None:
    """Another origin than the configured ones is allowed nothing, in the preflight and in the answer."""
    assert preflight(stage.other.port, origin).header("access-control-allow-origin") is None
    got = call(stage.other.port, "GET", "/v1/models", [("origin", origin)], key=KEY)
    assert got.status == 200
    assert got.header("access-control-allow-origin") is None


@pytest.mark.parametrize(
    ("method", "path", "key", "status"),
    [
        ("GET", "/v1/models", KEY, 200),
        ("GET", "/v1/files", KEY, 200),
        ("POST", "/v1/chat/completions", KEY, 200),
        ("GET", "/v1/models", "sk-wrong", 401),
        ("GET", "/v1/models/unknown", KEY, 404),
        ("GET", "/nowhere", KEY, 404),
        ("DELETE", "/v1/files/1", KEY, 405),
    ],
)
def test_answers_and_errors_can_be_read_by_a_browser(
    stage: Stage, method: str, path: str, key: str, status: int
) -> None:
    """Relayed answers and the gateway's own errors carry the origin and expose what a client reads."""
    body = b'{"model":"m","messages":[]}' if method == "POST" else None
    got = call(stage.other.port, method, path, [("origin", ORIGIN)], body=body, key=key)
    assert got.status == status
    assert got.header("access-control-allow-origin") == ORIGIN
    assert "origin" in (got.header("vary") or "").lower()
    assert "x-request-id" in (got.header("access-control-expose-headers") or "")


def test_without_cors_nothing_is_allowed(stage: Stage) -> None:
    """CORS is off unless configured: neither preflight nor answer names an origin."""
    got = preflight(stage.gateway.port, ORIGIN)
    assert not [name for name, _ in got.headers if name.startswith("access-control-")]
    got = stage.ask("GET", "/v1/models", ("origin", ORIGIN))
    assert not [name for name, _ in got.headers if name.startswith("access-control-")]


def test_options_without_an_origin_is_passed_on(stage: Stage) -> None:
    """OPTIONS that is no preflight is a method like any other: it needs a key and reaches the provider."""
    assert stage.ask("OPTIONS", "/v1/files", key="").status == 401
    assert stage.ask("OPTIONS", "/v1/files").status == 200
    assert stage.peer.last.line == "OPTIONS /base/v1/files HTTP/1.1"
