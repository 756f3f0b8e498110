"""The fake provider as a real process, for every test that needs an upstream.

    with run_mock() as mock:
        client = OpenAI(base_url=mock.url + "/v1", api_key="any")
        ...
        assert mock.ledger(tag="mine")[0]["outcome"] == "complete"

Standard library only. `request` speaks through http.client, `raw` through a bare socket that hides nothing.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import quote

READY_SECONDS = 30.0


class Reply(NamedTuple):
    """An answer that was read to its end."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)


class Raw(NamedTuple):
    """Everything that came on a socket until it ended, and whether a reset ended it."""

    data: bytes
    reset: bool

    @property
    def head(self) -> bytes:
        """What stands before the first blank line."""
        return self.data.partition(b"\r\n\r\n")[0]

    @property
    def body(self) -> bytes:
        """What stands behind it, chunk framing included."""
        return self.data.partition(b"\r\n\r\n")[2]


class Mock:
    """One running mock."""

    def __init__(self, process: subprocess.Popen[bytes], url: str) -> None:
        self.url = url
        self.port = int(url.rpartition(":")[2])
        self.pid = process.pid

    def request(
        self, method: str, path: str, body: bytes | dict[str, Any] | None = None, headers: dict[str, str] | None = None
    ) -> Reply:
        """Return the answer to one request; a dict is sent as JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        sent = {"content-type": "application/json"} if isinstance(body, dict) else {}
        try:
            content = json.dumps(body).encode() if isinstance(body, dict) else body
            connection.request(method, path, content, sent | (headers or {}))
            answer = connection.getresponse()
            fields = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, fields, answer.read())
        finally:
            connection.close()

    def post(self, path: str, body: bytes | dict[str, Any], **headers: str) -> Reply:
        """Return the answer to a POST; header names are written with underscores."""
        return self.request("POST", path, body, {name.replace("_", "-"): value for name, value in headers.items()})

    def get(self, path: str, **headers: str) -> Reply:
        """Return the answer to a GET; header names are written with underscores."""
        return self.request("GET", path, None, {name.replace("_", "-"): value for name, value in headers.items()})

    def connect(self) -> socket.socket:
        """Return a bare connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def raw(self, request: bytes) -> Raw:
        """Send bytes and return what comes until the connection ends; send `connection: close` to have it end."""
        data = bytearray()
        with self.connect() as end:
            end.sendall(request)
            try:
                while piece := end.recv(65536):
                    data += piece
            except ConnectionResetError:
                return Raw(bytes(data), reset=True)
        return Raw(bytes(data), reset=False)

    def ledger(self, *, since: int = 0, tag: str = "") -> list[dict[str, Any]]:
        """Return the rows after number `since`, of one tag or nonce if given, oldest first."""
        rows: list[dict[str, Any]] = self.get(f"/mock/ledger?since={since}&tag={quote(tag)}").json()["calls"]
        return rows

    def ended(self, tag: str, *, calls: int = 1, seconds: float = 10.0) -> list[dict[str, Any]]:
        """Return the rows of a tag or nonce once that many have ended; fail if they do not in time."""
        limit = time.monotonic() + seconds
        while True:
            rows = self.ledger(tag=tag)
            if sum(row["outcome"] != "open" for row in rows) >= calls:
                return rows
            if time.monotonic() > limit:
                raise AssertionError(f"{calls} calls of {tag} should have ended: {[row['outcome'] for row in rows]}")
            time.sleep(0.01)

    def state(self) -> dict[str, Any]:
        """Return open sockets, calls in flight and counters."""
        found: dict[str, Any] = self.get("/mock/state").json()
        return found

    def mark(self, tag: str) -> None:
        """Note that the caller of this tag or nonce is about to leave: its row then tells `abort_to_eof_ms`."""
        self.post(f"/mock/mark?tag={quote(tag)}", b"")

    def clear(self) -> None:
        """Forget all rows that have ended."""
        self.get("/mock/ledger?clear=1")


@contextlib.contextmanager
def run_mock(*args: str) -> Iterator[Mock]:
    """Start `python -m flumegate.mock` on a free port with these further options, and end it by its pid."""
    command = [sys.executable, "-m", "flumegate.mock", "--listen", "127.0.0.1:0", "--quiet", *args]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        yield Mock(process, _ready(process))
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _ready(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    readable, _, _ = select.select([process.stdout], [], [], READY_SECONDS)
    line = process.stdout.readline().decode() if readable else ""
    assert line.startswith("mock listening on http://"), f"the mock did not get ready, it said {line!r}"
    return line.removeprefix("mock listening on ").strip()
