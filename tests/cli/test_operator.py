from __future__ import annotations

import contextlib
import http.server
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from flumegate.cli import operator
from flumegate.cli.main import run
from flumegate.config.operator import Operator


@contextlib.contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """Run a server that gives one answer to everything; yield its URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


REFUSAL = json.dumps({"error": {"code": "x", "message": "No, \x1b[31mbecause."}}).encode()


@pytest.mark.parametrize(
    ("status", "body", "code", "said"),
    [
        (401, REFUSAL, 3, "because"),
        (403, REFUSAL, 3, "because"),
        (404, REFUSAL, 1, "because"),
        (503, REFUSAL, 1, "because"),
        (500, b"{}", 1, "status 500"),
        (200, b"<html>", 1, "no console"),
        (200, b"[]", 1, "no console"),
    ],
)
def test_each_way_to_fail_has_its_exit_code(
    status: int, body: bytes, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The console's own words are shown, and can command no terminal."""
    with answering(status, body) as url:
        assert run(["target", "list", "--url", url, "--token", "fg-admin-x"]) == code
    shown = capsys.readouterr()
    assert shown.out == ""
    assert said in shown.err
    assert "\x1b" not in shown.err
    assert "fg-admin-x" not in shown.err


def test_nobody_there_is_4(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A console that is gone, and a folder in which there never was one."""
    with socket.create_server(("127.0.0.1", 0)) as end:
        url = f"http://127.0.0.1:{end.getsockname()[1]}"
    assert run(["target", "list", "--url", url, "--token", "x"]) == 4
    assert "is the gateway running?" in capsys.readouterr().err
    assert run(["target", "list", "--data-dir", str(tmp_path)]) == 4
    assert "--data-dir" in capsys.readouterr().err


@pytest.mark.parametrize("url", ["nonsense", "ftp://127.0.0.1", "http://[", "http://127.0.0.1:99999999"])
def test_an_address_that_is_none_is_a_matter_of_usage(url: str) -> None:
    assert run(["target", "list", "--url", url, "--token", "x"]) == 2


def test_a_token_that_no_header_can_carry_is_one_too() -> None:
    assert run(["target", "list", "--url", "http://127.0.0.1:1", "--token", "ü"]) == 2


def test_a_proxy_of_the_environment_never_sees_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """The question goes to the console itself."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with answering(200, b'{"targets": []}') as url:
        assert operator.ask(Operator(url, "x"), "GET", "/manage/targets") == {"targets": []}
