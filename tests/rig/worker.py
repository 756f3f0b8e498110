"""One worker's app within the test, on a real socket: for what a Snapshot can say before a configuration can."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from flumegate.app import WorkerApp
from flumegate.gates.digest import digest
from flumegate.keytable import build
from flumegate.quota.ledger import Line
from flumegate.records.access import Key
from flumegate.records.balance import Balance, Sought
from flumegate.snapshot import Snapshot

PEPPER = b"pepper-of-the-tests-0123456789abcdef"


class Reply(NamedTuple):
    """An answer that was read to its end, or as far as it went."""

    status: int
    headers: dict[str, str]
    body: bytes

    def error(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)["error"]
        return found


class Worker:
    """A running app."""

    def __init__(self, app: WorkerApp, port: int, folder: Path) -> None:
        self.app = app
        self.port = port
        self.folder = folder
        self.asked: list[Sought] = []
        self.balance: Balance | None = Balance()
        self._tables = 0

    def apply(self, snapshot: Snapshot, keys: dict[str, Key]) -> None:
        """Take a Snapshot with these keys, by what their holders send."""
        self._tables += 1
        path = self.folder / f"keys-{self._tables}.tbl"
        path.write_bytes(build((digest(PEPPER, secret.encode()), key) for secret, key in keys.items()))
        self.app.apply(
            msgspec.structs.replace(
                snapshot, pepper=PEPPER, key_table=str(path), version=snapshot.version + self._tables
            )
        )

    async def tell(self, sought: Sought) -> Balance | None:
        self.asked.append(sought)
        return self.balance

    def used(self, sought: Sought) -> Balance:
        """Return what this worker has counted itself."""
        meter = self.app._settlement.meter
        sheets = zip(sought.holders, meter.book.sheets(sought.holders, 0), strict=True)
        return Balance(
            {name: sheet.served for name, sheet in sheets},
            {
                account: 0 if meter.ledger.unknown([Line(account, 0)]) else meter.ledger.account(account).spent
                for account in sought.accounts
            },
        )

    async def get(self, key: str, path: str) -> Reply:
        """Return the answer to a request without a body on a connection of its own."""
        return await self._ask("GET", key, b"", path, {})

    async def post(self, key: str, body: dict[str, Any], path: str = "/v1/chat/completions", **headers: str) -> Reply:
        """Return the answer to one request on a connection of its own."""
        return await self._ask("POST", key, json.dumps(body).encode(), path, headers)

    async def _ask(self, method: str, key: str, content: bytes, path: str, headers: dict[str, str]) -> Reply:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        head = f"{method} {path} HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {key}\r\nconnection: close\r\n{lines}"
        writer.write(f"{head}content-length: {len(content)}\r\n\r\n".encode() + content)
        try:
            data = await reader.read(-1)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        first, _, rest = data.partition(b"\r\n\r\n")
        status, *fields = first.decode("latin-1").split("\r\n")
        named = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
        return Reply(int(status.split(" ")[1]), named, rest)


async def until(look: Callable[[], bool], seconds: float = 20.0) -> None:
    """Return as soon as `look` is true.

    Raises:
        TimeoutError: it never was.
    """
    async with asyncio.timeout(seconds):
        while not look():  # noqa: ASYNC110 - what is looked at belongs to the app, which knows no event for it
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def run_worker(folder: Path) -> AsyncIterator[Worker]:
    """Start an app on a free port."""
    ask: Callable[[Sought], Awaitable[Balance | None]]
    (folder / "spool").mkdir()
    app = WorkerApp(name="w0", spool_folder=folder / "spool")
    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    listening.setblocking(False)
    worker = Worker(app, listening.getsockname()[1], folder)
    ask = worker.tell
    app.ask_balance(ask)
    await app.start(listening)
    try:
        yield worker
    finally:
        await app.drain(1)
        listening.close()
