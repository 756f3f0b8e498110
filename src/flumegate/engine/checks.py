"""Active health checks: a provider that is to be asked how it is, is asked on its own account, now and then.

One that does not answer, or answers with an error of its own, gets no requests until it answers again. Nothing of it is
recorded as a request. A provider without such a setting is judged by its requests alone.
"""

from __future__ import annotations

import asyncio
import math
from time import monotonic
from typing import TYPE_CHECKING

from flumegate import log
from flumegate.engine.attempt import attempt
from flumegate.engine.nobody import NoReply
from flumegate.engine.outgoing import Outgoing
from flumegate.errors import GatewayError
from flumegate.exchange import Exchange
from flumegate.snapshot import Provider

if TYPE_CHECKING:
    from flumegate.engine.run import Engine

ANSWER_SECONDS = 10.0
FAILURES = 2
"""In a row, before a provider counts as down: one lost packet is no outage."""


class Checks:
    """The checks of one worker."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._due: dict[str, float] = {}
        self._failures: dict[str, tuple[Provider, int]] = {}
        """In a row, and of whom: a provider that changes begins anew."""
        self._under_way: dict[str, asyncio.Task[None]] = {}

    def sweep(self, now: float) -> None:
        """Begin the checks that are due; called several times a second."""
        providers = self._engine.snapshot.providers
        for name in [name for name in self._due if name not in providers or not providers[name].check_seconds]:
            del self._due[name]
            self._failures.pop(name, None)
        for provider in providers.values():
            if provider.check_seconds and now >= self._due.get(provider.name, -math.inf):
                self._due[provider.name] = now + provider.check_seconds
                if provider.name not in self._under_way:
                    self._begin(provider)

    def _begin(self, provider: Provider) -> None:
        task = self._engine.loop.create_task(self._check(provider))
        self._under_way[provider.name] = task
        task.add_done_callback(lambda _: self._under_way.pop(provider.name, None))

    async def _check(self, provider: Provider) -> None:
        problem = await self._ask(provider)
        if self._engine.snapshot.providers.get(provider.name) != provider:
            return  # it is gone, or another one by now
        asked, before = self._failures.get(provider.name, (provider, 0))
        if asked != provider:
            before = 0
        failures = before + 1 if problem else 0
        self._failures[provider.name] = provider, failures
        self._engine.healths.check(provider, well=failures < FAILURES)
        if failures == FAILURES:
            log.event("warning", "provider_unwell", provider=provider.name, reason=problem)
        elif before >= FAILURES and not problem:
            log.event("info", "provider_well_again", provider=provider.name)

    async def _ask(self, provider: Provider) -> str:
        """Return what is wrong with a provider; empty = it answers."""
        engine = self._engine
        exchange = Exchange(NoReply(), b"GET", provider.check_path.encode(), b"")
        exchange.headers, exchange.picked = [], {}
        exchange.snapshot = engine.snapshot
        exchange.started = monotonic()
        exchange.deadline = exchange.started + ANSWER_SECONDS
        try:
            plan = engine.planner.transparent("GET", provider.check_path.encode(), upstream=provider.name)
            call, connection = await attempt(exchange, plan, Outgoing(exchange), engine.upstream, exchange.deadline)
        except GatewayError as error:
            return "" if error.kind.origin == "client" else error.code  # such a question cannot be put to it
        if not call.ended:
            connection.close()
        return f"upstream_{call.status}" if call.status >= 500 else ""

    def close(self) -> None:
        """End all checks: the worker stops."""
        for task in tuple(self._under_way.values()):
            task.cancel()
