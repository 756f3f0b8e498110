from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flumegate.config.document import MAX_BYTES, parse, read
from flumegate.config.problem import ConfigInvalid, Mark

_LAUGHS = b"a: &a [1,1,1,1,1,1,1,1,1,1]\n" + b"".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 10)}]\n".encode()
    for before, name in zip("abcdef", "bcdefg", strict=True)
)


def refused(data: bytes) -> str:
    with pytest.raises(ConfigInvalid) as caught:
        parse(data, "f.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("1:30", "1:30"),
        ("2024-10-21", "2024-10-21"),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("1_000", "1_000"),
        ("-7", -7),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ('"5"', "5"),
        ("!!str 5", "5"),
        (".inf", float("inf")),
        ("sk-1", "sk-1"),
    ],
)
def test_scalars_are_read_by_the_core_schema_of_yaml_1_2(text: str, value: object) -> None:
    """`no` is a text, a date is a text, and `010` is ten."""
    tree = parse(f"a: {text}".encode(), "f.yaml").tree
    assert tree == {"a": value}
    assert isinstance(tree, dict)
    assert type(tree["a"]) is type(value)


def test_every_key_and_value_has_its_place() -> None:
    """Lines and columns count from one, in blocks and in flows."""
    document = parse(b"a:\n  b: {c: [1, two]}\n", "f.yaml")
    assert document.tree == {"a": {"b": {"c": [1, "two"]}}}
    assert document.keys["a", "b", "c"] == Mark("f.yaml", 2, 7)
    assert document.values["a", "b", "c", 1] == Mark("f.yaml", 2, 14)


def test_a_value_that_is_left_out_stands_where_its_name_stands() -> None:
    """The line below is about something else."""
    document = parse(b"a:\n  b:\n  # nothing here\nc: {d: , e: 1}\n", "f.yaml")
    assert document.tree == {"a": {"b": None}, "c": {"d": None, "e": 1}}
    assert document.values["a", "b"] == Mark("f.yaml", 2, 3)
    assert document.values["c", "d"] == Mark("f.yaml", 4, 5)


@pytest.mark.parametrize("data", [b"", b"# only a comment\n", b"---\n", b"null\n", b"\xef\xbb\xbf"])
def test_an_empty_file_is_no_settings(data: bytes) -> None:
    """A file that says nothing is valid."""
    assert parse(data, "f.yaml").tree == {}


def test_anchors_and_merges_repeat_values() -> None:
    """An own key wins over a merged one, an earlier merge over a later one; places point to where the text stands."""
    document = parse(b"x: &x {a: 1, b: 2}\ny: &y {b: 3, c: 4}\nz:\n  <<: [*x, *y]\n  a: 9\nw: *x\n", "f.yaml")
    assert isinstance(document.tree, dict)
    assert document.tree["z"] == {"a": 9, "b": 2, "c": 4}
    assert document.tree["w"] == {"a": 1, "b": 2}
    assert document.values["z", "b"].line == 1
    assert document.values["z", "a"].line == 5


def test_keys_set_twice_are_all_reported() -> None:
    """Each repeated key is a problem at its own place, naming the first one."""
    document = parse(b"a: 1\nb: {c: 1, c: 2}\na: 2\n", "f.yaml")
    assert sorted(str(problem) for problem in document.problems) == [
        "f.yaml:2:11: b.c: is set twice (first in line 2); remove one of the two",
        "f.yaml:3:1: a: is set twice (first in line 1); remove one of the two",
    ]


@pytest.mark.parametrize(
    ("data", "begins"),
    [
        (b"a: [1,", "f.yaml:1:7: not valid YAML"),
        (b"a:\n\tb: 1", "f.yaml:2:1: not valid YAML"),
        (b"a: b: c", "f.yaml:1:5: not valid YAML"),
        (b'ok: 1\na: "x', "f.yaml:2:6: not valid YAML"),
        (b"a: 1\nb: \x07", "f.yaml:2:4: not valid YAML: it holds a control character"),
        (b"a: 1\nb: \xff", "f.yaml:2:4: not UTF-8 text"),
        (b"a: !foo 1", "f.yaml:1:4: the tag !foo is not accepted"),
        (b"a: !!python/object:os.system x", "f.yaml:1:4: the tag tag:yaml.org,2002:python/object:os.system"),
        (b"a: *b", "f.yaml:1:4: the alias *b names no anchor"),
        (b"a: &b [*b]", "f.yaml:1:8: the alias *b stands inside its own anchor"),
        (b"a: 1\n---\nb: 1", "f.yaml:2:1: a second document begins here"),
        (b"%YAML 1.1\n---\na: 1", "f.yaml:2:1: only YAML 1.2"),
        (b"? [1]\n: 2", "f.yaml:1:3: a key must be a plain name"),
        (b"a: {<<: 1}", "f.yaml:1:9: a: << takes a mapping"),
        (b"- 1", 'f.yaml:1:1: must be settings, one "name: value" a line'),
        (b"word", 'f.yaml:1:1: must be settings, one "name: value" a line'),
        (b"[" * 100_000, "f.yaml:1:33: nested deeper than 32 levels"),
        (b"#" * (MAX_BYTES + 1), "f.yaml: larger than 1048576 bytes"),
        (_LAUGHS, "f.yaml:1:"),
    ],
)
def test_what_is_not_plain_yaml_is_refused_with_its_place(data: bytes, begins: str) -> None:
    """Bad syntax, tags, loops, floods and further documents are located errors, never exceptions of a library."""
    assert refused(data).startswith(begins)


def test_a_file_that_cannot_be_read_is_a_problem_like_any_other(tmp_path: Path) -> None:
    """The system's own word for it, and what to do."""
    (tmp_path / "f.yaml").write_text("a: 1", encoding="utf-8")
    assert read(tmp_path / "f.yaml").tree == {"a": 1}
    with pytest.raises(ConfigInvalid, match="cannot read the configuration file"):
        read(tmp_path)


@given(st.binary(max_size=200) | st.text(alphabet="ab:-[]{}&*!<>|\n \"'#?%,1", max_size=60).map(str.encode))
def test_no_bytes_bring_the_reader_down(data: bytes) -> None:
    """Whatever a file holds, the answer is a document or located problems."""
    try:
        found = parse(data, "f.yaml").problems
    except ConfigInvalid as invalid:
        found = [*invalid.problems, invalid.problems[0]]
    assert all(problem.file == "f.yaml" and problem.message for problem in found)


def test_a_character_in_two_escapes_is_one_character() -> None:
    """JSON is YAML, and JSON writes what lies beyond U+FFFF as a pair."""
    assert parse(rb'a: "\ud83d\ude00"', "f.yaml").tree == {"a": "\U0001f600"}
    with pytest.raises(ConfigInvalid, match=r"f.yaml:1:4: .*surrogate"):
        parse(rb'a: "\ud83d"', "f.yaml")
