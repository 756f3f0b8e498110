from __future__ import annotations

from typing import Any

import msgspec
import pytest

from flumegate.dialects.node import ReadError
from flumegate.dialects.ollama.generate import CODEC
from flumegate.dialects.ollama.generate.read_request import read_request
from flumegate.ir.parts import Extras, Media, Text
from flumegate.ir.request import Output, Reasoning, Request, Turn
from rig.ollama_cases import PNG, packed


def read(**members: Any) -> Request:
    return read_request(packed({"model": "heron", **members}))


def test_the_prompt_is_a_users() -> None:
    """The system's words stand in front of it, images beside it."""
    request = read(prompt="How high?", system="Be brief.", images=[PNG])
    assert request.turns == (
        Turn("system", (Text("Be brief.", at="system"),), plain=True, at="system"),
        Turn(
            "user",
            (Text("How high?", at="prompt"), Media("image", "image/png", data=PNG, at="images[0]")),
            at="prompt",
        ),
    )
    assert request.extras is None
    assert (request.dialect, request.model, request.stream) == ("ollama_generate", "heron", True)


def test_a_prompt_alone_and_images_alone() -> None:
    """Either is enough."""
    assert read(prompt="a").turns == (Turn("user", (Text("a", at="prompt"),), plain=True, at="prompt"),)
    assert [type(part) for part in read(images=[PNG]).turns[0].parts] == [Media]


@pytest.mark.parametrize("members", [{}, {"prompt": ""}, {"prompt": None, "system": "a"}])
def test_without_a_prompt_the_model_is_only_loaded(members: dict[str, Any]) -> None:
    """There is nothing to answer."""
    assert read(**members).turns == ()


def test_settings() -> None:
    """As in chat."""
    request = read(
        prompt="a", stream=False, format="json", think="low", options={"seed": 1, "num_ctx": 9}, keep_alive="5m"
    )
    assert (request.stream, request.seed, request.output) == (False, 1, Output("json"))
    assert request.reasoning == Reasoning(effort="low", visible=True)
    assert request.extras == Extras(
        "ollama_generate", {"keep_alive": msgspec.Raw(b'"5m"'), "options.num_ctx": msgspec.Raw(b"9")}
    )


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("suffix", "b"),
        ("template", "{{ .Prompt }}"),
        ("raw", True),
        ("context", [1, 2]),
        ("width", 512),
        ("height", 512),
        ("steps", 4),
    ],
)
def test_what_steers_the_raw_prompt_is_vital(member: str, value: object) -> None:
    """Without it the request would mean something else; said empty it means nothing."""
    extras = read(prompt="a", keep_alive=1, **{member: value}).extras
    assert extras is not None
    assert extras.vital == (member,)
    assert set(extras.fields) == {member, "keep_alive"}
    assert read(prompt="a", **{member: type(value)()}).extras is None


def test_the_model_may_stand_in_the_path() -> None:
    """As everywhere."""
    assert read_request(b'{"prompt":"a"}', model="heron").model == "heron"


@pytest.mark.parametrize(
    ("members", "path"),
    [({"prompt": ["a"]}, "prompt"), ({"images": ["data:x"]}, "images[0]"), ({"prompt": "a", "think": 1}, "think")],
)
def test_faults(members: dict[str, Any], path: str) -> None:
    """The error leads to the member."""
    with pytest.raises(ReadError) as caught:
        read(**members)
    assert caught.value.path == path


def test_nobody_is_asked_in_it() -> None:
    """Providers are asked in chat."""
    assert CODEC.name == "ollama_generate"
    assert (CODEC.write_request, CODEC.read_answer, CODEC.stream_reader) == (None, None, None)
    assert CODEC.media_type == "application/x-ndjson"
