"""A YAML file as plain values, with line and column of every key and value.

YAML 1.2 core schema (specification, §10.3.2) and nothing beyond: no tags, no second document, no duplicate key, no
YAML 1.1 surprises such as `no` for false. Anchors and `<<` merges work. Size, depth and number of values are bounded,
so that no file can make a start slow. Built from the parser's events, so that depth is bounded without recursion.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path as FilePath

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from flumegate.config.problem import ConfigInvalid, Mark, Path, Problem, dotted

MAX_BYTES = 1_048_576
MAX_DEPTH = 32
MAX_VALUES = 50_000

_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"[-+]?[0-9]{1,4000}")
_BASED = re.compile(r"0o[0-7]{1,1000}|0x[0-9a-fA-F]{1,1000}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"([-+]?)\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_CORE_TAGS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null", "map", "seq"))


@dataclass(slots=True)
class Document:
    """A file's content.

    Attributes:
        tree: dicts, lists and scalars; an empty file is an empty dict.
        keys: where the key of each mapping entry stands.
        values: where each value stands.
        problems: errors that leave the rest of the file readable: keys that are set twice.
    """

    tree: object = None
    keys: dict[Path, Mark] = field(default_factory=dict)
    values: dict[Path, Mark] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class _Node:
    mark: Mark
    value: object = None
    items: list[_Node] | None = None
    pairs: list[tuple[_Node, _Node]] | None = None
    text: str = ""
    plain: bool = False


def read(path: FilePath) -> Document:
    """Return what a YAML file says.

    Raises:
        ConfigInvalid: the file cannot be read, is not YAML, or is YAML beyond what is accepted here.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        message = f"cannot read the configuration file ({error.strerror}); correct the path or its permissions"
        raise ConfigInvalid([Problem(str(path), 0, 0, "", message)]) from None
    return parse(data, str(path))


def parse(data: bytes, name: str) -> Document:
    """Return what YAML bytes say; `name` is the file named in errors.

    Raises:
        ConfigInvalid: see `read`.
    """
    if len(data) > MAX_BYTES:
        raise _refusal(Mark(name), f"larger than {MAX_BYTES} bytes; a configuration is far smaller")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - (data.rfind(b"\n", 0, error.start) + 1) + 1
        raise _refusal(Mark(name, line, column), "not UTF-8 text; save the file as UTF-8") from None
    document = Document()
    root = _Builder(name).build(text)
    if root is None or (root.value is None and root.pairs is None and root.items is None):
        document.tree = {}
    elif root.pairs is None:
        raise _refusal(root.mark, 'must be settings, one "name: value" a line')
    else:
        document.tree = _Planter(document).plant(root, ())
    return document


def _refusal(mark: Mark, message: str, path: str = "") -> ConfigInvalid:
    return ConfigInvalid([Problem(mark.file, mark.line, mark.column, path, message)])


