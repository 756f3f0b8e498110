"""Opens the console from control, once the gateway answers: its token, its address, its libraries.

Whatever goes wrong here costs the console and nothing else: the log says what, and how to mend it. The libraries take
a moment and some memory to load; they are loaded in a thread, so that control hears its workers meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from flumegate import log
from flumegate.config.address import read_listen
from flumegate.config.operator import TOKEN_NAME, URL_NAME
from flumegate.processes import first_start, listen
from flumegate.processes.boot import authority
from flumegate.processes.first_start import StartRefusedError
from flumegate.processes.listen import AddressUnusableError

if TYPE_CHECKING:
    from flumegate.console.listener import Listener
    from flumegate.manage.desk import Desk
    from flumegate.manage.workers import Workers
    from flumegate.snapshot import Snapshot


class Console:
    """The console of one control process; `begin` it once, `close` it once."""

    def __init__(
        self,
        address: str,
        folder: Path,
        workers: Workers,
        *,
        desk: Callable[[], Desk | None] = lambda: None,
        snapshot: Callable[[], Snapshot | None] = lambda: None,
        ready: Callable[[], object] = lambda: None,
    ) -> None:
        """Take the parts.

        Args:
            address: host:port to listen on.
            folder: where token and address are kept.
            workers: whom questions about the running gateway go to.
            desk: returns where operations on the database are done; may wait the first time; None = nowhere yet.
            snapshot: returns what the workers have now.
            ready: waits, for a moment at most, for what the desk needs.
        """
        self._address = address
        self._folder = folder
        self._workers = workers
        self._desk = desk
        self._snapshot = snapshot
        self._ready = ready
        self._opening: asyncio.Task[None] | None = None
        self._listener: Listener | None = None

    def begin(self) -> None:
        """Open it in the background."""
        self._opening = asyncio.create_task(self._open())
        self._opening.add_done_callback(_tell_bug)

    async def close(self) -> None:
        """Finish what is under way, and leave no address behind."""
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.gather(self._opening, return_exceptions=True)
        if self._listener is not None:
            await self._listener.stop()
            with contextlib.suppress(OSError):
                (self._folder / URL_NAME).unlink(missing_ok=True)

    async def _open(self) -> None:
        try:
            token = first_start.admin_token(self._folder)
            end = _bind(self._address)
        except (AddressUnusableError, StartRefusedError) as problem:
            log.event("error", "console_not_opened", reason=problem, effect="everything else works")
            return
        log.hide([token])
        try:
            self._listener = await asyncio.to_thread(self._load, token)
        except BaseException:
            end.close()
            raise
        self._listener.start(end)
        host, port = end.getsockname()[:2]
        url = f"http://{authority(host, port)}"
        try:
            first_start.write_private(self._folder / URL_NAME, f"{url}\n".encode())
        except StartRefusedError as problem:
            log.event("warning", "console_url_not_kept", reason=problem, effect="the command line needs --url")
        log.event("info", "console_open", url=url, token=self._folder / TOKEN_NAME)

    def _load(self, token: str) -> Listener:
        # Imported here: see the module's header.
        from flumegate.console.application import build  # noqa: PLC0415
        from flumegate.console.listener import Listener  # noqa: PLC0415

        # It waits for the database and its library here, in the thread, and not in the first request.
        self._ready()
        self._desk()
        return Listener(build(self._workers, token, self._desk, self._snapshot))


def _tell_bug(opening: asyncio.Task[None]) -> None:
    bug = None if opening.cancelled() else opening.exception()
    if bug is not None:
        log.event("error", "console_not_opened", bug=repr(bug)[:300], effect="everything else works")


def _bind(address: str) -> socket.socket:
    host, port = read_listen(address)
    return listen.bind(host, port, 1, setting="console.listen")[0]
