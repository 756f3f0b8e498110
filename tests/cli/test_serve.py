from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from rig.gateway import Gateway, plain_environ, run_gateway

SETTINGS = {
    "server": {"listen": "127.0.0.1:0"},
    "auth": {"static_keys": ["sk-test-serve-canary"]},
    "providers": {"up": {"type": "openai_compatible", "base_url": "http://127.0.0.1:9/v1", "default": True}},
}
ON_A_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)


def test_the_command_becomes_the_supervisor() -> None:
    """No process in between: signals sent to the command arrive."""
    with run_gateway(config=SETTINGS) as gateway:
        assert gateway.pids_of("flumegate.processes.supervisor") == [gateway.pid]


def test_options_override_the_file() -> None:
    """Workers and folder as given on the command line, in either spelling."""
    with run_gateway(config=SETTINGS, args=["--workers=2"]) as gateway:
        gateway.output.wait_for('"serving"', count=2)
        assert len(gateway.worker_pids()) == 2
        assert (gateway.data_dir / "pepper").exists()


def test_files_in_the_working_folder_are_not_imported(tmp_path: Path) -> None:
    """A json.py that happens to lie where the gateway is started is none of its business."""
    (tmp_path / "json.py").write_text("raise SystemExit('imported from the working folder')")
    done = subprocess.run(
        [sys.executable, "-P", "-m", "flumegate", "serve", "--config", "missing.yaml"],
        cwd=tmp_path,
        env=plain_environ(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "missing.yaml" in done.stderr
    assert "imported" not in done.stderr


def start_on_terminal(folder: Path) -> tuple[Gateway, int]:
    """Start the gateway with a terminal of its own; return it and the terminal's other side."""
    (folder / "flumegate.yaml").write_text("auth: {mode: open}\nserver: {listen: '127.0.0.1:0', drain_seconds: 5}\n")
    ours, theirs = os.openpty()
    serve = [sys.executable, "-P", "-m", "flumegate", "serve"]
    process = subprocess.Popen(
        [sys.executable, "-c", ON_A_TERMINAL, *serve],
        cwd=folder,
        env=plain_environ({"TERM": "xterm", "HOME": str(folder)}),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    return Gateway(folder, process, data_dir=folder / "data", config=folder / "flumegate.yaml"), ours


def read_until(terminal: int, text: bytes) -> bytes:
    seen = b""
    while text not in seen:
        seen += os.read(terminal, 65536)
    return seen


def test_ctrl_c_in_a_terminal_drains_and_ends_with_0(tmp_path: Path) -> None:
    """One key press reaches the supervisor alone, which ends the others in order; text is made for people."""
    gateway, terminal = start_on_terminal(tmp_path.resolve())
    try:
        seen = read_until(terminal, b"flumegate ready on http://")
        assert b"\x1b[1mFlumegate" in seen
        os.write(terminal, b"\x03")
        read_until(terminal, b"stopping")
        assert gateway.process.wait(30) == 0
        assert gateway.processes() == []
    finally:
        gateway.end()
        os.close(terminal)


def test_a_terminal_shows_each_request_as_a_line(tmp_path: Path) -> None:
    """Whoever tries the gateway sees what it does."""
    gateway, terminal = start_on_terminal(tmp_path.resolve())
    try:
        seen = read_until(terminal, b"flumegate ready on http://")
        seen += read_until(terminal, b"\n") if not seen.endswith(b"\n") else b""
        gateway.port = int(seen.split(b"flumegate ready on ")[1].split()[0].rsplit(b":", 1)[1])
        body = {"model": "mock/shown-live", "messages": [{"role": "user", "content": "x"}]}
        assert gateway.request("POST", "/v1/chat/completions", body=body).status == 200
        line = read_until(terminal, b"shown-live")
        assert b"200" in line
    finally:
        gateway.end()
        os.close(terminal)


def test_a_terminal_that_goes_away_ends_the_gateway(tmp_path: Path) -> None:
    """Closing the window is a stop, not a reload."""
    gateway, terminal = start_on_terminal(tmp_path.resolve())
    try:
        read_until(terminal, b"flumegate ready on http://")
        os.close(terminal)
        assert gateway.process.wait(30) == 0
        assert gateway.processes() == []
    finally:
        gateway.end()


def test_sighup_off_a_terminal_is_a_reload_and_never_a_stop() -> None:
    """As daemons do."""
    with run_gateway(config=SETTINGS) as gateway:
        os.kill(gateway.pid, signal.SIGHUP)
        gateway.output.wait_for("config_unchanged")
        assert gateway.process.poll() is None


def test_a_reader_of_the_banner_that_leaves_takes_nothing_with_it(tmp_path: Path) -> None:
    """`flumegate serve | head -1` serves on, the built-in mock included."""
    reader, writer = os.pipe()
    os.close(reader)
    (tmp_path / "flumegate.yaml").write_text(
        "auth: {mode: open}\nserver: {listen: '127.0.0.1:0'}\nlog: {format: json}\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "flumegate", "serve"],
        cwd=tmp_path,
        env=plain_environ(),
        stdout=writer,
        stderr=subprocess.PIPE,
    )
    os.close(writer)
    gateway = Gateway(tmp_path.resolve(), process, data_dir=tmp_path / "data", config=tmp_path / "flumegate.yaml")
    try:
        assert process.stderr
        gateway.output.collect(process.stderr)
        gateway.output.wait_for('"serving"')
        gateway.port = listening_port(gateway.worker_pids()[0])
        body = {"model": "mock/x", "messages": [{"role": "user", "content": "x"}]}
        assert gateway.request("POST", "/v1/chat/completions", body=body).status == 200
        assert "Traceback" not in gateway.logs()
        assert gateway.stop() == 0
        assert "child_ended" not in gateway.logs()
    finally:
        gateway.end()


def listening_port(pid: int) -> int:
    """Return the port of the one listening socket that a process holds."""
    inodes = {str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
            return int(fields[1].partition(":")[2], 16)
    raise AssertionError(f"process {pid} listens nowhere")
