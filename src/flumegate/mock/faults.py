"""What a caller may ask to go wrong, and how it is written. Pure.

    list   = item *("," item)          item = name ["=" value]
    model  = "mock-fault:" list  |  real-model "+" list
    header = "x-mock-fault: " list  |  "x-mock-" name-with-dashes ": " value

The model's list is read first, then the headers; the last word on a name wins. An unknown name is an error, because a
fault that silently does not happen would prove nothing.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

Value = int | float | str | bool

PREFIX = "mock-fault:"
NOT_FAULTS = frozenset({"tag", "key", "call"})
"""`x-mock-` headers with another meaning."""


class FaultError(ValueError):
    """A fault is unknown or has a value that it cannot take; the message names the known ones."""


class Faults(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Everything that is to go wrong with one answer. Counts are of events, or of halves where the answer is one body.

    -1 stands for "never" where 0 is a position.
    """

    latency_ms: float = 0
    first_byte_ms: float = 0
    interval_ms: float = 0
    stall_ms: float = 0
    stall_at: int = 1
    hang: int = -1
    cut: int = -1
    rst: int = -1
    close_before_head: bool = False
    garbage: bool = False
    status: int = 0
    retry_after: int = -1
    code: str = ""
    empty: bool = False
    html: bool = False
    malformed: int = -1
    error_in_stream: int = -1
    no_done: bool = False
    no_usage: bool = False
    coding: str = ""
    rate: int = 0
    one_byte: bool = False
    chunk: int = 1
    event_bytes: int = 0
    line_end: str = "\n"
    big_header: int = 0
    no_length: bool = False
    tokens: int = 0
    tool_calls: int = 1
    cached: int = 0
    cache_write: int = 0
    times: int = 0
    share: float = 1.0

    @property
    def whole(self) -> bool:
        """Whether a body may leave in one write together with its head."""
        return self is _NONE or self == msgspec.structs.replace(
            _NONE, **{name: getattr(self, name) for name in _CONTENT_ONLY}
        )


_CONTENT_ONLY = (
    *("status", "retry_after", "code", "empty", "html", "malformed", "error_in_stream", "no_done", "no_usage"),
    *("coding", "event_bytes", "line_end", "big_header", "tokens", "tool_calls", "cached", "cache_write"),
    *("interval_ms", "chunk", "times", "share"),
)
"""They change what is said, or only the pace of events; the body still leaves in one write."""


class Knob(NamedTuple):
    """One name of the grammar: the field it sets, what it means without a value (None: it needs one), and its help."""

    field: str
    bare: Value | None
    meaning: str
    fixed: bool = False
    """The name itself is the value (`gzip`, `crlf`)."""


SWITCH = True

KNOBS: dict[str, Knob] = {
    "latency_ms": Knob("latency_ms", None, "wait so long before the head is sent (also `latency`)"),
    "first_byte_ms": Knob("first_byte_ms", None, "send the head at once, the first byte of the body so much later"),
    "interval_ms": Knob("interval_ms", None, "wait so long between two events (also `interval`)"),
    "stall_ms": Knob("stall_ms", None, "stop for so long once, after `stall_at` events"),
    "stall_at": Knob("stall_at", None, "where `stall_ms` happens: after so many events, 1 unless told"),
    "hang": Knob("hang", 1, "after N events (1 unless told) nothing more comes, and the connection stays open"),
    "cut": Knob("cut", None, "close cleanly (FIN) after N bytes of the body, the framing left unfinished"),
    "rst": Knob("rst", 0, "reset the connection (SO_LINGER 0) after N bytes of the body"),
    "close_before_head": Knob("close_before_head", SWITCH, "close without any byte of an answer (also `close`)"),
    "garbage": Knob("garbage", SWITCH, "answer with bytes that are not HTTP, then close"),
    "status": Knob("status", None, "answer with this HTTP status and the dialect's error body"),
    "retry_after": Knob("retry_after", None, "send `retry-after` with so many seconds"),
    "code": Knob("code", None, "the error's code (Anthropic, Bedrock: type; Gemini: status) instead of the usual one"),
    "empty": Knob("empty", SWITCH, "a head and no body at all"),
    "html": Knob("html", SWITCH, "an HTML page instead of JSON"),
    "malformed": Knob("malformed", 1, "break the JSON: of the whole body, or of the event after N events"),
    "error_in_stream": Knob("error_in_stream", 2, "after N events the dialect's error event, then the end"),
    "no_done": Knob("no_done", SWITCH, "leave the dialect's terminal event out"),
    "no_usage": Knob("no_usage", SWITCH, "leave token usage out"),
    "gzip": Knob("coding", "gzip", "encode the body", fixed=True),
    "br": Knob("coding", "br", "encode the body", fixed=True),
    "zstd": Knob("coding", "zstd", "encode the body", fixed=True),
    "deflate": Knob("coding", "deflate", "encode the body (zlib form)", fixed=True),
    "rate": Knob("rate", None, "send so many bytes of the body a second"),
    "one_byte": Knob("one_byte", SWITCH, "every byte of the body in a write, and a chunk, of its own"),
    "chunk": Knob("chunk", None, "so many events in one write; positions then count writes"),
    "event_bytes": Knob("event_bytes", None, "fill the text of each event up to so many bytes"),
    "lf": Knob("line_end", "\n", "line ends of a stream (the default)", fixed=True),
    "crlf": Knob("line_end", "\r\n", "line ends of a stream", fixed=True),
    "cr": Knob("line_end", "\r", "line ends of a stream", fixed=True),
    "big_header": Knob("big_header", None, "send a header `x-mock-big` of so many bytes"),
    "no_length": Knob("no_length", SWITCH, "send a body that is known in full chunked, without its length"),
    "tokens": Knob("tokens", None, "answer with exactly so many words"),
    "tool_calls": Knob("tool_calls", None, "call so many tools at once where one would be called"),
    "cached": Knob("cached", None, "report so many of the input tokens as read from a cache"),
    "cache_write": Knob("cache_write", None, "report so many of the input tokens as written to a cache"),
    "times": Knob("times", None, "only the first N calls with this tag, nonce or model suffer the faults of the list"),
    "share": Knob("share", None, "only this share of the calls (0 to 1) suffers; dice are seeded with `--seed`"),
}
ALIASES = {
    "latency": "latency_ms",
    "interval": "interval_ms",
    "first_byte": "first_byte_ms",
    "close": "close_before_head",
}

