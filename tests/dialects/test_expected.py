from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flumegate.dialects.expected import MOST_CHOICES, MOST_TOKENS, most_output_tokens, read_bounds

UNSTATED = 4_096


def most_in(body: bytes, unstated: int) -> int:
    return most_output_tokens(read_bounds(body), unstated)


@pytest.mark.parametrize(
    ("body", "most"),
    [
        ({}, UNSTATED),
        ({"max_tokens": 7}, 7),
        ({"max_completion_tokens": 7}, 7),
        ({"max_output_tokens": 7}, 7),
        ({"generationConfig": {"maxOutputTokens": 7, "candidateCount": 2}}, 14),
        ({"options": {"num_predict": 7}}, 7),
        ({"options": {"num_predict": -1}}, UNSTATED),
        ({"max_tokens": 7, "n": 3}, 21),
        ({"max_tokens": True}, UNSTATED),
        ({"max_tokens": 0, "n": 0}, UNSTATED),
        ({"n": 3}, 3 * UNSTATED),
        ({"generationConfig": {"candidateCount": 3}}, 3 * UNSTATED),
        ({"max_tokens": 7, "n": 10**9}, 7 * MOST_CHOICES),
        ({"max_tokens": 9e3, "n": 2.0}, 18_000),
        ({"max_tokens": 8_999.5}, 9_000),
        ({"max_tokens": 2**62}, MOST_TOKENS),
        ({"max_tokens": 1e300}, MOST_TOKENS),
    ],
)
def test_each_dialects_word_is_understood(body: dict[str, Any], most: int) -> None:
    """And several answers are several times as long, whether their length is stated or not."""
    assert most_in(json.dumps(body).encode(), UNSTATED) == most


@pytest.mark.parametrize(
    "decoy",
    [
        {"max_tokens": 1},
        {"max_completion_tokens": 1},
        {"max_output_tokens": 1},
        {"options": {"num_predict": 1}},
        {"generationConfig": {"maxOutputTokens": 1}},
        {"n": 1, "generationConfig": {"candidateCount": 1}},
        {"options": None, "generationConfig": 5},
        {"options": "", "generationConfig": []},
    ],
)
def test_a_word_of_another_dialect_makes_nothing_cheaper(decoy: dict[str, Any]) -> None:
    """Only one of them is heard by whoever answers, so what counts is the highest."""
    for stated in ({"max_tokens": 9_000, "n": 2}, {"max_completion_tokens": 9_000, "n": 2}):
        assert most_in(json.dumps(decoy | stated).encode(), UNSTATED) == 18_000
    google = {"n": 1, "max_tokens": 1, "generationConfig": {"maxOutputTokens": 9_000, "candidateCount": 2}}
    assert most_in(json.dumps(google).encode(), UNSTATED) == 18_000


def test_a_name_in_escapes_is_the_same_name() -> None:
    assert most_in(b'{"\\u006dax_tokens": 9000}', UNSTATED) == 9_000
    assert most_in(b'{"m\\u0061x_tokens": 9000, "\\u006e": 2}', UNSTATED) == 18_000


@pytest.mark.parametrize("noise", [b"1e999", b'"\xff"', b"[1e999]", b"9" * 5_000])
def test_a_word_that_is_no_number_unsays_no_other(noise: bytes) -> None:
    for where in (b'"max_output_tokens": %b', b'"options": {"num_predict": %b}', b'"options": %b'):
        body = b'{"n": 4, "max_completion_tokens": 50000, %b}' % (where % noise)
        assert most_in(body, UNSTATED) == 200_000


@pytest.mark.parametrize("body", [b"", b"max", b'{"max_tokens": 5', b'{"max_tokens": "\xff"}', b'["max_tokens"]'])
def test_what_is_no_request_states_nothing(body: bytes) -> None:
    assert most_in(body, UNSTATED) == UNSTATED


def test_what_is_nested_too_deeply_states_nothing() -> None:
    assert most_in(b'{"max_tokens": ' + b"[" * 100_000, UNSTATED) == UNSTATED


_WORDS = ("max_tokens", "max_completion_tokens", "max_output_tokens", "n")


@given(st.dictionaries(st.sampled_from(_WORDS), st.none() | st.booleans() | st.integers() | st.floats(-9, 9e12)))
def test_the_quick_look_and_the_close_one_say_the_same(body: dict[str, Any]) -> None:
    """Options that state nothing make it look closely."""
    quick = most_in(json.dumps(body).encode(), UNSTATED)
    assert quick == most_in(json.dumps(body | {"options": {}}).encode(), UNSTATED)
