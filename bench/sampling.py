"""`make profile`: the worker under the bench's load, sampled from outside by py-spy; prints where its time goes.

A sampler outside the process costs the worker next to nothing and needs nothing in the product. py-spy comes into
.venv-peers/ through peers.sh; it reads another process's memory, which root or the same user may do unless the system
forbids it. Self time is what counts for a hot path: a C function's time shows under its caller's name unless --native
is given. `--out FILE` keeps the raw stacks, one `frame;frame;frame count` a line, which flame-graph programs read.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from bench import load_unary, machine, programs
from bench.launch import ROOT, end_on_signals, launched, output_of
from bench.problem import BenchError
from bench.report import table
from bench.sections import Bench, Settings
from bench.subjects import PEERS, SUBJECTS, Running

PY_SPY = PEERS / "py-spy/bin/py-spy"
SAMPLES_PER_SECOND = 500
START_UP_SECONDS = 3.5
"""All streams have begun by then."""
WRITE_SECONDS = 30.0
"""What py-spy may take beyond the sampling, to read symbols and to write."""
_INSTALL_SECONDS = 300.0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make profile ARGS=…", description="where the worker's time goes under load")
    parser.add_argument("--seconds", type=int, default=10, help="how long to sample")
    parser.add_argument("--top", type=int, default=30, help="functions to print")
    parser.add_argument("--streams", action="store_true", help="200 streams instead of whole answers")
    parser.add_argument(
        "--subject", choices=[each.name for each in SUBJECTS if each.name.startswith("gateway")], default="gateway"
    )
    parser.add_argument("--native", action="store_true", help="look into C functions too (slower)")
    parser.add_argument("--lines", action="store_true", help="single lines instead of whole functions")
    parser.add_argument("--out", type=Path, default=None, metavar="FILE", help="keep the raw stacks")
    return parser.parse_args()


def _ensure_py_spy() -> None:
    if not PY_SPY.exists():
        print("installing py-spy into .venv-peers/", flush=True)
        subprocess.run(
            ["bash", ROOT / "bench/peers.sh", "py_spy"], check=False, capture_output=True, timeout=_INSTALL_SECONDS
        )
    if not PY_SPY.exists():
        raise BenchError("py-spy is needed and could not be installed: see .venv-peers/py-spy.log")


def _sample(bench: Bench, running: Running, options: argparse.Namespace) -> str:
    """Return the raw stacks of the worker while the load runs."""
    raw = bench.folder / "stacks.txt"
    arguments: list[str | Path] = [PY_SPY, "record", "--pid", str(running.metered[0]), "--format", "raw"]
    arguments += ["--duration", str(options.seconds), "--rate", str(SAMPLES_PER_SECOND), "--output", raw]
    # C stacks can only be read while the process is held; without them it need not notice anything.
    arguments += ["--native" if options.native else "--nonblocking"]
    arguments += [] if options.lines else ["--function"]
    seconds = options.seconds + START_UP_SECONDS
    load = (
        bench.generator_command("load_stream", running, streamed=True, seconds=seconds)
        if options.streams
        else load_unary.command(bench.script(running), port=running.port, seconds=seconds)
    )
    with launched(load, name="load", folder=bench.folder, core=bench.cores.load):
        time.sleep(START_UP_SECONDS)
        said = output_of(arguments, core=bench.cores.load, within_seconds=options.seconds + WRITE_SECONDS)
    if not raw.exists() or not raw.stat().st_size:
        raise BenchError(f"py-spy has seen nothing; may it look at other processes here?\n{said}")
    return raw.read_text()


def self_times(stacks: str) -> tuple[int, Counter[str], Counter[str]]:
    """Return the number of samples, then by function: samples in itself, samples in it or below it."""
    total = 0
    own: Counter[str] = Counter()
    within: Counter[str] = Counter()
    for line in stacks.splitlines():
        frames, _, number = line.rpartition(" ")
        count = int(number)
        names = [name or "(torn sample)" for name in frames.split(";")]
        total += count
        own[names[-1]] += count
        for name in set(names):
            within[name] += count
    return total, own, within


def run() -> int:
    """Sample and print; return the exit code."""
    options = _options()
    programs.ensure()
    _ensure_py_spy()
    subject = next(one for one in SUBJECTS if one.name == options.subject)
    cores = machine.choose_cores()
    with tempfile.TemporaryDirectory(prefix="flumegate-profile-", ignore_cleanup_errors=True) as folder:
        bench = Bench(Path(folder), cores, Settings())
        os.sched_setaffinity(0, {cores.load})
        with (
            bench.upstream(streamed=options.streams) as port,
            bench.running(subject, port, streamed=options.streams) as running,
        ):
            stacks = _sample(bench, running, options)
    total, own, within = self_times(stacks)
    load = "200 streams" if options.streams else f"{load_unary.CONNECTIONS} connections, whole answers"
    print(f"{subject.title}, {load}: {total:,} samples of the worker in {options.seconds} s\n")
    rows = [
        [name, f"{count / total:.1%}", f"{within[name] / total:.1%}"] for name, count in own.most_common(options.top)
    ]
    print(table(["function", "self", "with callees"], rows))
    if options.out:
        options.out.write_text(stacks)
        print(f"\nraw stacks: {options.out}")
    return 0


def main() -> int:
    """Run; one line instead of a stack trace where the message says it all."""
    end_on_signals()
    try:
        return run()
    except BenchError as problem:
        print(f"profile: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nprofile: stopped, everything that was started has been ended", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
