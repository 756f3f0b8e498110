"""The figures of the fault matrix: what a row reached, against what it demands.

A row's test calls `figure` once it has its numbers and before it judges them, so that a row that fails shows how far it
came. `make faults` prints one line a row; with FLUMEGATE_FAULTS_REPORT=path it also writes them as a Markdown table.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable

PROMISES = {
    1: "A client that leaves frees everything",
    2: "Cancelling never loses a pool slot",
    3: "Retries cannot make an outage worse",
    4: "No replay after the first byte",
    5: "A cut stream never looks complete",
    6: "Stream bytes are faithful",
    7: "Every wait has an end",
    8: "Deadlines leave room for the fallback",
    9: "One sick target does not hurt",
    10: "All targets down fails fast",
    11: "Bad upstream TLS is refused",
    12: "Hostile upstream bytes are contained",
    13: "Name resolution cannot block",
    14: "Slow readers cost bounded memory",
    15: "Memory is flat",
    16: "Overload sheds, then recovers",
    17: "Slowloris is harmless",
    18: "One tenant cannot starve others",
    19: "Cold-cache stampede is one call",
    20: "Answered means recorded",
    21: "Database down: data path goes on",
    22: "Full disk: data path goes on",
    23: "SQLite with several workers is safe",
    25: "Redis down, frozen, slow, full: requests go on",
    28: "A budget is a limit",
    29: "Reservations do not leak",
    30: "Rate limits hold across instances",
    31: "Usage equals the ledger",
    34: "No answer for another tenant",
    37: "Revoked means revoked",
    38: "No secret leaves its place",
    42: "Stolen database is useless",
    44: "Every route x role x tenant x key carrier decides right",
    46: "Guessing is useless",
    47: "Comparison leaks no time",
}
"""The rows by their number."""

_reached: defaultdict[int, dict[str, None]] = defaultdict(dict)


def figure(row: int, text: str) -> None:
    """Note one figure of a row, as `what: reached (demanded)`: `sockets left after 2 s: 0 (0)`."""
    _reached[row][text] = None


def lines() -> list[str]:
    """Return one line for each row that has figures."""
    return [f"{row:>2}  {PROMISES[row]}: {'; '.join(_reached[row])}" for row in sorted(_reached)]


def table() -> str:
    """Return them as a page of Markdown."""
    head = [
        "# The fault matrix",
        "",
        "What `make faults` reached, and in brackets what is demanded.",
        "",
        "| row | promise | reached (demanded) |",
        "|---:|---|---|",
    ]
    body = [f"| {row} | {PROMISES[row]} | {'; '.join(_reached[row]).replace('|', '/')} |" for row in sorted(_reached)]
    return "\n".join([*head, *body, ""])


def percentile(values: Iterable[float], share: float) -> float:
    """Return the smallest value that so large a share of them does not exceed; NaN of none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan
