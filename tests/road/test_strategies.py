"""Promise: who serves a request is chosen as the route says: by rules, ability, session, load; and places are kept."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from rig import raw, road, routes
from rig.gateway import Gateway, run_gateway
from rig.mock import Mock, run_mock
from rig.rows import row_of
from rig.scripted import Pause, ScriptedUpstream, answer, scripted_upstream

BOB = "sk-road-another-client"
WHOLE = answer(b'{"id":"w","object":"chat.completion","model":"m","choices":[]}')
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}


class Place(NamedTuple):
    """A gateway in front of a mock, and of an upstream that answers when the test lets it."""

    gateway: Gateway
    mock: Mock
    scripted: ScriptedUpstream


def _config(mock: int, scripted: int) -> dict[str, Any]:
    providers = {name: road.compatible(mock) for name in ("a", "b", "c")}
    providers |= {f"busy{number}": road.compatible(scripted) for number in range(4)}
    providers["openai"] = {"type": "openai", "base_url": f"http://127.0.0.1:{mock}/v1", "api_key": road.CREDENTIAL}
    rules = [
        {"when": {"headers": {"x-tier": "free*"}}, "use": "cheap"},
        {"when": {"tags": ["batch"]}, "use": "slow"},
        {"when": {"headers": {"x-a": "1", "x-b": "*"}, "tags": ["both"]}, "use": "cheap"},
    ]
    limited = {"max_concurrency": 1, "max_queued": 1}
    models: dict[str, Any] = {
        "ruled": {"targets": ["a/usual"], "rules": rules},
        "cheap": "b/cheap",
        "slow": {"targets": ["c/slow"], "rules": [{"when": {"headers": {"x-tier": "gold"}}, "use": "usual"}]},
        "usual": "a/gold",
        "sees": {"targets": ["openai/gpt-3.5-turbo", "openai/gpt-4o"]},
        "sticky": {"targets": ["a/s1", "b/s2", "c/s3"], "strategy": "sticky"},
        "weighted": {"targets": [{"use": "a/w", "weight": 1}, {"use": "b/w", "weight": 0}], "strategy": "weighted"},
        "tiers": {"targets": [{"use": "a/late", "tier": 2}, {"use": "b/early", "tier": 1}]},
        "order": {"targets": [{"use": "busy0/m", **limited}]},
        "full": {"targets": [{"use": "busy1/m", **limited}]},
        "leaves": {"targets": [{"use": "busy2/m", **limited}]},
        "short": {"targets": [{"use": "busy3/m", **limited, "queue_seconds": 0.1}]},
        "beside": {"targets": [{"use": "busy3/other", **limited}, "a/beside"]},
    }
    return routes.settings(providers, models) | {"auth": {"static_keys": [road.KEY, BOB]}}


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with contextlib.ExitStack() as stack:
        mock, scripted = stack.enter_context(run_mock()), stack.enter_context(scripted_upstream())
        yield Place(stack.enter_context(run_gateway(config=_config(mock.port, scripted.port))), mock, scripted)


def served_by(place: Place, model: str, **said: Any) -> str:
    """Ask, and return which target answered."""
    got = routes.ask(place.gateway, model, **said)
    assert got.status == 200
    return f"{got.headers['x-flumegate-provider']}/{got.headers['x-flumegate-model']}"


@pytest.mark.parametrize(
    ("headers", "target"),
    [
        ({}, "a/usual"),
        ({"x-tier": "free-trial"}, "b/cheap"),
        ({"x-tier": "paid"}, "a/usual"),
        ({"x-flumegate-tags": "night, batch"}, "c/slow"),
        ({"x-flumegate-tags": "batches"}, "a/usual"),
        ({"x-flumegate-tags": "batch", "x-tier": "free"}, "b/cheap"),
        ({"x-flumegate-tags": "batch", "x-tier": "gold"}, "a/gold"),
        ({"x-a": "1", "x-flumegate-tags": "both"}, "a/usual"),
        ({"x-a": "1", "x-b": "any", "x-flumegate-tags": "both"}, "b/cheap"),
    ],
)
def test_rules_send_requests_elsewhere(place: Place, headers: dict[str, str], target: str) -> None:
    """The first rule whose every part holds; the rules of where it leads hold there, too."""
    assert served_by(place, "ruled", headers=headers) == target


def test_rules_know_keys() -> None:
    """A rule by key: the one whose key it is goes elsewhere, the other does not."""
    with run_mock() as mock:
        providers = {"a": road.compatible(mock.port)}
        plain = routes.settings(providers, {"m": "a/usual", "special": "a/special"})
        plain |= {"auth": {"static_keys": [road.KEY, BOB]}}
        with run_gateway(config=plain) as gateway:
            got = routes.ask(gateway, "m", key=BOB)
            key_id = row_of(gateway, got.name)["key_id"]
            assert key_id
            rule = {"when": {"keys": [key_id[:-2] + "*"]}, "use": "special"}
            ruled = plain | {"models": plain["models"] | {"m": {"targets": ["a/usual"], "rules": [rule]}}}
            gateway.write_config(ruled)
            gateway.output.wait_for('"snapshot_applied"')
            assert routes.ask(gateway, "m", key=BOB).headers["x-flumegate-model"] == "special"
            assert routes.ask(gateway, "m").headers["x-flumegate-model"] == "usual"


def test_an_image_goes_to_the_target_that_sees(place: Place) -> None:
    """Though another stands first in the list; text goes to that one."""
    content = [{"type": "text", "text": "what is this"}, IMAGE]
    assert served_by(place, "sees") == "openai/gpt-3.5-turbo"
    assert served_by(place, "sees", messages=[{"role": "user", "content": content}]) == "openai/gpt-4o"


def test_a_session_stays_where_it_is(place: Place) -> None:
    """Twenty requests of each of ten sessions; without a session the beginning of the conversation counts."""
    homes = set()
    for session in range(10):
        headers = {"x-flumegate-session": f"session-{session}"}
        targets = {served_by(place, "sticky", headers=headers) for _ in range(20)}
        assert len(targets) == 1
        homes |= targets
    assert len(homes) > 1
    begun = [{"role": "user", "content": "the same beginning"}]
    longer = [*begun, {"role": "assistant", "content": "yes"}, {"role": "user", "content": "go on"}]
    assert len({served_by(place, "sticky", messages=turns) for turns in (begun, longer, begun)}) == 1


def test_a_session_comes_back_to_its_target() -> None:
    """When its target fails it is served elsewhere, and by its own target again afterwards; others do not move."""
    with contextlib.ExitStack() as stack:
        upstreams = [stack.enter_context(scripted_upstream()) for _ in range(3)]
        for upstream in upstreams:
            upstream.play(WHOLE)
        providers = {f"p{number}": road.compatible(upstream.port) for number, upstream in enumerate(upstreams)}
        models = {"m": {"targets": [f"{name}/m" for name in providers], "strategy": "sticky"}}
        config = routes.settings(providers, models, breaker={"failures": 1000, "min_requests": 1000})
        gateway = stack.enter_context(run_gateway(config=config))

        def home(session: int) -> str:
            got = routes.ask(gateway, "m", headers={"x-flumegate-session": f"session-{session}"})
            assert got.status == 200
            return got.headers["x-flumegate-provider"]

        before = [home(session) for session in range(20)]
        sick = int(before[0].removeprefix("p"))
        upstreams[sick].play(answer(b'{"error":{"message":"sick"}}', status=b"500 No"))
        during = [home(session) for session in range(20)]
        assert before[0] not in during
        assert [new for old, new in zip(before, during, strict=True) if old != before[0]] == [
            old for old in before if old != before[0]
        ]
        upstreams[sick].play(WHOLE)
        assert [home(session) for session in range(20)] == before


def test_a_weight_of_nothing_is_the_last_resort(place: Place) -> None:
    """No request goes there while another target is left."""
    assert {served_by(place, "weighted") for _ in range(30)} == {"a/w"}


def test_lower_tiers_come_first(place: Place) -> None:
    """Whatever their position in the list."""
    assert served_by(place, "tiers") == "b/early"


def _standing(place: Place, count: int) -> None:
    road.eventually(lambda: len(place.scripted.requests) == count, f"{count} requests upstream")


def test_beyond_the_limit_requests_wait_and_beyond_the_queue_they_are_refused(place: Place) -> None:
    """One is served, one waits, and one is told to come again; the one that waited is served next."""
    pause = Pause()
    place.scripted.play(pause, WHOLE)
    with raw.wires(place.gateway.port, 2) as (first, second):
        first.send(routes.request("full", name="full-1"))
        _standing(place, 1)
        second.send(routes.request("full", name="full-2"))
        _queued(place, "busy1/m", 1)
        got = routes.ask(place.gateway, "full")
        assert (got.status, got.code) == (503, "targets_busy")
        assert int(got.headers["retry-after"]) >= 1
        assert row_of(place.gateway, got.name)["outcome"] == "refused"
        assert len(place.scripted.requests) == 1
        pause.set()
        assert [wire.answers(1)[0].status for wire in (first, second)] == [200, 200]
    _queued(place, "busy1/m", 0)


def test_a_client_that_leaves_the_queue_frees_its_place(place: Place) -> None:
    """Its request never goes upstream, and another may wait in its stead."""
    pause = Pause()
    place.scripted.play(pause, WHOLE)
    with raw.wires(place.gateway.port, 2) as (first, third):
        first.send(routes.request("leaves", name="leaves-1"))
        _standing(place, 1)
        with raw.wire(place.gateway.port) as second:
            second.send(routes.request("leaves", name="leaves-2"))
            _queued(place, "busy2/m", 1)
        _queued(place, "busy2/m", 0)
        third.send(routes.request("leaves", name="leaves-3"))
        _queued(place, "busy2/m", 1)
        pause.set()
        assert [wire.answers(1)[0].status for wire in (first, third)] == [200, 200]
    assert not [request for request in place.scripted.requests if b"leaves-2" in request]
    assert row_of(place.gateway, "leaves-2")["outcome"] == "cancelled"
    _queued(place, "busy2/m", 0)


def test_nobody_waits_longer_than_configured(place: Place) -> None:
    """Behind `queue_seconds` the request is refused, and its place is free."""
    pause = Pause()
    place.scripted.play(pause, WHOLE)
    with raw.wire(place.gateway.port) as first:
        first.send(routes.request("short", name="short-1"))
        _standing(place, 1)
        got = routes.ask(place.gateway, "short")
        assert (got.status, got.code) == (503, "targets_busy")
        _queued(place, "busy3/m", 0)
        pause.set()
        assert first.answers(1)[0].status == 200


def test_another_target_is_better_than_a_queue(place: Place) -> None:
    """Nobody waits where a target is ready."""
    pause = Pause()
    place.scripted.play(pause, WHOLE)
    with raw.wire(place.gateway.port) as first:
        first.send(routes.request("beside", name="beside-1"))
        _standing(place, 1)
        assert served_by(place, "beside") == "a/beside"
        pause.set()
        assert first.answers(1)[0].status == 200


def _queued(place: Place, target: str, count: int) -> None:
    """Return once so many requests wait for a place at a target."""

    def look() -> bool:
        listed = routes.manage(place.gateway, "GET", "/manage/targets")["targets"]
        return bool(next(each for each in listed if each["name"] == target)["queued"] == count)

    road.eventually(look, f"{count} waiting for {target}")
