"""The console on a real socket, over the real link, to workers whose answers a test says."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx2

from flumegate.console.application import build
from flumegate.console.listener import Listener
from flumegate.manage.desk import Desk
from flumegate.records.manage import Answer, Question
from flumegate.snapshot import Snapshot
from rig.link import Control, connected, until

TOKEN = "fg-admin-" + "t" * 43
BEARER = {"authorization": f"Bearer {TOKEN}"}
Reply = Callable[[Question], Awaitable[Answer]]


@contextlib.asynccontextmanager
async def opened(
    folder: Path, desk: Desk | None = None, snapshot: Snapshot | None = None, **workers: Reply
) -> AsyncIterator[tuple[httpx2.AsyncClient, Control]]:
    """Open a console over workers of these names; yield a client with the token, and control's end."""
    control = Control(folder / "link.sock")
    await control.end.open()
    end = socket.create_server(("127.0.0.1", 0))
    listener = Listener(build(control.end, TOKEN, lambda: desk, lambda: snapshot))
    async with contextlib.AsyncExitStack() as stack:
        for name, answer in workers.items():
            worker = await stack.enter_async_context(connected(control.end.path, name=name))
            worker.answer = answer
        await until(control, lambda: len(control.hellos) == len(workers))
        url = f"http://127.0.0.1:{end.getsockname()[1]}"
        listener.start(end)
        client = httpx2.AsyncClient(base_url=url, headers=BEARER, trust_env=False)
        try:
            async with client:
                yield client, control
        finally:
            await listener.stop()
            control.end.close()
