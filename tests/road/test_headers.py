"""Which header fields travel, which stop, and which the gateway sets: towards the provider and towards the client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from rig.gateway import Gateway, run_gateway
from rig.peer import Peer, Seen, answer, run_peer, stream
from rig.rows import row_of
from rig.sockets import WireAnswer, call

KEY = "sk-road-headers-canary"
CHAT = b'{"model":"gpt-4o","messages":[]}'
MESSAGE = b'{"model":"claude-x","max_tokens":1,"messages":[]}'
PATHS = ["/v1/chat/completions", "/v1/other/thing", "/proxy/v1/chat/completions", "/proxy/v1/other"]
each_path = pytest.mark.parametrize("path", PATHS)


class Stage(NamedTuple):
    gateway: Gateway
    peer: Peer

    def post(self, path: str, body: bytes, *headers: tuple[str, str], key: str = KEY, upstream: str = "") -> WireAnswer:
        fields = [*headers, ("x-upstream-name", upstream)] if upstream else list(headers)
        return call(self.gateway.port, "POST", path, fields, body=body, key=key)

    def sent(self, path: str, body: bytes, *headers: tuple[str, str], key: str = KEY, upstream: str = "") -> Seen:
        """Return what the provider saw of a request."""
        self.peer.say(answer(b"{}"))
        got = self.post(path, body, *headers, key=key, upstream=upstream)
        assert got.status == 200, got.body
        return self.peer.last

    def got(self, path: str, *headers: tuple[str, str]) -> WireAnswer:
        """Return what the client gets of an answer with these headers."""
        self.peer.say(answer(b'{"usage":{}}', *headers))
        return self.post(path, CHAT)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with run_peer() as peer:
        providers = {
            "open": {"type": "openai", "base_url": peer.url + "/v1", "api_key": "sk-open-secret", "default": True},
            "claude": {"type": "anthropic", "base_url": peer.url, "api_key": "sk-ant-secret"},
            "azure": {
                "type": "azure",
                "base_url": peer.url,
                "api_key": "azure-secret",
                "api_version": "2024-10-21",
            },
            "azure-v1": {"type": "azure", "base_url": peer.url, "api_key": "azure-secret"},
            "keyless": {"type": "openai_compatible", "base_url": peer.url + "/deep/path/v1"},
            "dressed": {
                "type": "openai_compatible",
                "base_url": peer.url,
                "api_key": "sk-dressed",
                "headers": {"X-Team": "gateway", "User-Agent": "flumegate-test"},
            },
        }
        models = {"claude-*": "claude/*", "az": "azure/my deploy/ment", "az1": "azure-v1/d1", "smart": "open/gpt-4o"}
        settings = {"auth": {"static_keys": [KEY]}, "providers": providers, "models": models}
        with run_gateway(config=settings) as gateway:
            yield Stage(gateway, peer)


# Towards the provider

STOPPED = [
    ("connection", "keep-alive, X-Secret-Hop, x-other-hop"),
    ("x-secret-hop", "1"),
    ("X-OTHER-HOP", "1"),
    ("keep-alive", "timeout=5"),
    ("proxy-authorization", "Basic Zm9v"),
    ("proxy-authenticate", "Basic"),
    ("proxy-connection", "keep-alive"),
    ("te", "trailers"),
    ("trailer", "x-checksum"),
    ("cookie", "session=1"),
    ("x-forwarded-for", "203.0.113.7"),
    ("X-Forwarded-Proto", "https"),
    ("x-forwarded-host", "inner.example"),
    ("forwarded", "for=203.0.113.7"),
    ("via", "1.1 proxy"),
    ("x-real-ip", "203.0.113.7"),
    ("true-client-ip", "203.0.113.7"),
    ("x-client-ip", "203.0.113.7"),
    ("x-original-forwarded-for", "203.0.113.7"),
    ("cf-connecting-ip", "203.0.113.7"),
    ("cf-ipcountry", "NL"),
    ("x-flumegate-tags", "a"),
    ("x-flumegate-anything", "a"),
    ("accept-encoding", "gzip, br"),
]
KEPT = [
    ("user-agent", "OpenAI/Python 3.52.0"),
    ("accept", "application/json"),
    ("x-stainless-lang", "python"),
    ("openai-beta", "assistants=v2"),
    ("openai-organization", "org-1"),
    ("idempotency-key", "k-1"),
    ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ("x-odd", '  a  b\t"c"; \xe9 '.strip()),
    ("x-empty", ""),
    ("x-many", "1"),
    ("x-many", "2"),
    ("x-many", "1"),
]


@each_path
def test_what_stops_on_the_way_out(stage: Stage, path: str) -> None:
    """Hop-by-hop fields, those that `Connection` names, credentials, cookies and client addresses never travel."""
    seen = stage.sent(path, CHAT, *STOPPED)
    assert not {name.lower() for name, _ in STOPPED} - {"accept-encoding"} & seen.names
    assert seen.values("accept-encoding") == ["identity"]
    assert seen.values("host") == [f"127.0.0.1:{stage.peer.port}"]
    assert seen.values("content-length") == [str(len(CHAT))]
    assert KEY not in repr(seen)


@each_path
def test_what_travels_on_the_way_out(stage: Stage, path: str) -> None:
    """Every other field reaches the provider with its value, repeated ones line by line and in order."""
    seen = stage.sent(path, CHAT, *KEPT)
    assert [pair for pair in seen.headers if pair[0] in {name for name, _ in KEPT}] == KEPT
    assert seen.values("content-type") == ["application/json"]


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages?beta=true", "/proxy/v1/messages"])
def test_beta_lines_travel_one_by_one(stage: Stage, path: str) -> None:
    """Several `anthropic-beta` lines reach the provider as the lines they were."""
    betas = ["claude-code-20250219,interleaved-thinking-2025-05-14", "fine-grained-tool-streaming-2025-05-14"]
    headers = [("anthropic-beta", beta) for beta in betas]
    seen = stage.sent(path, MESSAGE, ("anthropic-version", "2024-01-01"), *headers, upstream="claude")
    assert seen.values("anthropic-beta") == betas
    assert seen.values("anthropic-version") == ["2024-01-01"]
    assert seen.line == f"POST {path.removeprefix('/proxy')} HTTP/1.1"


@pytest.mark.parametrize("carrier", ["authorization", "x-api-key", "api-key", "x-goog-api-key"])
@each_path
def test_no_credential_of_the_client_travels(stage: Stage, path: str, carrier: str) -> None:
    """Whichever field carries the client's key, only the provider's own credential is sent on."""
    value = f"Bearer {KEY}" if carrier == "authorization" else KEY
    seen = stage.sent(path, CHAT, (carrier, value), key="")
    assert KEY not in repr(seen)
    assert seen.values("authorization") == ["Bearer sk-open-secret"]
    assert not {"x-api-key", "api-key", "x-goog-api-key"} & seen.names


class Injection(NamedTuple):
    """How a provider is addressed: the client's path and body, the provider's request line, credential fields."""

    path: str
    body: bytes
    upstream: str
    line: str
    credential: tuple[str, str] | None


AZ = b'{"model":"az","messages":[]}'
DEPLOYED = "/openai/deployments/my%20deploy%2Fment"
DATED = "api-version=2024-10-21"
INJECTIONS = {
    "openai": Injection(
        "/v1/chat/completions", CHAT, "", "/v1/chat/completions", ("authorization", "Bearer sk-open-secret")
    ),
    "anthropic": Injection("/v1/messages", MESSAGE, "", "/v1/messages", ("x-api-key", "sk-ant-secret")),
    "anthropic count": Injection(
        "/v1/messages/count_tokens", MESSAGE, "", "/v1/messages/count_tokens", ("x-api-key", "sk-ant-secret")
    ),
    "anthropic, transparent": Injection(
        "/proxy/v1/messages/batches?limit=1",
        b"{}",
        "claude",
        "/v1/messages/batches?limit=1",
        ("x-api-key", "sk-ant-secret"),
    ),
    "azure by date": Injection(
        "/v1/chat/completions", AZ, "", f"{DEPLOYED}/chat/completions?{DATED}", ("api-key", "azure-secret")
    ),
    "azure by date, with a query": Injection(
        "/v1/chat/completions?x=1", AZ, "", f"{DEPLOYED}/chat/completions?{DATED}&x=1", ("api-key", "azure-secret")
    ),
    "azure by date, embeddings": Injection(
        "/v1/embeddings",
        b'{"model":"az","input":"x"}',
        "",
        f"{DEPLOYED}/embeddings?{DATED}",
        ("api-key", "azure-secret"),
    ),
    "azure by date, responses": Injection(
        "/v1/responses", b'{"model":"az","input":"x"}', "", f"/openai/responses?{DATED}", ("api-key", "azure-secret")
    ),
    "azure v1": Injection(
        "/v1/chat/completions", b'{"model":"az1"}', "", "/openai/v1/chat/completions", ("api-key", "azure-secret")
    ),
    "keyless": Injection("/v1/chat/completions", CHAT, "keyless", "/deep/path/v1/chat/completions", None),
    "compatible": Injection(
        "/v1/chat/completions", CHAT, "dressed", "/v1/chat/completions", ("authorization", "Bearer sk-dressed")
    ),
}


@pytest.mark.parametrize("name", INJECTIONS)
def test_each_provider_is_addressed_in_its_own_way(stage: Stage, name: str) -> None:
    """Path, query, credential field and default headers are those that this provider asks for, and no others."""
    case = INJECTIONS[name]
    seen = stage.sent(case.path, case.body, upstream=case.upstream)
    assert seen.line == f"POST {case.line} HTTP/1.1"
    carriers = {"authorization", "x-api-key", "api-key", "x-goog-api-key"}
    assert [pair for pair in seen.headers if pair[0].lower() in carriers] == (
        [case.credential] if case.credential else []
    )
    versions = ["2023-06-01"] if case.line.startswith("/v1/messages") else []
    assert seen.values("anthropic-version") == versions


def test_configured_headers_replace_the_clients(stage: Stage) -> None:
    """A field that the configuration sets for a provider is sent once, in place of the client's."""
    seen = stage.sent("/v1/chat/completions", CHAT, ("x-team", "client"), ("user-agent", "client"), upstream="dressed")
    assert seen.values("x-team") == ["gateway"]
    assert seen.values("user-agent") == ["flumegate-test"]


