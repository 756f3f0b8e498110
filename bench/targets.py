"""What the gateway promises of its speed and size, and whether a run has met it.

The targets are ratios to nginx and to peers in the same run where that is possible: they hold on any machine. Of two
figures for one thing, processor time is the firmer one; requests/s also says whether something else was in the way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from bench import keys
from bench.sections import Figures

_KEYS = f"{keys.COUNT:,} keys"


class Verdict(NamedTuple):
    """One target and what became of it; `met` is None where nothing was measured."""

    target: str
    wanted: str
    figure: str
    met: bool | None


class Target(NamedTuple):
    """A bound from below (`at_least`) or from above, in a unit."""

    text: str
    bound: float
    unit: str = ""
    at_least: bool = False
    digits: int = 3

    def judge(self, figure: float | None) -> Verdict:
        """Hold a figure against the bound."""
        wanted = f"{'≥' if self.at_least else '≤'} {self.bound:g}{self.unit}"
        if figure is None:
            return Verdict(self.text, wanted, "not measured", None)
        met = figure >= self.bound if self.at_least else figure <= self.bound
        return Verdict(self.text, wanted, f"{figure:.{self.digits}f}{self.unit}", met)


def judge(measured: Mapping[str, Figures], peers: list[str]) -> list[Verdict]:
    """Return the verdict on every target.

    Args:
        measured: the sections' figures by section.
        peers: names of the peers that may have been measured.
    """
    unary, streams = measured.get("unary", {}), measured.get("sse", {})
    memory, start = measured.get("memory", {}), measured.get("start", {})
    crowded, added = measured.get("keys", {}), measured.get("added", {})
    fastest = max((unary[name]["rate"] for name in peers if name in unary), default=None)
    rate = _figure(unary, "gateway", "rate")
    return [
        Target("unary: requests/s, of nginx's (wish: 0.55)", 0.45, " x", at_least=True).judge(
            _ratio(rate, _figure(unary, "nginx", "rate"))
        ),
        Target("unary: nginx's processor time, of ours", 0.45, " x", at_least=True).judge(
            _ratio(_figure(unary, "nginx", "cpu_us"), _figure(unary, "gateway", "cpu_us"))
        ),
        Target("unary, bodies in the records: requests/s, of nginx's", 0.38, " x", at_least=True).judge(
            _ratio(_figure(unary, "gateway-full", "rate"), _figure(unary, "nginx", "rate"))
        ),
        Target("unary, bodies in the records: nginx's processor time, of ours", 0.38, " x", at_least=True).judge(
            _ratio(_figure(unary, "nginx", "cpu_us"), _figure(unary, "gateway-full", "cpu_us"))
        ),
        Target("unary: requests/s, of the fastest peer's", 3.0, " x", at_least=True, digits=1).judge(
            _ratio(rate, fastest)
        ),
        Target("SSE: processor time an event, of nginx's", 1.5, " x").judge(
            _ratio(_figure(streams, "gateway", "cpu_us"), _figure(streams, "nginx", "cpu_us"))
        ),
        Target("translated unary: requests/s, of the verbatim lane's", 0.5, " x", at_least=True).judge(
            _ratio(_figure(unary, "gateway-translated", "rate"), rate)
        ),
        Target("translated SSE: processor time an event, of nginx's", 3.0, " x").judge(
            _ratio(_figure(streams, "gateway-translated", "cpu_us"), _figure(streams, "nginx", "cpu_us"))
        ),
        Target("routing: processor time that a choice of three targets adds to a request", 3.0, " µs", digits=1).judge(
            _figure(added, "gateway-routed", "added_us")
        ),
        Target("routing: processor time that 10,000 models add to a request", 3.0, " µs", digits=1).judge(
            _figure(added, "gateway-models", "added_us")
        ),
        Target(
            f"keys: processor time that key check, limits and a budget add to a request, with {_KEYS}",
            6.0,
            " µs",
            digits=1,
        ).judge(_figure(added, "gateway-keys", "added_us")),
        Target(
            f"keys: worker's memory with {_KEYS} (60 MB + 300 B a key)",
            60 + keys.COUNT * 300 / 1e6,
            " MB",
            digits=1,
        ).judge(_figure(crowded, "worker", "swapped_mb")),
        Target(f"keys: longest stall of a request by a new Snapshot with {_KEYS}", 5, " ms", digits=1).judge(
            _figure(crowded, "stall", "longest_ms")
        ),
        Target(f"keys: worker's processor time for a new Snapshot with {_KEYS}", 5, " ms", digits=1).judge(
            _figure(crowded, "alone", "longest_cpu_ms")
        ),
        Target("SSE: events lost and streams failed", 0, digits=0).judge(_broken(streams.get("gateway"))),
        Target("latency: p99 added at half of own capacity, of nginx's", 2.5, " x").judge(
            _ratio(*(_figure(measured.get("latency", {}), name, "added_p99_us") for name in ("gateway", "nginx")))
        ),
        Target("memory: worker, idle", 60, " MB", digits=1).judge(_figure(memory, "worker", "idle_mb")),
        Target("memory: worker's growth for 100,000 requests (--soak)", 5, " MB").judge(
            _figure(memory, "worker", "slope_mb")
        ),
        Target("memory: control, idle", 120, " MB", digits=1).judge(_figure(memory, "control", "idle_mb")),
        Target("start: flumegate --help", 0.2, " s", digits=3).judge(_figure(start, "help", "seconds")),
        Target("start: first answer after the command", 1.0, " s").judge(_figure(start, "first_answer", "seconds")),
    ]


def _figure(figures: Figures, subject: str, name: str) -> float | None:
    return figures.get(subject, {}).get(name)


def _ratio(one: float | None, other: float | None) -> float | None:
    """Return how many times the other one is; None where either is missing or lost in the noise (below zero)."""
    return one / other if one is not None and other is not None and one > 0 and other > 0 else None


def _broken(stream: dict[str, float] | None) -> float | None:
    return None if stream is None else stream["lost"] + stream["failed"]
