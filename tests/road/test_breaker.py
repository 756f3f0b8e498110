"""Promise: a target that fails again and again is left alone, refused quickly and tried again by one request alone.

The upstream is scripted and answers when the test lets it, so who is the probe is no matter of time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from rig import raw, road, routes
from rig.gateway import Gateway, run_gateway
from rig.rows import row_of
from rig.scripted import Pause, ScriptedUpstream, Step, answer, scripted_upstream

OPEN_SECONDS = 0.3
SICK = answer(b'{"error":{"message":"sick"}}', status=b"500 No")
WHOLE = answer(b'{"id":"w","object":"chat.completion","model":"m","choices":[]}')
FAILURES = 5
MODELS = ("opens", "probe", "leaves", "forced", "cut", "refusals", "beside", "hasty")


class Place(NamedTuple):
    """A gateway with one target for each test, all at one upstream."""

    gateway: Gateway
    upstream: ScriptedUpstream

    def open(self, model: str) -> None:
        """Let a target fail until it is left alone."""
        routes.manage(self.gateway, "POST", f"/manage/targets/p-{model}/m/reset")
        self.upstream.play(SICK)
        for _ in range(FAILURES):
            assert routes.ask(self.gateway, model).status == 500
        self.upstream.requests.clear()

    def standing(self, model: str) -> str:
        """Return how the target fares, as the console tells."""
        listed = routes.manage(self.gateway, "GET", "/manage/targets")
        return str(next(each["state"] for each in listed["targets"] if each["name"] == f"p-{model}/m"))

    def await_probe(self, model: str) -> None:
        """Return once the next request would be the probe."""
        road.eventually(lambda: self.standing(model) == "half_open", f"{model} may be tried again")


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with scripted_upstream() as upstream:
        providers = {f"p-{model}": road.compatible(upstream.port) for model in MODELS}
        models: dict[str, Any] = {model: f"p-{model}/m" for model in MODELS}
        models["beside"] = {"targets": ["p-beside/m", "p-beside/spare"]}
        breaker = {"open_seconds": OPEN_SECONDS, "failures": FAILURES}
        with run_gateway(config=routes.settings(providers, models, breaker=breaker)) as gateway:
            yield Place(gateway, upstream)


@pytest.fixture(autouse=True)
def _forget(place: Place) -> None:
    place.upstream.play()


@pytest.mark.parametrize("stream", [False, True])
def test_a_target_that_fails_again_and_again_is_left_alone(place: Place, stream: bool) -> None:
    """The next request is refused without a call, is told when to come again, and recorded as refused."""
    place.open("opens")
    routes.manage(place.gateway, "POST", "/manage/targets/p-opens/m/open")  # it stays so, however slow the machine is
    got = routes.ask(place.gateway, "opens", stream=stream)
    assert (got.status, got.code, got.complete) == (503, "no_target_available", True)
    assert int(got.headers["retry-after"]) >= 1
    assert not place.upstream.requests
    row = row_of(place.gateway, got.name)
    assert (row["outcome"], row["error_code"], row["attempts"]) == ("refused", "no_target_available", [])
    routes.manage(place.gateway, "POST", "/manage/targets/p-opens/m/reset")
    place.upstream.play(WHOLE)
    assert routes.ask(place.gateway, "opens", stream=stream).status == 200


def test_one_request_of_many_is_the_probe(place: Place) -> None:
    """While it is under way all others are refused; when it went well the target serves again."""
    place.open("probe")
    pause = Pause()
    place.upstream.play(pause, WHOLE)
    place.await_probe("probe")
    with raw.wires(place.gateway.port, 20) as wires:
        for number, wire in enumerate(wires):
            wire.send(routes.request("probe", name=f"probe-{number}"))
        place.upstream.wait_for(requests=1)
        # All but one are answered before the upstream says a word.
        refused = "request_id LIKE 'probe-%' AND error_code = 'no_target_available'"
        road.eventually(lambda: road.rows(place.gateway, refused)[18:], "19 refusals")
        assert len(place.upstream.requests) == 1
        pause.set()
        statuses = sorted(wire.answers(1)[0].status for wire in wires)
    assert statuses == [200] + [503] * 19
    assert place.standing("probe") == "closed"
    assert routes.ask(place.gateway, "probe").status == 200


def test_a_probe_that_fails_opens_again(place: Place) -> None:
    """One call, then refusals, until the next probe."""
    place.open("cut")
    place.await_probe("cut")
    place.upstream.play(Step.FIN)
    assert routes.ask(place.gateway, "cut").status == 502
    assert place.standing("cut") in ("open", "half_open")
    place.await_probe("cut")
    place.upstream.play(WHOLE)
    assert routes.ask(place.gateway, "cut").status == 200
    assert place.standing("cut") == "closed"


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_while_it_is_the_probe_gives_the_place_back(place: Place, stream: bool) -> None:
    """The next request is the probe then."""
    place.open("leaves")
    place.await_probe("leaves")
    place.upstream.play(Step.HANG)
    with raw.wire(place.gateway.port) as wire:
        wire.send(routes.request("leaves", name=f"leaves-{stream}", stream=stream))
        place.upstream.wait_for(requests=1)
    row_of(place.gateway, f"leaves-{stream}")
    place.upstream.play(WHOLE)
    assert routes.ask(place.gateway, "leaves").status == 200
    assert place.standing("leaves") == "closed"


def test_operators_open_and_close(place: Place) -> None:
    """Open: nothing goes there. Closed: requests go there whatever becomes of them."""
    place.upstream.play(SICK)
    routes.manage(place.gateway, "POST", "/manage/targets/p-forced/m/open")
    assert routes.ask(place.gateway, "forced").code == "no_target_available"
    assert not place.upstream.requests
    assert place.standing("forced") == "forced_open"
    routes.manage(place.gateway, "POST", "/manage/targets/p-forced/m/close")
    for _ in range(2 * FAILURES):
        assert routes.ask(place.gateway, "forced").status == 500
    assert place.standing("forced") == "forced_closed"


def test_refusals_of_requests_leave_a_target_well(place: Place) -> None:
    """A client's mistakes, however many, are not the target's."""
    place.upstream.play(answer(b'{"error":{"message":"bad"}}', status=b"400 No"))
    for _ in range(3 * FAILURES):
        assert routes.ask(place.gateway, "refusals").status == 400
    assert place.standing("refusals") == "closed"


def test_a_target_that_is_left_alone_is_passed_over(place: Place) -> None:
    """Where there is another, requests go there at once: one attempt."""
    routes.manage(place.gateway, "POST", "/manage/targets/p-beside/m/open")
    place.upstream.play(WHOLE)
    got = routes.ask(place.gateway, "beside")
    assert (got.status, got.attempts, got.headers["x-flumegate-model"]) == (200, 1, "spare")


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_in_a_hurry_gets_nobody_left_alone(place: Place, stream: bool) -> None:
    """Whose own deadline ends the attempts: the target is not to blame, and serves the others."""
    place.upstream.play(Step.HANG)
    for _ in range(2 * FAILURES):
        got = routes.ask(place.gateway, "hasty", stream=stream, headers={"x-flumegate-timeout": "0.05"})
        assert (got.status, got.code) == (504, "deadline_exceeded")
    assert place.standing("hasty") == "closed"
    place.upstream.play(WHOLE)
    assert routes.ask(place.gateway, "hasty").status == 200
