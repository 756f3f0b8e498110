from __future__ import annotations

import concurrent.futures
import os
import resource
import signal
import socket
from pathlib import Path

import pytest

from rig.gateway import Gateway, Gone, run_gateway
from rig.upstream import held_upstream

KEY = "sk-test-supervisor-canary"
SETTINGS = {
    "auth": {"static_keys": [KEY]},
    "providers": {"up": {"type": "openai_compatible", "base_url": "http://127.0.0.1:9/v1", "default": True}},
}
CHAT = {"model": "m", "messages": [{"role": "user", "content": "x"}]}


def answers(gateway: Gateway) -> bool:
    """Tell whether an authenticated request is served."""
    return gateway.request("GET", "/proxy/v1/upstreams", key=KEY).status == 200


def resident_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError(f"process {pid} has no memory")


def test_start_and_stop() -> None:
    """One command starts three processes, one signal ends them all, with exit code 0."""
    with run_gateway(config=SETTINGS) as gateway:
        assert answers(gateway)
        assert len(gateway.processes()) == 3
        assert resident_kib(gateway.pid) < 15 * 1024
        assert gateway.stop() == 0
        assert gateway.processes() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopping_lets_running_requests_finish(number: signal.Signals) -> None:
    """A request that is in flight at the stop is answered in full, and only then do the processes end."""
    with (
        held_upstream() as upstream,
        run_gateway(config=SETTINGS | {"providers": {"up": upstream.settings}}) as gateway,
    ):
        with concurrent.futures.ThreadPoolExecutor() as pool:
            answer = pool.submit(gateway.request, "POST", "/v1/chat/completions", body=CHAT, key=KEY)
            upstream.wait_for_request()
            os.kill(gateway.pid, number)
            gateway.output.wait_for("stopping")
            upstream.release()
            assert answer.result(30).status == 200
        assert gateway.process.wait(30) == 0
        assert gateway.processes() == []


def test_drain_time_is_a_limit() -> None:
    """A request that does not end is cut off when the drain time is over; the exit code is still 0."""
    settings = SETTINGS | {"server": {"drain_seconds": 0.2}}
    with (
        held_upstream() as upstream,
        run_gateway(config=settings | {"providers": {"up": upstream.settings}}) as gateway,
    ):
        with concurrent.futures.ThreadPoolExecutor() as pool:
            answer = pool.submit(gateway.request, "POST", "/v1/chat/completions", body=CHAT, key=KEY)
            upstream.wait_for_request()
            assert gateway.stop() == 0
            assert answer.exception(30) is not None or answer.result().status >= 500
        assert gateway.processes() == []


def test_a_second_signal_ends_it_at_once() -> None:
    """Whoever asks twice does not wait for the drain time."""
    with (
        held_upstream() as upstream,
        run_gateway(config=SETTINGS | {"providers": {"up": upstream.settings}}) as gateway,
    ):
        with concurrent.futures.ThreadPoolExecutor() as pool:
            answer = pool.submit(gateway.request, "POST", "/v1/chat/completions", body=CHAT, key=KEY)
            upstream.wait_for_request()
            os.kill(gateway.pid, signal.SIGTERM)
            gateway.output.wait_for("stopping")
            os.kill(gateway.pid, signal.SIGINT)
            assert gateway.process.wait(30) == 1
            upstream.release()
            assert answer.exception(30) is not None or answer.result().status >= 500
        assert "stopping_at_once" in gateway.logs()
        assert gateway.processes() == []


def test_a_killed_worker_is_replaced_and_nobody_is_refused() -> None:
    """The socket outlives the worker: connections made while it is away are served by the next one."""
    with run_gateway(config=SETTINGS) as gateway:
        (first,) = gateway.worker_pids()
        gateway.kill(first)
        assert answers(gateway)
        (second,) = gateway.worker_pids()
        assert second != first


def test_a_killed_control_is_replaced_and_traffic_never_notices() -> None:
    """Workers serve on without control; the next one takes up the lock and the workers, and applies changes."""
    with run_gateway(config=SETTINGS) as gateway:
        for turn in range(1, 3):
            gateway.kill(gateway.control_pid())
            assert answers(gateway)
            gateway.output.wait_for("control_resumed", count=turn)
        gateway.write_config(SETTINGS | {"auth": {"static_keys": [KEY, "sk-another-key-of-ours"]}})
        gateway.output.wait_for("snapshot_applied")
        assert gateway.request("GET", "/proxy/v1/upstreams", key="sk-another-key-of-ours").status == 200
        assert gateway.logs().count("flumegate ready on") == 1


