"""What the management API takes and gives, as its OpenAPI description shows it."""

from __future__ import annotations

import json
from typing import Annotated

import msgspec
from fastapi import Depends, Request
from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator

from flumegate.manage.targets import Targets
from flumegate.manage.workers import Workers
from flumegate.records.manage import TargetStanding


def _workers(request: Request) -> Workers:
    workers: Workers = request.app.state.workers
    return workers


WorkersOf = Annotated[Workers, Depends(_workers)]
"""A parameter through which an endpoint gets at the workers."""


class ExplainBody(BaseModel):
    """A request that is not sent anywhere."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    method: str = Field(default="POST", pattern="^[A-Z]{1,16}$")
    path: str = Field(default="/v1/chat/completions", pattern="^/[!-~]*$", max_length=8192)
    headers: dict[str, str] = Field(default_factory=dict)
    body: JsonValue = Field(default=None, description="A JSON object; a text stands for its own bytes; null = none.")

    @field_validator("headers", "body")
    @classmethod
    def _can_be_sent(cls, value: JsonValue) -> JsonValue:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("must not hold half a surrogate pair") from None
        return value


class TargetStateShape(BaseModel):
    """How a target fares."""

    name: str
    state: TargetStanding
    in_flight: int
    queued: int
    failures: int = Field(description="In a row.")
    until_seconds: float = Field(description="How much longer it is left alone, open or cooling.")
    cooling: bool
    credentials: int
    credentials_out: int = Field(description="Those of them that the provider has refused lately.")
    latency_ms: float | None = Field(description="To the first meaningful piece of an answer, smoothed.")
    ramp: float = Field(description="Which part of its share it gets: less than 1 soon after an outage.")
    last_error: str


class TargetShape(TargetStateShape):
    """How a target fares over all workers: sums of what is under way, the worst of the rest."""

    workers: dict[str, TargetStateShape]


class TargetsShape(BaseModel):
    """The targets that are configured, or were asked for."""

    targets: list[TargetShape]
    silent: list[str] = Field(description="Workers that gave no answer in time.")


class Problem(BaseModel):
    """Why there is no result."""

    code: str
    message: str
    request_id: str


class ProblemShape(BaseModel):
    """Every refusal."""

    error: Problem


def shape_targets(found: Targets) -> TargetsShape:
    """Return targets as they are told."""
    targets = [
        TargetShape.model_validate(
            msgspec.structs.asdict(target.together)
            | {"workers": {name: msgspec.structs.asdict(state) for name, state in target.workers.items()}}
        )
        for target in found.targets
    ]
    return TargetsShape(targets=targets, silent=found.silent)
