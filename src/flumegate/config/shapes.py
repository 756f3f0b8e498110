"""What every section of the configuration is made of: its base, the types of values that several have, NOT_YET."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator


class NotYet:
    """Marks a setting whose feature this release does not have."""

    def __repr__(self) -> str:
        return "NOT_YET"


NOT_YET = NotYet()
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""What names of header fields and methods are made of (RFC 9110, §5.6.2)."""
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
Delay = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Bytes = Annotated[int, Field(ge=1, le=2**40)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Section(BaseModel):
    """A part of the configuration.

    An entry left empty means its default, as in `providers:` with all that is below it commented out.
    """

    # Only Config is ever validated: building each section's own validator would cost half the time of a load.
    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, protected_namespaces=(), defer_build=True
    )

    @model_validator(mode="before")
    @classmethod
    def _empty_is_default(cls, data: object) -> object:
        if not isinstance(data, dict):
            return data
        return {name: value for name, value in data.items() if value is not None or name not in cls.model_fields}
