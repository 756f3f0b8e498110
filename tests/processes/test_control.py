from __future__ import annotations

import os
import signal
import stat
from pathlib import Path

import pytest

from rig.gateway import Gateway, as_text, run_gateway

KEY = "sk-test-control-canary"
OTHER = "sk-test-control-second"


def settings(*keys: str, **more: object) -> dict[str, object]:
    providers = {"up": {"type": "openai_compatible", "base_url": "http://127.0.0.1:9/v1", "api_key": "sk-up-canary"}}
    return {"auth": {"static_keys": list(keys)}, "providers": providers, **more}


def status(gateway: Gateway, key: str) -> int:
    return gateway.request("GET", "/proxy/v1/upstreams", key=key).status


def edit_in_place(gateway: Gateway, text: str, *, before: int) -> None:
    """Write as a shell's redirection does: same file, emptied first."""
    gateway.config.write_text(text)
    # Two edits within one tick of the file system's clock and of one size would look the same.
    os.utime(gateway.config, ns=(before, before))


def test_a_first_start_without_any_setting_serves_and_says_how() -> None:
    """No file, no key, no provider: a key is made and shown once, the mock is said loudly; the key stays."""
    with run_gateway() as gateway:
        text = gateway.logs()
        key = gateway.key
        assert text.count(key) == 2
        assert "MADE UP" in text
        assert "Authorization: Bearer " + key in text
        assert status(gateway, key) == 200
        assert status(gateway, "sk-fg-wrong") == 401
        for name, bits in (("data", 0o700), ("data/pepper", 0o600), ("data/client.key", 0o600)):
            assert stat.S_IMODE((gateway.folder / name).stat().st_mode) == bits
        assert gateway.stop() == 0
        with run_gateway(data_dir=gateway.data_dir) as again:
            assert again.key == key
            assert key not in again.logs()
            assert str(gateway.data_dir / "client.key") in again.logs()
            assert status(again, key) == 200


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("server: {lissten: 127.0.0.1:0}", 'did you mean "listen"?'),
        ("server: [", "flumegate.yaml:1:"),
        ("providers: {up: {type: openai, api_key: 'env:NOWHERE_TO_BE_FOUND'}}", "NOWHERE_TO_BE_FOUND"),
    ],
)
def test_a_broken_configuration_starts_nothing(text: str, message: str) -> None:
    """Exit code 1, every problem located on stderr, no process left, no data folder made."""
    with run_gateway(config=text, wait=False) as gateway:
        assert gateway.process.wait(30) == 1
        gateway.output.wait_for(message)
        assert "listening" not in gateway.logs()
        assert gateway.processes() == []
        assert not gateway.data_dir.exists()


def test_a_valid_change_is_applied_without_a_restart() -> None:
    """Replacing the file is all it takes; every worker serves by the new one."""
    with run_gateway(config=settings(KEY, server={"workers": 2})) as gateway:
        workers = gateway.worker_pids()
        gateway.write_config(settings(OTHER, server={"workers": 2}))
        gateway.output.wait_for("snapshot_applied", count=2)
        assert [status(gateway, OTHER) for _ in range(8)] == [200] * 8
        assert [status(gateway, KEY) for _ in range(8)] == [401] * 8
        assert gateway.worker_pids() == workers


def test_an_invalid_change_is_refused_and_reported_once() -> None:
    """The old configuration serves on; the next valid one is applied."""
    with run_gateway(config=settings(KEY)) as gateway:
        gateway.write_config("server: {lissten: x}")
        gateway.output.wait_for("config_refused")
        assert "did you mean" in gateway.logs()
        assert status(gateway, KEY) == 200
        gateway.write_config(settings(OTHER))
        gateway.output.wait_for("snapshot_applied")
        assert status(gateway, OTHER) == 200
        assert gateway.logs().count("config_refused") == 1


