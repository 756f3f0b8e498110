from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from flumegate.wire import splice
from rig import cuts

KEY = b'"model"'
SPELLINGS = ['"model"', '"\\u006dodel"', '"m\\u006Fdel"', '"mode\\u006c"', '"\\u006D\\u006f\\u0064\\u0065\\u006c"']
OTHER_KEYS = ['"messages"', '"Model"', '"model "', '"\\\\u006dodel"', '"mo\\"del"', '"\\"model"', '"model\\\\"', '""']
SPACE = st.sampled_from(["", " ", "\n", "\t ", "\r\n"])
SCALARS = st.sampled_from(
    [
        "null",
        "true",
        "9007199254740993",
        "1.0",
        "-1E+400",
        '"model"',
        '"\\"model\\":"',
        '"\\\\"',
        '"{[:,]}"',
        '"\\ud83d\\ude00"',
        '"\u2028\x7fü"',
    ]
)


def objects(values: st.SearchStrategy[str], keys: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    member = st.tuples(SPACE, keys, SPACE, SPACE, values, SPACE).map(lambda m: f"{m[0]}{m[1]}{m[2]}:{m[3]}{m[4]}{m[5]}")
    return st.lists(member, min_size=1, max_size=4).map(lambda members: "{" + ",".join(members) + "}")


def arrays(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(values, max_size=3).map(lambda items: "[" + " , ".join(items) + "]")


KEYS = st.sampled_from([*SPELLINGS, *OTHER_KEYS])
VALUES = st.recursive(SCALARS, lambda inner: arrays(inner) | objects(inner, KEYS), max_leaves=6)
DOCUMENTS = st.tuples(SPACE, objects(VALUES, KEYS), SPACE).map("".join)


def pairs_of(document: str) -> list[tuple[str, Any]]:
    """Read the top-level members with the standard library, duplicates kept."""
    decoder = json.JSONDecoder(object_pairs_hook=lambda pairs: pairs, parse_int=str, parse_float=str)
    pairs: list[tuple[str, Any]] = decoder.decode(document)
    return pairs


def models_of(document: str) -> list[Any]:
    return [value for key, value in pairs_of(document) if key == "model"]


@cuts.law
@given(DOCUMENTS)
@example('{"a":{"model":1},"b":{"model":2}}')
@example('{"a":"\\u006d"}')
@example('{"model":1,"a":{"model":2}}')
@example('{"a":[1,2,3,4,5,6,7,8],"model":1,"a":[1,2,3,4,5,6,7,8],"model":2}')
@example('{"a":"[1,2]","b":[1,2],"model":1,"b":[1,2,3,4,5,6,7,8,9,0,11,12,13,14,15],"model":2}')
@example('{"a":"\\"x\\":[","model":1,"b":"],xxxxxxxxxxx","c":"[\\",\\"model\\":1,\\"b\\":\\"]","model":1}')
def test_ambiguous_is_a_key_that_stands_twice(document: str) -> None:
    """Every top-level duplicate is found, however it is spelled, and nothing else is taken for one."""
    assert splice.is_ambiguous(document.encode(), KEY) == (len(models_of(document)) > 1)


def test_a_large_document_is_not_walked_to_tell_that_its_model_is_unambiguous() -> None:
    """Sixteen million numbers take as long as it takes to decode them; the key may be escaped, and stand below, too."""
    numbers = b"1," * 16_000_000
    assert not splice.is_ambiguous(b'{"a":[%b1],"mod\\u0065l":{"model":1}}' % numbers, KEY)
    assert splice.is_ambiguous(b'{"a":[%b1],"mod\\u0065l":2,"model":1}' % numbers, KEY)


@cuts.law
@given(DOCUMENTS)
def test_every_value_of_the_key_is_found(document: str) -> None:
    """The spans hold exactly the values that a decoder sees at the top level."""
    raw = document.encode()
    values = [pairs_of(f'{{"v":{raw[slice(*span)].decode()}}}')[0][1] for span in splice.find_values(raw, KEY)]
    assert values == models_of(document)


@cuts.law
@given(DOCUMENTS, st.sampled_from([b'"new"', b"{}", b'"\\"model\\":"']))
def test_replacing_keeps_every_other_byte(document: str, value: bytes) -> None:
    """What stood before and behind the value stays as it was, and the value is the new one."""
    assume(len(models_of(document)) == 1)
    raw = document.encode()
    start, end = splice.find_value(raw, KEY)
    changed = splice.replace(raw, (start, end), value)
    assert changed == raw[:start] + value + raw[end:]
    expected = [(key, json.loads(value) if key == "model" else seen) for key, seen in pairs_of(document)]
    got = [(key, dict(seen) if key == "model" and seen == [] else seen) for key, seen in pairs_of(changed.decode())]
    assert got == expected


@cuts.law
@given(DOCUMENTS)
def test_appending_adds_one_member_behind_the_others(document: str) -> None:
    """The document's bytes stay, with one more member at the end."""
    raw = document.encode()
    added = splice.append(raw, b'"extra":[1]')
    assert pairs_of(added.decode()) == [*pairs_of(document), ("extra", ["1"])]
    assert added.replace(b',"extra":[1]', b"") == raw


@pytest.mark.parametrize(
    "document",
    [
        b'{"a":1}',
        b'{"a":{"model":1},"b":[{"model":2}]}',
        b'{"model":"a","model":"b"}',
        b'{"model":"a","mode\\u006c":"b"}',
        b'{"a":"model"}',
    ],
)
def test_a_key_that_is_not_there_once_is_not_found(document: bytes) -> None:
    """Neither a missing key nor a doubled one is guessed at."""
    with pytest.raises(splice.NotFoundError):
        splice.find_value(document, KEY)


@pytest.mark.parametrize("document", [b'{"model":"a', b'{"model":{"a":[1]', b'{"model":12'])
def test_a_document_that_breaks_off_is_not_spliced(document: bytes) -> None:
    """Callers have decoded the document; should one ever not have, nothing is written anywhere."""
    with pytest.raises(splice.NotFoundError):
        splice.find_value(document, KEY)


@pytest.mark.parametrize("wrap", [lambda text: text, lambda text: b'{"model":0,' + text[1:]])
def test_large_strings_are_walked_in_one_step(wrap: Callable[[bytes], bytes]) -> None:
    """An image of megabytes, or a text full of escapes, between two spellings of the key is no problem."""
    image = b'{"image":"%b","text":"%b","a":{"model":1},"model":2}' % (b"x" * 5_000_000, b"\\n\\\\" * 200_000)
    document = wrap(image)
    assert splice.is_ambiguous(document, KEY) == (document is not image)
    assert [document[slice(*span)] for span in splice.find_values(document, KEY)][-1] == b"2"


@pytest.mark.parametrize(
    ("document", "left"),
    [
        (b'{"k":1}', b"{}"),
        (b'{"k":1,"a":2}', b'{"a":2}'),
        (b'{"a":2,"k":1}', b'{"a":2}'),
        (b'{ "a" : 2 , "k" : {"k":[1,"k"]} , "b" : 3 }', b'{ "a" : 2 ,"b" : 3 }'),
        (b'{"k":1,"a":{"k":2},"k":3}', b'{"a":{"k":2}}'),
        (b'{"a":"k"}', b'{"a":"k"}'),
        (b'{"\\u006b":1,"a":2}', b'{"a":2}'),
    ],
)
def test_a_member_is_removed_and_nothing_else(document: bytes, left: bytes) -> None:
    """However it is spelled, and however often it stands there; members of inner objects stay."""
    assert splice.remove(document, b'"k"') == left


def test_a_document_that_is_none_is_counted_key_by_key() -> None:
    """Whoever reads it further on may stop at the first or at the last."""
    assert splice.is_ambiguous(b'{"model":"a","model":"b"', b'"model"')
    assert not splice.is_ambiguous(b'{"model":"a","x":"model"', b'"model"')


LONG = b'[{"role":"user","content":"%b"}]' % (b'say \\"model\\": no, \\u006dore ' * 1_000)


@pytest.mark.parametrize(
    "document",
    [
        b'{"model":1,"messages":%b}' % LONG,
        b'{"messages":%b,"n":1,"model":1}' % LONG,
        b' { "messages" : %b , "mod\\u0065l" : 1 } ' % LONG,
        b'{"a":%b,"messages":%b,"model":1}' % (LONG[:60] + b'"}]', LONG),
        b'{"metadata":{"model":2},"messages":%b,"model":1}' % LONG,
        b'{"model":1,"messages":%b,"again":{"messages":%b}}' % (LONG[:-40] + b'"}]', LONG[:-40] + b'"}]'),
    ],
)
def test_the_key_beside_a_long_text_is_found(document: bytes) -> None:
    """Before and behind it, and whatever the text looks like."""
    assert not splice.is_ambiguous(document, KEY)
    assert document[slice(*splice.find_value(document, KEY))] == b"1"
    doubled = splice.append(document, b'"m\\u006fdel":1')
    assert splice.is_ambiguous(doubled, KEY)
    with pytest.raises(splice.NotFoundError):
        splice.find_value(doubled, KEY)
