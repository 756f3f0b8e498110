"""Promise: what may pass is tried again, no earlier than the upstream asked for; what will not pass is not.

When our retries are spent the official clients are told so, and the upstream's last answer comes as it came.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from typing import NamedTuple

import pytest

from rig import raw, road, routes
from rig.gateway import Gateway, run_gateway
from rig.mock import Mock, run_mock
from rig.rows import row_of
from rig.scripted import ScriptedUpstream, Step, answer, scripted_upstream

PASSING = (408, 429, 500, 502, 503, 504, 529)
LASTING = (400, 401, 403, 404, 413, 422)
EXACT = 16
SAID = b'{"error":{"message":"not\\u0020now",  "type":"server_error","code":null}}'
WHOLE = b'{"id":"w","object":"chat.completion","model":"m","choices":[]}'


class Place(NamedTuple):
    """A gateway with one provider for each test, on a mock, and one that is scripted."""

    gateway: Gateway
    mock: Mock
    scripted: ScriptedUpstream


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    """No breaker: it would leave targets alone that these tests make fail on purpose."""
    with run_mock() as mock, scripted_upstream() as scripted:
        providers = {f"p{status}": road.compatible(mock.port) for status in (*PASSING, *LASTING)}
        providers |= {f"s{number}": road.compatible(scripted.port) for number in range(6)}
        models: dict[str, object] = {}
        for status in (*PASSING, *LASTING):
            models[f"once-{status}"] = f"p{status}/mock-fault:status={status},times=1"
            models[f"ever-{status}"] = f"p{status}/mock-fault:status={status}"
        models["never"] = {"targets": ["p500/mock-fault:status=500"], "retry": {"max_retries": 0}}
        models["picky"] = {"targets": ["p422/mock-fault:status=422,times=1"], "retry": {"on_status": [422]}}
        models |= {f"asked-{number}": f"s{number}/m" for number in range(5)}
        providers |= {f"l{stream}": road.compatible(scripted.port) for stream in (False, True)}
        models |= {f"left-{stream}": f"l{stream}/m" for stream in (False, True)} | {"asked-5": "s5/other"}
        models["patience"] = {"targets": ["s5/m"], "retry": {"max_delay": 5}}
        providers |= {f"e{number}": road.compatible(mock.port) for number in range(EXACT)}
        fault = "mock-fault:status=429,times=1,retry_after=1"
        models |= {
            f"exact-{number}": {"targets": [f"e{number}/{fault}"], "retry": {"initial_delay": 0}}
            for number in range(EXACT)
        }
        config = routes.settings(providers, models, retry={"max_retries": 2}, breaker={"enabled": False})
        with run_gateway(config=config) as gateway:
            yield Place(gateway, mock, scripted)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [status for status in PASSING if status != 429])
def test_what_may_pass_is_tried_again(place: Place, status: int, stream: bool) -> None:
    """One failure goes unnoticed; the record has both attempts."""
    got = routes.ask(place.gateway, f"once-{status}", stream=stream)
    assert (got.status, got.complete, got.attempts) == (200, True, 2)
    outcomes = [each.outcome for each in routes.tried(place.gateway, got.name)]
    assert outcomes == [f"upstream_{status}", "ok"]
    assert row_of(place.gateway, got.name)["outcome"] == "ok"
    assert len(place.mock.ended(f"nonce-{got.name}", calls=2)) == 2


def test_a_limit_is_tried_again(place: Place) -> None:
    """429 without a time is one of those that may pass."""
    got = routes.ask(place.gateway, "once-429")
    assert (got.status, got.attempts) == (200, 2)


@pytest.mark.parametrize("status", LASTING)
def test_what_will_not_pass_is_not_tried_again(place: Place, status: int) -> None:
    """The request or the credential is at fault: one call, and its answer as it came; nothing is said of retries."""
    got = routes.ask(place.gateway, f"ever-{status}")
    assert (got.status, got.attempts) == (status, 1)
    assert "x-should-retry" not in got.headers
    assert len(place.mock.ended(f"nonce-{got.name}")) == 1


@pytest.mark.parametrize("status", [500, 529])
def test_the_last_answer_comes_as_it_came_when_retries_are_spent(place: Place, status: int) -> None:
    """Three calls, and the official clients are told not to begin all over again."""
    got = routes.ask(place.gateway, f"ever-{status}")
    assert (got.status, got.attempts, got.headers["x-should-retry"]) == (status, 3, "false")
    assert len(place.mock.ended(f"nonce-{got.name}", calls=3)) == 3
    row = row_of(place.gateway, got.name)
    assert (row["outcome"], row["error_code"]) == ("upstream_error", f"upstream_{status}")


def test_without_retries_nothing_is_said_of_them(place: Place) -> None:
    """The client may try again as it likes: we have not."""
    got = routes.ask(place.gateway, "never")
    assert (got.status, got.attempts, "x-should-retry" in got.headers) == (500, 1, False)


def test_a_route_names_its_own_statuses(place: Place) -> None:
    """`retry.on_status` of a route replaces the usual ones."""
    got = routes.ask(place.gateway, "picky")
    assert (got.status, got.attempts) == (200, 2)


def test_the_bytes_of_the_last_failure_are_the_upstreams(place: Place) -> None:
    """White space and escapes of its error body included."""
    place.scripted.play(answer(SAID, status=b"503 Later", headers=b"x-upstream-said: so\r\n"))
    got = routes.ask(place.gateway, "asked-0")
    assert (got.status, got.body, got.attempts) == (503, SAID, 3)
    assert got.headers["x-upstream-said"] == "so"


@pytest.mark.parametrize(
    ("model", "header"),
    [("asked-1", "retry-after: 1"), ("asked-2", "retry-after-ms: 1100"), ("asked-3", "retry-after: {date}")],
)
@pytest.mark.parametrize("status", [b"429 Too Many", b"503 Later"])
def test_an_upstream_is_not_asked_earlier_than_it_said(place: Place, model: str, header: str, status: bytes) -> None:
    """In seconds, in milliseconds, or as a date: the second attempt begins after that time."""
    line = header.format(date=formatdate(_now(place) + 2, usegmt=True)).encode() + b"\r\n"
    place.scripted.play(answer(WHOLE))
    place.scripted.play_once(answer(SAID, status=status, headers=line))
    got = routes.ask(place.gateway, model)
    assert (got.status, got.body, got.attempts) == (200, WHOLE, 2)
    first, second = row_of(place.gateway, got.name)["attempts"]
    assert second["started_us"] - first["ended_us"] >= 990_000


def test_a_timer_that_fires_early_fails_no_request(place: Place) -> None:
    """Timers count in whole milliseconds: with no random part in the wait, many of them end before its time."""
    with ThreadPoolExecutor(EXACT) as pool:
        answers = list(pool.map(lambda number: routes.ask(place.gateway, f"exact-{number}"), range(EXACT)))
    assert [(got.status, got.attempts) for got in answers] == [(200, 2)] * EXACT


def _now(place: Place) -> float:
    """Return the time as the mock's ledger has it."""
    reply = place.mock.post("/v1/chat/completions", road.chat("m", f"nonce-now-{next(routes.NUMBER)}"))
    assert reply.status == 200
    return float(place.mock.ledger()[-1]["started_at"])


