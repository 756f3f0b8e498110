"""The way to Redis: connections, one short deadline for each script, and a breaker before all of it.

Requests wait for Redis, so nothing here waits long: the first command that fails or is late opens the breaker, lets go
of all others that wait, and from then on nothing is sent but a probe each second, until one succeeds. What is cancelled
half-way closes its connection, so that no answer can meet the wrong question.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

import msgspec
import redis.asyncio
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError, ResponseError

from flumegate import log
from flumegate.shared.scripts import Script

COMMAND_SECONDS = 0.1
"""How long a script may take, connection included."""
MOST_CONNECTIONS = 16
KEEPS_ALL = "noeviction"
"""The policy of a Redis that refuses changes when it is full, and throws nothing away."""
_encode = msgspec.json.Encoder().encode


class AwayError(Exception):
    """Redis does not answer; the request is to be decided without it.

    Attributes:
        doubtful: the script may have run all the same.
    """

    def __init__(self, reason: str, *, doubtful: bool) -> None:
        super().__init__(reason)
        self.doubtful = doubtful


class Link:
    """A worker's connections to one Redis.

    Attributes:
        away: the breaker is open.
    """

    def __init__(self, url: str, namespace: str, timeout_seconds: float = COMMAND_SECONDS) -> None:
        # Each wait ends with the command's own deadline, and what is to be tried again is decided here.
        self._maker = redis.asyncio.ConnectionPool.from_url(
            url,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=None,
            socket_connect_timeout=None,
            protocol=2,
            driver_info=None,
        )
        self._timeout_seconds = timeout_seconds
        self._key = f"fg:{{{namespace}}}:leases"
        self._idle: list[AbstractConnection] = []
        self._places = asyncio.Semaphore(MOST_CONNECTIONS)
        self._waiting: set[asyncio.Timeout] = set()
        self._since = 0.0
        self.away = False

    async def run(self, script: Script, argument: Mapping[str, object], *, probing: bool = False) -> list[object]:
        """Run a script and return its reply.

        Raises:
            AwayError: the breaker is open, or opens with this.
        """
        try:
            async with self._places:
                if self.away and not probing:
                    raise AwayError("redis is away", doubtful=False)
                # A wait for a place is no sign of Redis's health, so it does not count.
                async with asyncio.timeout(self._timeout_seconds) as deadline:
                    self._waiting.add(deadline)
                    try:
                        return await self._exchange(script, _encode(argument))
                    finally:
                        self._waiting.discard(deadline)
        except TimeoutError as error:
            raise self._lost("no answer in time") from error
        except (RedisError, OSError) as error:
            raise self._lost(f"{type(error).__name__}: {error}"[:200]) from error

    async def policy(self) -> str:
        """Return what Redis does when it is full, in its own word; empty = it does not tell us.

        Raises:
            AwayError: it does not answer; the breaker stays as it is.
        """
        connection: AbstractConnection
        connection = self._maker.make_connection()  # type: ignore[no-untyped-call] # redis-py's
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await connection.connect()  # type: ignore[no-untyped-call] # redis-py's
                await connection.send_command("INFO", "memory")
                told = await connection.read_response()
        except ResponseError:
            return ""  # an account that may not ask
        except TimeoutError as error:
            raise AwayError("no answer in time", doubtful=False) from error
        except (RedisError, OSError) as error:
            raise AwayError(f"{type(error).__name__}: {error}"[:200], doubtful=False) from error
        finally:
            await connection.disconnect(nowait=True)
        return _field(told, b"maxmemory_policy:")

    async def check_policy(self) -> None:
        """Say loudly where Redis would throw away what was spent.

        Raises:
            AwayError: it does not answer.
        """
        policy = await self.policy()
        if policy not in ("", KEEPS_ALL):
            log.event(
                "error",
                "redis_evicts",
                policy=policy,
                effect="a full Redis forgets what is held and spent, and budgets can be overspent",
                remedy="set its maxmemory-policy to noeviction",
            )

    def returned(self) -> None:
        """Close the breaker: Redis answers, and knows what was done without it."""
        if self.away:
            self.away = False
            log.event("info", "redis_back", seconds=round(time.monotonic() - self._since, 1))

    async def close(self) -> None:
        """Close all connections."""
        while self._idle:
            await self._idle.pop().disconnect(nowait=True)

    def _lost(self, reason: str) -> AwayError:
        if not self.away:
            self.away = True
            self._since = time.monotonic()
            log.event("warning", "redis_away", reason=reason, meanwhile="limits are divided, budgets are leased")
            # Whoever waits for the same silence need not sit it out.
            for waiting in self._waiting:
                if not waiting.expired():
                    waiting.reschedule(asyncio.get_running_loop().time())
        return AwayError(reason, doubtful=True)

    async def _exchange(self, script: Script, argument: bytes) -> list[object]:
        connection: AbstractConnection
        connection = self._idle.pop() if self._idle else self._maker.make_connection()  # type: ignore[no-untyped-call] # redis-py's
        whole = False
        try:
            try:
                reply = await _ask(connection, "EVALSHA", script.digest, argument=argument, key=self._key)
            except NoScriptError:
                reply = await _ask(connection, "EVAL", script.text, argument=argument, key=self._key)
            whole = True
        finally:
            if whole and not self.away:
                self._idle.append(connection)
            else:
                await connection.disconnect(nowait=True)
        return reply


def _field(told: object, name: bytes) -> str:
    lines = told.split(b"\r\n") if isinstance(told, bytes) else []
    return next((line.removeprefix(name).decode("ascii", "replace") for line in lines if line.startswith(name)), "")


async def _ask(connection: AbstractConnection, verb: str, script: str, *, argument: bytes, key: str) -> list[object]:
    await connection.connect()  # type: ignore[no-untyped-call] # redis-py's; does nothing when it is connected
    await connection.send_command(verb, script, 1, key, argument)
    reply = await connection.read_response()
    if not isinstance(reply, list):
        raise RedisError(f"an odd reply: {type(reply).__name__}")
    return reply
