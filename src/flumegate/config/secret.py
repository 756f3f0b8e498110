"""A secret: written as a reference, resolved at load, and masked in every text form.

`env:NAME` and `file:/path` are references; anything else is the secret itself, which works but is warned about.
A reference that leads nowhere is an error here, at start, rather than a 401 later.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from flumegate.config.problem import wrong

MASK = "****"
_MAX_BYTES = 65_536
_OTHERS_READ = stat.S_IROTH | stat.S_IWOTH


class Secret:
    """A value that is shown only on request.

    Attributes:
        reference: `env:NAME` or `file:/path` as written; empty for a literal.
    """

    __slots__ = ("_value", "reference")

    def __init__(self, value: str, reference: str = "") -> None:
        self._value = value
        self.reference = reference

    def reveal(self) -> str:
        """Return the secret itself."""
        return self._value

    def entries(self) -> list[str]:
        """Return the secrets of a list: a variable separates them by commas, a file by lines, a literal is one."""
        if self.reference.startswith("env:"):
            parts = self._value.split(",")
        elif self.reference.startswith("file:"):
            parts = self._value.splitlines()
        else:
            parts = [self._value]
        return [part.strip() for part in parts if part.strip()]

    @property
    def file(self) -> Path | None:
        """The file that a `file:` reference names."""
        return Path(self.reference.removeprefix("file:")) if self.reference.startswith("file:") else None

    @property
    def shown(self) -> str:
        """What may be printed: the reference, or the mask; a URL without a credential is none and is shown whole."""
        if self.reference:
            return self.reference
        if "://" in self._value and "@" not in self._value:
            return self._value
        return MASK

    @property
    def is_literal(self) -> bool:
        """True if a secret stands in the configuration itself."""
        return self.shown == MASK

    def __repr__(self) -> str:
        return f"Secret({self.shown})"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return (self._value, self.reference) == (other._value, other.reference)

    def __hash__(self) -> int:
        return hash((self._value, self.reference))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(
            cls._read, serialization=core_schema.plain_serializer_function_ser_schema(lambda secret: secret.shown)
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "examples": ["env:NAME", "file:/run/secrets/name"]}

    @classmethod
    def _read(cls, value: object, info: ValidationInfo) -> Secret:
        if isinstance(value, Secret):
            return value
        if not isinstance(value, str):
            raise wrong("must be text; write env:NAME, file:/path, or the value in quotes")
        environ: Mapping[str, str] = (info.context or {}).get("environ", {})
        return resolve(value, environ)


def resolve(text: str, environ: Mapping[str, str]) -> Secret:
    """Return the secret that a setting's text means.

    Raises:
        PydanticCustomError: the reference leads nowhere, or to something that others may read.
    """
    if text.startswith("env:"):
        return Secret(_from_environment(text.removeprefix("env:"), environ), text)
    if text.startswith("file:"):
        return Secret(_from_file(Path(text.removeprefix("file:"))), text)
    if not text.strip():
        raise wrong("is empty; write env:NAME or file:/path, or remove the setting")
    return Secret(text)


def check_private(path: Path) -> None:
    """Make sure that a file which holds a secret exists and that only its owner and group may read it.

    Raises:
        PydanticCustomError: with the remedy.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise wrong(f"cannot read {path} ({error.strerror}); create it or correct the path") from None
    if not stat.S_ISREG(mode):
        raise wrong(f"{path} is not a regular file; name the file that holds the secret")
    if mode & _OTHERS_READ:
        raise wrong(f"every user of this machine may read or write {path}; run: chmod 600 {path}")


def _from_environment(name: str, environ: Mapping[str, str]) -> str:
    if not name:
        raise wrong("names no environment variable; write env:NAME")
    value = environ.get(name)
    if value is None:
        raise wrong(f"the environment variable {name} is not set; set it before the start, or correct the name")
    if not value.strip():
        raise wrong(f"the environment variable {name} is empty; give it the secret's value")
    return value.strip()


def _from_file(path: Path) -> str:
    check_private(path)
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
        text = data.decode("utf-8").strip()
    except OSError as error:
        user = f"user {os.geteuid()}"
        raise wrong(f"cannot read {path} ({error.strerror}); let {user} read it, or correct the path") from None
    except UnicodeDecodeError:
        raise wrong(f"{path} is not a text file in UTF-8; store the secret as plain text") from None
    if len(data) > _MAX_BYTES:
        raise wrong(f"{path} is larger than {_MAX_BYTES} bytes; name the file that holds only the secret")
    if not text:
        raise wrong(f"{path} is empty; write the secret into it")
    return text
