"""The figures as Markdown tables, the same on the terminal and in RESULTS.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench import keys
from bench.sections import AGAIN, Figures
from bench.subjects import Subject
from bench.targets import Verdict

Measured = Mapping[str, Figures]


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table with padded columns, the first one left-aligned, the others right-aligned."""
    widths = [max(len(row[column]) for row in [titles, *rows]) for column in range(len(titles))]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cells[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)),
        ]
        return f"| {' | '.join(padded)} |"

    rule = "|".join(["", "-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:]), ""])
    return "\n".join([line(titles), rule, *map(line, rows)])


def verdicts(judged: Sequence[Verdict]) -> str:
    """Return the table of targets."""
    words = {True: "met", False: "MISSED", None: "-"}
    return table(
        ["target", "wanted", "figure", "verdict"],
        [[verdict.target, verdict.wanted, verdict.figure, words[verdict.met]] for verdict in judged],
    )


def sections(measured: Measured, subjects: Sequence[Subject]) -> str:
    """Return every measured section with its heading and an explanation of its columns."""
    parts = [
        part(measured[name], subjects)
        for name, part in (
            ("unary", _unary),
            ("added", _added),
            ("sse", _streams),
            ("latency", _latency),
            ("memory", _memory),
            ("start", _start),
            ("keys", _keys),
        )
        if measured.get(name)
    ]
    return "\n\n".join(parts)


def document(
    *,
    machine: Mapping[str, str],
    versions: Mapping[str, str],
    judged: Sequence[Verdict],
    measured: Measured,
    subjects: Sequence[Subject],
    remarks: Sequence[str],
) -> str:
    """Return the whole page."""
    facts = "\n".join(f"* {name}: {value}" for name, value in {**machine, **versions}.items())
    notes = "\n\n## Remarks\n\n" + "\n".join(f"* {' '.join(remark.split())}" for remark in remarks) if remarks else ""
    return (
        "# Benchmark results\n\n"
        "Written by `make bench`; how to read it stands in [docs/benchmarks.md](../docs/benchmarks.md).\n\n"
        f"{facts}\n\n## Targets\n\n{verdicts(judged)}\n\n{sections(measured, subjects)}{notes}\n"
    )


def _rows(figures: Figures, subjects: Sequence[Subject]) -> list[tuple[str, dict[str, float]]]:
    return [(subject.title, figures[subject.name]) for subject in subjects if subject.name in figures]


def _times(one: float, other: float | None) -> str:
    return f"{one / other:.2f}" if other and other > 0 and one > 0 else "-"


def _unary(figures: Figures, subjects: Sequence[Subject]) -> str:
    nginx = figures.get("nginx", {})
    rows = [
        [
            title,
            f"{row['rate']:,.0f}",
            _times(row["rate"], nginx.get("rate")),
            f"{row['cpu_us']:.1f}",
            _times(nginx.get("cpu_us", 0.0), row["cpu_us"]),
            f"{row['busy_percent']:.0f}",
            f"{row['foreign_percent']:.0f}",
        ]
        for title, row in _rows(figures, subjects)
    ]
    titles = ["", "requests/s", "of nginx", "CPU µs", "nginx's of it", "core busy %", "others %"]
    return (
        "## Unary, closed loop\n\n"
        "64 connections. CPU µs: the subject's processor time a request; core busy: its share of its\n"
        "core, below 95 something else was in the way; others: what others took of that core.\n\n" + table(titles, rows)
    )


def _added(figures: Figures, subjects: Sequence[Subject]) -> str:
    titles = {subject.name: subject.title for subject in subjects}
    rows = [
        [
            f"{titles['gateway']}, once more" if name == AGAIN else titles[name],
            f"{row['cpu_us']:.1f}",
            "-" if name == "gateway" else f"{row['added_us']:+.1f}",
            "-" if name == "gateway" else f"± {row['error_us']:.1f}",
        ]
        for name, row in figures.items()
    ]
    return (
        "## Unary, what is added to a request\n\n"
        "Closed loop, 64 connections, all of them up at once and asked in turns of a second: the worker's processor\n"
        "time a request, and the median of what it is beside the plain gateway's in the same turn, with its error.\n\n"
        + table(["", "CPU µs", "added µs", "error"], rows)
    )


def _streams(figures: Figures, subjects: Sequence[Subject]) -> str:
    nginx = figures.get("nginx", {})
    rows = [
        [
            title,
            f"{row['rate']:,.0f}",
            f"{row['cpu_us']:.1f}",
            _times(row["cpu_us"], nginx.get("cpu_us")),
            f"{row['first_p50_ms']:.2f}",
            f"{row['first_p99_ms']:.2f}",
            f"{row['streams']:,.0f}",
            f"{row['lost']:.0f}",
            f"{row['failed']:.0f}",
        ]
        for title, row in _rows(figures, subjects)
    ]
    titles = ["", "events/s", "CPU µs/event", "x nginx", "first p50 ms", "first p99 ms", "streams", "lost", "failed"]
    return "## SSE, 200 streams at 50 events/s\n\nLost: events missing from complete streams.\n\n" + table(titles, rows)


def _latency(figures: Figures, subjects: Sequence[Subject]) -> str:
    nginx = figures.get("nginx", {})
    rows = [
        [
            title,
            f"{row['rate']:,.0f}",
            f"{row['added_p50_us']:,.0f}",
            f"{row['added_p99_us']:,.0f}",
            _times(row["added_p99_us"], nginx.get("added_p99_us")),
            f"{row['direct_p50_us']:,.0f}",
            f"{row['direct_p99_us']:,.0f}",
            f"{row['late_p99_us']:,.0f}",
            f"{row['full_percent']:.0f}",
        ]
        for title, row in _rows(figures, subjects)
    ]
    titles = [
        "",
        "requests/s",
        "+p50 µs",
        "+p99 µs",
        "x nginx",
        "direct p50",
        "direct p99",
        "late p99",
        "full %",
    ]
    return (
        "## Added latency, open loop\n\n"
        "Poisson arrivals at half of each subject's own capacity; added to the upstream alone at the same rate.\n"
        "Late: how far behind its schedule the generator was; full: the load's core; both at the worse of the two.\n\n"
        + table(titles, rows)
    )


def _memory(figures: Figures, _subjects: Sequence[Subject]) -> str:
    rows = [
        [name, f"{row['idle_mb']:.1f}", f"{row['loaded_mb']:.1f}"] for name, row in figures.items() if "idle_mb" in row
    ]
    text = "## Memory\n\nResident set in MB (10⁶ bytes).\n\n" + table(["process", "idle", "after the load"], rows)
    if stored := figures.get("stored"):
        text += (
            f"\n\nControl and supervisor used {stored['cpu_us']:.1f} µs of processor time a request until its record"
            f" was stored, the last one {stored['seconds']:.1f} s after the load had ended."
        )
    worker = figures.get("worker", {})
    if "slope_mb" in worker:
        text += (
            f"\n\nSoak: worker at {worker['soaked_mb']:.1f} MB after {worker['soak_requests']:,.0f} requests, "
            f"{worker['slope_mb']:+.2f} MB for 100,000."
        )
    return text


def _start(figures: Figures, _subjects: Sequence[Subject]) -> str:
    names = {"first_answer": "flumegate serve, to the first answer", "help": "flumegate --help"}
    rows = [[names[name], f"{row['seconds'] * 1e3:,.0f}"] for name, row in figures.items()]
    return "## Start\n\nMedians, warm disk.\n\n" + table(["command", "ms"], rows)


def _keys(figures: Figures, _subjects: Sequence[Subject]) -> str:
    names = {"quiet": "nothing changes", "swaps": "key after key is made"}
    answers = [
        [
            title,
            f"{row['requests']:,.0f}",
            f"{row['p50_us']:,.0f}",
            f"{row['p99_us']:,.0f}",
            f"{row['longest_us'] / 1e3:.1f}",
            f"{row['latest_us'] / 1e3:.1f}",
        ]
        for name, title in names.items()
        if (row := figures[name])
    ]
    memory = [
        [name, f"{row['idle_mb']:.1f}", f"{row['swapped_mb']:.1f}"]
        for name, row in figures.items()
        if "swapped_mb" in row
    ]
    explained = (
        "One connection, a request due each millisecond and timed from then on: while nothing changes and, as long,\n"
        "while one key after the other is made. Late: how far behind its schedule the generator was at the most."
    )
    return "\n\n".join(
        [
            f"## A new Snapshot, {keys.COUNT:,} keys",
            explained,
            table(["", "requests", "p50 µs", "p99 µs", "longest ms", "late ms"], answers),
            *_swapped(figures),
            "Resident set in MB (10⁶ bytes), with the mapped table of keys.",
            table(["process", "before", "after the swaps"], memory),
        ]
    )


def _swapped(figures: Figures) -> list[str]:
    """Return what is said of the swaps; of those under load only if there were any."""
    alone, stall = figures["alone"], figures.get("stall")
    without = (
        f"Without load, a new Snapshot takes {alone['cpu_ms']:.1f} ms (median) of the worker's processor time,\n"
        f"{alone['longest_cpu_ms']:.1f} ms at the most, and is in use {alone['seconds']:.1f} s after the change."
    )
    if stall is None:
        return [without]
    under = (
        f"Stall: {stall['longest_ms']:.1f} ms, the longest of all answers while {stall['swaps']:.0f} Snapshots were\n"
        "swapped less the longest of the others. Under load these were in use\n"
        f"{stall['applied_seconds']:.1f} s (median) after the change, {stall['applied_longest_seconds']:.1f} s at the"
        " most: control has what the load leaves of its core."
    )
    return [without, under]
