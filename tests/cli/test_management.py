"""What `projects`, `keys`, `budgets`, `tokens` and `audit` of the command line do, against a real gateway."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from flumegate.manage.offer import SETUP_NAME, make_offer
from rig.gateway import Gateway, plain_environ, run_gateway

SETTINGS: dict[str, Any] = {
    "auth": {"static_keys": ["sk-static-test-client-key"]},
    "providers": {"up": {"type": "openai_compatible", "base_url": "http://127.0.0.1:9/v1", "api_key": "sk-up-canary"}},
}
SECRET = "sk-canary-credential-by-command"


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with run_gateway(config=SETTINGS) as running:
        running.wait_console()
        yield running


def run(
    gateway: Gateway, *arguments: str, said: str | None = None, environ: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "flumegate", *arguments],
        cwd=gateway.folder,
        env=plain_environ(environ),
        input=said,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def told(gateway: Gateway, *arguments: str, environ: dict[str, str] | None = None) -> Any:
    """Return what a command prints as JSON."""
    done = run(gateway, *arguments, "--json", environ=environ)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if done.stdout else None


def status_of(gateway: Gateway, key: str) -> int:
    return gateway.request("GET", "/v1/models", key=key).status


def test_a_key_from_its_making_to_its_end(gateway: Gateway) -> None:
    """Alone on stdout, so that a script can take it; by its id ever after."""
    project = told(gateway, "project", "create", "team-keys", "--model", "up/*", "--rpm", "100")
    done = run(
        gateway, "key", "create", "--project", "team-keys", "--name", "ci", "--expires", "30d", "--daily", "1.50"
    )
    assert done.returncode == 0, done.stderr
    key = done.stdout.strip()
    assert key.startswith("sk-fg-")
    identity = key.split("-")[2]
    assert identity in done.stderr
    listed = told(gateway, "key", "list", "--project", project["id"])["keys"]
    assert [each["id"] for each in listed] == [identity]
    assert key not in run(gateway, "key", "show", identity).stdout
    changed = told(gateway, "key", "set", identity, "--expires", "never", "--max-requests", "5")
    assert (changed["expires_at"], changed["max_requests"]) == (None, 5)
    new = run(gateway, "key", "rotate", identity, "--overlap", "12h").stdout.strip()
    assert told(gateway, "key", "show", identity)["state"] == "replaced"
    both = (identity, new.split("-")[2])
    assert told(gateway, "key", "revoke", *both)["revoked_count"] == 2
    assert run(gateway, "key", "revoke", "nobody00").returncode == 1
    assert run(gateway, "key", "revoke").returncode == 2


def test_keys_that_were_exported_keep_their_limits(gateway: Gateway) -> None:
    """A line that is JSON is a key with all that bounds it; what is left out is named on stderr."""
    rows = [
        {"token": "cd" * 32, "key_alias": "kept", "rpm_limit": 7, "max_budget": 2, "budget_duration": "1d"},
        {"token": "ef" * 32, "key_alias": "weekly", "max_budget": 2, "budget_duration": "7d"},
    ]
    text = "\n".join(json.dumps(row) for row in rows)
    done = run(gateway, "key", "import", "-", "--json", said=text)
    assert done.returncode == 0, done.stderr
    (key,) = json.loads(done.stdout)["keys"]
    assert (key["name"], key["limits"]["requests_per_minute"]) == ("kept", 7)
    (budget,) = [each for each in told(gateway, "budget", "list")["budgets"] if each["scope"] == f"key:{key['id']}"]
    assert (budget["period"], budget["limit_micros"]) == ("day", 2_000_000)
    assert "weekly" in done.stderr
    assert "is left out" in done.stderr
    none = run(gateway, "key", "import", "-", said=json.dumps(rows[1]))
    assert (none.returncode, none.stdout) == (1, "")
    assert run(gateway, "key", "import", "-", said="{no json").returncode == 1


def test_keys_of_another_gateway_are_taken_over(gateway: Gateway) -> None:
    (gateway.folder / "keys.txt").write_text(f"sk-their-old-key-text ci server\nsha256:{'ab' * 32} laptop\n")
    found = told(gateway, "key", "import", "keys.txt")["keys"]
    assert [each["name"] for each in found] == ["ci server", "laptop"]
    assert found[0]["limits"]["requests_per_minute"] == 0
    again = run(gateway, "key", "import", "keys.txt")
    assert again.returncode == 1
    assert "sk-their-old-key-text" not in again.stderr


def test_a_project_is_named_by_its_name(gateway: Gateway) -> None:
    told(gateway, "project", "create", "team-names")
    assert told(gateway, "project", "set", "team-names", "--concurrency", "7")["limits"]["concurrency"] == 7
    assert told(gateway, "project", "deactivate", "team-names")["active"] is False
    assert told(gateway, "project", "set", "team-names", "--activate")["active"] is True
    assert "team-names" in run(gateway, "project", "list").stdout
    assert run(gateway, "project", "show", "nobody").returncode == 1
    assert run(gateway, "project", "set", "team-names").returncode == 2


def test_budgets_are_dollars(gateway: Gateway) -> None:
    run(gateway, "budget", "set", "model:m", "--daily", "0.5", "--total", "1000")
    raised = told(gateway, "budget", "raise", "model:m", "2", "--until", "3d", "--period", "day")["budgets"][0]
    assert (raised["limit_micros"], raised["raised_micros"]) == (500_000, 2_000_000)
    page = run(gateway, "budget", "list", "model:m").stdout
    assert "$0.50" in page
    assert "$1,000.00" in page
    assert run(gateway, "budget", "remove", "model:m", "--period", "day").returncode == 0
    assert len(told(gateway, "budget", "list", "model:m")["budgets"]) == 1
    assert run(gateway, "budget", "set", "model:m", "--daily", "much").returncode == 2


def test_secrets_come_by_reference_and_are_told_to_nobody(gateway: Gateway) -> None:
    """Others can read a command line, so what stands there is refused."""
    assert run(gateway, "credential", "set", "up", SECRET).returncode == 2
    done = run(gateway, "credential", "set", "up", "env:SECRET", environ={"SECRET": SECRET})
    assert done.returncode == 0, done.stderr
    assert run(gateway, "credential", "set", "up", "-", said=SECRET).returncode == 0
    listed = told(gateway, "credential", "list")
    assert [each["id"] for each in listed["providers"][0]["stored_credentials"]] == ["up"]
    assert run(gateway, "credential", "remove", "up").returncode == 0
    assert run(gateway, "credential", "remove", "up").returncode == 1
    everything = json.dumps([listed, told(gateway, "audit", "list", "--limit", "500")]) + gateway.logs()
    assert SECRET not in everything


def test_roles_hold_on_the_command_line_too(gateway: Gateway) -> None:
    """Exit code 3 for whoever may not."""
    done = run(gateway, "token", "create", "eve", "--role", "viewer", "--expires", "1h")
    token = done.stdout.strip()
    assert run(gateway, "key", "list", "--token", token).returncode == 0
    assert run(gateway, "key", "create", "--token", token).returncode == 3
    (identity,) = (each["id"] for each in told(gateway, "token", "list")["tokens"] if each["name"] == "eve")
    assert run(gateway, "token", "revoke", identity).returncode == 0
    assert run(gateway, "key", "list", "--token", token).returncode == 3


def test_the_trail_is_read_proven_and_taken_away(gateway: Gateway) -> None:
    told(gateway, "project", "create", "team-trail")
    assert told(gateway, "audit", "verify")["whole"] is True
    assert "project.create" in run(gateway, "audit", "list", "--action", "project.create").stdout
    assert run(gateway, "audit", "export", "trail.jsonl").returncode == 0
    rows = [json.loads(line) for line in (gateway.folder / "trail.jsonl").read_text().splitlines()]
    assert [row["sequence"] for row in rows] == list(range(1, len(rows) + 1))
    assert run(gateway, "audit", "export", "trail.jsonl").returncode == 1
    assert os.stat(gateway.folder / "trail.jsonl").st_size > 0  # noqa: PTH116 - one fact of a file


def test_usage_is_summed_up(gateway: Gateway) -> None:
    page = run(gateway, "usage", "--by", "project", "--by", "model").stdout
    assert "total" in page
    assert told(gateway, "usage")["whole"] is True
    assert run(gateway, "usage", "--since", "2026-02-30").returncode == 1


def test_every_command_explains_itself(gateway: Gateway) -> None:
    for words in ("project create", "key create", "budget raise", "token create", "usage", "audit export"):
        done = run(gateway, *words.split(), "--help")
        assert done.returncode == 0
        assert "--url" in done.stdout


def test_a_setup_token_lets_the_first_owner_in_once(gateway: Gateway) -> None:
    """From stdin, without any other token; a wrong one is refused with code 3, since it is a token."""
    assert run(gateway, "setup", said="fg-st-wrong").returncode == 3
    offer = make_offer((gateway.data_dir / "pepper").read_bytes(), time.time())
    (gateway.data_dir / SETUP_NAME).write_bytes(offer.content)
    done = run(gateway, "setup", "--name", "ada", said=offer.text)
    assert done.returncode == 0, done.stderr
    assert run(gateway, "token", "list", "--token", done.stdout.strip()).returncode == 0
    assert run(gateway, "setup", said=offer.text).returncode == 3
    assert offer.text not in gateway.logs() + json.dumps(told(gateway, "audit", "list"))
