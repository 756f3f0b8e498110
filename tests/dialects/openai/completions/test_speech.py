from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from flumegate.dialects.node import ReadError
from flumegate.dialects.openai.chat import CODEC as CHAT
from flumegate.dialects.openai.completions import CODEC
from flumegate.dialects.openai.completions.read_request import read_request
from flumegate.dialects.openai.completions.write_answer import write_answer
from flumegate.dialects.openai.completions.write_stream import CompletionsStreamWriter
from flumegate.ir import events as e
from flumegate.ir.answer import Answer, Asked, Choice, Finish
from flumegate.ir.failure import Failure
from flumegate.ir.fold import unfold
from flumegate.ir.parts import Citation, Extras, Media, Refusal, Text, Thinking, ToolCall
from flumegate.ir.request import Request, Turn
from flumegate.ir.usage import Usage
from flumegate.ir.written import Abilities
from flumegate.wire import sse


def read(**members: Any) -> Request:
    return read_request(json.dumps({"model": "m", "prompt": "Once"} | members).encode())


def asked(**members: Any) -> Asked:
    return Asked(read(**members), "s33d", 77)


def losses_of(request: Request) -> list[str]:
    """Return what a chat server's request loses."""
    assert CHAT.write_request is not None
    return [loss.code for loss in CHAT.write_request(request, Abilities("m")).losses]


def chunks(answer: Answer, question: Asked) -> tuple[list[Any], list[str]]:
    writer = CompletionsStreamWriter(question)
    data = b"".join(writer.write(event) for event in unfold(answer))
    found = [one.data.decode() for one in sse.read(data)]
    return [one if one == "[DONE]" else json.loads(one) for one in found], [one.code for one in writer.losses.found]


@pytest.mark.parametrize("prompt", ["Once", ["Once"]])
def test_one_prompt_is_one_user_turn(prompt: Any) -> None:
    """A string, or a list of one."""
    request = read(prompt=prompt)
    at = "prompt" if isinstance(prompt, str) else "prompt[0]"
    assert request.turns == (Turn("user", (Text("Once", at=at),), plain=True, at=at),)
    assert request.max_output_tokens == 16
    assert losses_of(request) == []


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"prompt": [1, 2]}, "refused:prompt"),
    ({"prompt": ["a", "b"]}, "refused:prompt"),
    ({"suffix": "end"}, "refused:suffix"),
    ({"best_of": 2}, "refused:best_of"),
    ({"logprobs": 0}, "refused:logprobs"),
    ({"unheard_of": 1}, "dropped:unheard_of"),
    ({"stream_options": {"include_obfuscation": False}}, "dropped:stream_options"),
]


@pytest.mark.parametrize(("members", "loss"), REFUSED)
def test_what_a_chat_cannot_do_is_refused(members: dict[str, Any], loss: str) -> None:
    """Token ids, several prompts, text behind the answer, the best of several, log probabilities."""
    assert losses_of(read(**members)) == [loss]


def test_settings_have_their_places() -> None:
    """All of them are read; harmless values of the rest are nothing."""
    request = read(
        max_tokens=5, temperature=0.5, top_p=0.5, top_k=1, min_p=0.1, stop="x", seed=1, presence_penalty=1,
        frequency_penalty=1, repetition_penalty=1.1, n=2, logit_bias={}, user="u", stream=True, suffix="", best_of=1,
        echo=False, stream_options={"include_usage": True},
    )  # fmt: skip
    assert request.extras is None
    assert (request.stop, request.candidates, request.include_usage, request.stream) == (("x",), 2, True, True)
    assert read(stop=["a", "b"], max_tokens=None).stop == ("a", "b")
    assert CODEC.names["max_output_tokens"] == "max_tokens"


@pytest.mark.parametrize("prompt", [None, 5, {}])
def test_a_prompt_is_required(prompt: Any) -> None:
    """A string or a list."""
    with pytest.raises(ReadError) as raised:
        read(prompt=prompt)
    assert raised.value.path == "prompt"


ANSWER = Answer("", "up", 0, (Choice((Text("a"), Text("b"))), Choice((Text("c"),), Finish("length"))), Usage(1, 2))


def test_an_answer_is_text() -> None:
    """With the prompt in front if it shall be; that a chat model answered is told."""
    for echo, before in ((False, ""), (True, "Once")):
        question = asked(echo=echo, stream_options={"include_usage": True})
        assert losses_of(question.request) == []
        body, losses = write_answer(ANSWER, question)
        found = json.loads(body)
        assert [choice["text"] for choice in found["choices"]] == [before + "ab", before + "c"]
        assert [choice["finish_reason"] for choice in found["choices"]] == ["stop", "length"]
        assert (found["id"], found["object"], found["created"], found["model"]) == (
            "cmpl-s33d",
            "text_completion",
            77,
            "m",
        )
        assert [loss.code for loss in losses] == ["approximated:prompt"]
        streamed, lost = chunks(ANSWER, question)
        assert lost == ["approximated:prompt"]
        for number, text in enumerate((before + "ab", before + "c")):
            pieces = [one["choices"][0] for one in streamed[:-2] if one["choices"][0]["index"] == number]
            assert "".join(piece["text"] for piece in pieces) == text
            assert pieces[-1]["finish_reason"] == found["choices"][number]["finish_reason"]
        assert streamed[-2]["usage"] == found["usage"]
        assert streamed[-1] == "[DONE]"
    assert "usage" not in json.loads(write_answer(Answer(), asked())[0])
    assert chunks(ANSWER, asked())[0][-2]["choices"]


def test_what_is_no_text_is_told() -> None:
    """Refusals become text; everything else is left out."""
    extras = Extras("messages", {"x": msgspec.Raw(b"1")})
    parts = (
        Thinking(("hm",)),
        Text("a", (Citation("u"),)),
        Refusal("no"),
        ToolCall("i", "f", "{}"),
        Media("image", url="u"),
    )
    answer = Answer(choices=(Choice(parts, Finish("tool"), extras),), extras=extras)
    expected = {
        "approximated:prompt", "dropped:reasoning", "dropped:citations", "approximated:content",
        "dropped:content", "approximated:finish_reason", "dropped:x",
    }  # fmt: skip
    body, losses = write_answer(answer, asked())
    assert {loss.code for loss in losses} == expected
    assert json.loads(body)["choices"][0]["text"] == "ano"
    found, lost = chunks(answer, asked())
    assert set(lost) == expected
    assert "".join(one["choices"][0]["text"] for one in found[:-1]) == "ano"


def test_blocks_may_open_with_text_and_streams_may_fail() -> None:
    """Nothing is lost; a failure is one error event and the end marker."""
    writer = CompletionsStreamWriter(asked())
    writer.write(e.Started())
    assert b'"text":"whole"' in writer.write(e.Opened(0, Text("whole")))
    failed = writer.write(e.Failed(Failure("cut")))
    assert b'"code":"upstream_cut"' in failed
    assert failed.endswith(b"data: [DONE]\n\n")