def test_nobody_waits_for_longer_than_configured(place: Place) -> None:
    """An upstream that asks for more than `max_delay` is not waited for: its answer goes to the client."""
    place.scripted.play(answer(SAID, status=b"503 Later", headers=b"retry-after: 6\r\n"))
    got = routes.ask(place.gateway, "patience")
    assert (got.status, got.body, got.attempts) == (503, SAID, 1)
    assert got.headers["retry-after"] == "6"


def test_a_target_that_limits_for_a_stated_time_is_not_asked_again_before(place: Place) -> None:
    """Another request meets a refusal of ours, with the time that is left, and no upstream is asked."""
    place.scripted.play(answer(SAID, status=b"429 Too Many", headers=b"retry-after: 100\r\n"))
    first = routes.ask(place.gateway, "asked-4")
    place.scripted.requests.clear()
    second = routes.ask(place.gateway, "asked-4")
    assert (first.status, second.status, second.code) == (429, 429, "targets_limited")
    assert 80 <= int(second.headers["retry-after"]) <= 100
    assert not place.scripted.requests
    row = row_of(place.gateway, second.name)
    assert (row["outcome"], row["attempts"]) == ("refused", [])


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_while_a_retry_waits_is_the_end_of_it(place: Place, stream: bool) -> None:
    """No attempt follows, and the record tells of the one that was made."""
    name = f"left-waiting-{stream}"
    place.scripted.play(answer(SAID, status=b"503 Later", headers=b"retry-after: 30\r\n"))
    with raw.wire(place.gateway.port) as wire:
        wire.send(routes.request(f"left-{stream}", name=name, stream=stream))
        place.scripted.wait_for(requests=1)
        road.eventually(lambda: _failures(place, f"l{stream}"), "the failure is noted")
    row = row_of(place.gateway, name)
    assert (row["status"], row["outcome"], row["error_code"]) == (499, "cancelled", "client_closed")
    assert [each["outcome"] for each in row["attempts"]] == ["upstream_503"]
    assert len(place.scripted.requests) == 1


def _failures(place: Place, provider: str) -> int:
    listed = routes.manage(place.gateway, "GET", "/manage/targets")["targets"]
    return sum(each["failures"] for each in listed if each["name"].startswith(f"{provider}/"))


def test_a_failure_of_ours_tells_of_the_attempts(place: Place) -> None:
    """Where no answer came at all, the error says how often one was asked for."""
    place.scripted.play(Step.FIN)
    got = routes.ask(place.gateway, "asked-5")
    assert (got.status, got.code, got.attempts) == (502, "upstream_closed", 3)
    assert got.headers["x-should-retry"] == "false"
    assert len(routes.tried(place.gateway, got.name)) == 3
