"""Promise: one credential of several that is refused or limited is no trouble of the client's, and none is ever told.

Each attempt carries one credential alone, and what an upstream says of it reaches the client without it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from rig import road, routes
from rig.gateway import Gateway, run_gateway
from rig.rows import row_of
from rig.scripted import ScriptedUpstream, Step, answer, scripted_upstream

KEYS = ("sk-pool-canary-alpha", "sk-pool-canary-beta", "sk-pool-canary-gamma")
WHOLE = b'{"id":"w","object":"chat.completion","model":"m","choices":[]}'
CASES = (
    "401",
    "402",
    "403",
    "429",
    "all",
    "mixed",
    "translated",
    "spread",
    "behind",
    "later-401",
    "later-402",
    "later-403",
)


def refused(key: str, status: int = 401) -> bytes:
    """Return an error that quotes the credential, as providers do."""
    body = b'{"error":{"message":"Incorrect API key provided: %b","type":"invalid","code":"bad"}}' % key.encode()
    return answer(body, status=b"%d No" % status, headers=b"x-upstream-said: no\r\n")


@pytest.fixture(autouse=True)
def _forget(place: Place) -> None:
    place.upstream.play()


class Place(NamedTuple):
    """A gateway with a pool of three credentials for each test."""

    gateway: Gateway
    upstream: ScriptedUpstream

    def used(self) -> list[str]:
        """Return which credential each request so far carried, and that it carried no other."""
        found = []
        for request in self.upstream.requests:
            carried = [key for key in KEYS if key.encode() in request]
            assert len(carried) == 1
            found.append(carried[0])
        return found

    def next_key(self, case: str) -> str:
        """Return the credential that the next request of a case carries, by asking once."""
        self.upstream.play(answer(WHOLE))
        assert routes.ask(self.gateway, case).status == 200
        (used,) = self.used()
        self.upstream.requests.clear()
        return KEYS[(KEYS.index(used) + 1) % len(KEYS)]


def _config(port: int) -> dict[str, Any]:
    pool: dict[str, Any] = {"api_key": None, "api_keys": list(KEYS)}
    providers = {f"p-{case}": road.compatible(port, **pool) for case in CASES}
    providers["p-translated"] = road.anthropic(port, **pool)
    for each in providers.values():
        del each["api_key"]
    models: dict[str, Any] = {case: f"p-{case}/m" for case in CASES}
    models["behind"] = {"targets": ["p-behind/m", "p-spread/behind"]}
    return routes.settings(providers, models)


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with scripted_upstream() as upstream, run_gateway(config=_config(upstream.port)) as gateway:
        yield Place(gateway, upstream)


@pytest.mark.parametrize("status", [401, 402, 403, 429])
def test_one_credential_that_fails_goes_unnoticed(place: Place, status: int) -> None:
    """The next one is used at once, without a retry being configured, and the failed one is left alone."""
    case = str(status)
    bad = place.next_key(case)
    place.upstream.play(answer(WHOLE))
    place.upstream.play_once(refused(bad, status))
    got = routes.ask(place.gateway, case)
    assert (got.status, got.body, got.attempts) == (200, WHOLE, 2)
    outcomes = [each.outcome for each in routes.tried(place.gateway, got.name)]
    assert outcomes == [f"upstream_{status}", "ok"]
    first, second = place.used()
    assert first == bad != second
    place.upstream.requests.clear()
    for _ in range(6):
        assert routes.ask(place.gateway, case).status == 200
    assert set(place.used()) == set(KEYS) - {bad}


@pytest.mark.parametrize(("status", "tried_again"), [(401, False), (402, False), (403, True)])
def test_what_was_refused_is_left_alone_at_targets_to_come(place: Place, status: int, tried_again: bool) -> None:
    """Whatever model is asked for next; but a 403 may be about the one model alone."""
    case = f"later-{status}"
    place.upstream.play(answer(WHOLE))
    place.upstream.play_once(refused(KEYS[0], status))
    assert routes.ask(place.gateway, case).attempts == 2
    assert place.used()[0] == KEYS[0]
    place.upstream.requests.clear()
    for number in range(3):
        assert routes.ask(place.gateway, f"p-{case}/new-{number}").attempts == 1
    assert (KEYS[0] in place.used()) is tried_again
    listed = routes.manage(place.gateway, "GET", "/manage/targets")["targets"]
    out = {each["name"]: each["credentials_out"] for each in listed if each["name"].startswith(f"p-{case}/new")}
    assert set(out.values()) == {0 if tried_again else 1}


def test_when_all_are_refused_the_last_answer_comes_without_any_of_them(place: Place) -> None:
    """One attempt with each; where the upstream quotes what it was sent, that is not passed on."""
    for key in KEYS:
        place.upstream.play_once(refused(key))
    got = routes.ask(place.gateway, "all")
    assert (got.status, got.attempts, got.headers["x-upstream-said"]) == (401, 3, "no")
    assert place.used() == list(KEYS)
    assert b"Incorrect API key provided" in got.body
    row = row_of(place.gateway, got.name)
    assert (row["outcome"], row["error_code"]) == ("upstream_error", "upstream_401")
    assert not [key for key in KEYS if key.encode() in got.body or key in str(row)]


def test_a_translated_refusal_quotes_no_credential(place: Place) -> None:
    """Its words become ours, without the credentials in them."""
    for key in KEYS:
        place.upstream.play_once(refused(key))
    got = routes.ask(place.gateway, "translated")
    assert (got.status, got.code) == (502, "upstream_credential_refused")
    assert len(routes.tried(place.gateway, got.name)) == 3
    assert b"Incorrect API key provided" in got.body
    assert not [key for key in KEYS if key.encode() in got.body]


def test_a_broken_connection_is_no_fault_of_the_credential(place: Place) -> None:
    """It stays in use."""
    place.upstream.play(Step.FIN)
    assert routes.ask(place.gateway, "mixed").status == 502
    place.upstream.play(answer(WHOLE))
    for _ in range(6):
        assert routes.ask(place.gateway, "mixed").status == 200
    assert set(place.used()) == set(KEYS)


def test_requests_are_spread_over_the_credentials(place: Place) -> None:
    """In turn."""
    place.upstream.play(answer(WHOLE))
    for _ in range(9):
        assert routes.ask(place.gateway, "spread").status == 200
    used = place.used()
    assert used[:3] * 3 == used
    assert sorted(used[:3]) == sorted(KEYS)
    assert not [key for key in KEYS if key in place.gateway.logs()]


def test_behind_the_last_credential_comes_the_next_target(place: Place) -> None:
    """Each is tried once; afterwards requests go to the other target at once."""
    place.upstream.play(answer(WHOLE))
    for key in KEYS:
        place.upstream.play_once(refused(key))
    got = routes.ask(place.gateway, "behind")
    assert (got.status, got.attempts, got.headers["x-flumegate-provider"]) == (200, 4, "p-spread")
    again = routes.ask(place.gateway, "behind")
    assert (again.status, again.attempts, again.headers["x-flumegate-provider"]) == (200, 1, "p-spread")
