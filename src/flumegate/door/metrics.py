"""`/metrics`: the counters as Prometheus text (exposition format 0.0.4).

Written here and not by a library because any worker must be able to answer, also while control is away; the counters
are plain totals, so there is little to write.
"""

from __future__ import annotations

from flumegate.records.counters import LATENCY_BUCKETS, Counters

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


def _label(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def render(counters: Counters) -> bytes:
    """Return all counters as text."""
    lines = ["# HELP flumegate_requests_total Requests answered.", "# TYPE flumegate_requests_total counter"]
    lines += [
        f'flumegate_requests_total{{endpoint="{endpoint}",provider="{_label(provider)}",status_code="{status}"}} '
        f"{count}"
        for (endpoint, provider, status), count in sorted(counters.requests.items())
    ]
    lines += [
        "# HELP flumegate_request_latency_seconds Time from a request's first byte to its answer's last.",
        "# TYPE flumegate_request_latency_seconds histogram",
    ]
    for (endpoint, provider), buckets in sorted(counters.latency.items()):
        labels = f'endpoint="{endpoint}",provider="{_label(provider)}"'
        total = 0
        for bound, count in zip((*map(str, LATENCY_BUCKETS), "+Inf"), buckets, strict=True):
            total += count
            lines.append(f'flumegate_request_latency_seconds_bucket{{{labels},le="{bound}"}} {total}')
        seconds = counters.latency_us[endpoint, provider] / 1e6
        lines.append(f"flumegate_request_latency_seconds_sum{{{labels}}} {seconds:.6f}")
        lines.append(f"flumegate_request_latency_seconds_count{{{labels}}} {total}")
    lines += [
        "# HELP flumegate_token_usage_total Tokens that providers reported.",
        "# TYPE flumegate_token_usage_total counter",
    ]
    lines += [
        f'flumegate_token_usage_total{{provider="{_label(provider)}",direction="{direction}"}} {count}'
        for (provider, direction), count in sorted(counters.tokens.items())
    ]
    for name, count in sorted(counters.totals.items()):
        lines += [f"# TYPE flumegate_{name}_total counter", f"flumegate_{name}_total {count}"]
    for name, value in sorted(counters.gauges.items()):
        lines += [f"# TYPE flumegate_{name} gauge", f"flumegate_{name} {value}"]
    return "\n".join([*lines, ""]).encode()