@each_path
def test_a_shared_connection_never_mixes_credentials(stage: Stage, path: str) -> None:
    """Two providers at one address may share a connection; each request carries its own provider's credential."""
    for _ in range(3):
        first = stage.sent(path, CHAT, upstream="open")
        second = stage.sent(path, CHAT, upstream="dressed")
        assert first.values("authorization") == ["Bearer sk-open-secret"]
        assert second.values("authorization") == ["Bearer sk-dressed"]


# Towards the client

ANSWER_STOPPED = [
    ("Connection", "keep-alive, X-Secret-Hop"),
    ("x-secret-hop", "1"),
    ("keep-alive", "timeout=5"),
    ("proxy-authenticate", "Basic"),
    ("trailer", "x-checksum"),
    ("upgrade", "h2c"),
    ("set-cookie", "__cf_bm=secret; path=/"),
    ("Set-Cookie", "_cfuvid=secret; path=/"),
    ("alt-svc", 'h3=":443"'),
    ("openai-organization", "org-secret"),
    ("openai-project", "proj-secret"),
    ("anthropic-organization-id", "org-secret"),
    ("x-ratelimit-remaining-requests", "9"),
    ("anthropic-ratelimit-tokens-remaining", "9"),
    ("access-control-allow-origin", "*"),
    ("cf-ray", "1"),
    ("strict-transport-security", "true"),
    ("x-flumegate-provider", "spoofed"),
    ("x-flumegate-anything", "spoofed"),
]
ANSWER_KEPT = [
    ("date", "Sat, 21 Nov 2026 10:00:00 GMT"),
    ("server", "peer"),
    ("openai-version", "2020-10-01"),
    ("openai-processing-ms", "12"),
    ("retry-after", "7"),
    ("retry-after-ms", "7000"),
    ("cache-control", "no-store"),
    ("etag", '"x"'),
    ("x-odd", "a \xe9"),
    ("x-empty", ""),
    ("x-many", "2"),
    ("x-many", "1"),
]


