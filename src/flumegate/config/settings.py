"""The settings as rows: name, type, default, environment variable and help, read off the types in `sections`.

The reference page, the example file, `config show` and the overrides by environment all go through here, so that none
of them can name a setting that does not exist.
"""

from __future__ import annotations

import json
import re
import types
from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Annotated, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from flumegate.config.problem import Path
from flumegate.config.secret import Secret
from flumegate.config.sections import Config
from flumegate.config.shapes import NotYet

PREFIX = "FLUMEGATE_"
_PLACEHOLDERS = {"providers": "<name>", "models": "<model>", "prices": "<model>", "headers": "<header>"}


class Setting(NamedTuple):
    """One row of the reference."""

    path: str
    """`providers.<name>.timeouts.connect`."""
    kind: str
    default: str
    """As it would be written in YAML; `required` where there is none."""
    variable: str
    help: str
    is_available: bool
    """False: its feature comes with a later release."""


def bare(annotation: object) -> object:
    """Return a type without its constraints and without `| None`."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return bare(get_args(annotation)[0])
    if origin in {Union, types.UnionType}:
        parts = [part for part in get_args(annotation) if part is not type(None)]
        if len(parts) == 1:
            return bare(parts[0])
    return annotation


def is_nullable(annotation: object) -> bool:
    """Tell whether a type takes null."""
    if get_origin(annotation) is Annotated:
        return is_nullable(get_args(annotation)[0])
    return type(None) in get_args(annotation)


def section_of(annotation: object) -> type[BaseModel] | None:
    """Return the section that a type is, if it is one."""
    plain = bare(annotation)
    return plain if isinstance(plain, type) and issubclass(plain, BaseModel) else None


def item_of(annotation: object, kind: type) -> object | None:
    """Return what a list (`kind` is list) or the values of a mapping (dict) hold; None if the type is no such one."""
    plain = bare(annotation)
    return get_args(plain)[-1] if get_origin(plain) is kind else None


def section_at(path: Path) -> type[BaseModel] | None:
    """Return the section that stands at a path, if one does."""
    annotation: object = Config
    for part in path:
        section = section_of(annotation)
        if section is not None:
            field = section.model_fields.get(str(part))
            annotation = None if field is None else field.annotation
        else:
            annotation = item_of(annotation, list if isinstance(part, int) else dict)
        if annotation is None:
            return None
    return section_of(annotation)


def is_not_yet(field: FieldInfo) -> bool:
    """Tell whether a setting's feature comes with a later release."""
    return any(isinstance(entry, NotYet) for entry in field.metadata)


def walk(value: object, path: Path = ()) -> Iterator[tuple[Path, FieldInfo | None, object]]:
    """Yield every setting of a configuration with its path and its row, items of lists and mappings included."""
    if isinstance(value, BaseModel):
        for name, field in type(value).model_fields.items():
            child = getattr(value, name)
            yield (*path, name), field, child
            yield from walk(child, (*path, name))
    elif isinstance(value, dict):
        for name, child in value.items():
            yield (*path, name), None, child
            yield from walk(child, (*path, name))
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield (*path, index), None, child
            yield from walk(child, (*path, index))


def as_variable_part(name: str) -> str:
    """Return a name as it stands in an environment variable: `gpt-4o` becomes `GPT_4O`."""
    return re.sub(r"[^A-Z0-9]", "_", name.upper())


def rows(section: type[BaseModel] = Config, path: Path = (), *, available: bool = True) -> Iterator[Setting]:
    """Yield every setting in the order of the document."""
    for name, field in section.model_fields.items():
        place = (*path, name)
        is_available = available and not is_not_yet(field)
        inner, inside = section_of(field.annotation), place
        if inner is None:
            inner = section_of(item_of(field.annotation, dict))
            inside = (*place, _PLACEHOLDERS.get(name, "<name>"))
        if inner is None:
            inner = section_of(item_of(field.annotation, list))
            inside = (*place, "[]")
        if inner is None or inside != place:
            yield _row(place, field, is_available=is_available)
        if inner is not None:
            yield from rows(inner, inside, available=is_available)


def _row(path: Path, field: FieldInfo, *, is_available: bool) -> Setting:
    text = ".".join(str(part) for part in path).replace(".[]", "[]")
    variable = PREFIX + "__".join(part if "<" in part else part.upper() for part in map(str, path))
    inside_list = "[]" in path
    return Setting(
        text,
        kind_of(field.annotation),
        "required" if field.is_required() else as_yaml(field.get_default(call_default_factory=True)),
        "" if inside_list else variable,
        field.description or "",
        is_available,
    )


def kind_of(annotation: object) -> str:
    """Return a type in the words of the reference: `text`, `whole number`, `keys | open`, `list of text`."""
    plain = bare(annotation)
    if get_origin(plain) is Literal:
        words = " | ".join(str(choice) for choice in get_args(plain))
    elif get_origin(plain) is list:
        inner = section_of(get_args(plain)[0])
        words = "list" if inner or get_args(plain)[0] is object else f"list of {kind_of(get_args(plain)[0])}"
    elif get_origin(plain) is dict or section_of(plain):
        words = "mapping"
    else:
        known = {str: "text", int: "whole number", float: "number", bool: "true | false", Secret: "secret"}
        words = known.get(plain, "path" if plain is FilePath else "any") if isinstance(plain, type) else "any"
    return f"{words} | null" if is_nullable(annotation) else words


def as_yaml(value: object) -> str:
    """Return a default as it would be written in a YAML flow."""
    if isinstance(value, Secret):
        return json.dumps(value.shown)
    if isinstance(value, BaseModel):
        return "{}"
    if isinstance(value, FilePath):
        return f"./{value}"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z/][A-Za-z0-9/._-]*", value) and value not in {"null", "true"}:
        return value
    return json.dumps(value)