def test_a_half_written_file_does_no_harm() -> None:
    """Whatever is seen of a file in the making, the old configuration serves until the new one is whole."""
    whole = as_text(settings(OTHER))
    with run_gateway(config=settings(KEY)) as gateway:
        for step, part in enumerate((whole[:10], whole[: len(whole) // 2], whole[:-3])):
            edit_in_place(gateway, part, before=1_000_000_000 + step)
            gateway.reload()
            gateway.output.wait_for("config_refused", count=step + 1)
            assert status(gateway, KEY) == 200
        edit_in_place(gateway, whole, before=2_000_000_000)
        gateway.output.wait_for("snapshot_applied")
        assert status(gateway, OTHER) == 200


def test_a_vanished_file_changes_nothing() -> None:
    """Deleting the configuration does not take the gateway down."""
    with run_gateway(config=settings(KEY)) as gateway:
        gateway.config.unlink()
        gateway.output.wait_for("config_refused")
        assert status(gateway, KEY) == 200


def test_sighup_reads_the_configuration_again() -> None:
    """Also when nothing has changed, which is said, and changes nothing."""
    with run_gateway(config=settings(KEY)) as gateway:
        gateway.reload()
        gateway.output.wait_for("config_unchanged")
        assert status(gateway, KEY) == 200
        assert "snapshot_applied" not in gateway.logs()


def test_a_secret_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    """Rotating a key in its own file is a change of the configuration."""
    secret = tmp_path / "keys"
    secret.write_text(KEY)
    secret.chmod(0o600)
    with run_gateway(config=settings(f"file:{secret}")) as gateway:
        assert status(gateway, KEY) == 200
        beside = tmp_path / "keys.new"
        beside.write_text(OTHER)
        beside.chmod(0o600)
        beside.replace(secret)
        gateway.output.wait_for("snapshot_applied")
        assert [status(gateway, key) for key in (KEY, OTHER)] == [401, 200]


def test_settings_that_wait_for_a_restart_are_named() -> None:
    """Nothing that was changed is silently not applied."""
    with run_gateway(config=settings(KEY)) as gateway:
        gateway.write_config(settings(OTHER, server={"workers": 2, "drain_seconds": 3}))
        gateway.output.wait_for("snapshot_applied")
        text = gateway.logs()
        assert "server.workers" in text
        assert "server.drain_seconds" in text
        assert len(gateway.worker_pids()) == 1
        assert status(gateway, OTHER) == 200


def test_a_control_that_restarts_on_a_broken_file_keeps_the_old_configuration() -> None:
    """Control's death at the worst moment costs nothing but a refusal in the log."""
    with run_gateway(config=settings(KEY)) as gateway:
        control = gateway.control_pid()
        os.kill(control, signal.SIGSTOP)
        gateway.config.write_text("server: [")
        gateway.kill(control)
        gateway.output.wait_for("control_resumed")
        assert "config_refused" in gateway.logs()
        (worker,) = gateway.worker_pids()
        gateway.kill(worker)
        assert status(gateway, KEY) == 200
        gateway.write_config(settings(OTHER))
        gateway.output.wait_for("snapshot_applied")
        assert status(gateway, OTHER) == 200


def test_a_second_gateway_on_one_data_folder_is_refused() -> None:
    """It names the first one, which serves on, also after its control was replaced."""
    with run_gateway(config=settings(KEY)) as first:
        for turn in range(2):
            with run_gateway(config=settings(OTHER), data_dir=first.data_dir, wait=False) as second:
                assert second.process.wait(30) == 1
                assert f"process {first.pid}" in second.output.wait_for("--data-dir")
            if turn == 0:
                first.kill(first.control_pid())
                first.output.wait_for("control_resumed")
        assert status(first, KEY) == 200


@pytest.mark.parametrize("name", ["pepper", "client.key"])
def test_a_readable_secret_file_stops_the_start(tmp_path: Path, name: str) -> None:
    """The remedy is in the message."""
    with run_gateway(data_dir=tmp_path / "data") as gateway:
        assert gateway.stop() == 0
    (tmp_path / "data" / name).chmod(0o644)
    with run_gateway(data_dir=tmp_path / "data", wait=False) as gateway:
        assert gateway.process.wait(30) == 1
        gateway.output.wait_for("chmod 600")


def test_no_secret_is_ever_printed() -> None:
    """Not by start, reload, refusal, crash, restart or stop, at any level."""
    canaries = ["sk-canary-client-one", "sk-canary-client-two", "sk-up-canary"]
    with run_gateway(config=settings(canaries[0], log={"level": "debug"})) as gateway:
        assert status(gateway, canaries[0]) == 200
        gateway.write_config(settings(canaries[1], log={"level": "debug"}))
        gateway.output.wait_for("snapshot_applied")
        gateway.write_config(as_text(settings(canaries[1])) + "]")
        gateway.output.wait_for("config_refused")
        gateway.kill(gateway.control_pid())
        gateway.output.wait_for("control_resumed")
        (worker,) = gateway.worker_pids()
        gateway.kill(worker)
        assert status(gateway, canaries[1]) == 200
        for pid in gateway.processes():
            assert not any(canary in Path(f"/proc/{pid}/cmdline").read_text() for canary in canaries)
        for path in gateway.data_dir.rglob("*"):
            assert path.is_dir() or path.is_socket() or b"canary" not in path.read_bytes()
        assert gateway.stop() == 0
        assert not any(canary in gateway.logs() for canary in canaries)


def test_secrets_of_the_environment_do_not_reach_the_workers() -> None:
    """A worker is told what it needs by the Snapshot; its environment holds no credential."""
    with run_gateway(env={"OPENAI_API_KEY": "sk-environment-canary"}) as gateway:
        (worker,) = gateway.worker_pids()
        assert b"canary" not in Path(f"/proc/{worker}/environ").read_bytes()
