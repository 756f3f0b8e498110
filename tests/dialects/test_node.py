from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flumegate.dialects.node import Node, ReadError, give_back
from flumegate.ir.parts import Extras
from rig import cuts

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
TAKERS: dict[str, tuple[Callable[[Node, str], Any], bytes, Any, Any, bytes]] = {
    # taker -> (call, raw JSON that fits, what it gives, what an absent one gives, raw JSON that does not fit)
    "raw": (Node.raw, b'{"x": 1.50}', b'{"x": 1.50}', b"", b""),
    "string": (Node.string, b'"tide"', "tide", None, b"1"),
    "text": (Node.text, b'"tide"', "tide", "", b"[]"),
    "integer": (Node.integer, b"7", 7, None, b"7.5"),
    "huge integer": (Node.integer, b"1" + b"0" * 30, 10**30, None, b'"7"'),
    "number": (Node.number, b"7", 7.0, None, b"1e999"),
    "boolean": (Node.boolean, b"false", False, None, b"0"),
    "strings": (Node.strings, b'["a","b"]', ("a", "b"), (), b'["a",1]'),
    "items": (Node.items, b"[]", [], [], b"{}"),
}


def node(**members: bytes) -> Node:
    inner = b",".join(b'"%b":%b' % (name.encode(), raw) for name, raw in members.items())
    return Node(b"{%b}" % inner, "chat", "messages[2]")


@pytest.mark.parametrize("name", TAKERS)
def test_a_member_is_taken_once(name: str) -> None:
    """What is taken is gone, so that the rest is what nobody took; null counts as absent."""
    take, raw, value, absent, _ = TAKERS[name]
    subject = node(member=raw, other=b"1")
    assert take(subject, "member") == value
    assert take(subject, "member") == absent
    assert subject.left() == Extras("chat", {"other": msgspec.Raw(b"1")})
    assert take(node(member=b"null"), "member") == absent


@pytest.mark.parametrize("name", [name for name, case in TAKERS.items() if case[4]])
def test_a_member_of_the_wrong_type_is_named(name: str) -> None:
    """The error says where it is and what it should be."""
    take, _, _, _, wrong = TAKERS[name]
    with pytest.raises(ReadError) as caught:
        take(node(member=wrong), "member")
    assert caught.value.path == "messages[2].member"
    assert caught.value.detail.startswith("It must be ")
    assert str(caught.value).startswith("messages[2].member: ")


@pytest.mark.parametrize(
    "raw",
    [b"", b"[]", b"7", b"null", b"{", b'{"a":1}x', b"\xff", b'{"a":' + b"[" * 100_000, b'{"\xff":1}', b'{"a":NaN}'],
)
def test_what_is_no_object_is_no_node(raw: bytes) -> None:
    """Everything that is not one JSON object is refused at its place, depth bombs and broken text included."""
    with pytest.raises(ReadError, match="JSON object") as caught:
        Node(raw, "chat")
    assert caught.value.path == ""
    assert str(caught.value) == caught.value.detail


def test_a_required_member_must_be_there() -> None:
    """Absent and null are the same mistake."""
    assert node(model=b'"tern-2"').required("model") == "tern-2"
    for subject in (node(), node(model=b"null")):
        with pytest.raises(ReadError, match=r"messages\[2\].model: It is required."):
            subject.required("model")


def test_objects_inside_know_their_place() -> None:
    """A path leads from the document to the member at fault."""
    subject = node(image=b'{"url":7}', parts=b'[{"type":"text"},{"type":1}]')
    image = subject.node("image")
    assert image is not None
    assert (image.path, image.dialect) == ("messages[2].image", "chat")
    parts = subject.nodes("parts")
    assert [part.path for part in parts] == ["messages[2].parts[0]", "messages[2].parts[1]"]
    with pytest.raises(ReadError, match=r"messages\[2\].parts\[1\].type: It must be a string"):
        parts[1].text("type")
    assert subject.node("image") is None
    assert subject.nodes("parts") == []
    with pytest.raises(ReadError, match=r"messages\[2\].parts\[0\]: It must be a JSON object"):
        node(parts=b"[7]").nodes("parts")
    with pytest.raises(ReadError, match=r"messages\[2\].image: It must be a JSON object"):
        node(image=b'"x"').node("image")
    assert Node(b"{}", "chat").at("seed") == "seed"


def test_looking_takes_nothing() -> None:
    """A reader may ask for the kind of a member before it decides how to take it."""
    subject = node(text=b'"a"', items=b"[]", nothing=b"null")
    assert ("text" in subject, "nothing" in subject, "absent" in subject) == (True, False, False)
    assert (subject.is_string("text"), subject.is_string("items"), subject.is_string("absent")) == (True, False, False)
    assert (subject.is_list("items"), subject.is_list("text"), subject.is_list("absent")) == (True, False, False)
    assert subject.text("text") == "a"


def test_vital_members_are_named_only_where_they_are() -> None:
    """The rest is kept, nulls aside; what changes the meaning is marked if it is there."""
    subject = node(audio=b"{}", seed=b"1", modalities=b"null")
    extras = subject.left(vital=("audio", "modalities", "prediction"))
    assert extras == Extras("chat", {"audio": msgspec.Raw(b"{}"), "seed": msgspec.Raw(b"1")}, ("audio",))
    assert node(a=b"null").left(vital=("a",)) is None


def test_trivial_members_are_kept_and_marked() -> None:
    """Ids and echoes come back to their own dialect; others need not report them."""
    extras = node(id=b'"a"', seed=b"1").left(trivial=("id", "status"))
    assert extras == Extras("chat", {"id": msgspec.Raw(b'"a"'), "seed": msgspec.Raw(b"1")}, (), ("id",))


def test_own_members_are_given_back_and_never_over_others() -> None:
    """Only the dialect that left them over writes them, and what the writer said itself stands."""
    extras = Extras("chat", {"seed": msgspec.Raw(b"1"), "annex": msgspec.Raw(b"2")})
    members: dict[str, Any] = {"seed": 5}
    give_back(members, extras, "chat", "completions")
    assert members == {"seed": 5, "annex": msgspec.Raw(b"2")}
    give_back(members, extras, "messages")
    give_back(members, None, "chat")
    assert list(members) == ["seed", "annex"]


@cuts.law
@given(st.dictionaries(st.text(max_size=4), JSON, max_size=5))
def test_what_nobody_takes_comes_back_as_it_was(document: dict[str, Any]) -> None:
    """Any object, read and given back, is the same but for its nulls."""
    members: dict[str, Any] = {}
    give_back(members, Node(msgspec.json.encode(document), "chat").left(), "chat")
    expected = {name: value for name, value in document.items() if value is not None}
    assert msgspec.json.decode(msgspec.json.encode(members)) == expected
