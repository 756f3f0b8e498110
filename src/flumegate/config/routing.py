"""The settings of routing: what serves a model name, when another attempt is made, when a target is left alone."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from flumegate.config.problem import wrong
from flumegate.config.shapes import TOKEN, Count, Delay, Seconds, Section, Share

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_FULL_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_HOURS = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-(?:([01][0-9]|2[0-3]):([0-5][0-9])|24:00)")
_DAY_MINUTES = 24 * 60


def read_hours(text: str) -> tuple[int, int]:
    """Return from which minute of the day (included) to which (excluded) a text such as `22:00-06:00` is.

    Raises:
        PydanticCustomError: with the remedy.
    """
    found = _HOURS.fullmatch(text)
    if found is None:
        raise wrong(f'"{text}" is no time of the day; write it like 22:00-06:00, in UTC')
    start = int(found[1]) * 60 + int(found[2])
    end = _DAY_MINUTES if found[3] is None else int(found[3]) * 60 + int(found[4])
    if start == end:
        raise wrong(f'"{text}" is no time at all; write 00:00-24:00 for the whole day, or remove it')
    return start, end


def _check_hours(text: str) -> str:
    read_hours(text)
    return text


def _day(value: object) -> object:
    if not isinstance(value, str):
        return value
    lowered = value.strip().lower()
    return lowered[:3] if lowered in _FULL_DAYS else lowered


def _check_field_name(text: str) -> str:
    if not TOKEN.fullmatch(text):
        raise wrong(f'"{text}" is no header name; use letters, digits and dashes')
    return text.lower()


def _check_unlike(value: object) -> object:
    if isinstance(value, dict) and len({str(name).lower() for name in value}) < len(value):
        raise wrong("names a header twice; case makes no difference, so keep one")
    return value


def _check_pattern(text: str) -> str:
    if not text:
        raise wrong("is empty; write what is asked for, or * for anything")
    return text


Status = Annotated[int, Field(ge=400, le=599)]
FieldName = Annotated[str, AfterValidator(_check_field_name)]
Pattern = Annotated[str, AfterValidator(_check_pattern)]
Retries = Annotated[int, Field(ge=0, le=100)]
Factor = Annotated[float, Field(ge=1, le=100, allow_inf_nan=False)]


class RouteTarget(Section):
    """A model at a provider. In short: `provider/model` instead of the mapping."""

    use: str = Field(description="provider/model; provider/* sends the name that the client asked for.")
    weight: int = Field(
        default=1, ge=0, le=1_000_000, description="Its share beside others; 0 = only where no other is left."
    )
    tier: Annotated[int, Field(ge=0, le=1_000_000)] | None = Field(
        default=None,
        description="Strategy priority: lower ones first, equal ones share by weight; null = its position in the list.",
    )
    max_concurrency: int = Field(
        default=0, ge=0, description="Requests that one worker has under way there at once; 0 = no limit."
    )
    max_queued: int = Field(default=0, ge=0, description="Requests that wait for one of those places.")
    queue_seconds: Seconds = Field(default=10.0, description="How long they wait.")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, data: object) -> object:
        return {"use": data} if isinstance(data, str) else data


class Retry(Section):
    """When another attempt is made."""

    max_retries: Retries = Field(
        default=2,
        description="Attempts after the first. Where there are more targets than that, each may still be asked once, "
        "up to ten.",
    )
    on_status: list[Status] = Field(
        default_factory=lambda: [408, 429, 500, 502, 503, 504, 529],
        description="Answers after which the same target is asked again, once no other is left.",
    )
    initial_delay: Delay = Field(
        default=1.0, description="Longest first wait, in seconds; the wait itself is drawn from 0 to it."
    )
    factor: Factor = Field(default=2.0, description="Growth of the wait from one attempt to the next.")
    max_delay: Delay = Field(
        default=60.0, description="Longest wait; a provider that asks for a longer one is not waited for."
    )


class RouteRetry(Section):
    """When another attempt is made for this model; what is left out is as in routing.retry."""

    max_retries: Retries | None = Field(default=None, description="Attempts after the first; null = routing.retry's.")
    on_status: list[Status] | None = Field(
        default=None, description="Answers after which another attempt is made; null = routing.retry's."
    )
    initial_delay: Delay | None = Field(
        default=None, description="Longest first wait, in seconds; null = routing.retry's."
    )
    factor: Factor | None = Field(default=None, description="Growth of the wait; null = routing.retry's.")
    max_delay: Delay | None = Field(default=None, description="Longest wait; null = routing.retry's.")


class Breaker(Section):
    """When a target is left alone."""

    enabled: bool = Field(default=True, description="Leave a target alone that fails again and again.")
    failures: Count = Field(default=5, description="Failures in a row after which it is.")
    failure_rate: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = Field(
        default=0.5, description="Share of failures within ten seconds from which it is."
    )
    min_requests: Count = Field(default=20, description="Requests within ten seconds from which that share counts.")
    open_seconds: Seconds = Field(default=5.0, description="Seconds until one request is let through as a probe.")


class Routing(Section):
    """What holds for all models, where they say nothing else."""

    timeout: Seconds | None = Field(
        default=None, description="Seconds for a request over all its attempts; null = no limit but each attempt's own."
    )
    retry: Retry = Field(default_factory=Retry)
    breaker: Breaker = Field(default_factory=Breaker)


class RuleWhen(Section):
    """What a rule asks of a request; every part that is given must hold."""

    headers: Annotated[dict[FieldName, str], BeforeValidator(_check_unlike)] = Field(
        default_factory=dict, description="Header fields by name, with a pattern for the value, where * is any text."
    )
    keys: list[Pattern] = Field(default_factory=list, description="Ids of client keys, any of them; patterns with *.")
    tags: list[Pattern] = Field(default_factory=list, description="Tags of the request or of its key, any of them.")
    hours: Annotated[str, AfterValidator(_check_hours)] | None = Field(
        default=None, description="Time of the day in UTC, as 22:00-06:00; null = any."
    )
    days: list[Annotated[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], BeforeValidator(_day)]] = Field(
        default_factory=list, description="Days of the week in UTC: mon, tue, wed, thu, fri, sat, sun; empty = any."
    )


class RouteRule(Section):
    """Where a request goes instead, if it is one of those."""

    when: RuleWhen = Field()
    use: str = Field(description="Name of the model that serves it, as a client could ask for it.")


class Hedge(Section):
    """A second attempt beside the first, when that takes too long."""

    after: Seconds = Field(description="Seconds without an answer after which a second attempt is made beside it.")
    share: Share = Field(default=0.05, description="Most of the requests that may cause one, from 0 to 1.")


class Mirror(Section):
    """A copy of requests for another model, whose answers nobody gets."""

    use: str = Field(description="Name of the model that gets a copy of requests; its answers are thrown away.")
    share: Share = Field(default=1.0, description="How many of the requests are copied, from 0 to 1.")


class Route(Section):
    """What serves a model name. In short: `provider/model` instead of the mapping."""

    targets: list[RouteTarget] = Field(description="Where requests for it go: provider/model, or a mapping, for each.")
    strategy: Literal["priority", "weighted", "least_busy", "fastest", "cheapest", "sticky"] = Field(
        default="priority", description="How one of several targets is chosen; priority = in the order of the list."
    )
    fallback: list[str] = Field(
        default_factory=list, description="Model names that are tried, in this order, when none of its targets is left."
    )
    retry: RouteRetry = Field(default_factory=RouteRetry)
    timeout: Seconds | None = Field(
        default=None, description="Seconds for a request over all its attempts; null = routing.timeout."
    )
    translation: Literal["lenient", "strict"] = Field(
        default="lenient",
        description="strict: a request of which anything would be lost in another dialect is refused with 400.",
    )
    rules: list[RouteRule] = Field(
        default_factory=list, description="Requests that another model serves; the first rule that fits counts."
    )
    sticky_by: Literal["auto", "session", "prefix"] = Field(
        default="auto",
        description="Strategy sticky: by session, by the prompt's beginning, or auto: the session where there is one.",
    )
    hedge: Hedge | None = Field(default=None)
    mirror: Mirror | None = Field(default=None)
    coalesce: bool = Field(
        default=False, description="Equal embeddings of one key that are under way at once are asked for once."
    )

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, data: object) -> object:
        return {"targets": [data]} if isinstance(data, str) else data
