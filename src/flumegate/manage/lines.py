"""A record as people read it: one aligned line, or a page with everything.

Pure functions of the record. Whatever a client or an upstream put into a field is shown with control characters as
escapes, so that no line can be forged and no terminal be commanded by what it shows.
"""

from __future__ import annotations

import re
import time
import unicodedata
from functools import partial

from flumegate.log import visible
from flumegate.records.request import Attempt, Content, Record

_RESET = "\x1b[0m"
_DIM = "2"
_RED = "31"
_GREEN = "32"
_YELLOW = "33"
_BOLD = "1"
_OUTCOME_WIDTH = 14
_ROUTE_WIDTH = 22
_MODEL_LEAST = 24
_MODEL_MOST = 60
_LABEL_WIDTH = 18
_BAR_WIDTH = 32
_BODY_CHARACTERS = 100_000


def render_line(record: Record, *, width: int, color: bool, date: bool = False) -> str:
    """Return one line of at most so many columns: when, what became of it, what was asked of whom, size, time, id.

    Columns stand under one another from line to line; the model takes what room there is. Without newline.
    With `date`, the time has its day in front, for lists that go back further than today.
    """
    status = _status_color(record)
    before = [
        (_local(record.started_at, "%m-%d %H:%M:%S" if date else "%H:%M:%S"), _DIM),
        (f"{record.status:>3}", status),
        (_fit("" if record.outcome == "ok" else visible(record.outcome), _OUTCOME_WIDTH), status),
        (_fit(f"{_short_method(record.method)}{visible(record.endpoint or record.path)}", _ROUTE_WIDTH), ""),
    ]
    behind = [
        (f"{_count(record.input_tokens):>7} >{_count(record.output_tokens):>7}", ""),
        (f"{_duration(record.duration_us):>6}", ""),
        (f"{_first_token(record):>10}", ""),
        (visible(record.id), _DIM),
    ]
    taken = sum(_columns(text) + 1 for text, _ in (*before, *behind))
    room = width - taken
    if room >= _MODEL_LEAST:
        cells = [*before, (_fit(_model(record), min(room, _MODEL_MOST)), ""), *behind]
        return " ".join(_paint(text, code, color=color) for text, code in cells)
    words = [*(text for text, _ in before), _model(record), _duration(record.duration_us), visible(record.id)]
    return _cut(" ".join(words), width)


def render_page(record: Record, content: Content | None, *, color: bool) -> str:
    """Return all that is known of one request: what it was, attempts as a timeline, timings, tokens, and bodies."""
    paint = partial(_paint, color=color)
    status = paint(f"{record.status} {visible(record.outcome)}", _status_color(record))
    title = f"{paint(visible(f'{record.method} {record.path}'), _BOLD)}  {status}"
    sections = [
        title,
        _section(
            ("record", record.id),
            ("request id", record.request_id),
            ("started", _local(record.started_at, "%Y-%m-%d %H:%M:%S %z")),
            ("client", record.client),
            ("key", record.key_id),
            ("project", record.project),
            ("error", record.error_code),
            ("client left", "yes" if record.client_abort else ""),
            ("tags", record.tags),
            ("trace", record.trace_id),
        ),
        _section(
            ("asked for", record.model_requested),
            ("answered by", _answered_by(record)),
            ("endpoint", " ".join(filter(None, (record.endpoint, record.dialect)))),
            ("lane", record.lane),
            ("stream", "yes" if record.stream else "no"),
            ("finish reason", record.finish_reason),
            ("cache", record.cache_status),
            *(("loss", loss) for loss in record.losses),
        ),
        _section(*_timings(record)),
        _section(*_sizes(record)),
    ]
    if record.attempts:
        sections.append(_timeline(record, color=color))
    if content is not None:
        sections += [_body("request body", content.request_body), _body("response body", content.response_body)]
    return "\n\n".join(section for section in sections if section)


def _timings(record: Record) -> list[tuple[str, str]]:
    measured = (
        ("duration", record.duration_us),
        ("upstream", record.upstream_us),
        ("first byte", record.first_byte_us),
        ("first token", record.first_token_us),
    )
    return [(label, _duration(value)) for label, value in measured if value is not None]


def _sizes(record: Record) -> list[tuple[str, str]]:
    counted = (
        ("tokens in", record.input_tokens),
        ("of these cached", record.cached_tokens),
        ("written to cache", record.cache_write_tokens),
        ("tokens out", record.output_tokens),
        ("of these reasoning", record.reasoning_tokens),
    )
    rows = [(label, f"{value:,}") for label, value in counted if value is not None]
    if record.usage_source == "partial":
        rows.append(("usage", "partial: the answer broke off"))
    if record.cost_micros is not None:
        rows.append(("cost", f"{record.cost_micros / 1e6:.6f} USD {record.price_version}".rstrip()))
    return [*rows, ("request bytes", f"{record.request_bytes:,}"), ("response bytes", f"{record.response_bytes:,}")]


