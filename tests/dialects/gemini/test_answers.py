"""Answers of Gemini and for its clients: read_answer, write_answer, finish, usage, signature, logprobs, grounding."""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
import pytest

from flumegate.dialects.gemini.grounding import read_citations
from flumegate.dialects.gemini.logprobs import read_logprobs, write_logprobs
from flumegate.dialects.gemini.read_answer import read_answer
from flumegate.dialects.gemini.usage import WireUsage, read_usage, write_usage
from flumegate.dialects.gemini.write_answer import write_answer
from flumegate.dialects.node import ReadError
from flumegate.ir.answer import Answer, Choice, Finish, FinishReason
from flumegate.ir.parts import (
    Citation,
    Extras,
    Media,
    Opaque,
    Part,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from flumegate.ir.usage import Usage
from rig.gemini_cases import asked, normal_answer

PNG = "iVBORw0KGgo="
LOGPROBS = {
    "chosenCandidates": [
        {"token": "w\u00f6", "tokenId": 5, "logProbability": -0.5},
        {"token": "b", "logProbability": -1.5},
    ],
    "topCandidates": [{"candidates": [{"token": "x", "tokenId": 6, "logProbability": -2.5}]}, {}],
}
GROUNDING = {
    "groundingChunks": [{"web": {"uri": "https://river.example", "title": "River"}}, {"maps": {"title": "Map"}}, {}],
    "groundingSupports": [
        {"segment": {"startIndex": 0, "endIndex": 3, "text": "w\u00f6"}, "groundingChunkIndices": [0, 2, 9]},
        {"segment": {}, "groundingChunkIndices": [1]},
        {"groundingChunkIndices": [1]},
        {},
    ],
}


def answer(*parts: Any, finish: str = "STOP", **members: Any) -> dict[str, Any]:
    content: dict[str, Any] = {"role": "model"} | ({"parts": list(parts)} if parts else {})
    return {
        "candidates": [{"content": content, "finishReason": finish, "index": 0} | members],
        "modelVersion": "river-1",
        "responseId": "r1",
    }


IDENTITY: dict[str, dict[str, Any]] = {
    "text": answer({"text": "w\u00f6rd\u2028"}, {"text": ""}),
    "usage": answer({"text": "a"}) | {"usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2}},
    "no parts": answer(finish="MAX_TOKENS"),
    "thoughts": answer(
        {"text": "Hm", "thought": True},
        {"text": "a", "thought": True, "thoughtSignature": "c2ln"},
        {"text": "b", "thoughtSignature": "c2lu"},
        {"text": "", "thoughtSignature": "c2lv"},
    ),
    "calls": answer(
        {"functionCall": {"name": "f", "args": {"a": 1.0}}, "thoughtSignature": "c2ln"},
        {"functionCall": {"name": "g"}},
        {"functionCall": {"name": "f", "args": {}, "id": "x"}},
        {"functionCall": {"name": "f"}},
        finishMessage="Model generated function call(s).",
    ),
    "picture": answer({"inlineData": {"mimeType": "image/png", "data": PNG}}),
    "code": answer({"executableCode": {"code": "1"}}, {"codeExecutionResult": {"output": "1"}}),
    "extras": answer({"text": "a"}, safetyRatings=[{"category": "c"}], avgLogprobs=-0.5, tokenCount=3)
    | {"createTime": "2026-05-04T20:01:02Z", "promptFeedback": {"safetyRatings": [1]}, "x": 1},
    "content extras": answer({"text": "a"}) | {"createTime": "soon", "modelStatus": 1, "modelStatus.x": 2},
    "nothing said": {"candidates": [{"finishReason": "STOP"}], "responseId": "r", "modelVersion": "m"},
    "unknown reason": answer({"text": "a"}, finish="NEW_REASON"),
    "image reason": answer(finish="IMAGE_SAFETY"),
    "log probabilities": answer({"text": "w\u00f6b"}, logprobsResult=LOGPROBS),
    "log probabilities of nothing": answer(logprobsResult=LOGPROBS),
    "sources": answer({"text": "w\u00f6rd"}, groundingMetadata=GROUNDING),
    "two": {
        "candidates": [answer({"text": "a"})["candidates"][0], answer({"text": "b"})["candidates"][0] | {"index": 1}],
        "responseId": "r",
        "modelVersion": "m",
    },
    "blocked": {
        "promptFeedback": {"blockReason": "SAFETY", "blockReasonMessage": "No.", "safetyRatings": [2]},
        "responseId": "r",
        "modelVersion": "m",
    },
}


@pytest.mark.parametrize("name", IDENTITY)
def test_an_answer_is_written_as_it_was_read(name: str) -> None:
    """Every documented member comes back, unknown ones included, and nothing is lost."""
    body = IDENTITY[name]
    read = read_answer(json.dumps(body).encode())
    written, losses = write_answer(read, asked(body["modelVersion"]))
    assert losses == ()
    assert normal_answer(json.loads(written)) == normal_answer(body)
    assert read_answer(written) == read


def test_what_an_answer_says() -> None:
    """Ids are made up of the answer's own; finishes, times, sources and probabilities are in neutral words."""
    calls = read_answer(json.dumps(IDENTITY["calls"]).encode())
    assert [part.id for part in calls.choices[0].parts if isinstance(part, ToolCall)] == [
        "call_r1_0",
        "call_r1_1",
        "x",
        "call_r1_3",
    ]
    assert calls.choices[0].finish == Finish("tool", "STOP", detail="Model generated function call(s).")
    nameless = json.dumps({"candidates": [{"content": {"parts": [{"functionCall": {"name": "f"}}]}}]}).encode()
    assert read_answer(nameless).choices[0].parts[0] == ToolCall("call_0", "f")
    assert read_answer(json.dumps(IDENTITY["extras"]).encode()).created == 1_777_924_862
    assert read_answer(json.dumps(answer({"text": "a"}) | {"createTime": "2026-05-04"}).encode()).created == 0
    text = read_answer(json.dumps(IDENTITY["sources"]).encode()).choices[0].parts[0]
    assert isinstance(text, Text)
    assert text.citations == (
        Citation("https://river.example", "River", 0, 2),
        Citation("", "Map"),
        Citation("", "Map"),
    )
    probable = read_answer(json.dumps(IDENTITY["log probabilities"]).encode()).choices[0].parts[0]
    assert isinstance(probable, Text)
    assert json.loads(probable.logprobs)[0] == {
        "token": "w\u00f6",
        "logprob": -0.5,
        "bytes": [119, 195, 182],
        "top_logprobs": [{"token": "x", "logprob": -2.5, "bytes": [120], "token_id": 6}],
        "token_id": 5,
    }
    blocked = read_answer(json.dumps(IDENTITY["blocked"]).encode())
    assert blocked.choices == (Choice(finish=Finish("filter", "promptFeedback.SAFETY", detail="No.")),)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "filter"),
        ("RECITATION", "filter"),
        ("IMAGE_OTHER", "filter"),
        ("OTHER", "filter"),
        ("", "stop"),
    ],
)
def test_finish_reasons_are_read(raw: str, reason: str) -> None:
    """A call outweighs a plain stop, and nothing else."""
    plain = read_answer(json.dumps(answer({"text": "a"}, finish=raw)).encode()).choices[0].finish
    called = read_answer(json.dumps(answer({"functionCall": {"name": "f"}}, finish=raw)).encode()).choices[0].finish
    assert plain.reason == reason
    assert called.reason == ("tool" if reason == "stop" else reason)


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"[1]",
        b'{"error":{"code":503}}',
        b'{"promptFeedback":{}}',
        b'{"candidates":[{"finishReason":"MALFORMED_FUNCTION_CALL"}]}',
        b'{"candidates":[{"finishReason":"UNEXPECTED_TOOL_CALL","finishMessage":"odd"}]}',
        b'{"candidates":[{"content":{"parts":[{"text":3}]}}]}',
        b'{"candidates":[{}],"usageMetadata":{"promptTokenCount":"x"}}',
    ],
)
def test_what_is_no_answer_is_not_read_as_one(body: bytes) -> None:
    """Errors, emptiness without a reason, broken calls and wrong types."""
    with pytest.raises(ReadError):
        read_answer(body)


