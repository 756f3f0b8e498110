"""The fields that several shapes have: what is taken, piece by piece, and how times and limits are told.

A body names its fields one by one; one that it does not know is refused, so that nothing is set by accident.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Self

import msgspec
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from flumegate.manage.budgets import MOST_MICROS, NewBudget
from flumegate.manage.grants import MOST_ENTRIES, MOST_OF_A_LIMIT
from flumegate.records.access import Limits, Period


def _check_text(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("must not hold half a surrogate pair") from None
    if "\0" in text:
        raise ValueError("must not hold a NUL")
    return text


Text = Annotated[str, AfterValidator(_check_text)]
Name = Annotated[Text, Field(max_length=100)]
Id = Annotated[str, Field(pattern="^[0-9A-Za-z._-]{1,64}$")]
Entries = Annotated[list[Annotated[Text, Field(max_length=200)]], Field(max_length=MOST_ENTRIES)]
Limit = Annotated[int, Field(ge=0, le=MOST_OF_A_LIMIT)]
Micros = Annotated[int, Field(ge=0, le=MOST_MICROS, description="Millionths of a dollar.")]
SecretText = Annotated[Text, Field(max_length=8192, json_schema_extra={"writeOnly": True})]


class Body(BaseModel):
    """What is sent: nothing but these fields."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, str_strip_whitespace=False)


class LimitsShape(BaseModel):
    """Rates and counts; 0 = no limit."""

    requests_per_minute: int
    tokens_per_minute: int
    concurrency: int
    max_requests: int = Field(description="In all its life.")


class LimitsBody(Body):
    """Rates and counts; 0 = no limit, left out or null = as it is."""

    requests_per_minute: Limit | None = None
    tokens_per_minute: Limit | None = None
    concurrency: Limit | None = None
    max_requests: Limit | None = Field(default=None, description="In all its life.")

    def given(self) -> Mapping[str, int]:
        """Return those that are named."""
        return {name: value for name, value in self.model_dump().items() if value is not None}

    def limits(self) -> Limits:
        """Return them all."""
        return Limits(**self.given())


class BudgetBody(Body):
    """What may be spent in a period."""

    period: Period
    limit_micros: Micros
    soft_percent: int = Field(default=80, ge=1, le=100, description="From this part on, answers warn.")

    def budget(self) -> NewBudget:
        """Return it."""
        return NewBudget(self.period, self.limit_micros, self.soft_percent)


def _check_periods(budgets: list[BudgetBody]) -> list[BudgetBody]:
    if len({each.period for each in budgets}) < len(budgets):
        raise ValueError("name each period once")
    return budgets


def check_active(active: bool | None, is_active: bool | None) -> None:  # noqa: FBT001 - the two names of one field
    """Make sure that a field which has two names says one thing.

    Raises:
        ValueError: it says two.
    """
    if active is not None and is_active is not None and active != is_active:
        raise ValueError("active and is_active are the same field: name one of them")


BudgetBodies = Annotated[list[BudgetBody], Field(max_length=3), AfterValidator(_check_periods)]
"""One for each period."""


class When(Body):
    """Until when: at a time, or for so long."""

    expires_at: AwareDatetime | None = Field(default=None, description="As in 2027-01-31T00:00:00Z; null = never.")
    duration_minutes: int | None = Field(default=None, ge=1, le=525_600, description="From now on, instead.")

    @model_validator(mode="after")
    def _one_end(self) -> Self:
        if self.expires_at is not None and self.duration_minutes is not None:
            raise ValueError("name one of expires_at and duration_minutes")
        return self

    def ends(self, now: float) -> float:
        """Return the end as Unix time; 0 = never."""
        if self.duration_minutes is not None:
            return now + self.duration_minutes * 60.0
        return as_unix(self.expires_at)


def shape_limits(limits: Limits) -> LimitsShape:
    """Return limits as they are told."""
    return LimitsShape(**msgspec.structs.asdict(limits))


def as_unix(time: datetime | None) -> float:
    """Return Unix seconds; 0 for none."""
    return 0.0 if time is None else time.timestamp()


def as_time(seconds: float) -> datetime | None:
    """Return the time as it is told; None for 0."""
    return datetime.fromtimestamp(min(seconds, 253_402_300_799.0), UTC) if seconds else None