def _timeline(record: Record, *, color: bool) -> str:
    """Return one line an attempt, with a bar that shows when in the request it ran."""
    total = max(record.duration_us, *(attempt.ended_us or attempt.started_us for attempt in record.attempts), 1)
    paint = partial(_paint, color=color)
    lines = [f"attempts ({len(record.attempts)})"]
    for number, attempt in enumerate(record.attempts, 1):
        ended = attempt.ended_us if attempt.ended_us is not None else total
        shade = _GREEN if attempt.outcome == "ok" else _RED
        result = " ".join(filter(None, (str(attempt.status or ""), visible(attempt.outcome))))
        times = f"{_duration(attempt.started_us)} to {_duration(ended)}"
        if attempt.first_byte_us is not None:
            times += f", first byte at {_duration(attempt.first_byte_us)}"
        bar = paint(_bar(attempt, ended, total), shade)
        lines.append(f"  {number:>2} |{bar}| {visible(attempt.target)}  {paint(result, shade)}  {times}")
    return "\n".join(lines)


def _bar(attempt: Attempt, ended: int, total: int) -> str:
    start = min(max(attempt.started_us, 0) * _BAR_WIDTH // total, _BAR_WIDTH - 1)
    length = min(max((ended - attempt.started_us) * _BAR_WIDTH // total, 1), _BAR_WIDTH - start)
    return (" " * start + "=" * length).ljust(_BAR_WIDTH)


def _section(*rows: tuple[str, str]) -> str:
    return "\n".join(f"  {label:<{_LABEL_WIDTH}} {visible(value)}" for label, value in rows if value)


def _body(title: str, body: bytes) -> str:
    if not body:
        return ""
    text = body.decode("utf-8", "replace")
    shown = "\n".join(visible(line.expandtabs(4)) for line in text[:_BODY_CHARACTERS].split("\n"))
    rest = len(text) - _BODY_CHARACTERS
    if rest > 0:
        shown += f"\n… {rest:,} characters more: --json prints all of it"
    return f"{title} ({len(body):,} bytes kept)\n{shown}"


def _answered_by(record: Record) -> str:
    if not record.provider:
        return "the gateway itself"
    return f"{record.provider}/{record.model}" if record.model else record.provider


def _model(record: Record) -> str:
    """Return `asked -> provider/model`, shorter where both say the same."""
    asked, provider = visible(record.model_requested), visible(record.provider)
    if not provider:
        return asked
    target = f"{provider}/{visible(record.model)}" if record.model else provider
    return target if asked in {"", visible(record.model), target} else f"{asked} -> {target}"


def _short_method(method: str) -> str:
    return "" if method == "POST" else f"{visible(method)} "


def _first_token(record: Record) -> str:
    return "" if record.first_token_us is None else f"1st {_duration(record.first_token_us)}"


def _count(value: int | None) -> str:
    """Return a count in at most six characters."""
    if value is None:
        return "-"
    if value < 100_000:
        return f"{value:,}"
    for unit in ("k", "M", "G", "T"):
        value = round(value / 1000)
        if value < 10_000:
            return f"{value:,}{unit}"
    return "many"


def _duration(microseconds: int | None) -> str:
    """Return a duration in at most six characters for all that lasts less than ten hours: 850us, 12ms, 1.23s, 2m05s."""
    if microseconds is None:
        return "-"
    if microseconds < 1000:
        return f"{microseconds}us"
    if microseconds < 999_500:
        return f"{microseconds / 1000:.0f}ms" if microseconds >= 9_950 else f"{microseconds / 1000:.1f}ms"
    if microseconds < 59_950_000:
        return f"{microseconds / 1e6:.2f}s" if microseconds < 9_995_000 else f"{microseconds / 1e6:.1f}s"
    seconds = round(microseconds / 1e6)
    if seconds < 3600:
        return f"{seconds // 60}m{seconds % 60:02d}s"
    return f"{seconds // 3600}h{seconds // 60 % 60:02d}m"


def _local(moment: float, layout: str) -> str:
    """Return the local time, in dashes if it is none that a calendar has."""
    try:
        return time.strftime(layout, time.localtime(moment))
    except (OverflowError, ValueError, OSError):
        return re.sub(r"[0-9]", "-", time.strftime(layout, time.gmtime(0)))


def _status_color(record: Record) -> str:
    if record.outcome == "ok" and record.status < 400:
        return _GREEN
    return _YELLOW if record.status < 500 or record.outcome == "cancelled" else _RED


def _paint(text: str, code: str, *, color: bool) -> str:
    return f"\x1b[{code}m{text}{_RESET}" if color and code else text


def _columns(text: str) -> int:
    """Return how many columns of a terminal the text takes (Unicode Standard Annex 11)."""
    return len(text) if text.isascii() else sum(map(_letter_columns, text))


def _letter_columns(letter: str) -> int:
    if unicodedata.category(letter) in {"Mn", "Me"}:
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def _cut(text: str, width: int) -> str:
    if _columns(text) <= width:
        return text
    kept, room = [], width - 1
    for letter in text:
        room -= _letter_columns(letter)
        if room < 0:
            break
        kept.append(letter)
    return "".join(kept) + "…" if width > 0 else ""


def _fit(text: str, width: int) -> str:
    """Return the text in exactly so many columns, cut or filled up."""
    short = _cut(text, width)
    return short + " " * (width - _columns(short))
