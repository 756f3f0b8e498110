"""What requests need, compared with what the dialects' readers find in the same bodies."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flumegate.dialects.needs import NEEDS, lacks, needs_of
from flumegate.dialects.node import ReadError
from flumegate.ir.parts import Media, Part, ToolResult
from flumegate.ir.request import Request
from flumegate.ir.written import Abilities
from rig import cuts, goldens

NAMES = {"image": "images", "file": "files", "audio": "audio"}


def media(parts: tuple[Part, ...]) -> set[str]:
    found: set[str] = set()
    for part in parts:
        if isinstance(part, Media):
            found.add(NAMES[part.kind])
        elif isinstance(part, ToolResult):
            found |= media(part.parts)
    return found


def as_read(request: Request) -> set[str]:
    needs = {need for turn in request.turns for need in media(turn.parts)}
    if request.tools:
        needs.add("tools")
    if request.output is not None and request.output.kind == "schema":
        needs.add("json_schema")
    return needs


@pytest.mark.parametrize("question", goldens.requests(), ids=lambda question: question.name)
@pytest.mark.parametrize("spaced", [True, False], ids=["spaced", "tight"])
def test_a_request_needs_what_its_reader_finds(question: goldens.Question, *, spaced: bool) -> None:
    """In every dialect, however its JSON is laid out."""
    try:
        request = question.read()
    except ReadError:
        pytest.skip("no dialect's request")
    body = question.body if spaced else msgspec.json.format(question.body, indent=-1)
    assert needs_of(body) == as_read(request)


def test_every_need_stands_in_a_golden() -> None:
    """The comparison says something about each of them."""
    assert frozenset().union(*(needs_of(question.body) for question in goldens.requests())) == NEEDS


def body(**members: object) -> bytes:
    return json.dumps({"model": "m", **members}).encode()


def said(*parts: object) -> bytes:
    return body(messages=[{"role": "user", "content": list(parts)}])


PNG = {"data": "aGk=", "mimeType": "image/png"}


@pytest.mark.parametrize(
    ("request_body", "needs"),
    [
        (said({"type": "image_url", "image_url": {"url": "https://x.example/a"}}), {"images"}),
        (said({"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}), {"audio"}),
        (said({"type": "document", "source": {"type": "text", "data": "a"}}), {"files"}),
        (said({"type": "tool_result", "content": [{"type": "image", "source": {}}]}), {"images"}),
        (said({"type": "tool_result", "content": {"type": "image", "source": {}}}), {"images"}),
        (body(input=[{"type": "function_call_output", "output": [{"type": "input_image"}]}]), {"images"}),
        (body(input=[{"type": "computer_call_output", "output": {"type": "computer_screenshot"}}]), {"images"}),
        (body(input=[{"role": "user", "content": [{"type": "input_file", "file_data": "x"}]}]), {"files"}),
        (body(images=["aGk="], prompt="look"), {"images"}),
        (body(messages=[{"role": "user", "content": "look", "images": ["aGk="]}]), {"images"}),
        (body(messages=[{"role": "user", "content": "look", "images": []}]), set()),
        (body(contents=[{"parts": [{"inlineData": PNG}]}]), {"images"}),
        (body(contents={"parts": {"inline_data": {"mime_type": "audio/wav"}}}), {"audio"}),
        (body(contents=[{"parts": [{"fileData": {"fileUri": "gs://a/b"}}]}]), {"files"}),
        (body(contents=[{"parts": [{"file_data": {"mimeType": "IMAGE/PNG"}}]}]), {"images"}),
        (body(contents=[{"parts": [{"functionResponse": {"parts": [{"inlineData": PNG}]}}]}]), {"images"}),
        (said({"image": {"format": "png", "source": {"bytes": ""}}}), {"images"}),
        (
            said({"document": {"format": "pdf"}}, {"audio": {"format": "wav"}}, {"video": {"format": "mp4"}}),
            {"files", "audio"},
        ),
        (said({"toolResult": {"content": [{"image": {"format": "png"}}]}}), {"images"}),
        (body(toolConfig={"tools": [{"toolSpec": {}}]}), {"tools"}),
        (body(toolConfig={"functionCallingConfig": {"mode": "ANY"}}), set()),
        (body(tools=[], functions=None), set()),
        (body(functions=[{"name": "f"}]), {"tools"}),
        (body(response_format={"type": "json_object"}), set()),
        (body(format="json"), set()),
        (body(format={"type": "object"}), {"json_schema"}),
        (body(output_format={"type": "json_schema", "schema": {}}), {"json_schema"}),
        (body(generation_config={"response_schema": {"type": "STRING"}}), {"json_schema"}),
        (body(generationConfig={"responseMimeType": "application/json"}), set()),
    ],
)
def test_what_a_request_needs(request_body: bytes, needs: set[str]) -> None:
    """One row for every way in which a dialect says it."""
    assert needs_of(request_body) == needs


TOOL = {"type": "image_url", "image_url": {"url": "x"}}


@pytest.mark.parametrize(
    "request_body",
    [
        said({"type": "text", "text": json.dumps(TOOL)}),
        body(messages=[{"role": "user", "content": json.dumps([TOOL])}]),
        body(input=json.dumps([TOOL])),
        body(messages=[{"role": "user", "content": '"image_url"'}, {"role": "user", "content": 'ends with "image'}]),
        said({"type": "tool_use", "id": "t", "name": "n", "input": {"content": [TOOL], "images": ["x"]}}),
        body(contents=[{"parts": [{"functionCall": {"name": "n", "args": {"parts": [{"inlineData": PNG}]}}}]}]),
        body(contents=[{"parts": [{"text": "inlineData"}, {"functionResponse": {"response": {"inlineData": PNG}}}]}]),
        said({"image": {"caption": "none"}}),
        said({"image": "png"}),
        said({"inlineData": "image/png"}),
        body(messages=[{"role": "assistant", "content": None, "audio": {"id": "audio_1"}}]),
        body(metadata={"type": "image"}, messages="image_url"),
        body(messages=[["image_url"], 7, "image_url", None]),
        body(messages={"content": "image"}),
    ],
)
def test_words_are_no_files(request_body: bytes) -> None:
    """Neither a text that quotes a request, nor arguments, nor members that nobody takes for content."""
    assert needs_of(request_body) == set()


@pytest.mark.parametrize(
    "request_body",
    [
        b"",
        b"[]",
        b"{",
        b'{"messages":[{"type":"image"]}',
        b'{"text":7,"toolConfig":[],"response_format":"json_schema","generationConfig":[1]}',
        b'{"messages":[{"inlineData":{"mimeType":["\xff"]}}]}',
        b'{"contents":[{"inlineData":{"content":1,"mimeType":{}}' + b"]" * 9,
        b'{"messages":' + b'[{"content":' * 100_000 + b'"image"' + b"}]" * 100_000 + b"}",
    ],
)
def test_what_cannot_be_read_needs_nothing(request_body: bytes) -> None:
    """The provider shall say what is wrong with it."""
    assert needs_of(request_body) == set()


def test_content_is_looked_into_only_so_deep() -> None:
    """No dialect nests content deeper than a result's; a body that does costs no more than others."""
    content: object = [TOOL]
    for _ in range(3):
        content = [{"type": "tool_result", "content": content}]
    assert needs_of(body(messages=content)) == {"images"}
    for _ in range(10):
        content = [{"type": "tool_result", "content": content}]
    assert needs_of(body(messages=content)) == set()


@cuts.law
@given(st.text())
@example('"type":"image_url"')
@example('\\"image\\')
def test_no_text_is_ever_a_file(text: str) -> None:
    """Whatever somebody writes, as a string or as a part."""
    for content in (text, [{"type": "text", "text": text}]):
        assert needs_of(body(messages=[{"role": "user", "content": content}], system=text)) == set()


def test_a_model_lacks_only_what_it_is_known_not_to_take() -> None:
    """Unknown abilities count as there: the provider shall judge."""
    abilities = Abilities("m", images=False, audio=True, files=None, tools=False)
    assert lacks(abilities, NEEDS) == {"images", "tools"}
    assert lacks(abilities, frozenset({"audio", "json_schema"})) == set()
    assert lacks(Abilities("m"), NEEDS) == set()
