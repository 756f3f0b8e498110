from __future__ import annotations

import asyncio
import http.client
import json
import re
import signal
import socket
import stat
from pathlib import Path
from typing import Any, cast

import pytest

from flumegate.console import application, endpoints
from flumegate.console.endpoint import Endpoint
from flumegate.console.permission import Permission
from flumegate.processes.console import Console
from rig.gateway import Gateway, run_gateway
from rig.link import Control


def ask(url: str, token: str, method: str = "GET", path: str = "/manage/targets") -> tuple[int, Any]:
    """Return status and body of one answer of the console."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
    connection.request(method, path, headers={"authorization": f"Bearer {token}"})
    answer = connection.getresponse()
    body = json.loads(answer.read())
    connection.close()
    return answer.status, body


def status_of_clients(gateway: Gateway) -> int:
    return gateway.request("GET", "/v1/models", key=gateway.key).status


def test_the_first_start_makes_a_token_that_only_its_user_can_read() -> None:
    """256 bits; later starts keep it; it stands in no log."""
    with run_gateway() as gateway:
        url = gateway.wait_console()
        token = gateway.admin_token
        assert gateway.logs().index("flumegate ready") < gateway.logs().index("console_open")
        assert re.fullmatch(r"fg-admin-[0-9A-Za-z_-]{43}", token)
        for name in ("admin.token", "console.url"):
            assert stat.S_IMODE((gateway.data_dir / name).stat().st_mode) == 0o600
        assert ask(url, token, path="/manage/openapi.json")[0] == 200
        assert ask(url, token + "x", path="/manage/openapi.json")[0] == 401
        assert ask(url, gateway.key, path="/manage/openapi.json")[0] == 401
        assert gateway.stop() == 0
        assert token not in gateway.logs()
        assert not (gateway.data_dir / "console.url").exists()
        with run_gateway(data_dir=gateway.data_dir) as again:
            again.wait_console()
            assert again.admin_token == token


def test_the_token_does_not_open_the_gateway() -> None:
    """Operators and clients are different people."""
    with run_gateway() as gateway:
        gateway.wait_console()
        assert gateway.request("GET", "/v1/models", key=gateway.admin_token).status == 401


def test_a_port_that_is_taken_costs_only_the_console() -> None:
    """The log says how to mend it; clients are served, and a stop is clean."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with run_gateway(env={"FLUMEGATE_CONSOLE__LISTEN": address}) as gateway:
            text = gateway.output.wait_for("console_not_opened")
            assert f"{address} is in use" in text
            assert "choose another with console.listen" in text
            assert status_of_clients(gateway) == 200
            assert not (gateway.data_dir / "console.url").exists()
            assert gateway.stop() == 0


def test_a_token_that_others_can_read_keeps_the_console_shut(tmp_path: Path) -> None:
    """Whoever has read it could come back; clients are served all the same."""
    token = tmp_path / "admin.token"
    token.write_text("fg-admin-" + "x" * 43)
    token.chmod(0o644)
    with run_gateway(data_dir=tmp_path) as gateway:
        assert "chmod 600" in gateway.output.wait_for("console_not_opened")
        assert status_of_clients(gateway) == 200


async def test_a_bug_while_it_is_opened_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """An endpoint without a permission, or a library that is not there: never a console that is silently missing."""
    monkeypatch.setattr(
        application, "ENDPOINTS", (Endpoint("GET", "/a", endpoints.get_openapi, cast("Permission", None)),)
    )
    made = Console("127.0.0.1:0", tmp_path, Control(tmp_path / "link.sock").end)
    made.begin()
    assert made._opening is not None
    await asyncio.wait([made._opening])
    await made.close()
    assert "console_not_opened" in capfd.readouterr().err
    assert not (tmp_path / "console.url").exists()


def test_a_control_that_takes_over_opens_the_console_again() -> None:
    """At the same address where one is configured, with the same token."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with run_gateway(env={"FLUMEGATE_CONSOLE__LISTEN": address}) as gateway:
        url, token = gateway.wait_console(), gateway.admin_token
        assert url == f"http://{address}"
        gateway.kill(gateway.control_pid())
        assert gateway.wait_console(count=2) == url
        assert ask(url, token, path="/manage/openapi.json")[0] == 200


def test_a_stop_right_after_the_start_is_clean() -> None:
    """Whatever the console was doing."""
    with run_gateway() as gateway:
        assert gateway.stop(signal.SIGINT) == 0
        assert not (gateway.data_dir / "console.url").exists()
        assert "Traceback" not in gateway.logs()


def test_a_worker_that_is_killed_while_asked_is_unavailable() -> None:
    """The operator is told at once, and may ask the next worker as soon as it serves."""
    with run_gateway() as gateway:
        url, token = gateway.wait_console(), gateway.admin_token
        (worker,) = gateway.worker_pids()
        gateway.kill(worker, signal.SIGSTOP)
        asking = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
        asking.request("GET", "/manage/targets", headers={"authorization": f"Bearer {token}"})
        # What came first has been read when this is answered.
        assert ask(url, token, path="/manage/openapi.json")[0] == 200
        gateway.kill(worker)
        answer = asking.getresponse()
        assert (answer.status, json.loads(answer.read())["error"]["code"]) == (503, "worker_unavailable")
        asking.close()
        gateway.output.wait_for('"serving"', count=2)
        while ask(url, token)[0] == 503:
            assert gateway.process.poll() is None


def test_a_worker_that_hangs_is_named_and_the_others_are_heard() -> None:
    """An operator sees at once which process is in trouble; clients of the others notice nothing."""
    with run_gateway(config={"server": {"workers": 2}}) as gateway:
        url, token = gateway.wait_console(), gateway.admin_token
        status, body = ask(url, token)
        assert (status, body["silent"]) == (200, [])
        gateway.kill(gateway.worker_pids()[0], signal.SIGSTOP)
        status, body = ask(url, token)
        assert status == 200
        assert len(body["silent"]) == 1
