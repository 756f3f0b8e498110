"""`flumegate explain` against a real gateway."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flumegate.cli.main import run
from rig.gateway import Gateway, plain_environ, run_gateway

KEY = "sk-test-explain-client"
UP_KEY = "sk-up-canary-explain"
SETTINGS: dict[str, Any] = {
    "auth": {"static_keys": [KEY]},
    "providers": {
        "up": {"type": "openai_compatible", "base_url": "http://127.0.0.1:9/v1", "api_key": UP_KEY},
        "an": {"type": "anthropic", "api_key": UP_KEY},
    },
    "models": {
        "smart": {"targets": [{"use": "up/gpt-4o"}, {"use": "an/claude-sonnet-4-5"}], "strategy": "priority"},
        "other": "an/claude-sonnet-4-5",
    },
}


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with run_gateway(config=SETTINGS) as running:
        running.wait_console()
        yield running


def explain(gateway: Gateway, *arguments: str, said: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "flumegate", "explain", *arguments],
        cwd=gateway.folder,
        env=plain_environ(),
        input=said,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_page_says_who_may_where_it_goes_and_what_is_sent(gateway: Gateway) -> None:
    """Gate, resolution, targets in order, the upstream request; the credential nowhere."""
    done = explain(gateway, "--model", "smart", "--key", KEY)
    assert (done.returncode, done.stderr) == (0, "")
    for part in (
        "authenticate: passes",
        "smart",
        "up/gpt-4o",
        "an/claude-sonnet-4-5",
        "POST http://127.0.0.1:9/v1/chat",
    ):
        assert part in done.stdout
    assert done.stdout.index("1  up/gpt-4o") < done.stdout.index("2  an/claude-sonnet-4-5")
    assert UP_KEY not in done.stdout


def test_nothing_is_sent_or_recorded(gateway: Gateway) -> None:
    """What is asked about has not happened."""
    assert explain(gateway, "--model", "smart", "--key", KEY).returncode == 0
    assert gateway.records() == []


def test_json_is_what_the_console_says(gateway: Gateway) -> None:
    """A body from stdin arrives as it stands; what it would lose is named."""
    body = '{"model": "other", "seed": 7, "messages": [{"role": "user", "content": "h\\u00e9"}]}'
    done = explain(gateway, "--file", "-", "--key", KEY, "--json", said=body)
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert told["chosen"] == "an/claude-sonnet-4-5"
    assert told["lane"] == "translated"
    assert any("seed" in loss for loss in told["losses"])
    assert json.loads(told["upstream"]["body"])["messages"][0]["content"] == "hé"
    assert UP_KEY not in done.stdout


def test_a_model_overrides_the_files(gateway: Gateway, tmp_path: Path) -> None:
    path = tmp_path / "request.json"
    path.write_text('{"model": "smart", "messages": [{"role": "user", "content": "x"}]}')
    done = explain(gateway, "--file", str(path), "--model", "other", "--key", KEY, "--json")
    assert json.loads(done.stdout)["resolution"]["model"] == "other"


@pytest.mark.parametrize(
    ("path", "endpoint"),
    [
        ("/v1/chat/completions", "chat"),
        ("/v1/messages", "messages"),
        ("/v1/responses", "responses"),
        ("/v1/completions", "completions"),
        ("/v1/embeddings", "embeddings"),
    ],
)
def test_a_short_question_is_asked_in_each_endpoints_form(gateway: Gateway, path: str, endpoint: str) -> None:
    """Without a file, the model is all that must be named."""
    told = json.loads(explain(gateway, "--model", "up/gpt-4o", "--path", path, "--key", KEY, "--json").stdout)
    assert (told["endpoint"], told["refusal"]) == (endpoint, None)


def test_headers_steer_as_they_would(gateway: Gateway) -> None:
    """X-Upstream-Name chooses the provider."""
    done = explain(gateway, "--model", "gpt-4o", "--header", "X-Upstream-Name: up", "--key", KEY, "--json")
    assert json.loads(done.stdout)["upstream"]["provider"] == "up"


def test_a_refusal_is_explained_too(gateway: Gateway) -> None:
    """No key, no such model: that is the answer, not a failure of the command."""
    done = explain(gateway, "--model", "nowhere-to-be-found")
    assert (done.returncode, done.stderr) == (0, "")
    assert "missing_api_key" in done.stdout
    assert "model_not_found" in done.stdout


def test_a_body_that_is_no_json_is_explained_too(gateway: Gateway) -> None:
    done = explain(gateway, "--file", "-", "--key", KEY, said="not json")
    assert done.returncode == 0
    assert "invalid_json" in done.stdout


def test_a_path_that_is_not_served_is_refused(gateway: Gateway) -> None:
    assert explain(gateway, "--model", "smart", "--path", "/nothing").returncode == 1


@pytest.mark.parametrize(
    "arguments",
    [[], ["--file", "/nowhere/to/be/found"], ["--model", "x", "--header", "no colon"], ["--unknown"]],
)
def test_a_command_line_that_asks_nothing_is_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Before anybody is asked."""
    assert run(["explain", "--url", "http://127.0.0.1:1", "--token", "x", *arguments]) == 2
    assert capsys.readouterr().err
