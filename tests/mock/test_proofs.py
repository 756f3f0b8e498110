"""Upload, download and reflect: what a proxy did to a request can be seen."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json

import pytest

from flumegate.mock.proofs import BLOCK_BYTES, download
from rig.mock import Mock

MEGABYTE = 1 << 20


@pytest.mark.parametrize("size", [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES])
def test_download_is_deterministic(size: int) -> None:
    """So many bytes, always the same, and no two blocks alike."""
    whole = b"".join(download(size))
    assert len(whole) == size
    assert whole == b"".join(download(4 * BLOCK_BYTES))[:size]
    assert len(set(download(size))) == len(list(download(size)))


@pytest.mark.parametrize("length", [True, False])
def test_large_download_in_flat_memory(mock: Mock, length: bool) -> None:
    """50 MB arrive whole, with a length or chunked, and the mock grows by no more than its buffers."""
    size = 50 * MEGABYTE
    before = mock.state()["peak_memory_bytes"]
    reply = mock.get(f"/v1/download?bytes={size}" + ("&length=1" if length else ""))
    assert reply.headers.get("content-length") == (str(size) if length else None)
    assert hashlib.sha256(reply.body).digest() == hashlib.sha256(b"".join(download(size))).digest()
    assert mock.state()["peak_memory_bytes"] - before < 10 * MEGABYTE


@pytest.mark.parametrize("chunked", [True, False])
def test_large_upload_in_flat_memory(mock: Mock, chunked: bool) -> None:
    """50 MB are measured and hashed, in either framing, and not kept."""
    block = bytes(range(256)) * 4096
    before = mock.state()["peak_memory_bytes"]
    connection = http.client.HTTPConnection("127.0.0.1", mock.port, timeout=60)
    headers = {"x-mock-tag": f"up-{chunked}"} | ({} if chunked else {"content-length": str(50 * MEGABYTE)})
    connection.request("POST", "/v1/upload", (block for _ in range(50)), headers, encode_chunked=chunked)
    answer = connection.getresponse()
    told = json.loads(answer.read())
    connection.close()
    assert told["bytes"] == 50 * MEGABYTE
    assert told["sha256"] == hashlib.sha256(block * 50).hexdigest()
    assert told["method"] == "POST"
    assert ["x-mock-tag", f"up-{chunked}"] in told["headers"]
    [row] = mock.ended(f"up-{chunked}")
    assert (row["bytes_in"], row["body_sha256"]) == (told["bytes"], told["sha256"])
    assert base64.b64decode(row["body"]) == block[: 64 << 10]
    assert mock.state()["peak_memory_bytes"] - before < 10 * MEGABYTE


@pytest.mark.parametrize("path", ["/v1/reflect", "/v1/echo/any/thing", "/proxy/v1/reflect"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_reflect_tells_what_arrived(mock: Mock, path: str, method: str) -> None:
    """Method, path, query, repeated headers in order, and the body byte by byte."""
    body = bytes(range(256)) if method != "GET" else b""
    fields = b"Host: m\r\nX-Two: 1\r\nX-Two: 2\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
    raw = mock.raw(b"%b %b?a=1&b=%%20 HTTP/1.1\r\n" % (method.encode(), path.encode()) + fields + body)
    told = json.loads(raw.body)
    assert (told["method"], told["path"], told["query"]) == (method, path, "a=1&b=%20")
    assert [value for name, value in told["headers"] if name == "x-two"] == ["1", "2"]
    assert base64.b64decode(told["body"]) == body


def test_download_needs_a_number(mock: Mock) -> None:
    """What cannot be sent is refused with the right form."""
    reply = mock.get("/v1/download?bytes=many")
    assert reply.status == 400
    assert "bytes=1000" in reply.json()["error"]["message"]
