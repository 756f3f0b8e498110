from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from flumegate.shared.link import MOST_CONNECTIONS, AwayError, Link
from flumegate.shared.scripts import CHARGE, OPEN, RENEW, Script
from rig.fault_proxy import CLEAN, FaultProxy, Way, fault_proxy
from rig.redis import Redis, free_port

OPENING: dict[str, object] = {"account": "a", "spent": 5, "ends": 0}
Links = Callable[[int], Link]


@pytest.fixture
async def links() -> AsyncIterator[Links]:
    made: list[Link] = []

    def make(port: int) -> Link:
        made.append(Link(f"redis://127.0.0.1:{port}/0", "test", timeout_seconds=1.0))
        return made[-1]

    yield make
    for link in made:
        await link.close()


@pytest.fixture
def proxy(redis: Redis) -> Iterator[FaultProxy]:
    with fault_proxy(redis.port) as running:
        yield running


async def test_a_script_that_redis_has_forgotten_is_sent_again(redis: Redis, links: Links) -> None:
    """A restart, or SCRIPT FLUSH, costs one more round trip and nothing else."""
    link = links(redis.port)
    assert await link.run(OPEN, OPENING) == [b"open"]
    redis.command("SCRIPT", "FLUSH")
    assert await link.run(OPEN, OPENING) == [b"open"]
    assert redis.command("HGET", "fg:{test}:account:a", "s") == b"$1\r\n5\r\n"


async def test_hundreds_at_once_share_few_connections(links: Links, proxy: FaultProxy) -> None:
    """And each gets the answer to its own question."""
    link = links(proxy.port)
    asked = [{"requests": [f"r{number}"]} for number in range(300)]
    answers = await asyncio.gather(*(link.run(RENEW, question) for question in asked))
    assert answers == [[b"gone", f"r{number}".encode()] for number in range(300)]
    assert proxy.accepted <= MOST_CONNECTIONS


async def test_the_first_silence_opens_the_breaker_for_all(
    links: Links, proxy: FaultProxy, capfd: pytest.CaptureFixture[str]
) -> None:
    """All who wait are let go, nothing more is sent, and one line says so."""
    link = links(proxy.port)
    await link.run(OPEN, OPENING)
    proxy.answers = Way(delay_seconds=2.0)
    found = await asyncio.gather(*(link.run(OPEN, OPENING) for _ in range(50)), return_exceptions=True)
    assert all(isinstance(error, AwayError) for error in found)
    assert sum(isinstance(error, AwayError) and error.doubtful for error in found) == MOST_CONNECTIONS
    assert link.away
    sent, accepted = proxy.sent_bytes, proxy.accepted
    for _ in range(50):
        with pytest.raises(AwayError) as caught:
            await link.run(OPEN, OPENING)
        assert not caught.value.doubtful
    assert (proxy.sent_bytes, proxy.accepted) == (sent, accepted)
    proxy.answers = CLEAN
    assert await link.run(OPEN, OPENING, probing=True) == [b"open"]
    link.returned()
    link.returned()
    assert await link.run(OPEN, OPENING) == [b"open"]
    lines = capfd.readouterr().err
    assert (lines.count("redis_away"), lines.count("redis_back")) == (1, 1)


async def test_nobody_there_is_as_good_as_silence(links: Links) -> None:
    """A refused connection opens the breaker too."""
    link = links(free_port())
    with pytest.raises(AwayError):
        await link.run(OPEN, OPENING)
    assert link.away


async def test_a_redis_without_memory_is_away(redis: Redis, links: Links) -> None:
    """It answers, but takes no changes."""
    link = links(redis.port)
    await link.run(OPEN, OPENING)
    redis.command("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(AwayError, match=r"OOM|OutOfMemory"):
        await link.run(CHARGE, {"batch": "b", "costs": []})
    assert link.away
    redis.command("CONFIG", "SET", "maxmemory", "0")
    assert await link.run(CHARGE, {"batch": "b", "costs": []}, probing=True) == [b"charged"]


async def test_a_cancelled_command_closes_its_connection(links: Links, proxy: FaultProxy) -> None:
    """Its answer, still on the way, meets nobody's question."""
    link = links(proxy.port)
    assert await link.run(RENEW, {"requests": ["before"]}) == [b"gone", b"before"]
    answered, sent = proxy.answered, proxy.sent_bytes
    proxy.answers = Way(delay_seconds=0.02)
    asking = asyncio.create_task(link.run(RENEW, {"requests": ["cancelled"]}))
    while proxy.sent_bytes == sent:  # noqa: ASYNC110 # the proxy lives in another thread
        await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert not link.away
    assert not link._idle
    proxy.answers = CLEAN
    assert await link.run(RENEW, {"requests": ["after"]}) == [b"gone", b"after"]
    assert proxy.accepted == 2
    assert proxy.answered > answered


async def test_an_odd_answer_is_no_answer(redis: Redis, links: Links) -> None:
    """Whatever stands at that address, it is not what was asked for."""
    link = links(redis.port)
    with pytest.raises(AwayError, match="odd"):
        await link.run(Script("return 1", "0" * 40), {})


async def test_a_redis_that_throws_money_away_is_named_loudly(
    redis: Redis, links: Links, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whatever its policy is but the one that keeps all; one that keeps all is no news."""
    link = links(redis.port)
    try:
        for policy in ("noeviction", "allkeys-lru", "volatile-ttl"):
            redis.command("CONFIG", "SET", "maxmemory-policy", policy)
            assert await link.policy() == policy
            await link.check_policy()
    finally:
        redis.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
    lines = capfd.readouterr().err
    assert lines.count("redis_evicts") == 2
    assert "allkeys-lru" in lines
    assert "volatile-ttl" in lines


async def test_a_redis_that_does_not_tell_its_policy_is_used_all_the_same(
    redis: Redis, capfd: pytest.CaptureFixture[str]
) -> None:
    """An account may be forbidden to ask; that is no sign of anything, and opens no breaker."""
    redis.command("ACL", "SETUSER", "narrow", "on", ">secret", "~fg:*", "+@all", "-info")
    link = Link(f"redis://narrow:secret@127.0.0.1:{redis.port}/0", "test", timeout_seconds=1.0)
    try:
        assert await link.policy() == ""
        await link.check_policy()
        assert await link.run(OPEN, OPENING) == [b"open"]
    finally:
        await link.close()
        redis.command("ACL", "DELUSER", "narrow")
    assert "redis_evicts" not in capfd.readouterr().err


async def test_nobody_to_ask_opens_no_breaker() -> None:
    """Only requests do that; and nothing that is secret is told."""
    link = Link(f"redis://:canary@127.0.0.1:{free_port()}/0", "test", timeout_seconds=1.0)
    with pytest.raises(AwayError) as caught:
        await link.policy()
    assert "canary" not in str(caught.value)
    assert not link.away
