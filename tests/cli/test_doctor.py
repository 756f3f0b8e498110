"""`flumegate doctor` and `flumegate db` as a user runs them: a healthy gateway, and one with something wrong.

They prove checkup, check_machine, check_store, check_network and storage.
"""

from __future__ import annotations

import json
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from flumegate.cli.check_network import _check_certificate
from flumegate.manage.seal import make_master_key
from rig.certificates import self_signed
from rig.gateway import plain_environ, run_gateway
from rig.redis import redis_server

CANARY = "sk-canary-of-the-doctor"
CONFIG = """
server: {listen: "127.0.0.1:0"}
console: {listen: "127.0.0.1:0"}
auth: {static_keys: [sk-static-test-client-key]}
providers: {up: {type: openai_compatible, base_url: "http://127.0.0.1:9/v1", api_key: sk-canary-of-the-doctor}}
"""


def flumegate(folder: Path, *arguments: str, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "flumegate", *arguments],
        cwd=folder,
        env=plain_environ(environ),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def checks(folder: Path, *arguments: str) -> tuple[int, dict[str, tuple[str, str, str]]]:
    """Return the exit code, and verdict, finding and remedy of each check."""
    done = flumegate(folder, "doctor", "--json", *arguments)
    assert CANARY not in done.stdout + done.stderr
    rows = json.loads(done.stdout)["checks"]
    return done.returncode, {row["name"]: (row["verdict"], row["found"], row["remedy"]) for row in rows}


def test_a_healthy_gateway_passes_every_check() -> None:
    """Nothing secret is printed; a running gateway is told from a port that somebody else has."""
    with run_gateway(config={"auth": {"static_keys": ["sk-static-test-client-key"]}}) as gateway:
        gateway.wait_console()
        assert flumegate(gateway.folder, "key", "create").returncode == 0
        code, found = checks(gateway.folder, "--config", str(gateway.config))
        assert code == 0, found
        assert {name: each for name, each in found.items() if each[0] == "failed"} == {}
        for name in ("console", "workers", "targets", "database", "migrations", "clock", "audit trail", "master key"):
            assert found[name][0] == "ok", (name, found[name])
        assert len(found) >= 20


def test_a_trail_whose_end_was_cut_is_found() -> None:
    """Also when it has grown again since, which the gateway's log says as well."""
    with run_gateway(config={"auth": {"static_keys": ["sk-static-test-client-key"]}}) as gateway:
        gateway.wait_console()
        for _ in range(2):
            assert flumegate(gateway.folder, "key", "create").returncode == 0
        with closing(sqlite3.connect(gateway.folder / "data" / "flumegate.db", isolation_level=None)) as database:
            for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
                database.execute(f"DROP TRIGGER {name}")
            database.execute("DELETE FROM audit")
        verdict, found, remedy = checks(gateway.folder, "--config", str(gateway.config))[1]["audit trail"]
        assert (verdict, found) == ("failed", "entry 2 was written, and is not there as it was")
        assert "audit verify" in remedy
        for _ in range(3):
            assert flumegate(gateway.folder, "key", "create").returncode == 0
        assert checks(gateway.folder, "--config", str(gateway.config))[1]["audit trail"][:2] == (verdict, found)
        gateway.output.wait_for("audit_trail_broken")


def _open_file(folder: Path) -> None:
    (folder / "data" / "pepper").write_bytes(b"x" * 32)
    (folder / "data" / "pepper").chmod(0o644)


def _broken_database(folder: Path) -> None:
    (folder / "data" / "flumegate.db").write_bytes(b"this is no database" * 100)


def _bad_setting(folder: Path) -> None:
    (folder / "flumegate.yaml").write_text("server: {listn: 1}")


@pytest.mark.parametrize(
    ("harm", "name"),
    [(_open_file, "private files"), (_broken_database, "database"), (_bad_setting, "configuration")],
)
def test_what_is_wrong_is_found_with_its_remedy(tmp_path: Path, harm: Callable[[Path], None], name: str) -> None:
    (tmp_path / "flumegate.yaml").write_text(CONFIG)
    (tmp_path / "data").mkdir(mode=0o700)
    harm(tmp_path)
    code, found = checks(tmp_path)
    assert code == 1
    verdict, _, remedy = found[name]
    assert verdict == "failed"
    assert remedy


def test_a_port_that_is_taken_is_found(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        (tmp_path / "flumegate.yaml").write_text(CONFIG.replace("127.0.0.1:0", address, 1))
        _, found = checks(tmp_path)
    assert found["client port"][0] == "failed"
    assert found["console port"][0] == "ok"


def test_a_certificate_is_looked_at_before_it_ends(tmp_path: Path) -> None:
    _, path = self_signed(tmp_path)
    assert _check_certificate(str(path)).found.startswith(("good for", "expires in"))
    (tmp_path / "none.pem").write_text("none")
    assert _check_certificate(str(tmp_path / "none.pem")).verdict == "failed"
    assert _check_certificate("").verdict == "skipped"


def test_a_provider_that_nobody_hears_is_found_online_only(tmp_path: Path) -> None:
    (tmp_path / "flumegate.yaml").write_text(CONFIG)
    assert checks(tmp_path)[1]["providers"][0] == "skipped"
    assert checks(tmp_path, "--online")[1]["provider up"][0] == "failed"


def test_a_redis_that_throws_money_away_is_found(tmp_path: Path) -> None:
    """With what to do; one that keeps all is well, one that is not there is not."""
    with redis_server() as redis:
        (tmp_path / "flumegate.yaml").write_text(CONFIG + f"redis: {{url: '{redis.url}'}}\n")
        assert checks(tmp_path)[1]["redis"][0] == "ok"
        redis.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")
        verdict, found, remedy = checks(tmp_path)[1]["redis"]
        assert (verdict, "allkeys-lfu" in found, "noeviction" in remedy) == ("failed", True, True)
        redis.command("CONFIG", "SET", "requirepass", "something")
        assert checks(tmp_path)[1]["redis"][0] == "failed"
        redis.kill()
        assert checks(tmp_path)[1]["redis"][0] == "failed"


def test_the_database_is_migrated_and_its_secrets_change_their_key(tmp_path: Path) -> None:
    """All under the new key, and none is lost; a dry run changes nothing."""
    (tmp_path / "flumegate.yaml").write_text(CONFIG + "encryption: {keys: ['env:NEW', 'env:OLD']}\n")
    keys = {"OLD": make_master_key(), "NEW": make_master_key()}

    def told(*arguments: str) -> Any:
        done = flumegate(tmp_path, *arguments, "--json", environ=keys)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    assert told("db", "status")["is"] == "empty"
    assert told("db", "migrate")["ran"] == ["0001", "0002", "0003"]
    assert told("db", "status")["pending"] == []
    assert told("db", "rotate-keys", "--dry-run")["dry_run"] is True
    first = told("db", "rotate-keys")["key"]
    keys["OLD"], keys["NEW"] = keys["NEW"], make_master_key()
    assert told("db", "rotate-keys")["key"] != first
    keys["OLD"] = make_master_key()
    keys["NEW"] = make_master_key()
    wrong = flumegate(tmp_path, "db", "rotate-keys", environ=keys)
    assert wrong.returncode == 1
    assert not any(key in wrong.stderr for key in keys.values())