@each_path
def test_what_stops_on_the_way_back(stage: Stage, path: str) -> None:
    """Hop-by-hop fields, those that `Connection` names, cookies and organisations stop at the gateway."""
    got = stage.got(path, *ANSWER_STOPPED)
    assert got.status == 200
    assert "secret" not in repr(got.headers)
    assert "spoofed" not in repr(got.headers)
    left = {name.lower() for name, _ in ANSWER_STOPPED} - {"x-flumegate-provider"}
    assert not left & {name for name, _ in got.headers}


@each_path
def test_what_travels_on_the_way_back(stage: Stage, path: str) -> None:
    """Every other field of an answer reaches the client with its value, repeated ones line by line and in order."""
    got = stage.got(path, *ANSWER_KEPT)
    assert [pair for pair in got.headers if pair[0] in {name for name, _ in ANSWER_KEPT}] == ANSWER_KEPT


@each_path
def test_trailers_do_not_pass_for_headers(stage: Stage, path: str) -> None:
    """What a provider sends behind its body changes nothing in front of it."""
    trailers = b"x-checksum: 1\r\ncontent-type: text/html\r\ncontent-encoding: gzip\r\nlocation: /\r\n"
    *writes, last = stream([b'{"a"', b":1}"], content_type="application/json")
    stage.peer.say(b"".join(writes) + last[:-2] + trailers + b"\r\n")
    got = stage.post(path, CHAT)
    assert (got.status, got.body, got.complete) == (200, b'{"a":1}', True)
    assert got.values("content-type") == ["application/json"]
    assert not {"x-checksum", "location", "content-encoding"} & {name for name, _ in got.headers}


