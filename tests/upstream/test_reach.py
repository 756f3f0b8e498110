from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvloop

from flumegate.upstream.reach import reach
from flumegate.upstream.resolve import Address, Addresses

LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]


def at(*hosts: str) -> Addresses:
    return tuple(Address(socket.AF_INET6 if ":" in host else socket.AF_INET, host) for host in hosts)


@contextlib.contextmanager
def listening(host: str, port: int = 0) -> Iterator[socket.socket]:
    with socket.create_server((host, port)) as server:
        yield server


@contextlib.contextmanager
def silent(host: str, port: int) -> Iterator[socket.socket]:
    """Occupy an address so that connections to it are neither made nor refused: its queue is full."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind((host, port))
        server.listen(0)
        for _ in range(4):
            end = stack.enter_context(socket.socket())
            end.setblocking(False)
            end.connect_ex((host, port))
        yield server


async def take_all(server: socket.socket) -> None:
    """Accept and close whatever comes."""
    while True:
        end, _ = await asyncio.get_running_loop().sock_accept(server)
        end.close()


def open_sockets() -> int:
    found = 0
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found += str(entry.readlink()).startswith("socket:")
    return found


@pytest.fixture(params=LOOPS, ids=["asyncio", "uvloop"])
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    factory: Callable[[], asyncio.AbstractEventLoop] = request.param
    with asyncio.Runner(loop_factory=factory) as running:
        running.get_loop()
        yield running


def peer_of(runner: asyncio.Runner, hosts: tuple[str, ...], port: int) -> tuple[str, int]:
    async def connect() -> tuple[str, int]:
        async with asyncio.timeout(30):
            with await reach(asyncio.get_running_loop(), at(*hosts), port) as end:
                assert not end.getblocking()
                peer: tuple[str, int] = end.getpeername()[:2]
                return peer

    before = open_sockets()
    peer = runner.run(connect())
    assert open_sockets() == before
    return peer


def test_the_first_address_that_answers(runner: asyncio.Runner) -> None:
    """Addresses are tried in their order; one that refuses passes the turn on at once."""
    with listening("127.0.0.1") as server:
        port = server.getsockname()[1]
        assert peer_of(runner, ("127.0.0.1",), port) == ("127.0.0.1", port)
        assert peer_of(runner, ("127.0.0.2", "127.0.0.1"), port) == ("127.0.0.1", port)
        assert peer_of(runner, ("127.0.0.2", "127.0.0.3", "127.0.0.1"), port) == ("127.0.0.1", port)
        with listening("127.0.0.2", port):
            assert peer_of(runner, ("127.0.0.2", "127.0.0.1"), port) == ("127.0.0.2", port)


def test_an_address_that_says_nothing_is_passed_over(runner: asyncio.Runner) -> None:
    """A blackhole costs a moment, not the connect timeout; its half-open socket is closed with the race."""
    with listening("127.0.0.1") as server:
        port = server.getsockname()[1]
        with silent("127.0.0.2", port):
            assert peer_of(runner, ("127.0.0.2", "127.0.0.1"), port) == ("127.0.0.1", port)


def test_the_late_one_may_still_win(runner: asyncio.Runner) -> None:
    """A slow address stays in the race when the next one refuses."""

    async def connect(server: socket.socket, port: int) -> str:
        loop = asyncio.get_running_loop()
        task = loop.create_task(reach(loop, at("127.0.0.2", "127.0.0.3"), port))
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # its first packet is lost by now; the system sends the next one after a second
        # All are taken in: those that fill the queue try again, too, and may come before it.
        server.setblocking(False)
        taking = loop.create_task(take_all(server))
        async with asyncio.timeout(30):
            with await task as end:
                taking.cancel()
                return str(end.getpeername()[0])

    with listening("127.0.0.1") as other:
        port = other.getsockname()[1]
        with silent("127.0.0.2", port) as server:
            assert runner.run(connect(server, port)) == "127.0.0.2"


def test_all_refuse(runner: asyncio.Runner) -> None:
    """The failure is the system's own, so that it can be told apart."""
    with listening("127.0.0.1") as server:
        port = server.getsockname()[1]
    for hosts in (("127.0.0.1",), ("127.0.0.2", "127.0.0.1"), ("::1", "127.0.0.1")):
        with pytest.raises(ConnectionRefusedError):
            peer_of(runner, hosts, port)
    with pytest.raises(OSError, match="no address"):
        peer_of(runner, (), port)


@pytest.mark.parametrize("hosts", [("127.0.0.2",), ("127.0.0.2", "127.0.0.3")])
@pytest.mark.parametrize("turns", range(6))
def test_who_leaves_leaves_nothing(runner: asyncio.Runner, hosts: tuple[str, ...], turns: int) -> None:
    """Cancelled at whatever moment, no socket and no task is left."""
    with listening("127.0.0.2") as server, listening("127.0.0.3", server.getsockname()[1]):
        port = server.getsockname()[1]
        before = open_sockets()

        async def leave() -> None:
            loop = asyncio.get_running_loop()
            task = loop.create_task(reach(loop, at(*hosts), port))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                (await task).close()
            for _ in range(3):
                await asyncio.sleep(0)
            assert asyncio.all_tasks() == {asyncio.current_task()}

        runner.run(leave())
        assert open_sockets() == before
