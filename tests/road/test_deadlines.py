"""Promise: a request has one deadline over all its attempts; it leaves room for the next target, and ends them all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from rig import road, routes
from rig.gateway import Gateway, run_gateway
from rig.mock import Mock, run_mock
from rig.rows import row_of
from rig.scripted import ScriptedUpstream, Step, answer, scripted_upstream

STALLS = "mock-fault:latency=60000"
WHOLE = answer(b'{"id":"w","object":"chat.completion","model":"m","choices":[]}')


class Place(NamedTuple):
    """A gateway whose first targets never answer."""

    gateway: Gateway
    mock: Mock
    scripted: ScriptedUpstream


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with run_mock() as mock, scripted_upstream() as scripted:
        scripted.play(Step.HANG)
        providers: dict[str, Any] = {
            "a": road.compatible(mock.port),
            "claude": road.anthropic(mock.port),
            "hangs": road.compatible(scripted.port),
        }
        models = {
            "room": {"targets": [f"a/{STALLS}", "a/good"]},
            "rooms": {"targets": [f"a/{STALLS}", f"claude/{STALLS}", "claude/good"]},
            "begun": {"targets": ["a/mock-fault:hang=3", "a/good"]},
            "alone": {"targets": ["hangs/m"], "retry": {"max_retries": 2}},
            "own": {"targets": ["hangs/own"], "timeout": 0.3},
            "quick": "a/quick",
            "limits": {"targets": ["a/mock-fault:status=503,retry_after=30"], "retry": {"max_retries": 2}},
        }
        config = routes.settings(providers, models, breaker={"enabled": False})
        with run_gateway(config=config) as gateway:
            yield Place(gateway, mock, scripted)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("model", "attempts"), [("room", 2), ("rooms", 3)])
def test_a_target_that_stalls_leaves_time_for_the_next(place: Place, model: str, attempts: int, stream: bool) -> None:
    """Each gets its part of the time, and the last one answers within the client's patience."""
    got = routes.ask(place.gateway, model, stream=stream, headers={"x-flumegate-timeout": "2.4"})
    assert (got.status, got.complete, got.attempts) == (200, True, attempts)
    tried = routes.tried(place.gateway, got.name)
    assert [each.outcome for each in tried] == ["upstream_first_token_timeout"] * (attempts - 1) + ["ok"]
    assert all(each["started_us"] < 2_400_000 for each in row_of(place.gateway, got.name)["attempts"])


@pytest.mark.parametrize("stream", [False, True])
def test_no_attempt_begins_behind_the_deadline(place: Place, stream: bool) -> None:
    """There is a time for all of it: one call took it, so it was the only one, and the client is told."""
    place.scripted.requests.clear()
    got = routes.ask(place.gateway, "alone", stream=stream, headers={"x-flumegate-timeout": "0.3"})
    assert (got.status, got.code) == (504, "deadline_exceeded")
    assert len(place.scripted.requests) == 1
    row = row_of(place.gateway, got.name)
    assert (row["outcome"], row["error_code"], len(row["attempts"])) == ("failed", "deadline_exceeded", 1)


def test_a_route_has_a_time_of_its_own(place: Place) -> None:
    """The client may only ask for less."""
    for headers in ({}, {"x-flumegate-timeout": "600"}):
        got = routes.ask(place.gateway, "own", headers=headers)
        assert (got.status, got.code) == (504, "deadline_exceeded")


def test_an_answer_that_has_begun_ends_at_the_deadline(place: Place) -> None:
    """Nobody else is asked then: an error event ends the stream."""
    got = routes.ask(place.gateway, "begun", stream=True, headers={"x-flumegate-timeout": "1"})
    assert (got.status, got.complete, got.attempts) == (200, True, 1)
    assert b'"deadline_exceeded"' in got.body
    row = row_of(place.gateway, got.name)
    assert (row["outcome"], row["error_code"]) == ("truncated", "deadline_exceeded")
    assert len(place.mock.ended(f"nonce-{got.name}")) == 1


def test_nobody_waits_for_a_retry_behind_the_deadline(place: Place) -> None:
    """An upstream that asks for more time than is left is not waited for: its answer is passed on at once."""
    got = routes.ask(place.gateway, "limits", headers={"x-flumegate-timeout": "5"})
    assert (got.status, got.attempts) == (503, 1)
    assert got.headers["retry-after"] == "30"


@pytest.mark.parametrize("value", ["", "soon", "0", "-1", "nan", "inf", "1e99", "86401", "1;2"])
def test_what_is_no_time_is_refused(place: Place, value: str) -> None:
    """400, before any upstream is asked."""
    got = routes.ask(place.gateway, "quick", headers={"x-flumegate-timeout": value})
    assert (got.status, got.code) == (400, "invalid_header")
    assert row_of(place.gateway, got.name)["outcome"] == "refused"
    assert not place.mock.ledger(tag=f"nonce-{got.name}")


@pytest.mark.parametrize("value", ["30", "2.5", " 60 "])
def test_a_time_in_which_it_is_done_changes_nothing(place: Place, value: str) -> None:
    """The answer comes as without it, and the wish is not passed on."""
    got = routes.ask(place.gateway, "quick", headers={"x-flumegate-timeout": value})
    assert got.status == 200
    (call,) = place.mock.ended(f"nonce-{got.name}")
    assert not [name for name, _ in call["headers"] if name.startswith("x-flumegate")]


@pytest.mark.parametrize("model", ["quick", "room", "own"])
def test_a_request_whose_time_is_over_before_it_is_sent_is_not_sent(place: Place, model: str) -> None:
    """It may have waited for a place, or there was never enough: 504, no upstream call, and no target is to blame."""
    place.scripted.requests.clear()
    got = routes.ask(place.gateway, model, headers={"x-flumegate-timeout": "0.000001"})
    assert (got.status, got.code) == (504, "deadline_exceeded")
    row = row_of(place.gateway, got.name)
    assert (row["outcome"], row["error_code"], row["attempts"]) == ("refused", "deadline_exceeded", [])
    assert not place.mock.ledger(tag=f"nonce-{got.name}")
    assert not place.scripted.requests