@pytest.mark.parametrize("theirs", ["x-request-id", "request-id", "X-Request-Id"])
@each_path
def test_the_providers_request_id_is_renamed(stage: Stage, path: str, theirs: str) -> None:
    """The provider's id comes as `x-upstream-request-id`; `x-request-id` and `request-id` are the gateway's own."""
    got = stage.got(path, (theirs, "req-upstream"))
    assert got.header("x-upstream-request-id") == "req-upstream"
    assert got.header("x-request-id") == got.header("request-id")
    assert got.header("x-request-id") not in (None, "req-upstream")


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/models", "/v1/nonsense", "/nowhere", "/health"])
def test_a_valid_request_id_is_kept(stage: Stage, path: str) -> None:
    """A client's own `x-request-id` names the answer and the record, refusals and errors included."""
    stage.peer.say(answer(b"{}"))
    method, body = ("POST", CHAT) if "chat" in path else ("GET", None)
    mine = f"my-Request_id.1:2@{path}".replace("/", "+")
    got = call(stage.gateway.port, method, path, [("x-request-id", mine)], body=body, key=KEY)
    assert got.values("x-request-id") == [mine]
    assert got.values("request-id") == [mine]
    if path != "/health":
        assert row_of(stage.gateway, mine)["status"] == got.status


@pytest.mark.parametrize("bad", ["", "has space", "x" * 129, "caf\xe9", 'quote"', "semi;colon"])
def test_an_unusable_request_id_is_replaced(stage: Stage, bad: str) -> None:
    """An id that is empty, too long or holds odd characters is replaced by one of the gateway's own."""
    stage.peer.say(answer(b"{}"))
    got = stage.post("/v1/chat/completions", CHAT, ("x-request-id", bad))
    minted = got.header("x-request-id") or ""
    assert minted != bad
    assert len(minted) == 16
    assert minted.isalnum()


def test_minted_request_ids_differ(stage: Stage) -> None:
    """No two requests get the same id."""
    stage.peer.say(answer(b"{}"))
    assert len({stage.post("/v1/chat/completions", CHAT).header("x-request-id") for _ in range(20)}) == 20


MARKS = {
    "/v1/chat/completions": ("open", "gpt-4o", "verbatim"),
    "/v1/audio/speech": ("open", "gpt-4o", "transparent"),
    "/proxy/v1/chat/completions": ("open", None, "transparent"),
}


@pytest.mark.parametrize("path", MARKS)
@pytest.mark.parametrize("kind", ["unary", "error", "stream"])
def test_marks(stage: Stage, path: str, kind: str) -> None:
    """Every relayed answer says who served it: provider, model, lane, attempts, time, cache."""
    provider, model, lane = MARKS[path]
    if kind == "stream":
        stage.peer.say(*stream([b'data: {"choices":[{"index":0,"finish_reason":"stop"}]}\n\n', b"data: [DONE]\n\n"]))
    else:
        stage.peer.say(answer(b"{}", status="200 OK" if kind == "unary" else "500 Oops"))
    got = stage.post(path, b'{"model":"smart","messages":[]}')
    assert got.header("x-flumegate-provider") == provider
    assert got.header("x-flumegate-model") == model
    assert got.header("x-flumegate-lane") == lane
    assert got.header("x-flumegate-attempts") == "1"
    assert got.header("x-cache-status") == "bypass"
    assert int(got.header("x-upstream-response-time") or "-1") >= 0
    if kind == "stream":
        assert got.header("x-accel-buffering") == "no"


@pytest.mark.parametrize(
    "path",
    [
        "/v1",
        "/v1/",
        "//v1/models",
        "/v1//models",
        "/v1/models/",
        "/v1/v1/models",
        "/v1/chat/completions/",
        "/proxy",
        "/proxy/v1",
        "/proxy/v1/",
        "/proxy/v1/upstreams/",
        "/health/",
        "/",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
def test_the_gateway_never_redirects(stage: Stage, method: str, path: str) -> None:
    """However a path is spelled, the answer is no redirect: clients lose their body or their key on the way."""
    stage.peer.say(answer(b"{}"))
    got = call(stage.gateway.port, method, path, body=CHAT if method == "POST" else None, key=KEY)
    assert not 300 <= got.status < 400
    assert got.header("location") is None
