from __future__ import annotations

import asyncio
import errno
import gc
import socket
import threading

import pytest

from flumegate.upstream.resolve import LIFETIME_SECONDS, MAX_NAMES, Address, Addresses, Resolver, ask_system, literal

V4 = Address(socket.AF_INET, "127.0.0.1")
V6 = Address(socket.AF_INET6, "::1")


class Book:
    """A resolver that answers when it is told to; `asked` names every look-up, in its order."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.stalled: dict[str, threading.Event] = {}
        self.answers: dict[str, Addresses | Exception] = {}
        self.begun = threading.Semaphore(0)

    def stall(self, host: str) -> threading.Event:
        self.stalled[host] = threading.Event()
        return self.stalled[host]

    def __call__(self, host: str) -> Addresses:
        self.asked.append(host)
        self.begun.release()
        if host in self.stalled:
            assert self.stalled[host].wait(60)
        found = self.answers.get(host, (V4,))
        if isinstance(found, Exception):
            raise found
        return found

    async def wait_begun(self) -> None:
        """Return once one more look-up is in its thread."""
        assert await asyncio.to_thread(self.begun.acquire, timeout=30)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", V4),
        ("::1", V6),
        ("fe80::1%eth0", Address(socket.AF_INET6, "fe80::1%eth0")),
        ("localhost", None),
        ("127.1", None),
        ("", None),
    ],
)
def test_what_is_an_address_already(host: str, address: Address | None) -> None:
    """Numbers in their usual form are addresses; what only the C library takes for one is its to read."""
    assert literal(host) == address


async def test_addresses_are_never_looked_up() -> None:
    """A literal address costs no thread."""
    book = Book()
    resolver = Resolver(asyncio.get_running_loop(), look_up=book)
    assert await resolver.resolve("127.0.0.1") == (V4,)
    assert await resolver.resolve("::1") == (V6,)
    assert book.asked == []


async def test_the_system_is_asked() -> None:
    """By default names are what the system says, files included."""
    found = await Resolver(asyncio.get_running_loop()).resolve("localhost")
    assert set(found) <= {V4, V6}
    assert found == ask_system("localhost")


@pytest.mark.parametrize(
    ("host", "kind"), [("", socket.gaierror), ("a" * 64 + ".test", UnicodeError), ("..", UnicodeError)]
)
async def test_a_name_without_an_answer(host: str, kind: type[Exception]) -> None:
    """What the system refuses is raised as what it is, to each who asks."""
    resolver = Resolver(asyncio.get_running_loop())
    for _ in range(2):
        with pytest.raises(kind):
            await resolver.resolve(host)


async def test_one_look_up_serves_all_who_wait() -> None:
    """Whoever waits for a name shares its one look-up, and its one answer or failure."""
    book = Book()
    resolver = Resolver(asyncio.get_running_loop(), look_up=book)
    book.answers = {"a.test": (V4, V6), "b.test": socket.gaierror(socket.EAI_NONAME, "unknown")}
    gates = [book.stall("a.test"), book.stall("b.test")]
    waiting = [asyncio.create_task(resolver.resolve(host)) for host in ("a.test", "b.test") * 10]
    await book.wait_begun()
    await book.wait_begun()
    assert resolver.threads == 2
    for gate in gates:
        gate.set()
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert found[::2] == [(V4, V6)] * 10
    assert all(isinstance(each, socket.gaierror) for each in found[1::2])
    assert sorted(book.asked) == ["a.test", "b.test"]
    assert resolver.threads == 0


async def test_no_address_is_a_failure() -> None:
    """A resolver that knows the name but no address of a family of ours is as good as none."""
    book = Book()
    book.answers = {"a.test": ()}
    with pytest.raises(socket.gaierror):
        await Resolver(asyncio.get_running_loop(), look_up=book).resolve("a.test")


async def test_a_waiter_that_leaves_stops_nobody_else() -> None:
    """A request that gives up leaves the look-up to those who still wait, and to those who come later."""
    book = Book()
    resolver = Resolver(asyncio.get_running_loop(), look_up=book)
    gate = book.stall("a.test")
    leaver, stayer = (asyncio.create_task(resolver.resolve("a.test")) for _ in range(2))
    await book.wait_begun()
    leaver.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaver
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await resolver.resolve("a.test")
    later = asyncio.create_task(resolver.resolve("a.test"))
    await asyncio.sleep(0)
    gate.set()
    assert await stayer == await later == (V4,)
    assert book.asked == ["a.test"]


async def test_a_failure_that_nobody_waits_for_is_no_noise(caplog: pytest.LogCaptureFixture) -> None:
    """All have left when the answer comes: nothing is logged, and the next one asks anew."""
    book = Book()
    resolver = Resolver(asyncio.get_running_loop(), look_up=book)
    book.answers = {"a.test": socket.gaierror(socket.EAI_AGAIN, "try again")}
    gate = book.stall("a.test")
    leaver = asyncio.create_task(resolver.resolve("a.test"))
    await book.wait_begun()
    leaver.cancel()
    await asyncio.wait({leaver})
    gate.set()
    async with asyncio.timeout(30):
        while resolver.threads:  # noqa: ASYNC110 - nobody waits: that is the point
            await asyncio.sleep(0)
    del leaver
    gc.collect()
    assert caplog.records == []
    with pytest.raises(socket.gaierror):
        await resolver.resolve("a.test")
    assert len(book.asked) == 2


async def test_an_answer_holds_for_its_lifetime() -> None:
    """An address is used for five seconds and then asked for anew; a failure is never kept."""
    book, clock = Book(), Clock()
    resolver = Resolver(asyncio.get_running_loop(), look_up=book, now=clock)
    assert await resolver.resolve("a.test") == (V4,)
    book.answers["a.test"] = (V6,)
    clock.now += LIFETIME_SECONDS - 0.001
    assert await resolver.resolve("a.test") == (V4,)
    clock.now += 0.001
    assert await resolver.resolve("a.test") == (V6,)
    book.answers["a.test"] = socket.gaierror(socket.EAI_AGAIN, "try again")
    clock.now += LIFETIME_SECONDS
    with pytest.raises(socket.gaierror):
        await resolver.resolve("a.test")
    book.answers["a.test"] = (V4,)
    assert await resolver.resolve("a.test") == (V4,)
    assert len(book.asked) == 4


async def test_stalled_names_leave_threads_to_others() -> None:
    """Names that stall take one thread each; beyond the limit names wait, and are served when one is free."""
    book = Book()
    resolver = Resolver(asyncio.get_running_loop(), look_up=book, max_threads=9)
    gates = [book.stall(f"stalled-{number}.test") for number in range(9)]
    stalled = [asyncio.create_task(resolver.resolve(f"stalled-{number}.test")) for number in range(8)]
    assert await resolver.resolve("good.test") == (V4,)
    stalled.append(asyncio.create_task(resolver.resolve("stalled-8.test")))
    for _ in range(10):
        await book.wait_begun()
    beyond = asyncio.create_task(resolver.resolve("late.test"))
    await asyncio.sleep(0)
    assert resolver.threads == 9
    assert "late.test" not in book.asked
    gates[0].set()
    assert await beyond == (V4,)
    for gate in gates:
        gate.set()
    assert await asyncio.gather(*stalled) == [(V4,)] * 9
    assert resolver.threads == 0


async def test_what_is_kept_is_bounded() -> None:
    """The oldest answers are forgotten, not the memory filled."""
    book = Book()
    resolver = Resolver(asyncio.get_running_loop(), look_up=book)
    for number in range(MAX_NAMES + 3):
        await resolver.resolve(f"{number}.test")
    assert len(resolver._known) == MAX_NAMES
    assert "2.test" not in resolver._known


async def test_a_system_out_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """No thread to be had is the failure of this look-up, and the next one tries again."""

    class Refusing(threading.Thread):
        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    resolver = Resolver(asyncio.get_running_loop(), look_up=Book())
    with monkeypatch.context() as patched:
        patched.setattr(threading, "Thread", Refusing)
        with pytest.raises(OSError) as caught:  # noqa: PT011 - its errno is looked at
            await resolver.resolve("a.test")
    assert caught.value.errno == errno.EAGAIN
    assert await resolver.resolve("a.test") == (V4,)


def test_a_look_up_may_outlive_its_loop() -> None:
    """A worker that ends does not wait for a name server, and its late answer harms nobody."""
    book = Book()
    gate = book.stall("a.test")
    loop = asyncio.new_event_loop()
    leaver = loop.create_task(Resolver(loop, look_up=book).resolve("a.test"))
    loop.run_until_complete(asyncio.wait({leaver}, timeout=0))
    assert book.begun.acquire(timeout=30)
    leaver.cancel()
    loop.run_until_complete(asyncio.wait({leaver}))
    loop.close()
    (thread,) = [each for each in threading.enumerate() if each.name == "resolve a.test"]
    assert thread.daemon
    gate.set()
    thread.join(30)
    assert not thread.is_alive()