class _Builder:
    """Turns events into nodes, iteratively."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._stack: list[_Node] = []
        self._pending: list[_Node | None] = []
        self._anchors: dict[str, _Node] = {}
        self._root: _Node | None = None

    def build(self, text: str) -> _Node | None:
        yaml = YAML(typ="safe", pure=True)
        try:
            for event in yaml.parse(text):
                self._take(event)
        except MarkedYAMLError as error:
            place = error.problem_mark or error.context_mark
            mark = Mark(self._name, place.line + 1, place.column + 1) if place else Mark(self._name)
            reason = " ".join(part for part in (error.context, error.problem) if part)
            raise _refusal(mark, f"not valid YAML: {reason}") from None
        except YAMLError as error:
            position = getattr(error, "position", None)
            mark = Mark(self._name)
            if isinstance(position, int):
                before = text[:position]
                mark = Mark(self._name, before.count("\n") + 1, position - before.rfind("\n"))
            raise _refusal(mark, "not valid YAML: it holds a control character; remove it") from None
        return self._root

    def _take(self, event: Event) -> None:
        if isinstance(event, DocumentStartEvent):
            if self._root is not None:
                raise _refusal(self._mark(event), "a second document begins here; keep one, without further --- lines")
            if event.version not in {None, (1, 2)}:
                raise _refusal(self._mark(event), "only YAML 1.2 is read here; remove the %YAML line")
        elif isinstance(event, MappingEndEvent | SequenceEndEvent):
            self._stack.pop()
            self._pending.pop()
        elif isinstance(event, NodeEvent):
            self._place(self._node(event), event)

    def _node(self, event: NodeEvent) -> _Node:
        mark = self._mark(event)
        if isinstance(event, AliasEvent):
            known = self._anchors.get(event.anchor)
            if known is None:
                raise _refusal(mark, f"the alias *{event.anchor} names no anchor above it; define &{event.anchor}")
            if known in self._stack:
                raise _refusal(mark, f"the alias *{event.anchor} stands inside its own anchor; write the value out")
            # A copy of the outside only: errors inside point to the anchor, errors about the whole to the alias.
            return _Node(mark, known.value, known.items, known.pairs, known.text, known.plain)
        if not isinstance(event, ScalarEvent | SequenceStartEvent | MappingStartEvent):
            raise _refusal(mark, "this kind of YAML value is not accepted; write a plain value")
        tag = None if event.tag is None else str(event.tag)
        if tag is not None and tag not in _CORE_TAGS:
            raise _refusal(mark, f"the tag {tag} is not accepted; write the plain value")
        if isinstance(event, ScalarEvent):
            event.value = _joined(event.value, mark)
            plain = event.implicit[0] and tag is None
            typed = plain or (tag is not None and tag != "tag:yaml.org,2002:str")
            value = _scalar(event.value) if typed else event.value
            node = _Node(mark, value, text=event.value, plain=plain)
        elif isinstance(event, SequenceStartEvent):
            node = _Node(mark, items=[])
        else:
            node = _Node(mark, pairs=[])
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _place(self, node: _Node, event: NodeEvent) -> None:
        if not self._stack:
            self._root = node
        else:
            parent = self._stack[-1]
            if parent.items is not None:
                parent.items.append(node)
            elif parent.pairs is not None:
                key = self._pending[-1]
                if key is None:
                    if node.items is not None or node.pairs is not None:
                        raise _refusal(node.mark, "a key must be a plain name; put the mapping or list behind a name")
                    self._pending[-1] = node
                else:
                    parent.pairs.append((key, node))
                    self._pending[-1] = None
        if isinstance(event, MappingStartEvent | SequenceStartEvent):
            if len(self._stack) >= MAX_DEPTH:
                raise _refusal(node.mark, f"nested deeper than {MAX_DEPTH} levels; no setting stands that deep")
            self._stack.append(node)
            self._pending.append(None)

    def _mark(self, event: Event) -> Mark:
        return Mark(self._name, event.start_mark.line + 1, event.start_mark.column + 1)


class _Planter:
    """Turns nodes into plain values and notes where each stands; repeats what aliases repeat, within bounds."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._count = 0

    def plant(self, node: _Node, path: Path, *, merged: int = 0) -> object:
        self._count += 1
        if self._count > MAX_VALUES or len(path) + merged > MAX_DEPTH:
            raise _refusal(node.mark, "aliases repeat too much here; write the values out", dotted(path))
        self._document.values.setdefault(path, node.mark)
        if node.items is not None:
            return [self.plant(item, (*path, index)) for index, item in enumerate(node.items)]
        if node.pairs is not None:
            return self._mapping(node, path, merged)
        return node.value

    def _mapping(self, node: _Node, path: Path, merged: int) -> dict[str, object]:
        own: dict[str, object] = {}
        merges: list[_Node] = []
        for key, value in node.pairs or ():
            if key.plain and key.text == "<<":
                merges += value.items if value.items is not None else [value]
                continue
            place = (*path, key.text)
            if key.text in own:
                first = self._document.keys[place]
                message = f"is set twice (first in line {first.line}); remove one of the two"
                mark = key.mark
                self._document.problems.append(Problem(mark.file, mark.line, mark.column, dotted(place), message))
                continue
            self._document.keys[place] = key.mark
            if value.plain and not value.text:
                # The parser places what is left out where the next thing begins, lines below perhaps.
                value.mark = key.mark
            own[key.text] = self.plant(value, place)
        for source in merges:
            if source.pairs is None:
                raise _refusal(source.mark, "<< takes a mapping or a list of mappings", dotted(path))
            # Own keys win over merged ones, earlier merges over later ones.
            for name, merged_value in self._merged(source, path, merged + 1).items():
                own.setdefault(name, merged_value)
        return own

    def _merged(self, source: _Node, path: Path, merged: int) -> dict[str, object]:
        apart = Document()
        planter = _Planter(apart)
        planter._count = self._count
        value = planter.plant(source, path, merged=merged)
        self._count = planter._count
        for place, mark in apart.keys.items():
            self._document.keys.setdefault(place, mark)
        for place, mark in apart.values.items():
            self._document.values.setdefault(place, mark)
        return value if isinstance(value, dict) else {}


def _joined(text: str, mark: Mark) -> str:
    """Return a scalar whose characters beyond U+FFFF may be written as JSON writes them, in two escapes.

    Raises:
        ConfigInvalid: half of such a pair, which is no character.
    """
    if text.isascii():
        return text
    try:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    except UnicodeDecodeError:
        raise _refusal(mark, "this text holds half of a surrogate pair; write the character itself") from None


def _scalar(text: str) -> object:
    """Return a plain scalar by the YAML 1.2 core schema."""
    special = _SPECIAL.fullmatch(text)
    value: object = text
    if text in _NULL:
        value = None
    elif text in _BOOLEANS:
        value = _BOOLEANS[text]
    elif _INTEGER.fullmatch(text):
        value = int(text)
    elif _BASED.fullmatch(text):
        value = int(text, 0)
    elif _FLOAT.fullmatch(text):
        value = float(text)
    elif special:
        value = math.nan if special[3] else float(f"{special[1]}inf")
    return value
