from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from flumegate.dialects.ollama.chat.read_request import read_request
from flumegate.dialects.ollama.chat.write_request import write_request
from flumegate.dialects.ollama.generate.read_request import read_request as read_generate
from flumegate.ir.parts import CacheMark, Extras
from flumegate.ir.request import Output, Reasoning, Request
from flumegate.ir.written import Abilities, Written
from rig.ollama_cases import SCHEMA, packed


def write(abilities: Abilities | None = None, **members: Any) -> tuple[dict[str, Any], list[str]]:
    """Return what goes onto the wire, and the codes of what did not."""
    written = write_request(Request(dialect="chat", model="heron", **members), abilities or Abilities("heron:8b"))
    return unpacked(written)


def unpacked(written: Written) -> tuple[dict[str, Any], list[str]]:
    body = json.loads(written.body)
    assert body.pop("model") == "heron:8b"
    assert body.pop("messages") == []
    body.pop("stream")
    return body, [loss.code for loss in written.losses]


KNOBS: dict[str, tuple[dict[str, Any], dict[str, Any], list[str]]] = {
    # name -> neutral settings, what is written, what is lost
    "limit": ({"max_output_tokens": 9}, {"options": {"num_predict": 9}}, []),
    "sampling": (
        {"temperature": 0.0, "top_p": 0.5, "top_k": 1, "min_p": 0.1, "seed": 0},
        {"options": {"temperature": 0.0, "top_p": 0.5, "top_k": 1, "min_p": 0.1, "seed": 0}},
        [],
    ),
    "penalties": (
        {"presence_penalty": 1.0, "frequency_penalty": 0.5, "repeat_penalty": 1.1},
        {"options": {"presence_penalty": 1.0, "frequency_penalty": 0.5, "repeat_penalty": 1.1}},
        [],
    ),
    "stop": ({"stop": ("a", "\n")}, {"options": {"stop": ["a", "\n"]}}, []),
    "an empty stop": ({"stop": ("a", "")}, {"options": {"stop": ["a"]}}, ["dropped:stop"]),
    "only an empty stop": ({"stop": ("",)}, {}, ["dropped:stop"]),
    "log probabilities": ({"logprobs": True, "top_logprobs": 2}, {"logprobs": True, "top_logprobs": 2}, []),
    "text": ({"output": Output("text")}, {}, []),
    "json": ({"output": Output("json")}, {"format": "json"}, []),
    "schema": ({"output": Output("schema", name="a", schema=packed(SCHEMA), strict=True)}, {"format": SCHEMA}, []),
    "schema without one": ({"output": Output("schema")}, {"format": "json"}, []),
    "described schema": (
        {"output": Output("schema", schema=b"{}", description="d")},
        {"format": {}},
        ["dropped:output.description"],
    ),
    "parallel calls": ({"parallel_tool_calls": True}, {}, []),
    "one call": ({"parallel_tool_calls": False}, {}, ["dropped:parallel_tool_calls"]),
    "one candidate": ({"candidates": 1}, {}, []),
    "candidates": ({"candidates": 2}, {}, ["refused:candidates"]),
    "nothing stored": ({"store": False}, {}, []),
    "store": ({"store": True}, {}, ["dropped:store"]),
    "verbosity": ({"verbosity": "low"}, {}, ["dropped:verbosity"]),
    "bias": ({"logit_bias": b'{"1":2}'}, {}, ["dropped:logit_bias"]),
    "user": ({"user": "u"}, {}, ["dropped:user"]),
    "metadata": ({"metadata": b"{}"}, {}, ["dropped:metadata"]),
    "tier": ({"service_tier": "flex"}, {}, ["dropped:service_tier"]),
    "cache key": ({"cache_key": "k"}, {}, ["dropped:cache_key"]),
    "cache mark": ({"cache": CacheMark()}, {}, ["dropped:cache"]),
    "usage is always told": ({"include_usage": True}, {}, []),
    "thinking": ({"reasoning": Reasoning(effort="low")}, {"think": "low"}, []),
    "members of others": (
        {"extras": Extras("chat", {"a": msgspec.Raw(b"1"), "b": msgspec.Raw(b"2")}, ("b",))},
        {},
        ["dropped:a", "refused:b"],
    ),
}


@pytest.mark.parametrize("name", KNOBS)
def test_fates(name: str) -> None:
    """Each setting is said, or its loss is."""
    settings, expected, lost = KNOBS[name]
    assert write(**settings) == (expected, lost)


def test_nothing_asked_is_nothing_said() -> None:
    """No default is made up, no empty list is sent; whether it streams is always said."""
    for stream in (True, False):
        written = write_request(Request(dialect="chat", model="heron", stream=stream), Abilities("heron:8b"))
        assert json.loads(written.body) == {"model": "heron:8b", "messages": [], "stream": stream}


def test_every_setting_has_a_fate() -> None:
    """No field of a request is passed over in silence."""
    told = {field for settings, _, _ in KNOBS.values() for field in settings}
    elsewhere = {"dialect", "model", "turns", "stream", "tools", "tool_choice"}  # proven in tests of their own
    assert told | elsewhere == set(Request.__struct_fields__)


def test_sampling_that_the_model_does_not_take() -> None:
    """The abilities decide, never a name."""
    settings = {"temperature": 1.0, "top_p": 0.5, "seed": 1}
    body, lost = write(Abilities("heron:8b", sampling=False), **settings)
    assert (body, lost) == ({"options": {"seed": 1}}, ["dropped:temperature", "dropped:top_p"])
    body, lost = write(Abilities("heron:8b", temperature_and_top_p=False), **settings)
    assert (body, lost) == ({"options": {"seed": 1, "temperature": 1.0}}, ["dropped:top_p"])
    body, lost = write(Abilities("heron:8b", temperature_and_top_p=False), top_p=0.5)
    assert (body, lost) == ({"options": {"top_p": 0.5}}, [])


def test_the_window_is_asked_for_and_never_cut_in_silence() -> None:
    """A server that is not told cuts the beginning of the prompt."""
    body, lost = write(Abilities("heron:8b", num_ctx=16384), seed=1)
    assert (body, lost) == ({"options": {"seed": 1, "num_ctx": 16384}, "truncate": False}, [])


def test_the_clients_own_window_comes_first() -> None:
    """A client of the dialect knows what it asks."""
    request = read_request(b'{"model":"heron","messages":[],"truncate":true,"options":{"num_ctx":512}}')
    body, lost = unpacked(write_request(request, Abilities("heron:8b", num_ctx=16384)))
    assert (body, lost) == ({"options": {"num_ctx": 512}, "truncate": True}, [])


def test_generate_shares_what_chat_has_too() -> None:
    """Of the old endpoint's members only those are refused that steer the raw prompt."""
    request = read_generate(
        b'{"model":"heron","prompt":"","keep_alive":5,"suffix":"b","options":{"num_ctx":7,"seed":2},"format":"json"}'
    )
    body, lost = unpacked(write_request(request, Abilities("heron:8b")))
    assert body == {"keep_alive": 5, "format": "json", "options": {"seed": 2, "num_ctx": 7}}
    assert lost == ["refused:suffix"]
