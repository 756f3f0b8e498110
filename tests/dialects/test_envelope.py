from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flumegate.dialects import envelope
from flumegate.dialects.expected import Bounds, most_output_tokens, read_bounds
from flumegate.errors import INVALID_REQUEST, GatewayError
from rig import cuts

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def refusal(body: bytes, *, model_required: bool = True) -> GatewayError:
    with pytest.raises(GatewayError) as refused:
        envelope.read(body, model_required=model_required)
    assert refused.value.kind is INVALID_REQUEST
    return refused.value


def test_model_stream_and_options_are_read() -> None:
    """These three decide the road; the rest of a body is nobody's business here."""
    seen = envelope.read(b'{"messages":[1e999,"x"],"model":"m","stream":true,"stream_options":{"include_usage":false}}')
    assert (seen.model, seen.stream) == ("m", True)
    assert seen.stream_options is not None
    assert seen.stream_options.include_usage is False


def test_absent_and_null_members_are_the_same() -> None:
    """Clients send explicit nulls everywhere."""
    for body in (b'{"model":"m"}', b'{"model":"m","stream":null,"stream_options":null}'):
        seen = envelope.read(body)
        assert (seen.model, bool(seen.stream), seen.stream_options) == ("m", False, None)


@cuts.law
@given(JSON.filter(lambda value: not isinstance(value, dict)))
def test_anything_but_an_object_is_refused(value: object) -> None:
    """A body is a JSON object."""
    assert refusal(json.dumps(value).encode()).code == "invalid_json"


@cuts.law
@given(st.dictionaries(st.sampled_from(["messages", "stream", "stream_options", "max_tokens", "n", "options"]), JSON))
def test_only_the_model_is_judged(members: dict[str, object]) -> None:
    """Whatever the other members hold, an upstream shall say what it thinks of them; their bounds are what they are."""
    body = json.dumps({**members, "model": "m"}).encode()
    seen = envelope.read(body)
    assert seen.model == "m"
    assert isinstance(bool(seen.stream), bool)
    assert most_output_tokens(envelope.bounds_of(seen, body), 4_096) == most_output_tokens(read_bounds(body), 4_096)


@pytest.mark.parametrize("word", [b"1e999", b'"\xff"', b'["\xff", [1e999]]', b'{"\xff": 1}', b"9" * 5_000, b"[[],[]]"])
@pytest.mark.parametrize("name", Bounds.__struct_fields__)
def test_words_about_the_answers_length_are_not_judged(name: str, word: bytes) -> None:
    """Nothing is refused for what they hold, and the rest of the envelope is what it is without them."""
    body = b'{"model":"m","%b":%b,"stream_options":{"include_usage":false}}' % (name.encode(), word)
    seen = envelope.read(body)
    assert (seen.model, seen.stream) == ("m", None)
    assert seen.stream_options == envelope.StreamOptions(include_usage=False)
    assert most_output_tokens(envelope.bounds_of(seen, body), 4_096) == 4_096


@cuts.law
@given(
    st.dictionaries(
        st.sampled_from(["max_tokens", "max_completion_tokens", "max_output_tokens", "n", "options"]),
        st.none() | st.integers() | st.floats(-9, 9e12) | st.fixed_dictionaries({"num_predict": st.integers()}),
    )
)
def test_a_body_is_read_once_or_twice_and_means_the_same(members: dict[str, object]) -> None:
    """Words of the types that they should have are read with the model, others from the body alone."""
    body = json.dumps({**members, "model": "m"}).encode()
    bounds = envelope.bounds_of(envelope.read(body), body)
    assert most_output_tokens(bounds, 4_096) == most_output_tokens(read_bounds(body), 4_096)


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "max_output_tokens"])
def test_the_one_word_that_most_requests_have_is_read_with_the_model(name: str) -> None:
    """And none means that nothing is stated."""
    body = json.dumps({"model": "m", name: 900}).encode()
    assert most_output_tokens(envelope.bounds_of(envelope.read(body), b"not looked into"), 4_096) == 900
    assert most_output_tokens(envelope.bounds_of(envelope.read(b'{"model":"m"}'), b"nor this"), 4_096) == 4_096


