"""`flumegate target` against a real gateway with two workers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from rig.gateway import Gateway, plain_environ, run_gateway

KEY = "sk-test-targets-client"
SETTINGS: dict[str, Any] = {
    "server": {"workers": 2},
    "auth": {"static_keys": [KEY]},
    "providers": {
        "up": {"type": "openai_compatible", "base_url": "http://127.0.0.1:9/v1", "api_key": "sk-up-canary"},
        "an": {"type": "anthropic", "api_key": "sk-an-canary"},
        "any": {"type": "openai_compatible", "base_url": "http://127.0.0.1:9/v1", "api_key": "sk-any-canary"},
    },
    "models": {"smart": {"targets": [{"use": "up/gpt-4o"}, {"use": "an/claude-sonnet-4-5"}]}, "any-*": "any/*"},
}


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with run_gateway(config=SETTINGS) as running:
        running.wait_console()
        yield running


def flumegate(gateway: Gateway, *arguments: str, said: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command as the operator does, in the folder that the gateway was started in."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "flumegate", *arguments],
        cwd=gateway.folder,
        env=plain_environ(),
        input=said,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def states(gateway: Gateway) -> dict[str, dict[str, str]]:
    """Return each target's state in each worker."""
    done = flumegate(gateway, "target", "list", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["silent"] == []
    return {
        target["name"]: {worker: state["state"] for worker, state in target["workers"].items()}
        for target in told["targets"]
    }


def test_configured_targets_are_listed_before_their_first_request(gateway: Gateway) -> None:
    assert sorted(states(gateway)) == ["an/claude-sonnet-4-5", "any", "up/gpt-4o"]


def test_the_page_has_a_line_for_each_target_and_worker(gateway: Gateway) -> None:
    """Also where no terminal says how wide it is."""
    done = flumegate(gateway, "target", "list", "--workers")
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split()[0] for line in done.stdout.splitlines()]
    assert lines == ["target", "an/claude-sonnet-4-5", "w0", "w1", "any", "w0", "w1", "up/gpt-4o", "w0", "w1"]


@pytest.mark.parametrize(("verb", "state"), [("open", "forced_open"), ("close", "forced_closed"), ("reset", "closed")])
def test_what_is_forced_reaches_both_workers(gateway: Gateway, verb: str, state: str) -> None:
    before = gateway.logs().count('"target_forced"')
    done = flumegate(gateway, "target", verb, "up/gpt-4o")
    assert done.returncode == 0, done.stderr
    gateway.output.wait_for('"target_forced"', count=before + 1)
    assert state.replace("_", " ") in done.stdout
    assert states(gateway)["up/gpt-4o"] == {"w0": state, "w1": state}


def test_what_is_forced_is_obeyed(gateway: Gateway) -> None:
    """By both workers, whichever takes the connection; nothing listens at the target, which tells the two apart."""

    def fates() -> set[tuple[int, str]]:
        body = {"model": "up/gpt-4o", "messages": [{"role": "user", "content": "x"}]}
        answers = [gateway.request("POST", "/v1/chat/completions", body=body, key=KEY) for _ in range(12)]
        return {(answer.status, answer.json()["error"]["code"]) for answer in answers}

    assert flumegate(gateway, "target", "reset", "up/gpt-4o").returncode == 0
    assert fates() == {(502, "upstream_connect_failed")}
    assert flumegate(gateway, "target", "open", "up/gpt-4o").returncode == 0
    ((status, code),) = fates()
    assert (status, code) != (502, "upstream_connect_failed")
    assert status == 503
    assert flumegate(gateway, "target", "reset", "up/gpt-4o").returncode == 0
    assert fates() == {(502, "upstream_connect_failed")}


def test_a_worker_that_is_restarted_is_told_what_is_forced(gateway: Gateway) -> None:
    """It does not send to a target that the operator has shut."""
    assert flumegate(gateway, "target", "open", "up/gpt-4o").returncode == 0
    served = gateway.logs().count('"serving"')
    gateway.kill(gateway.worker_pids()[0])
    gateway.output.wait_for('"serving"', count=served + 1)
    found = states(gateway)["up/gpt-4o"]
    while len(found) < 2:
        found = states(gateway)["up/gpt-4o"]
    assert found == {"w0": "forced_open", "w1": "forced_open"}
    assert flumegate(gateway, "target", "reset", "up/gpt-4o").returncode == 0


def test_a_target_that_there_is_not_is_refused(gateway: Gateway) -> None:
    """With the way to those that there are."""
    done = flumegate(gateway, "target", "open", "up/typo")
    assert (done.returncode, done.stdout) == (1, "")
    assert "up/typo" in done.stderr
    assert "up/typo" not in states(gateway)


@pytest.mark.parametrize("verb", ["open", "close", "reset"])
@pytest.mark.parametrize(("provider", "targets"), [("up", "provider/model: up/gpt-4o"), ("any", "none so far")])
def test_a_provider_is_no_target(gateway: Gateway, verb: str, provider: str, targets: str) -> None:
    """Nobody is to believe that all of it is cut off; its targets are named instead, and nothing is forced."""
    done = flumegate(gateway, "target", verb, provider)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"'{provider}' is a provider" in " ".join(done.stderr.split())
    assert targets in " ".join(done.stderr.split())
    found = states(gateway)
    assert ("up" in found, found["any"]) == (False, {"w0": "closed", "w1": "closed"})


def test_a_wrong_token_is_3(gateway: Gateway) -> None:
    done = flumegate(gateway, "target", "list", "--token", "fg-admin-wrong")
    assert (done.returncode, done.stdout) == (3, "")