def write(*parts: Part, reason: FinishReason = "stop", raw: str = "", **members: Any) -> tuple[Any, list[str]]:
    body, losses = write_answer(Answer(choices=(Choice(parts, Finish(reason, raw)),), **members), asked("mine"))
    return json.loads(body), [loss.code for loss in losses]


@pytest.mark.parametrize(
    ("part", "expected", "loss"),
    [
        (Text("a"), {"text": "a"}, []),
        (Thinking(("a", "b")), {"text": "a\n\nb", "thought": True}, []),
        (Refusal("No."), {"text": "No."}, ["approximated:content"]),
        (ToolCall("c", "f", '{"a":1}'), {"functionCall": {"id": "c", "name": "f", "args": {"a": 1}}}, []),
        (ToolCall("c", "f", "{"), None, ["refused:content"]),
        (Opaque("messages", "x", b"{}"), None, ["dropped:content"]),
        (Opaque("gemini", "x", b'{"x":{}}'), {"x": {}}, []),
        (ToolResult("c"), None, ["dropped:content"]),
        (
            Media("image", "image/png", url="https://river.example/a"),
            {"fileData": {"mimeType": "image/png", "fileUri": "https://river.example/a"}},
            [],
        ),
        (
            Text("a", extras=Extras("chat", {"x": msgspec.Raw(b"1")})),
            {"text": "a"},
            ["dropped:content.x"],
        ),
    ],
)  # fmt: skip - one line a row
def test_parts_of_other_dialects(part: Part, expected: Any, loss: list[str]) -> None:
    """What Gemini clients have no form for is reported."""
    body, losses = write(part)
    assert body["candidates"][0]["content"] == {"role": "model"} | ({"parts": [expected]} if expected else {})
    assert losses == loss


