"""HTTP/1.1 as a gateway may meet it."""

from __future__ import annotations

import http.client
import json

import pytest

from rig.mock import Mock

REFLECT = b"GET /v1/reflect?%d HTTP/1.1\r\nhost: m\r\n%b\r\n"


def test_connections_serve_on(mock: Mock) -> None:
    """Several calls on one connection, streams among them."""
    connection = http.client.HTTPConnection("127.0.0.1", mock.port, timeout=60)
    try:
        for stream in (True, False, True):
            body = {"model": "m", "stream": stream, "messages": [{"role": "user", "content": "x"}]}
            connection.request("POST", "/v1/chat/completions", json.dumps(body), {"x-mock-tag": "keep"})
            assert b"echo" in connection.getresponse().read()
    finally:
        connection.close()
    rows = mock.ledger(tag="keep")
    assert len({row["connection"] for row in rows}) == 1
    assert [row["outcome"] for row in rows] == ["complete"] * 3


def test_pipelined_requests_are_answered_in_order(mock: Mock) -> None:
    """More at once than wait in line, slow ones first."""
    count = 100
    requests = b"".join(REFLECT % (number, b"x-mock-latency: 1\r\n" if number < 3 else b"") for number in range(count))
    raw = mock.raw(requests + REFLECT % (count, b"connection: close\r\n"))
    found = [json.loads(part.partition(b"\r\n\r\n")[2])["query"] for part in raw.data.split(b"HTTP/1.1 200 OK\r\n")[1:]]
    assert found == [str(number) for number in range(count + 1)]


def test_expectation_is_met(mock: Mock) -> None:
    """100 Continue before the body is there."""
    with mock.connect() as end:
        end.sendall(b"POST /v1/upload HTTP/1.1\r\nhost: m\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
        assert end.recv(1024) == b"HTTP/1.1 100 Continue\r\n\r\n"
        end.sendall(b"hi")
        assert b"200 OK" in end.recv(4096)


@pytest.mark.parametrize(
    "request_",
    [
        b"this is not HTTP\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
    ],
)
def test_what_cannot_be_parsed_is_refused(mock: Mock, request_: bytes) -> None:
    """400 and the end of the connection."""
    raw = mock.raw(request_)
    assert b"400 Bad Request" in raw.head
    assert json.loads(raw.body)["error"]["message"]


def test_upgrades_are_ignored(mock: Mock) -> None:
    """The request is answered as it is, also a slow one, and the connection ends."""
    raw = mock.raw(REFLECT % (1, b"x-mock-latency: 20\r\nconnection: upgrade\r\nupgrade: websocket\r\n"))
    assert raw.head.startswith(b"HTTP/1.1 200 OK")
    assert b"connection: close" in raw.head
    assert json.loads(raw.body)["method"] == "GET"


def test_absolute_targets_are_understood(mock: Mock) -> None:
    """Proxies send the whole address."""
    raw = mock.raw(b"GET http://mock/v1/reflect?x HTTP/1.1\r\nhost: m\r\nconnection: close\r\n\r\n")
    assert json.loads(raw.body)["path"] == "/v1/reflect"


def test_unknown_paths_and_methods(mock: Mock) -> None:
    """404 and 405 in the shape of the dialect that the path looks like."""
    assert mock.get("/v1/nothing").json()["error"]["code"] == "unknown_url"
    assert mock.get("/v1/nothing", anthropic_version="1").json()["error"]["type"] == "not_found_error"
    wrong = mock.get("/v1/chat/completions")
    assert (wrong.status, wrong.headers["allow"]) == (405, "POST")


def test_head_has_no_body(mock: Mock) -> None:
    """The length of the body, without the body, and the connection serves on."""
    raw = mock.raw(b"HEAD / HTTP/1.1\r\nhost: m\r\n\r\n" + REFLECT % (1, b"connection: close\r\n"))
    head, _, rest = raw.data.partition(b"\r\n\r\n")
    assert b"content-length: 17" in head
    assert rest.startswith(b"HTTP/1.1 200 OK")


def test_upload_that_stops_is_noted(mock: Mock) -> None:
    """A caller that leaves before its body is whole."""
    with mock.connect() as end:
        end.sendall(b"POST /v1/upload HTTP/1.1\r\nhost: m\r\nx-mock-tag: half\r\ncontent-length: 100\r\n\r\nhalf of it")
    assert mock.ended("half")[0]["outcome"] == "client_closed"


def test_too_large_body_is_refused(mock: Mock) -> None:
    """65 MiB for a dialect is 413; uploads have no limit."""
    reply = mock.post("/v1/chat/completions", b" " * (65 << 20), x_mock_tag="large")
    assert reply.status == 413
    assert "/v1/upload" in reply.json()["error"]["message"]


def test_nothing_is_left_open(mock: Mock) -> None:
    """Sockets are counted while they carry calls, and not afterwards."""
    with mock.connect() as end:
        end.sendall(REFLECT % (1, b"x-mock-tag: sock\r\nx-mock-hang: 0\r\n"))
        assert end.recv(4096)
        assert mock.state()["open_sockets"] >= 1
    mock.ended("sock")
    assert mock.state()["in_flight"] == 0
