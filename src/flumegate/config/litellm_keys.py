"""Reads a virtual key as LiteLLM exports it, with its limits and its budget, as what `POST /manage/keys/import` takes.

Pure: a row in, a body and notes out. A limit is never lost in silence: what has no counterpart is named, and a key that
would be let in here although it was not there is left out as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

_HASH = re.compile(r"[0-9A-Fa-f]{64}")
_MICROS = 1_000_000
_MOST_DOLLARS = 10**9
"""Of a budget here; no number that is none is below it, and none beyond it can be reckoned with."""
_LIMITS = {
    "rpm_limit": "requests_per_minute",
    "tpm_limit": "tokens_per_minute",
    "max_parallel_requests": "concurrency",
}
_PERIODS = {"": "total", "24h": "day", "1d": "day", "30d": "month", "31d": "month", "1mo": "month"}
_EVERYTHING = {"all-team-models", "all-proxy-models"}
_ALL_ROUTES = "llm_api_routes"
_ROUTES = {
    "/chat/completions": ("chat",),
    "/v1/chat/completions": ("chat",),
    "/completions": ("completions",),
    "/v1/completions": ("completions",),
    "/embeddings": ("embeddings",),
    "/v1/embeddings": ("embeddings",),
    "/responses": ("responses",),
    "/v1/responses": ("responses",),
    "/v1/messages": ("messages",),
    "/v1/messages/count_tokens": ("count_tokens",),
    "openai_routes": ("chat", "completions", "embeddings", "responses"),
    "anthropic_routes": ("messages", "count_tokens"),
    "google_routes": ("gemini", "gemini_stream", "gemini_count"),
}
"""Their paths and names of many paths, as endpoints here: never one that is not among those paths there."""
_NOT_HERE = {
    "model_max_budget": "flumegate budget set project:ID/model:NAME",
    "model_rpm_limit": "rates belong to keys and projects",
    "model_tpm_limit": "rates belong to keys and projects",
    "budget_limits": "flumegate budget set",
    "budget_id": "limits of their budget table: flumegate key set, flumegate budget set",
    "soft_budget": "flumegate budget set --soft-percent",
    "team_id": "its team's limits: flumegate project set",
}
_LONGEST_NAME = 100


class ReadKey(NamedTuple):
    """One key."""

    name: str
    body: dict[str, Any] | None
    """None: it is not taken over."""
    notes: list[str]
    """What of it is not as it was there."""


def read_key(row: Mapping[str, Any], now: datetime) -> ReadKey:
    """Return what a row of their table of keys means here."""
    name = str(row.get("key_alias") or row.get("key_name") or "")[:_LONGEST_NAME]
    token = row.get("token")
    if not isinstance(token, str) or not token:
        return ReadKey(name, None, ["it has no token"])
    if row.get("blocked"):
        return ReadKey(name, None, ["it is blocked there"])
    body: dict[str, Any] = {"name": name, **({"sha256": token} if _HASH.fullmatch(token) else {"token": token})}
    notes: list[str] = []
    refusal = _add_expiry(body, row, now) or _add_models(body, row) or _add_limits(body, row)
    refusal = refusal or _add_endpoints(body, row, notes) or _add_budget(body, row, notes)
    if refusal:
        return ReadKey(name, None, [refusal])
    notes += [f"{field} is left out: {why}" for field, why in _NOT_HERE.items() if _says_something(row, field)]
    return ReadKey(name, body, notes)


def _add_expiry(body: dict[str, Any], row: Mapping[str, Any], now: datetime) -> str:
    told = row.get("expires")
    if told is None:
        return ""
    try:
        ends = datetime.fromisoformat(str(told))
    except ValueError:
        return f"expires is no time: {str(told)[:40]!r}"
    # Their database keeps times in UTC, and does not say so.
    ends = ends if ends.tzinfo else ends.replace(tzinfo=UTC)
    if ends <= now:
        return "it has expired"
    body["expires_at"] = ends.isoformat()
    return ""


def _add_models(body: dict[str, Any], row: Mapping[str, Any]) -> str:
    models = row.get("models") or []
    if not isinstance(models, list) or not all(isinstance(each, str) for each in models):
        return "models is no list of names"
    if "no-default-models" in models:
        return "it may use no model there"
    if models and not _EVERYTHING & set(models):
        body["models"] = models
    return ""


def _add_endpoints(body: dict[str, Any], row: Mapping[str, Any], notes: list[str]) -> str:
    routes = _told(row, "allowed_routes") or []
    if not isinstance(routes, list) or not all(isinstance(each, str) for each in routes):
        return "allowed_routes is no list of names"
    if not routes or _ALL_ROUTES in routes:
        return ""
    body["endpoints"] = list(dict.fromkeys(name for route in routes for name in _ROUTES.get(route, ())))
    if not body["endpoints"]:
        return f"allowed_routes has no endpoint of here: {', '.join(routes)[:_LONGEST_NAME]}"
    for route in routes:
        names = _ROUTES.get(route)
        if names is None:
            notes.append(f"allowed_routes: {route[:_LONGEST_NAME]} is left out: flumegate key set --endpoint")
        elif not route.startswith("/"):
            notes.append(f"allowed_routes: {route} is {', '.join(names)}: flumegate key set --endpoint")
    return ""


def _add_limits(body: dict[str, Any], row: Mapping[str, Any]) -> str:
    limits: dict[str, int] = {}
    for theirs, ours in _LIMITS.items():
        value = row.get(theirs)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            return f"{theirs} is no number"
        if not value:
            # Here 0 is no limit.
            return f"{theirs} is 0, which lets nothing through there"
        limits[ours] = value
    if limits:
        body["limits"] = limits
    return ""


def _add_budget(body: dict[str, Any], row: Mapping[str, Any], notes: list[str]) -> str:
    most, duration = row.get("max_budget"), str(row.get("budget_duration") or "").strip().lower()
    if most is None:
        return ""
    if isinstance(most, bool) or not isinstance(most, int | float) or not 0 <= most <= _MOST_DOLLARS:
        return "max_budget is no amount"
    period = _PERIODS.get(duration)
    if period is None:
        return f"its budget is for {duration[:20]!r}, and budgets here are for a day, a month, or in all"
    if period == "month" and duration != "1mo":
        notes.append(f"its budget for {duration} is one for a calendar month")
    body["budgets"] = [{"period": period, "limit_micros": round(most * _MICROS)}]
    return ""


def _says_something(row: Mapping[str, Any], field: str) -> bool:
    return _told(row, field) not in (None, "", [], {})


def _told(row: Mapping[str, Any], field: str) -> object:
    metadata = row.get("metadata")
    return row.get(field) or (metadata.get(field) if isinstance(metadata, Mapping) else None)
