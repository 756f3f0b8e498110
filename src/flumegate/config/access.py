"""Who may use the gateway, what it keeps secret, and what models cost: sections of the configuration.

What stands in the file, the file owns; keys, projects, budgets and credentials of the database stand beside it.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from flumegate.config.problem import wrong
from flumegate.config.secret import Secret
from flumegate.config.shapes import Seconds, Section

KEYS_MAX_AGE = 3600.0
MICROS = 1_000_000
"""A dollar."""
_PATTERN = re.compile(r"[^\s*]*\*?[^\s*]*")
Dollars = Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]


def _check_redis(secret: Secret) -> Secret:
    if not re.match(r"(rediss?://[^/\s]+|unix:///)", secret.reveal()):
        raise wrong("must be redis://host:port/number, rediss:// for TLS, or unix:///path")
    return secret


def _check_pattern(text: str) -> str:
    if not text or not _PATTERN.fullmatch(text):
        raise wrong(f'"{text}" names no model; write provider/model or a model, with one * at most')
    return text


ModelPattern = Annotated[str, AfterValidator(_check_pattern)]


class Auth(Section):
    """Who may use the gateway."""

    mode: Literal["keys", "open"] = Field(
        default="keys", description="keys: every request needs a key; open: none is asked for, on loopback only."
    )
    static_keys: list[Secret] = Field(
        default_factory=list,
        description="Client keys, any text of 16 characters or more that you already use. Without one, the first start "
        "makes a key and prints it.",
    )
    keys_max_age: Annotated[float, Field(ge=1, le=2_592_000, allow_inf_nan=False)] = Field(
        default=KEYS_MAX_AGE,
        description="Seconds for which the database's keys are believed while the database does not answer.",
    )


class Encryption(Section):
    """What the credentials in the database are sealed with."""

    keys: list[Secret] = Field(
        default_factory=list,
        description="Master keys, as env:NAME or file:/path: all of them open, the first one seals. Empty = "
        "master.key in data_dir, made at the first start.",
    )


class Redis(Section):
    """State shared by several workers or machines."""

    url: Annotated[Secret, AfterValidator(_check_redis)] | None = Field(
        default=None,
        description="redis:// URL. Needed for limits and budgets with more than one worker. Its client comes with "
        "`make setup`; a package is installed with it as flumegate[redis].",
    )
    timeout: Seconds = Field(
        default=0.1,
        description="Seconds for which a request waits for Redis; then each worker decides on its own share until "
        "Redis answers again.",
    )


class ModelPrice(Section):
    """What a model costs, in dollars per million tokens."""

    input: Dollars | None = Field(default=None, description="Input tokens, in dollars per million; null = not known.")
    output: Dollars | None = Field(default=None, description="Output tokens, reasoning among them; null = not known.")
    cached_input: Dollars | None = Field(
        default=None, description="Input tokens that the provider's cache knew; null = the same as input."
    )
    cache_write: Dollars | None = Field(
        default=None, description="Input tokens that are written to the provider's cache; null = the same as input."
    )
