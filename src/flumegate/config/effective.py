"""The configuration in force as text: every setting with its value, and where that value comes from.

Secrets appear as their references, or masked; so the output can be shown to others.
"""

from __future__ import annotations

import io
from pathlib import Path as FilePath
from typing import NamedTuple

from pydantic import BaseModel
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.representer import RoundTripRepresenter

from flumegate.config.load import Loaded
from flumegate.config.problem import Path, dotted
from flumegate.config.secret import Secret

_COMMENT_COLUMN = 48


class Value(NamedTuple):
    """One setting in force."""

    path: str
    value: object
    """Of JSON's types; a secret is its reference or the mask."""
    origin: str
    """`flumegate.yaml:3:5`, `$GROQ_API_KEY`, `default`."""


class _Representer(RoundTripRepresenter):
    """Writes null as a word: an empty place would read as something left out."""


_Representer.add_representer(type(None), lambda own, _: own.represent_scalar("tag:yaml.org,2002:null", "null"))


def as_tree(loaded: Loaded) -> dict[str, object]:
    """Return the configuration as nested values of JSON's types."""
    return {name: _shown(getattr(loaded.config, name)) for name in type(loaded.config).model_fields}


def as_values(loaded: Loaded) -> list[Value]:
    """Return every setting that holds a value of its own, in the order of the document."""
    found: list[Value] = []
    _collect(loaded, loaded.config, (), found)
    return found


def as_yaml(loaded: Loaded, *, origins: bool) -> str:
    """Return the configuration as YAML; with `origins`, a comment beside each value says where it is from."""
    yaml = YAML()
    yaml.Representer = _Representer
    yaml.width = 120
    text = io.StringIO()
    yaml.dump(_commented(loaded, loaded.config, (), origins=origins), text)
    return text.getvalue()


def _shown(value: object) -> object:
    if isinstance(value, BaseModel):
        return {name: _shown(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, dict):
        return {name: _shown(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_shown(each) for each in value]
    if isinstance(value, Secret):
        return value.shown
    return str(value) if isinstance(value, FilePath) else value


def _entries(value: object) -> list[tuple[str, object]]:
    if isinstance(value, BaseModel):
        return [(name, getattr(value, name)) for name in type(value).model_fields]
    return list(value.items()) if isinstance(value, dict) else []


def _collect(loaded: Loaded, value: object, path: Path, found: list[Value]) -> None:
    entries = _entries(value)
    for name, each in entries:
        _collect(loaded, each, (*path, name), found)
    if not entries:
        found.append(Value(dotted(path), _shown(value), loaded.origin(path)))


def _commented(loaded: Loaded, value: object, path: Path, *, origins: bool) -> CommentedMap:
    tree = CommentedMap()
    for name, each in _entries(value):
        place = (*path, name)
        if _entries(each):
            tree[name] = _commented(loaded, each, place, origins=origins)
            continue
        shown = _shown(each)
        tree[name] = _on_one_line(shown) if isinstance(shown, list) else shown
        if origins:
            tree.yaml_add_eol_comment(loaded.origin(place), name, column=_COMMENT_COLUMN)
    return tree


def _on_one_line(items: list[object]) -> CommentedSeq:
    sequence = CommentedSeq(items)
    sequence.fa.set_flow_style()
    return sequence
