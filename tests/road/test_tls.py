"""TLS towards clients and providers, client certificates, and the way through an HTTP CONNECT proxy."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from rig.authority import Authority
from rig.certificates import self_signed
from rig.connect_proxy import ConnectProxy, run_connect_proxy
from rig.gateway import Gateway, run_gateway
from rig.peer import Peer, answer, run_peer, stream
from rig.rows import row_of
from rig.sockets import Caller, WireAnswer, call, head

KEY = "sk-road-tls-canary"
UPSTREAM_KEY = "sk-road-tls-upstream"
LOGIN = "user:p%40ss:w0rd"
DECODED_LOGIN = "user:p@ss:w0rd"
BODY = b'{"n":9007199254740993 , "t":1.0}'
EVENTS = (b'data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}\n\n', b"data: [DONE]\n\n")


class Stage(NamedTuple):
    gateway: Gateway
    secure: Gateway
    """The same providers behind TLS towards its clients."""
    peers: dict[str, Peer]
    proxies: dict[str, ConnectProxy]
    authority: Authority

    def ask(self, provider: str, body: bytes | None = None) -> WireAnswer:
        sent = body or json.dumps({"model": f"{provider}/m", "messages": []}).encode()
        return call(self.gateway.port, "POST", "/v1/chat/completions", body=sent, key=KEY)


def contexts(authority: Authority, folder: Path) -> dict[str, ssl.SSLContext | None]:
    return {
        "good": authority.server("localhost"),
        "by_address": authority.server("127.0.0.1"),
        "wrong_name": authority.server("elsewhere.test"),
        "expired": authority.server("localhost", days=-1),
        "self_signed": self_signed(folder, "localhost")[0],
        "demanding": authority.server("localhost", demands_certificate=True),
        "plain": None,
    }


def providers(stage_peers: dict[str, Peer], proxies: dict[str, ConnectProxy], authority: Authority) -> dict[str, Any]:
    ca = {"ca_file": str(authority.ca_file)}
    mine = authority.issue("gateway.test")
    shown = {"client_cert": str(mine.certificate), "client_key": str(mine.key)}

    def to(peer: str, **settings: object) -> dict[str, object]:
        url = stage_peers[peer].url.replace("localhost", "127.0.0.1" if peer == "by_address" else "localhost")
        return {"type": "openai_compatible", "base_url": url + "/v1", "api_key": UPSTREAM_KEY, **settings}

    return {
        "good": to("good", **ca),
        "by-address": to("by_address", **ca),
        "untrusted": to("good"),
        "unverified": to("self_signed", tls_verify=False),
        "unverified-name": to("wrong_name", tls_verify=False),
        "wrong-name": to("wrong_name", **ca),
        "expired": to("expired", **ca),
        "self-signed": to("self_signed", **ca),
        "with-certificate": to("demanding", **ca, **shown),
        "without-certificate": to("demanding", **ca),
        "proxied": to("plain", proxy=proxies["open"].url()),
        "proxied-tls": to("good", proxy=proxies["open"].url(), **ca),
        "login": to("plain", proxy=proxies["login"].url(LOGIN)),
        "login-tls": to("good", proxy=proxies["login"].url(LOGIN), **ca),
        "no-login": to("plain", proxy=proxies["login"].url()),
        "wrong-login": to("good", proxy=proxies["login"].url("user:wrong"), **ca),
        "refused": to("good", proxy=proxies["refusing"].url(), **ca),
        "garbage": to("good", proxy=proxies["garbage"].url(), **ca),
        "proxied-untrusted": to("good", proxy=proxies["open"].url()),
    }


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("certificates")
    authority = Authority(folder)
    with contextlib.ExitStack() as stack:
        peers = {name: stack.enter_context(run_peer(each)) for name, each in contexts(authority, folder).items()}
        proxies = {
            "open": stack.enter_context(run_connect_proxy()),
            "login": stack.enter_context(run_connect_proxy(DECODED_LOGIN)),
            "refusing": stack.enter_context(run_connect_proxy(refusal="HTTP/1.1 403 Forbidden\r\n\r\n")),
            "garbage": stack.enter_context(run_connect_proxy(refusal="220 smtp.example ready\r\n\r\n")),
        }
        for peer in peers.values():
            peer.say(answer(BODY))
        settings: dict[str, Any] = {
            "auth": {"static_keys": [KEY]},
            "providers": providers(peers, proxies, authority),
        }
        mine = authority.issue("localhost")
        tls = {"tls": {"cert": str(mine.certificate), "key": str(mine.key)}}
        gateway = stack.enter_context(run_gateway(config=settings))
        secure = stack.enter_context(run_gateway(config=settings | {"server": tls}))
        yield Stage(gateway, secure, peers, proxies, authority)


# Towards providers


@pytest.mark.parametrize(
    ("provider", "peer"),
    [
        ("good", "good"),
        ("by-address", "by_address"),
        ("unverified", "self_signed"),
        ("unverified-name", "wrong_name"),
        ("with-certificate", "demanding"),
    ],
)
def test_a_trusted_provider_is_served_over_tls(stage: Stage, provider: str, peer: str) -> None:
    """Private authority, address as name, verification off, client certificate: all reach the provider."""
    got = stage.ask(provider)
    assert (got.status, got.body) == (200, BODY)
    seen = stage.peers[peer].last
    assert seen.values("authorization") == [f"Bearer {UPSTREAM_KEY}"]
    assert seen.client_certificate == (peer == "demanding")


@pytest.mark.parametrize(
    ("provider", "peer", "reason"),
    [
        ("untrusted", "good", "issuer"),
        ("wrong-name", "wrong_name", "mismatch"),
        ("expired", "expired", "expired"),
        ("self-signed", "self_signed", "self.signed"),
        ("proxied-untrusted", "good", "issuer"),
    ],
)
def test_a_bad_certificate_is_refused_before_a_byte_is_sent(
    stage: Stage, provider: str, peer: str, reason: str
) -> None:
    """A certificate that proves nothing is 502 with the reason, and not one byte of the request leaves."""
    upstream = stage.peers[peer]
    received, seen, failed = upstream.received_bytes, len(upstream.seen), upstream.failed_handshakes
    got = stage.ask(provider)
    assert got.status == 502
    error = got.json()["error"]
    assert error["code"] == "upstream_tls_failed"
    assert re.search(reason, error["message"])
    assert UPSTREAM_KEY not in got.body.decode()
    upstream.wait_for_failed_handshakes(failed + 1)
    assert (upstream.received_bytes, len(upstream.seen)) == (received, seen)
    row = row_of(stage.gateway, got.header("x-request-id") or "")
    assert (row["status"], row["outcome"], row["error_code"]) == (502, "failed", "upstream_tls_failed")


def test_trust_is_not_shared_between_providers(stage: Stage) -> None:
    """Two providers at one address with other ideas of trust never share a connection."""
    assert stage.ask("good").status == 200
    assert stage.ask("untrusted").status == 502
    assert stage.ask("unverified").status == 200
    assert stage.ask("self-signed").status == 502


def test_a_demanded_certificate_that_is_not_given(stage: Stage) -> None:
    """A provider that demands a certificate refuses a gateway without one; the client gets an error and no answer."""
    count = len(stage.peers["demanding"].seen)
    got = stage.ask("without-certificate")
    assert got.status == 502
    assert got.json()["error"]["code"].startswith("upstream_")
    assert len(stage.peers["demanding"].seen) == count


def test_a_tls_connection_serves_again(stage: Stage) -> None:
    """Requests one after the other share a connection: one handshake, many requests."""
    numbers = set()
    for _ in range(5):
        assert stage.ask("good").status == 200
        numbers.add(stage.peers["good"].last.connection)
    assert len(numbers) == 1


def test_large_bodies_over_tls(stage: Stage) -> None:
    """Megabytes in both directions arrive whole over TLS."""
    large = b'{"x":"%b"}' % (b"still water" * 400_000)
    sent = b'{"model":"good/m","messages":[],"x":"%b"}' % (b"runs deep" * 400_000)
    good = stage.peers["good"]
    good.say(answer(large))
    try:
        got = stage.ask("good", sent)
    finally:
        good.say(answer(BODY))
    assert hashlib.sha256(got.body).digest() == hashlib.sha256(large).digest()
    assert good.last.body == sent.replace(b"good/m", b"m", 1)


# Through a proxy


@pytest.mark.parametrize(
    ("provider", "peer", "proxy", "login"),
    [
        ("proxied", "plain", "open", ""),
        ("proxied-tls", "good", "open", ""),
        ("login", "plain", "login", DECODED_LOGIN),
        ("login-tls", "good", "login", DECODED_LOGIN),
    ],
)
def test_the_way_through_a_proxy(stage: Stage, provider: str, peer: str, proxy: str, login: str) -> None:
    """Plain and secure providers are reached through a CONNECT tunnel, with and without a login."""
    way, upstream = stage.proxies[proxy], stage.peers[peer]
    asked, carried = len(way.asked), len(way.carried)
    upstream.say(*stream(EVENTS))
    try:
        body = json.dumps({"model": f"{provider}/m", "messages": [], "stream": True}).encode()
        got = stage.ask(provider, body)
    finally:
        upstream.say(answer(BODY))
    assert (got.status, got.body, got.complete) == (200, b"".join(EVENTS), True)
    assert upstream.last.values("authorization") == [f"Bearer {UPSTREAM_KEY}"]
    assert not {"proxy-authorization", "proxy-connection"} & upstream.last.names
    tunnels = way.asked[asked:]
    host = "localhost" if peer == "good" else "127.0.0.1"
    for lines in tunnels:
        assert lines[0] == f"CONNECT {host}:{upstream.port} HTTP/1.1"
        assert f"host: {host}:{upstream.port}" in lines
        assert any(line.startswith("proxy-authorization: Basic ") for line in lines) == bool(login)
        assert UPSTREAM_KEY not in "".join(lines)
    through = way.carried[carried:]
    assert through
    assert (UPSTREAM_KEY.encode() in through) == (peer == "plain")


@pytest.mark.parametrize(
    ("provider", "status"),
    [("no-login", "407"), ("wrong-login", "407"), ("refused", "403"), ("garbage", "no valid answer")],
)
def test_a_proxy_that_refuses(stage: Stage, provider: str, status: str) -> None:
    """A proxy that opens no tunnel is 502 with what it said, and the login stays out of the message."""
    count = sum(len(peer.seen) for peer in stage.peers.values())
    got = stage.ask(provider)
    assert got.status == 502
    error = got.json()["error"]
    assert error["code"] == "upstream_proxy_failed"
    assert status in error["message"]
    assert "wrong" not in error["message"].replace("wrong-login", "")
    assert sum(len(peer.seen) for peer in stage.peers.values()) == count


# Towards clients


def test_clients_are_served_over_tls(stage: Stage) -> None:
    """Unary answers, streams, uploads and probes work over TLS, several on one connection, as HTTP/1.1."""
    good = stage.peers["good"]
    body = b'{"model":"good/m","messages":[]}'
    fields = [("content-length", str(len(body))), ("content-type", "application/json")]
    with Caller(stage.secure.port, stage.authority.client()) as caller:
        assert isinstance(caller.socket, ssl.SSLSocket)
        assert caller.socket.version() in ("TLSv1.2", "TLSv1.3")
        assert caller.socket.selected_alpn_protocol() == "http/1.1"
        for _ in range(3):
            caller.send(head("POST", "/v1/chat/completions", fields, key=KEY) + body)
            assert caller.read_answer().body == BODY
        good.say(*stream(EVENTS))
        caller.send(head("POST", "/v1/chat/completions", fields, key=KEY) + body)
        assert caller.read_answer().body == b"".join(EVENTS)
        good.say(answer(BODY))
        caller.send(head("GET", "/health"))
        assert caller.read_answer().json()["status"] == "ok"
    large = bytes(range(256)) * 20_000
    way = [("x-upstream-name", "good")]
    got = call(
        stage.secure.port, "POST", "/proxy/v1/upload", way, body=large, key=KEY, context=stage.authority.client()
    )
    assert got.status == 200
    assert good.last.body == large


def test_the_certificate_is_the_configured_one(stage: Stage) -> None:
    """A client that trusts somebody else does not talk to us."""
    with pytest.raises(ssl.SSLCertVerificationError):
        Caller(stage.secure.port, ssl.create_default_context())


def test_plain_http_is_not_spoken_on_a_tls_port(stage: Stage) -> None:
    """A plain request to a TLS port gets no answer, and the port serves on."""
    with socket.create_connection(("127.0.0.1", stage.secure.port), timeout=30) as plain:
        plain.sendall(head("GET", "/v1/models", key=KEY))
        with contextlib.suppress(ConnectionResetError):
            assert not plain.recv(65536).startswith(b"HTTP")
    assert call(stage.secure.port, "GET", "/health", context=stage.authority.client()).status == 200