def test_a_frozen_control_stops_neither_traffic_nor_a_worker_from_restarting() -> None:
    """A worker that starts while control is frozen finds the last Snapshot on the shelf."""
    with run_gateway(config=SETTINGS) as gateway:
        control = gateway.control_pid()
        os.kill(control, signal.SIGSTOP)
        assert answers(gateway)
        for _ in range(2):
            (worker,) = gateway.worker_pids()
            gateway.kill(worker)
            assert answers(gateway)
        os.kill(control, signal.SIGCONT)
        assert answers(gateway)
        assert gateway.stop() == 0


def test_nothing_is_orphaned_when_the_supervisor_is_killed() -> None:
    """Without a supervisor the others finish what they do and end by themselves."""
    with run_gateway() as gateway:
        others = [Gone(pid) for pid in gateway.processes() if pid != gateway.pid]
        assert len(others) == 3
        gateway.process.kill()
        gateway.process.wait(30)
        for other in others:
            other.wait()
        assert gateway.processes() == []


def test_orphaned_workers_cut_long_requests_short() -> None:
    """A request that would run for a minute does not keep an orphan alive for a minute."""
    with (
        held_upstream() as upstream,
        run_gateway(config=SETTINGS | {"providers": {"up": upstream.settings}}) as gateway,
        concurrent.futures.ThreadPoolExecutor() as pool,
    ):
        answer = pool.submit(gateway.request, "POST", "/v1/chat/completions", body=CHAT, key=KEY)
        upstream.wait_for_request()
        others = [Gone(pid) for pid in gateway.processes() if pid != gateway.pid]
        gateway.process.kill()
        gateway.process.wait(30)
        for other in others:
            other.wait(20)
        assert answer.exception(30) is not None or answer.result().status >= 500


def test_two_workers_share_the_address_and_each_is_replaced() -> None:
    """Both accept; when one is away its connections wait for it, the other's do not."""
    with run_gateway(config=SETTINGS | {"server": {"workers": 2}}) as gateway:
        gateway.output.wait_for('"serving"', count=2)
        workers = gateway.worker_pids()
        assert len(workers) == 2
        for turn, pid in enumerate(workers):
            gateway.kill(pid)
            assert all(answers(gateway) for _ in range(10))
            gateway.output.wait_for('"serving"', count=3 + turn)
        assert not set(workers) & set(gateway.worker_pids())
        assert gateway.stop() == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_an_address_in_use_is_named_with_the_remedy(workers: int) -> None:
    """The message names the address, the exit code is 1, nothing is left running, and no key was made in vain."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with run_gateway(args=["--listen", address, "--workers", str(workers)], wait=False) as gateway:
            assert gateway.process.wait(30) == 1
            assert f"{address} is in use" in gateway.output.wait_for("--listen HOST:PORT")
            assert gateway.processes() == []
            assert not (gateway.data_dir / "client.key").exists()


def test_a_second_gateway_cannot_take_a_shared_address() -> None:
    """Sharing is for the workers of one gateway: another one with several workers does not join in."""
    with run_gateway(config=SETTINGS | {"server": {"workers": 2}}) as first:
        args = ["--listen", f"127.0.0.1:{first.port}", "--workers", "2"]
        with run_gateway(config=SETTINGS, args=args, wait=False) as second:
            assert second.process.wait(30) == 1
            second.output.wait_for("is in use")


def test_descriptors_of_the_supervisor_do_not_grow() -> None:
    """Restarting children for ever does not run out of anything."""
    with run_gateway(config=SETTINGS) as gateway:
        counts = []
        for turn in range(4):
            (worker,) = gateway.worker_pids()
            gateway.kill(worker)
            gateway.output.wait_for('"serving"', count=turn + 2)
            counts.append(len(list(Path(f"/proc/{gateway.pid}/fd").iterdir())))
        assert counts[0] == counts[-1]


def test_a_supervisor_without_descriptors_recovers_when_it_has_some_again() -> None:
    """It neither dies nor spins, and the worker is back once the limit is lifted."""
    with run_gateway(config=SETTINGS) as gateway:
        limits = resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE)
        (worker,) = gateway.worker_pids()
        resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE, (5, limits[1]))
        gateway.kill(worker)
        gateway.output.wait_for("child_not_started")
        resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE, limits)
        assert answers(gateway)
        assert gateway.stop() == 0


@pytest.mark.faults
def test_a_hung_worker_is_replaced() -> None:
    """A worker that gives no sign of life is killed and another takes its place, on the same socket."""
    with run_gateway(config=SETTINGS) as gateway:
        (hung,) = gateway.worker_pids()
        os.kill(hung, signal.SIGSTOP)
        gateway.output.wait_for("child_hung", seconds=40)
        assert answers(gateway)
        assert gateway.worker_pids() != [hung]
