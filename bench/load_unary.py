"""The closed loop: wrk keeps 64 connections busy with a chat request of 1.1 KB and counts the answers.

wrk is a C program: a generator in Python would be the bottleneck here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from bench import machine
from bench.launch import output_of
from bench.machine import Cores
from bench.problem import BenchError

CONNECTIONS = 64
_END_SECONDS = 20.0

_SCRIPT = """\
wrk.method = "POST"
wrk.path = %(path)s
wrk.body = %(body)s
%(headers)s
done = function(summary)
  local errors = summary.errors
  io.write(string.format('\\n{"requests": %%d, "micros": %%d, "refused": %%d, "broken": %%d}\\n', summary.requests,
    summary.duration, errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
"""


class Window(NamedTuple):
    """What one window of load has shown.

    `used_seconds` is the metered processes' processor time, `foreign_seconds` what others took from the subject's core,
    the hypervisor included.
    """

    seconds: float
    requests: int
    used_seconds: float
    foreign_seconds: float

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds

    @property
    def cpu_us(self) -> float:
        """Microseconds of the metered processes' processor time for each request."""
        return self.used_seconds / self.requests * 1e6


def write_script(folder: Path, *, path: str, headers: Mapping[str, str], body: str) -> Path:
    """Write wrk's script and return where it lies."""
    lines = "\n".join(f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in headers.items())
    script = folder / "load.lua"
    # A JSON string without escapes beyond \" is a Lua string too.
    script.write_text(_SCRIPT % {"path": json.dumps(path), "body": json.dumps(body), "headers": lines})
    return script


def command(script: Path, *, port: int, seconds: float) -> list[str | Path]:
    """Return the command that starts the load; wrk knows whole seconds only."""
    return ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{math.ceil(seconds)}s", "-s", script, f"http://127.0.0.1:{port}"]


def run(script: Path, *, port: int, seconds: float, cores: Cores, metered: list[int]) -> Window:
    """Load a port of 127.0.0.1 for some seconds.

    Raises:
        BenchError: an answer was not 200, a connection broke, or nothing was answered.
    """
    used = machine.cpu_seconds(metered)
    core = machine.core_times(cores.subject)
    output = output_of(
        command(script, port=port, seconds=seconds),
        core=cores.load,
        within_seconds=seconds + _END_SECONDS,
    )
    used = machine.cpu_seconds(metered) - used
    now = machine.core_times(cores.subject)
    found = json.loads(output.strip().splitlines()[-1])
    if found["refused"] or found["broken"] or not found["requests"]:
        raise BenchError(
            f"port {port}: {found['requests']} answers, {found['refused']} of them no success, "
            f"{found['broken']} broken connections: a figure over failures would mean nothing"
        )
    foreign = max(0.0, now.working - core.working - used) + now.stolen - core.stolen
    return Window(found["micros"] / 1e6, found["requests"], used, foreign)
