"""`/metrics` read by a strict parser of the exposition format (Prometheus text format 0.0.4)."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flumegate.door.metrics import CONTENT_TYPE, render
from flumegate.records.counters import LATENCY_BUCKETS, Counters
from rig import cuts

NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*\Z")
SAMPLE = re.compile(r"([^{ ]+)(?:\{(.*)\})? (\S+)\Z")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|\Z)')
UNESCAPED = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}


class Sample(NamedTuple):
    name: str
    labels: dict[str, str]
    value: float


class Family(NamedTuple):
    kind: str
    samples: list[Sample]


def parse(text: str) -> dict[str, Family]:
    """Return the families; fails on anything that the format does not allow."""
    assert text.endswith("\n")
    families: dict[str, Family] = {}
    current = ""
    seen = set()
    for line in text[:-1].split("\n"):
        if line.startswith("# "):
            _, word, name, rest = line.split(" ", 3)
            assert NAME.match(name)
            assert word in ("HELP", "TYPE")
            if word == "TYPE":
                assert name not in families, "one TYPE line a family"
                assert rest in ("counter", "gauge", "histogram")
                families[name] = Family(rest, [])
                current = name
            else:
                assert name not in families, "HELP comes before TYPE"
            continue
        sample = read_sample(line)
        assert sample.name.removeprefix(current) in ("", "_bucket", "_sum", "_count"), "samples follow their TYPE"
        identity = (sample.name, *sorted(sample.labels.items()))
        assert identity not in seen, "every series once"
        seen.add(identity)
        families[current].samples.append(sample)
    return families


def read_sample(line: str) -> Sample:
    match = SAMPLE.match(line)
    assert match is not None
    name, inside, value = match.groups()
    assert NAME.match(name)
    labels = {}
    position = 0
    while inside and position < len(inside):
        label = LABEL.match(inside, position)
        assert label is not None
        assert label[1] not in labels
        labels[label[1]] = re.sub(r'\\[\\"n]', lambda escape: UNESCAPED[escape[0]], label[2])
        position = label.end()
    return Sample(name, labels, float(value))


PROVIDERS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
ENDPOINTS = st.sampled_from(["chat", "messages", "transparent"])
COUNTS = st.integers(0, 2**40)
LATENCIES = st.lists(COUNTS, min_size=len(LATENCY_BUCKETS) + 1, max_size=len(LATENCY_BUCKETS) + 1)


@st.composite
def all_counters(draw: st.DrawFn) -> Counters:
    latency = draw(st.dictionaries(st.tuples(ENDPOINTS, PROVIDERS), LATENCIES, max_size=3))
    return Counters(
        requests=draw(st.dictionaries(st.tuples(ENDPOINTS, PROVIDERS, st.integers(100, 599)), COUNTS, max_size=4)),
        latency=latency,
        latency_us={key: draw(COUNTS) for key in latency},
        tokens=draw(st.dictionaries(st.tuples(PROVIDERS, st.sampled_from(["input", "output"])), COUNTS, max_size=3)),
        totals=draw(st.dictionaries(st.sampled_from(["records_dropped", "connections_accepted"]), COUNTS)),
        gauges=draw(st.dictionaries(st.sampled_from(["connections_open", "spool_bytes"]), COUNTS)),
    )


@cuts.short_law
@given(all_counters())
def test_everything_counted_is_in_the_text(counters: Counters) -> None:
    """A strict parser reads the text, and what it reads is what was counted, whatever providers are called."""
    families = parse(render(counters).decode())
    requests = families["flumegate_requests_total"]
    assert requests.kind == "counter"
    assert {
        (one.labels["endpoint"], one.labels["provider"], int(one.labels["status_code"])): one.value
        for one in requests.samples
    } == counters.requests
    tokens = families["flumegate_token_usage_total"]
    assert {(one.labels["provider"], one.labels["direction"]): one.value for one in tokens.samples} == counters.tokens
    for name, value in counters.totals.items():
        assert families[f"flumegate_{name}_total"] == ("counter", [(f"flumegate_{name}_total", {}, value)])
    for name, value in counters.gauges.items():
        assert families[f"flumegate_{name}"] == ("gauge", [(f"flumegate_{name}", {}, value)])


@cuts.short_law
@given(all_counters())
def test_histograms_are_whole(counters: Counters) -> None:
    """Buckets are cumulative, the last has no bound and equals the count, the sum is in seconds."""
    family = parse(render(counters).decode())["flumegate_request_latency_seconds"]
    assert family.kind == "histogram"
    for key, counts in counters.latency.items():
        labels = dict(zip(("endpoint", "provider"), key, strict=True))
        own = [one for one in family.samples if {"le": "", **labels} == {**one.labels, "le": ""}]
        buckets = {float(one.labels["le"]): one.value for one in own if one.name.endswith("_bucket")}
        assert list(buckets) == [*LATENCY_BUCKETS, math.inf]
        assert list(buckets.values()) == [sum(counts[: number + 1]) for number in range(len(counts))]
        (count,) = [one.value for one in own if one.name.endswith("_count")]
        assert count == buckets[math.inf] == sum(counts)
        (seconds,) = [one.value for one in own if one.name.endswith("_sum")]
        assert seconds == pytest.approx(counters.latency_us[key] / 1e6, abs=1e-6)


def test_nothing_counted_yet() -> None:
    """A fresh worker's text is valid, too."""
    families = parse(render(Counters()).decode())
    assert all(not family.samples for family in families.values())
    assert b"version=0.0.4" in CONTENT_TYPE