def test_state_of_other_providers_is_wrapped_in_base64() -> None:
    """Clients decode the field from base64, so it must be that as a whole."""
    body, _ = write(Thinking((), "data", "messages", True), ToolCall("c", "f", "", signature="s", origin="responses"))
    parts = body["candidates"][0]["content"]["parts"]
    assert base64.b64decode(parts[0]["thoughtSignature"]) == b"fg1.messages.r.data"
    assert base64.b64decode(parts[1]["thoughtSignature"]) == b"fg1.responses.s.s"


def test_a_call_that_was_cut_short_is_left_out() -> None:
    """The client must not run it; the finish tells why."""
    body, losses = write(Text("a"), ToolCall("c", "f", '{"a'), reason="length")
    assert body["candidates"][0]["content"]["parts"] == [{"text": "a"}]
    assert body["candidates"][0]["finishReason"] == "MAX_TOKENS"
    assert losses == ["dropped:content"]


@pytest.mark.parametrize(
    ("reason", "raw", "word", "loss"),
    [
        ("tool", "tool_calls", "STOP", []),
        ("pause", "pause_turn", "STOP", ["approximated:finish_reason"]),
        ("context_full", "x", "MAX_TOKENS", []),
        ("filter", "content_filter", "SAFETY", []),
        ("refusal", "refusal", "SAFETY", []),
    ],
)
def test_finish_reasons_are_written(reason: FinishReason, raw: str, word: str, loss: list[str]) -> None:
    """Every neutral reason has a word."""
    body, losses = write(Text("a"), reason=reason, raw=raw)
    assert body["candidates"][0]["finishReason"] == word
    assert losses == loss


