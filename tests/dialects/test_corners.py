"""Corners of the codecs that no conversation comes to by itself."""

from __future__ import annotations

import json
from typing import Any

from flumegate.dialects.bedrock.write_request import write_request as write_bedrock
from flumegate.dialects.gemini.members import Members
from flumegate.dialects.gemini.read_request import read_request as read_gemini
from flumegate.dialects.gemini.write_stream import GeminiStreamWriter
from flumegate.dialects.openai.chat import leftovers
from flumegate.dialects.openai.chat.read_answer import read_answer as read_chat_answer
from flumegate.dialects.openai.chat.read_request import read_request as read_chat
from flumegate.dialects.openai.chat.write_request import write_request as write_chat
from flumegate.dialects.openai.chat.write_stream import ChatStreamWriter
from flumegate.dialects.openai.responses.read_plain import read_plain_request as read_plain
from flumegate.dialects.openai.responses.read_stream import ResponsesStreamReader
from flumegate.dialects.openai.responses.write_request import write_request as write_responses
from flumegate.ir import events as e
from flumegate.ir.answer import Asked
from flumegate.ir.fold import fold
from flumegate.ir.parts import CacheMark, Citation, Refusal, Text, Thinking, ToolResult
from flumegate.ir.request import Output, Request, Tool, Turn
from flumegate.ir.written import Abilities, Written

HELLO = Turn("user", (Text("hello"),), plain=True, at="messages[0]")
ASKED = Asked(Request(dialect="chat", model="m", turns=(HELLO,)), "0123", 1)
SEVERAL = Abilities("m", server="openai")


def codes(written: Written) -> list[str]:
    """Return the codes of a request's losses."""
    return [loss.code for loss in written.losses]


def test_no_tokens_at_all_cannot_be_asked_for() -> None:
    """Zero is a wish of Anthropic's clients; a negative limit is nobody's."""
    own = Request(dialect="chat", model="m", turns=(HELLO,), max_output_tokens=0)
    assert "refused:max_output_tokens" in codes(write_chat(own, SEVERAL))
    foreign = Request(dialect="messages", model="m", turns=(HELLO,), max_output_tokens=0)
    assert "refused:max_output_tokens" in codes(write_responses(foreign, SEVERAL))
    negative = Request(dialect="chat", model="m", turns=(HELLO,), max_output_tokens=-1)
    assert "refused:max_output_tokens" in codes(write_bedrock(negative, SEVERAL))


def test_a_cache_mark_behind_a_tool_is_reported_by_responses() -> None:
    """OpenAI takes breakpoints in messages only."""
    tool = Tool("f", parameters=b'{"type":"object"}', cache=CacheMark(), at="tools[0]")
    request = Request(dialect="messages", model="m", turns=(HELLO,), tools=(tool,))
    assert any(code.startswith("dropped:tools") for code in codes(write_responses(request, SEVERAL)))


def test_gemini_members_of_another_type_are_not_peeked() -> None:
    """A look that decides nothing raises nothing; whoever takes the member says what is wrong."""
    assert Members(b'{"responseMimeType":5}', "gemini").peek_string("responseMimeType") == ""


def test_json_of_gemini_may_say_that_it_is_text() -> None:
    """`responseModalities` adds nothing there, and is no member that could get lost."""
    config = {"responseMimeType": "application/json", "responseModalities": ["TEXT"]}
    body = {"contents": [{"role": "user", "parts": [{"text": "x"}]}], "generationConfig": config}
    request = read_gemini(json.dumps(body).encode(), model="m")
    assert request.output == Output("json")
    assert request.extras is None


def test_functions_alone_are_the_old_form() -> None:
    """The wish is remembered without any other member."""
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "functions": [{"name": "f"}]}
    request = read_chat(json.dumps(body).encode())
    assert [tool.name for tool in request.tools] == ["f"]


def test_a_wish_is_remembered_without_any_other_member() -> None:
    """It is no member itself: nobody reports it as lost."""
    marked = leftovers.mark(None, "wish")
    assert leftovers.is_marked(marked, "wish")
    assert marked.fields == {}
    twice = leftovers.mark(marked, "other")
    assert leftovers.is_marked(twice, "wish")
    assert leftovers.is_marked(twice, "other")


def test_citations_stand_at_the_first_text() -> None:
    """Whatever stands before it in the message."""
    message = {
        "role": "assistant",
        "content": [{"type": "refusal", "refusal": "no"}, {"type": "text", "text": "a"}],
        "annotations": [{"type": "url_citation", "url_citation": {"url": "u", "title": "t"}}],
    }
    body = {"id": "i", "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    (choice,) = read_chat_answer(json.dumps(body).encode()).choices
    (text,) = [part for part in choice.parts if isinstance(part, Text)]
    assert text.citations == (Citation("u", "t"),)


def test_a_refusal_in_a_users_turn_is_left_out_of_its_text() -> None:
    """Only its text can be said there as a bare string."""
    turn = Turn("user", (Refusal("no", at="r"), Text("a")), at="messages[0]")
    body = json.loads(write_chat(Request(dialect="messages", model="m", turns=(turn,)), SEVERAL).body)
    assert "a" in json.dumps(body["messages"])


def test_a_tools_result_is_no_part_of_an_answer() -> None:
    """A chat stream names the loss and goes on."""
    writer = ChatStreamWriter(ASKED)
    writer.write(e.Started())
    assert b"tool" not in writer.write(e.Opened(0, ToolResult("c")))
    assert [loss.code for loss in writer.losses.found] == ["dropped:content"]


def test_empty_thinking_leaves_no_trace_at_gemini() -> None:
    """Without text and without state there is nothing to say."""
    writer = GeminiStreamWriter(ASKED)
    writer.write(e.Started())
    writer.write(e.Opened(0, Thinking()))
    assert writer.write(e.Closed(0)) == b""


def test_plain_items_without_an_output_stay() -> None:
    """Only what a tool gave has two forms."""
    body = {"model": "m", "input": [{"role": "user", "content": "x"}]}
    assert read_plain(json.dumps(body).encode()).turns[0].parts == (Text("x", at="input[0].content"),)


def test_an_announced_piece_may_stay_empty() -> None:
    """A summary's part that was opened and never filled is a piece of its own."""
    item = {"id": "rs", "type": "reasoning", "summary": []}
    empty = {"type": "summary_text", "text": ""}
    place = {"type": "response.reasoning_summary_part.added", "output_index": 0, "part": empty}
    done = {"id": "r", "model": "m", "status": "completed", "output": [item]}
    said: list[dict[str, Any]] = [
        {"type": "response.created", "response": {"id": "r", "model": "m", "output": []}},
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        place | {"summary_index": 0},
        place | {"summary_index": 1},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": done},
    ]
    reader = ResponsesStreamReader()
    stream = "".join(f"event: {one['type']}\ndata: {json.dumps(one)}\n\n" for one in said).encode()
    (part,) = fold([*reader.feed(stream), *reader.close()]).choices[0].parts
    assert isinstance(part, Thinking)
    assert not any(part.texts)
