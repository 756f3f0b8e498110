"""The health of targets over all workers, and what an operator forces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from flumegate import log
from flumegate.manage.workers import RefusedError, Workers
from flumegate.records.manage import (
    UNAVAILABLE,
    Answer,
    Forced,
    ForceTarget,
    ListTargets,
    Refused,
    TargetList,
    TargetStanding,
    TargetState,
)

_BADNESS: Sequence[TargetStanding] = ("closed", "forced_closed", "half_open", "open", "forced_open")

_TOLD_LATER = Refused(
    UNAVAILABLE.code, "No worker answered in time; each is told as soon as it reads. List the targets to see whether."
)


class Target(msgspec.Struct, frozen=True):
    """A target over all workers, and in each."""

    together: TargetState
    """The worst of what the workers say; requests under way are summed."""
    workers: dict[str, TargetState]


class Targets(msgspec.Struct, frozen=True):
    """What the workers say."""

    targets: list[Target]
    """Ordered by name."""
    silent: list[str]
    """Workers that are connected and gave no answer in time."""


async def list_targets(workers: Workers) -> Targets:
    """Return how all targets fare.

    Raises:
        RefusedError: no worker answers.
    """
    answers = await workers.ask_all(ListTargets())
    found = merge(answers)
    if len(found.silent) == len(answers):
        raise RefusedError(UNAVAILABLE)
    return found


async def force(workers: Workers, name: str, state: Forced) -> Targets:
    """Force a target's breaker, or let it decide again; return how that target fares now.

    A worker that does not answer in time is told again as soon as it reads.

    Raises:
        RefusedError: no worker answers, or none knows such a target.
    """
    answers = await workers.force(ForceTarget(name, state))
    found = merge(answers)
    if found.targets:
        log.event("info", "target_forced", target=name, state=state, silent=len(found.silent))
        return found
    refusals = [answer for answer in answers.values() if isinstance(answer, Refused) and answer != UNAVAILABLE]
    if refusals:
        raise RefusedError(refusals[0])
    raise RefusedError(_TOLD_LATER if found.silent else UNAVAILABLE)


def merge(answers: Mapping[str, Answer]) -> Targets:
    """Return the workers' answers by target."""
    by_name: dict[str, dict[str, TargetState]] = {}
    for worker, answer in answers.items():
        if isinstance(answer, TargetList):
            for state in answer.targets:
                by_name.setdefault(state.name, {})[worker] = state
    targets = [Target(together(list(states.values())), states) for _, states in sorted(by_name.items())]
    return Targets(targets, [worker for worker, answer in answers.items() if answer == UNAVAILABLE])


def together(states: Sequence[TargetState]) -> TargetState:
    """Return one target's states in several workers as one: sums of what is under way, the worst of the rest."""
    worst = max(states, key=lambda state: (_BADNESS.index(state.state), state.failures))
    latencies = [state.latency_ms for state in states if state.latency_ms is not None]
    return TargetState(
        name=worst.name,
        state=worst.state,
        in_flight=sum(state.in_flight for state in states),
        queued=sum(state.queued for state in states),
        failures=max(state.failures for state in states),
        until_seconds=max(state.until_seconds for state in states),
        cooling=any(state.cooling for state in states),
        credentials=max(state.credentials for state in states),
        credentials_out=max(state.credentials_out for state in states),
        latency_ms=sum(latencies) / len(latencies) if latencies else None,
        ramp=min(state.ramp for state in states),
        last_error=worst.last_error or next((state.last_error for state in states if state.last_error), ""),
    )
