from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket

import httpx2
import pytest

from flumegate.console.application import build
from flumegate.console.listener import Listener
from flumegate.records.manage import Answer, Explain, ForceTarget, ListTargets
from rig.console import BEARER, TOKEN


class Stumbling:
    """Workers whose end of the link has a bug."""

    async def ask_one(self, question: Explain) -> Answer:
        raise ZeroDivisionError(question)

    async def ask_all(self, question: ListTargets) -> dict[str, Answer]:
        raise ZeroDivisionError(question)

    async def force(self, question: ForceTarget) -> dict[str, Answer]:
        raise ZeroDivisionError(question)


async def test_a_bug_is_told_by_its_id_and_logged_in_our_own_log(capfd: pytest.CaptureFixture[str]) -> None:
    """The answer says nothing of its inside; the server serves on; signals stay with the process."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    end = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{end.getsockname()[1]}"
    listener = Listener(build(Stumbling(), TOKEN))
    listener.start(end)
    async with httpx2.AsyncClient(base_url=url, headers=BEARER, trust_env=False) as client:
        for _ in range(2):
            answer = await client.get("/manage/targets")
            assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")
            assert "ZeroDivision" not in answer.text
            assert answer.json()["error"]["request_id"] == answer.headers["x-request-id"]
            lines = capfd.readouterr().err.splitlines()
            assert any('"console_failed"' in line and answer.headers["x-request-id"] in line for line in lines)
            assert all(line.startswith('{"time"') for line in lines)
        assert {number: signal.getsignal(number) for number in before} == before
    await listener.stop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1])))
    assert not logging.getLogger("uvicorn").propagate


async def test_a_head_without_end_is_refused_and_not_kept() -> None:
    """It is read before anybody is asked for a token, in the process that looks after all workers."""
    end = socket.create_server(("127.0.0.1", 0))
    port = end.getsockname()[1]
    listener = Listener(build(Stumbling(), TOKEN))
    listener.start(end)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.timeout(20):
        writer.write(b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nx: ")
        with contextlib.suppress(ConnectionError):
            for _ in range(64):
                writer.write(b"x" * 65_536)
                await writer.drain()
        answer = b""
        with contextlib.suppress(ConnectionError):
            answer = await reader.read()
    assert answer[:13] in (b"HTTP/1.1 400 ", b"")  # a reset may overtake the answer
    writer.close()
    await listener.stop()


async def test_a_listener_that_never_started_can_be_stopped() -> None:
    await Listener(build(Stumbling(), TOKEN)).stop()
