"""What is kept of an exchange: the Record, made when it has ended."""

from __future__ import annotations

import re

from flumegate.catalog.rates import FREE, bill
from flumegate.exchange import Exchange
from flumegate.ir.usage import Usage
from flumegate.records.request import Record
from flumegate.routing.rules import read_tags

_ISSUED = re.compile(r"((?:sk-fg|fg-at|fg-st)-[0-9A-Za-z]{8})-[0-9A-Za-z_-]{49}")
"""A key or token as this gateway makes them, by its id and the rest."""


def record_of(exchange: Exchange) -> Record:
    """Return the Record of an exchange that has ended."""
    now = exchange.ended
    started = exchange.started
    for attempt in exchange.attempts:
        if attempt.ended_us is None:
            attempt.ended_us = int((now - started) * 1e6)
            if exchange.outcome != "ok":
                attempt.outcome = exchange.error_code or exchange.outcome
    tap, plan, access = exchange.tap, exchange.plan, exchange.access
    usage = tap.usage if tap is not None else None
    source = ""
    if usage is not None:
        source = "partial" if exchange.usage_partial or exchange.client_abort else "upstream"
        if tap is not None and tap.estimated:
            source = "estimated"
    cost, version = _cost(exchange, usage)
    return Record(
        exchange.record_id,
        exchange.request_id.decode("latin-1"),
        exchange.started_at,
        exchange.method.decode("latin-1"),
        _shown(exchange.path.decode("latin-1")),
        exchange.kind,
        exchange.family,
        exchange.lane,
        exchange.key_id,
        exchange.project,
        exchange.client,
        plan.provider.name if plan is not None else "",
        _shown(exchange.model_requested),
        (plan.model if plan is not None else "") or (tap.model if tap is not None else ""),
        exchange.stream,
        exchange.status,
        exchange.outcome,
        exchange.error_code,
        int((now - started) * 1e6),
        int((now - exchange.sent) * 1e6) if exchange.sent is not None else None,
        int((exchange.first_byte - started) * 1e6) if exchange.first_byte is not None else None,
        int((exchange.first_token - started) * 1e6) if exchange.first_token is not None else None,
        usage.input_tokens if usage is not None else None,
        usage.output_tokens if usage is not None else None,
        usage.cached_tokens if usage is not None else None,
        usage.cache_write_tokens if usage is not None else None,
        usage.reasoning_tokens if usage is not None else None,
        source,
        tap.finish_reason if tap is not None else "",
        exchange.request_bytes,
        exchange.response_bytes,
        exchange.client_abort,
        _tags(exchange) if exchange.special or (access is not None and access.key.tags) else "",
        _trace_id(exchange) if exchange.special else "",
        exchange.attempts,
        exchange.losses,
        cost,
        version,
        exchange.cache_status,
    )


def _cost(exchange: Exchange, usage: Usage | None) -> tuple[int | None, str]:
    """Return what a request cost in micro-dollars, and by which prices; None = unknown, which is not zero."""
    plan, version = exchange.plan, exchange.snapshot.price_version
    if plan is None or plan.price is None:
        return None, ""
    if usage is not None:
        # With a status it shared an answer that another request has paid for.
        return (0, "") if exchange.cache_status else (bill(plan.price, usage), version)
    if plan.price is FREE:
        return 0, version
    stay = exchange.stay
    if stay is None or not stay.allowance.lines or not exchange.is_answered:
        return None, ""
    # Its budgets keep what was held for it; a worker that begins later learns that from the record alone.
    return stay.held, version


def _shown(text: str) -> str:
    """Return what a client wrote, without the secret of a key that it put where none belongs."""
    return _ISSUED.sub(r"\1-…", text) if "fg-" in text else text


def _tags(exchange: Exchange) -> str:
    """Return the tags as they were sent, and those of the key that are not among them."""
    sent = _text(exchange, b"x-flumegate-tags")
    if exchange.access is None or not exchange.access.key.tags:
        return sent
    named = read_tags(sent)
    return ",".join([*([sent] if sent else []), *(tag for tag in exchange.access.key.tags if tag not in named)])


def _text(exchange: Exchange, name: bytes) -> str:
    value = exchange.picked.get(name)
    return value[:256].decode("latin-1") if value is not None else ""


def _trace_id(exchange: Exchange) -> str:
    value = exchange.picked.get(b"traceparent")
    if value is None:
        return ""
    parts = value.split(b"-")
    return parts[1].decode("latin-1") if len(parts) >= 4 and len(parts[1]) == 32 else ""  # W3C Trace Context §3.2