@pytest.mark.parametrize("word", [b"9e3", b'"many"', b"[]", b"9" * 5_000])
def test_a_strange_word_hides_no_other(word: bytes) -> None:
    """A stream whose usage would be asked for is asked for it."""
    seen = envelope.read(b'{"model":"m","max_tokens":%b,"stream":true,"stream_options":{}}' % word)
    assert (seen.model, seen.stream, seen.stream_options) == ("m", True, envelope.StreamOptions())
    assert envelope.read(b'{"model":"m","n":%b,"stream":true}' % word).stream_options is None


@pytest.mark.parametrize("stream", [b'"false"', b'"no"', b"0", b"1", b'["x"]'])
def test_a_stream_that_may_be_none_is_not_asked_for_usage(stream: bytes) -> None:
    """Nobody here knows what a server makes of that word; where it means no stream, options would be refused."""
    seen = envelope.read(b'{"model":"m","stream":%b}' % stream)
    assert seen.stream_options == envelope.StreamOptions(include_usage=True)


def test_a_stream_that_nobody_speaks_of_stays_so() -> None:
    """Some endpoints stream by default, whatever else in the body is strange."""
    assert envelope.read(b'{"model":"m","stream_options":5}').stream is None


def test_options_that_nobody_understands_are_left_alone() -> None:
    """Where the types are not ours, nothing is spliced in: the envelope says that usage is asked for."""
    seen = envelope.read(b'{"model":"m","stream":"yes","stream_options":[]}')
    assert seen.stream is True
    assert seen.stream_options is not None
    assert seen.stream_options.include_usage is True


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "empty_body"),
        (b" \r\n", "empty_body"),
        (b"{", "invalid_json"),
        (b'{"model":"m"} x', "invalid_json"),
        (b"model=m", "invalid_json"),
        (b'{"model":"m\xff"}', "invalid_json"),
        (b'{"model":"\\ud800"}', "invalid_json"),
        (b'{"model":"m","x":NaN}', "invalid_json"),
        (b'{"stream":"x","model":"m\xff"}', "invalid_json"),
        (b'{"stream":"x","model":"m"', "invalid_json"),
        (b'{"model":"m","x":' + b"[" * 200_000, "invalid_json"),
        (b'{"stream":' + b"[" * 200_000, "invalid_json"),
        (b'{"model":1}', "invalid_model"),
        (b'{"model":["m"]}', "invalid_model"),
        (b'{"stream":1,"model":{}}', "invalid_model"),
        (b"{}", "missing_model"),
        (b'{"model":""}', "missing_model"),
        (b'{"model":null}', "missing_model"),
        (b'{"a":{"model":"x"},"b":{"model":"y"}}', "missing_model"),
        (b'{"model":"a","model":"a"}', "duplicate_model"),
        (b'{"model":"a","mode\\u006c":"b"}', "duplicate_model"),
    ],
)
def test_bodies_that_name_no_model_are_refused(body: bytes, code: str) -> None:
    """Every bad body is a 400 with its own code, never anything else."""
    error = refusal(body)
    assert (error.status, error.code) == (400, code)
    assert len(error.message) < 400


@pytest.mark.parametrize(
    "body", [b"{}", b'{"model":null}', b'{"requests":[{"params":{"model":"a"}},{"params":{"model":"b"}}]}']
)
def test_a_model_may_be_missing_where_none_is_required(body: bytes) -> None:
    """Transparent requests, batches of requests among them, need no model of their own."""
    assert envelope.read(body, model_required=False).model == ""


def test_two_models_are_refused_even_where_none_is_required() -> None:
    """Which of them the upstream would take is not ours to guess."""
    assert refusal(b'{"model":"a","model":"b"}', model_required=False).code == "duplicate_model"


def test_a_large_nested_body_is_read() -> None:
    """Depth alone is no reason: what an upstream can read, passes."""
    assert envelope.read(b'{"x":%b%b,"model":"m"}' % (b"[" * 500, b"]" * 500)).model == "m"


def test_the_name_of_a_model_has_an_end() -> None:
    """A megabyte of name is kept in no record, no header and no memory."""
    assert envelope.read(b'{"model":"%b"}' % (b"m" * 512)).model == "m" * 512
    assert refusal(b'{"model":"%b"}' % (b"m" * 513)).code == "invalid_model"
