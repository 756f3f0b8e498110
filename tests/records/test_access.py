from __future__ import annotations

import msgspec
import pytest

from flumegate.records.access import Budget, Key, Limits, Project
from flumegate.records.balance import Balance, Sought

KEY = Key(
    "k",
    "p",
    "revoked",
    5.0,
    ("m*",),
    ("chat",),
    ("10.0.0.0/8",),
    ("t",),
    Limits(1, 2, 3, 4),
    (Budget("key:k", "day", 7, 8, 9, 10.0),),
    "first",
)
PROJECT = Project("p", "name", False, ("m",), ("chat",), Limits(1), (Budget("project:p", "total", 1),), "openai")


def test_a_key_that_replaced_another_counts_where_that_one_did() -> None:
    """Its budgets stand under the first key's id."""
    assert (Key("new", account="first").scope, Key("only").scope) == ("key:first", "key:only")


@pytest.mark.parametrize(
    "value",
    [
        KEY,
        PROJECT,
        Key("k"),
        Project("p", "n"),
        Sought(("key:k",), ("key:k@total",)),
        Balance({"key:k": 1}, {"key:k@total": 2}),
    ],
)
def test_values_travel_whole(value: Key | Project | Sought | Balance) -> None:
    """Between control and workers nothing of them is lost."""
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(value), type=type(value)) == value


def test_an_older_row_is_read_by_a_newer_release() -> None:
    """Fields are only appended: what an old control did not write has its default."""
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(["k", "p"]), type=Key) == Key("k", "p")


def test_a_key_is_known_by_its_id_alone() -> None:
    """There is no field that a secret could stand in."""
    assert not {"secret", "key", "digest"} & set(Key.__struct_fields__)
