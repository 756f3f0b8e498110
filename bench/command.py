"""The command: which sections, which subjects, how long; then the tables, and RESULTS.md after a full run.

Exit code 0 means measured, whatever the verdicts; 1 that something asked for could not be; 2 wrong usage; 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench import machine, programs, report, sections, swaps, targets
from bench.launch import end_on_signals
from bench.problem import BenchError
from bench.sections import QUICK, Bench, Figures, Settings
from bench.subjects import SUBJECTS, Subject

SECTIONS = ("unary", "added", "sse", "latency", "memory", "start", "keys")
RESULTS = Path(__file__).with_name("RESULTS.md")
UNARY_ONLY = ("gateway-routed", "gateway-models", "gateway-keys")
UNBURDENED = ("gateway-full", "gateway-translated", *UNARY_ONLY)
"""Left out of the latency section: what they cost shows in the other two."""


def _choice(text: str, known: Sequence[str]) -> list[str]:
    chosen = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in chosen if name not in known]
    if unknown or not chosen:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown) or 'nothing'} chosen; there are: {', '.join(known)}")
    return chosen


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    names = [subject.name for subject in SUBJECTS]
    parser = argparse.ArgumentParser(prog="make bench ARGS=…", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--only", type=lambda text: _choice(text, SECTIONS), default=list(SECTIONS), help=",".join(SECTIONS)
    )
    parser.add_argument("--subjects", type=lambda text: _choice(text, names), default=None, help=",".join(names))
    parser.add_argument("--quick", action="store_true", help="about two minutes, without peers; writes no file")
    parser.add_argument("--soak", type=int, default=0, metavar="N", help="N more requests, for the worker's memory")
    parser.add_argument("--rounds", type=int, default=None, help="rounds of the unary section")
    parser.add_argument("--turns", type=int, default=None, help="turns of the section of what is added")
    parser.add_argument(
        "--write", action="store_true", help=f"write {RESULTS.name} even if not everything was measured"
    )
    return parser.parse_args(arguments)


def _chosen(options: argparse.Namespace, bench: Bench) -> list[Subject]:
    """Return the subjects to measure; one that was asked for by name must be there."""
    chosen = []
    for subject in SUBJECTS:
        named = options.subjects is not None and subject.name in options.subjects
        if not named and (options.subjects is not None or (options.quick and subject.peer)):
            continue
        if missing := subject.missing():
            if named:
                raise BenchError(f"{subject.title}: {missing}")
            bench.remark(f"{subject.title}: {missing}")
        else:
            chosen.append(subject)
    return chosen


def _measure(bench: Bench, only: list[str], subjects: list[Subject]) -> dict[str, Figures]:
    measured: dict[str, Figures] = {}
    by_name = {subject.name: subject for subject in subjects}
    gateway = by_name.get("gateway")
    for name in SECTIONS:
        needed = {"added": "gateway", "memory": "gateway", "start": "gateway", "keys": "gateway-keys"}.get(name)
        if name not in only or (needed is not None and needed not in by_name):
            continue
        print(f"{name}:", flush=True)
        if name == "unary":
            measured[name] = sections.measure_unary(bench, subjects)
        elif gateway and name == "added":
            others = [subject for subject in subjects if subject.name in UNARY_ONLY]
            try:
                measured[name] = sections.measure_added(bench, gateway, others)
            except BenchError as problem:
                measured[name] = {}
                bench.remark(f"{name}: {problem}")
        elif name == "sse":
            streaming = [subject for subject in subjects if subject.name not in UNARY_ONLY]
            measured[name] = sections.measure_streams(bench, streaming)
        elif name == "latency":
            capacities = {subject: row["rate"] for subject, row in measured.get("unary", {}).items()}
            light = [subject for subject in subjects if subject.name not in UNBURDENED]
            measured[name] = sections.measure_latency(bench, light, capacities)
        elif name == "keys":
            measured[name] = swaps.measure_keys(bench, by_name["gateway-keys"])
        elif gateway and name == "memory":
            measured[name] = sections.measure_memory(bench, gateway)
        elif gateway:
            measured[name] = sections.measure_start(bench, gateway)
    return measured


def run(arguments: Sequence[str]) -> int:
    """Measure and print; return the exit code."""
    options = _options(arguments)
    settings = dataclasses.replace(QUICK if options.quick else Settings(), soak_requests=options.soak)
    if options.rounds:
        settings = dataclasses.replace(settings, rounds=options.rounds)
    if options.turns:
        settings = dataclasses.replace(settings, turns=options.turns)
    programs.ensure()
    cores = machine.choose_cores()
    with tempfile.TemporaryDirectory(prefix="flumegate-bench-", ignore_cleanup_errors=True) as folder:
        bench = Bench(Path(folder), cores, settings)
        if cores.subject == cores.load:
            bench.remark("one core only: subject and load share it, so requests/s say little; compare processor times")
        subjects = _chosen(options, bench)
        os.sched_setaffinity(0, {cores.load})
        measured = _measure(bench, options.only, subjects)
    judged = targets.judge(measured, [subject.name for subject in subjects if subject.peer])
    facts = machine.describe() | {"pinned": f"subject to core {cores.subject}, load and upstream to core {cores.load}"}
    versions = {subject.title: subject.version() for subject in subjects} | {"Python": sys.version.split()[0]}
    print(f"\n{report.sections(measured, subjects)}\n\n## Targets\n\n{report.verdicts(judged)}")
    whole = options.only == list(SECTIONS) and options.subjects is None and not options.quick
    if whole or options.write:
        page = report.document(
            machine=facts, versions=versions, judged=judged, measured=measured, subjects=subjects, remarks=bench.remarks
        )
        RESULTS.write_text(page)
        print(f"\nwritten: {RESULTS}")
    expected = [
        (name, subject)
        for name in ("unary", "sse")
        if name in measured
        for subject in subjects
        if name == "unary" or subject.name not in UNARY_ONLY
    ]
    missing = [name for name, subject in expected if not subject.peer and subject.name not in measured[name]]
    return 1 if missing or not all(measured.values()) else 0


def main() -> int:
    """Run; one line instead of a stack trace where the message says it all."""
    end_on_signals()
    try:
        return run(sys.argv[1:])
    except BenchError as problem:
        print(f"bench: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nbench: stopped, everything that was started has been ended", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