def test_names_of_an_answer() -> None:
    """The model is the one that was asked for; an id is made of the seed where there is none."""
    body, losses = write(Text("a"), created=5, extras=Extras("chat", {"x": msgspec.Raw(b"1")}), usage=Usage())
    assert (body["modelVersion"], body["responseId"]) == ("mine", "seed1")
    assert body["createTime"] == "1970-01-01T00:00:05Z"
    assert losses == ["dropped:x"]
    met = Answer(choices=(Choice((Text("a"),), Finish("stop_sequence", stop_sequence="END")),))
    assert [loss.code for loss in write_answer(met, asked())[1]] == ["dropped:stop_sequence"]


def test_citations_are_said_as_sources() -> None:
    """Offsets in characters become offsets in bytes, and come back."""
    citations = (Citation("https://river.example", "R", 0, 2), Citation("https://tide.example", "T"))
    text = Text("w\u00f6rd", citations, b'[{"token":"w","logprob":-1.0}]')
    body, losses = write(text)
    assert losses == []
    assert body["candidates"][0]["groundingMetadata"]["groundingSupports"][0]["segment"] == {
        "startIndex": 0,
        "endIndex": 3,
        "text": "w\u00f6",
    }
    again = read_answer(json.dumps(body).encode()).choices[0].parts[0]
    assert isinstance(again, Text)
    assert again.citations == citations
    assert json.loads(again.logprobs)[0]["logprob"] == -1.0


def test_sources_without_places_count_for_the_whole() -> None:
    """Chunks without supports are sources all the same; what cannot be read is none."""
    chunks = json.dumps({"groundingChunks": [{"retrievedContext": {"uri": "gs://a", "text": "quote"}}]}).encode()
    assert read_citations(chunks, "a") == (Citation("gs://a", quote="quote"),)
    assert read_citations(b'{"groundingChunks":3}', "a") == ()
    call = answer({"functionCall": {"name": "f"}}, groundingMetadata=GROUNDING)
    assert read_answer(json.dumps(call).encode()).choices[0].parts == (ToolCall("call_r1_0", "f"),)


def test_log_probabilities_that_cannot_be_read_are_none() -> None:
    """In both directions."""
    assert read_logprobs(b"3") == b""
    assert read_logprobs(b"{}") == b""
    assert write_logprobs(b"{}") == {}
    assert write_logprobs(b'[{"token":"a","logprob":-1,"top_logprobs":null}]') == {
        "chosenCandidates": [{"token": "a", "logProbability": -1.0}]
    }
    assert json.loads(read_logprobs(b'{"chosenCandidates":[{"token":"a"}]}'))[0]["top_logprobs"] == []


@pytest.mark.parametrize(
    ("wire", "usage"),
    [
        (WireUsage(10, 20, 30, 5, 4, 65), Usage(15, 50, 4, None, 30)),
        (WireUsage(10, totalTokenCount=10), Usage(10, 0)),
        (WireUsage(10), Usage(10)),
        (WireUsage(None, 3), Usage(None, 3)),
        (WireUsage(None, None, 3), Usage(None, 3, None, None, 3)),
        (WireUsage(), None),
    ],
)
def test_usage_is_inclusive(wire: WireUsage, usage: Usage | None) -> None:
    """Thoughts are output, prompts of tools are input."""
    assert read_usage(wire) == usage


def test_usage_is_written_as_google_counts() -> None:
    """Thoughts stand beside the candidates' tokens; nothing is invented."""
    assert write_usage(Usage(10, 50, 4, 2, 30)) == {
        "promptTokenCount": 10,
        "candidatesTokenCount": 20,
        "thoughtsTokenCount": 30,
        "cachedContentTokenCount": 4,
        "totalTokenCount": 60,
    }
    assert write_usage(Usage(3)) == {"promptTokenCount": 3, "totalTokenCount": 3}
    assert write_usage(Usage()) == {}