_NONE = Faults()
_OFF = frozenset({"0", "false", "no", "off"})
_ON = frozenset({"", "1", "true", "yes", "on"})


def read(model: str, headers: Iterable[tuple[bytes, bytes]]) -> Faults:
    """Return the faults that a request's model name and headers ask for.

    Raises:
        FaultError: a name is unknown, or a value is not of its kind.
    """
    fields: dict[str, Value] = {}
    for name, value in (*_of_model(model), *_of_headers(headers)):
        _set(fields, name, value)
    return Faults(**fields) if fields else _NONE  # type: ignore[arg-type] # `_set` converts each to its field's type


def share_falls(faults: Faults, dice: float) -> bool:
    """Whether a throw of the dice in [0, 1) spares this call its faults."""
    return dice >= faults.share


def spared(faults: Faults) -> Faults:
    """Return what is left of the faults for a call that `times` or `share` spares: the words that make it up."""
    kept = {name: getattr(faults, name) for name in ("tokens", "interval_ms", "event_bytes", "chunk", "tool_calls")}
    return Faults(**kept)


def _of_model(model: str) -> Iterator[tuple[str, str | None]]:
    _, found, listed = model.partition(PREFIX)
    if not found:
        _, _, listed = model.partition("+")
    yield from _items(listed)


def _of_headers(headers: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[str, str | None]]:
    for name, value in headers:
        if not name.startswith(b"x-mock-"):
            continue
        word = name[len(b"x-mock-") :].decode("latin-1")
        if word == "fault":
            yield from _items(value.decode("latin-1"))
        elif word not in NOT_FAULTS:
            yield word.replace("-", "_"), value.decode("latin-1")


def _items(listed: str) -> Iterator[tuple[str, str | None]]:
    for item in listed.split(","):
        name, equals, value = item.strip().partition("=")
        if name:
            yield name.strip(), value.strip() if equals else None


def _set(fields: dict[str, Value], name: str, value: str | None) -> None:
    name = ALIASES.get(name, name)
    knob = KNOBS.get(name)
    if knob is None:
        near = difflib.get_close_matches(name, KNOBS, n=1)
        hint = f"did you mean `{near[0]}`?" if near else "the known ones are " + ", ".join(KNOBS)
        raise FaultError(f"No fault is called `{name}`: {hint}")
    if knob.fixed or isinstance(knob.bare, bool):
        if value is None or value.lower() in _ON:
            fields[knob.field] = knob.bare if knob.bare is not None else True
        elif value.lower() not in _OFF:
            raise FaultError(f"`{name}` is a switch: write it alone, or with 1 or 0, not `{value}`")
        return
    if value is None or (value == "" and knob.bare is not None):
        if knob.bare is None:
            raise FaultError(f"`{name}` needs a value, as in `{name}=200`")
        fields[knob.field] = knob.bare
        return
    fields[knob.field] = _converted(name, knob.field, value)


def _converted(name: str, field: str, value: str) -> Value:
    default = getattr(_NONE, field)
    if isinstance(default, str):
        return value
    try:
        number = float(value) if field.endswith("_ms") or field == "share" else int(value)
    except ValueError:
        raise FaultError(f"`{name}` takes a number, not `{value}`") from None
    lowest, highest = _LIMITS.get(field, (0, 1 << 40))
    if not lowest <= number <= highest:
        raise FaultError(f"`{name}` takes a number from {lowest} to {highest}, not `{value}`")
    return number


_LIMITS: dict[str, tuple[float, float]] = {
    "status": (200, 599),
    "share": (0, 1),
    "chunk": (1, 1 << 20),
    "tool_calls": (1, 1000),
    "big_header": (0, 1 << 24),
    "event_bytes": (0, 1 << 26),
    "tokens": (0, 1 << 30),
}
