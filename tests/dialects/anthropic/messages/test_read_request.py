"""Requests read: the blocks of read_blocks, then the members of read_request. Identity is proven against the writer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flumegate.dialects.anthropic.messages import CODEC
from flumegate.dialects.anthropic.messages.read_request import hosted_name, read_request
from flumegate.dialects.anthropic.messages.write_request import write_request
from flumegate.dialects.node import ReadError
from flumegate.ir.parts import CacheMark, Media, Opaque, Part, Text, Thinking, ToolCall, ToolResult
from flumegate.ir.request import Reasoning, Request, Tool, ToolChoice, Turn
from flumegate.ir.seal import seal
from flumegate.ir.written import Abilities

EPHEMERAL = {"type": "ephemeral"}


def read(**members: Any) -> Request:
    return read_request(json.dumps({"model": "m", "max_tokens": 9, "messages": []} | members).encode())


def only(block: dict[str, Any]) -> Part:
    """Read one block of a user's message."""
    return read(messages=[{"role": "user", "content": [block]}]).turns[0].parts[0]


def back(body: dict[str, Any]) -> Any:
    """Return a request as it is written again, with nothing known of the model."""
    written = write_request(read_request(json.dumps(body).encode()), Abilities(body["model"]))
    assert written.losses == ()
    assert written.renames == {}
    return json.loads(written.body)


BLOCKS: list[dict[str, Any]] = [
    {"type": "text", "text": "Mind the gap.", "cache_control": EPHEMERAL},
    {"type": "text", "text": "", "x_new": 1},
    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}},
    {"type": "image", "source": {"type": "url", "url": "https://pictures.example/a.png"}, "cache_control": EPHEMERAL},
    {"type": "image", "source": {"type": "file", "file_id": "file_01"}},
    {"type": "image", "source": {"type": "hologram", "rays": 3}},
    {"type": "image"},
    {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "aGk=", "x": 1}},
    {"type": "document", "source": {"type": "url", "url": "https://papers.example/a.pdf"}, "title": "On gaps"},
    {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "Gap."}, "context": "By me."},
    {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": ""}},
    {"type": "document", "source": {"type": "content", "content": "Gap."}, "citations": {"enabled": True}},
    {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "Gap."}]}},
    {
        "type": "document",
        "source": {
            "type": "content",
            "content": [{"type": "image", "source": {"type": "url", "url": "https://pictures.example/b.png"}}],
        },
    },
    {"type": "search_result", "source": "s", "title": "t", "content": [{"type": "text", "text": "found"}]},
    {"type": "container_upload", "file_id": "file_02"},
    {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
    {"type": "thinking", "thinking": "", "signature": "c2ln"},
    {"type": "redacted_thinking", "data": "ZGF0YQ=="},
    {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"at": 9007199254740993}},
    {"type": "tool_use", "id": "toolu_2", "name": "look", "input": {}, "caller": {"type": "direct"}},
    {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "gap"}},
    {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []},
    {"type": "mcp_tool_use", "id": "mcptoolu_1", "name": "n", "server_name": "s", "input": {}},
    {"type": "mcp_tool_result", "tool_use_id": "mcptoolu_1", "content": "ok"},
    {"type": "compaction", "content": "What was said."},
    {"type": "something_new", "deep": {"er": [1]}},
    {"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "scope": "global"}},
    {
        "type": "text",
        "text": "cited",
        "citations": [
            {"type": "web_search_result_location", "url": "https://a.example", "title": "A", "cited_text": "a",
             "encrypted_index": "e"},
            {"type": "search_result_location", "source": "s", "title": "S", "cited_text": "s", "search_result_index": 0,
             "start_block_index": 0, "end_block_index": 1},
            {"type": "char_location", "document_title": "D", "cited_text": "d", "document_index": 0,
             "start_char_index": 1, "end_char_index": 4},
            {"type": "astral_location", "house": 7},
        ],
    },
]  # fmt: skip
RESULTS: list[dict[str, Any]] = [
    {"type": "tool_result", "tool_use_id": "toolu_1", "content": "plain"},
    {"type": "tool_result", "tool_use_id": "toolu_1", "content": ""},
    {"type": "tool_result", "tool_use_id": "toolu_1", "is_error": True, "cache_control": EPHEMERAL | {"ttl": "1h"}},
    {
        "type": "tool_result",
        "tool_use_id": "toolu_1",
        "content": [
            {"type": "text", "text": "seen"},
            {"type": "image", "source": {"type": "base64", "media_type": "image/gif", "data": "aGk="}},
            {"type": "tool_reference", "tool_name": "look"},
        ],
    },
]
FIELDS: dict[str, Any] = {
    "system": [{"type": "text", "text": "Be brief.", "cache_control": EPHEMERAL}, {"type": "text", "text": "Be kind."}],
    "tools": [
        {"name": "look", "description": "Looks.", "input_schema": {"type": "object"}, "strict": True,
         "cache_control": EPHEMERAL, "defer_loading": True, "eager_input_streaming": True,
         "input_examples": [{"a": 1}]},
        {"name": "bare"},
        {"type": "web_search_20250305", "name": "web_search", "max_uses": 3, "cache_control": EPHEMERAL},
    ],
    "tool_choice": {"type": "tool", "name": "look", "disable_parallel_tool_use": True, "x_choice": 1},
    "thinking": {"type": "enabled", "budget_tokens": 2048, "display": "omitted", "x_thinking": 1},
    "output_config": {"effort": "xhigh", "format": {"type": "json_schema", "schema": {"type": "object"}, "x": 1},
                      "task_budget": {"type": "tokens", "total": 9}},
    "stop_sequences": ["END", " "],
    "stream": True,
    "temperature": 0.5,
    "top_p": 0.9,
    "top_k": 5,
    "cache_control": {"type": "ephemeral", "ttl": "5m"},
    "metadata": {"user_id": "someone@example.org", "x_note": 1},
    "service_tier": "standard_only",
    "speed": "fast",
    "container": "container_1",
    "inference_geo": "eu",
    "diagnostics": {"on": True},
    "context_management": {"edits": []},
    "mcp_servers": [{"type": "url", "url": "https://mcp.example", "name": "n"}],
    "x_unknown": {"a": 1},
}  # fmt: skip
ALTERNATIVES: list[dict[str, Any]] = [
    {"system": "One string."},
    {"thinking": {"type": "adaptive", "display": "summarized"}},
    {"thinking": {"type": "disabled"}},
    {"thinking": {"type": "between_tools", "display": "as_it_comes"}},
    {"output_config": {"effort": "tremendous"}},
    {"output_config": {"effort": "low"}},
    {"output_config": {"format": {"type": "regex", "pattern": "a+"}}},
    {"tools": [{"name": "t"}], "tool_choice": {"type": "auto", "disable_parallel_tool_use": False}},
    {"tools": [{"name": "t"}], "tool_choice": {"type": "any"}},
    {"tools": [{"name": "t"}], "tool_choice": {"type": "none"}},
    {"tools": [FIELDS["tools"][2]], "tool_choice": {"type": "tool", "name": "web_search"}},
    {"service_tier": "auto"},
    {"output_format": {"type": "json_schema", "schema": {}}},
    {"metadata": {"x_note": 1}},
    {"cache_control": {"type": "eternal"}},
    {"max_tokens": 0},
]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: str(block["type"]))
def test_identity_of_blocks(block: dict[str, Any]) -> None:
    """Whatever a block says stands again in the written request, at the same place."""
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": [block]}]}
    if block["type"] == "tool_use":
        result = {"type": "tool_result", "tool_use_id": block["id"]}
        body["messages"] = [{"role": "assistant", "content": [block]}, {"role": "user", "content": [result]}]
    assert back(body) == body


@pytest.mark.parametrize("block", RESULTS, ids=range(len(RESULTS)))
def test_identity_of_results(block: dict[str, Any]) -> None:
    """A result stays what it was: a string, a list, nothing at all."""
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": [block]}]}
    assert back(body) == body


@pytest.mark.parametrize("name", FIELDS)
def test_identity_of_fields(name: str) -> None:
    """Each documented member alone, and some that are not documented."""
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}], name: FIELDS[name]}
    if name == "tool_choice":
        body["tools"] = FIELDS["tools"]
    if name == "stop_sequences":
        body[name] = ["END"]
    if name == "context_management":
        body[name] = {"edits": [{"type": "clear_tool_uses"}]}
    assert back(body) == body


@pytest.mark.parametrize("fields", ALTERNATIVES, ids=str)
def test_identity_of_alternatives(fields: dict[str, Any]) -> None:
    """Each form that a member can take."""
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]} | fields
    assert back(body) == body


def test_identity_of_a_conversation() -> None:
    """Turns stay as many as they were, strings strings, a later system message in its place."""
    body = {
        "model": "m",
        "max_tokens": 9,
        "system": "Be brief.",
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "One"},
            {"role": "user", "content": [{"type": "text", "text": "two"}], "x_more": 1},
            {"role": "assistant", "content": "Three "},
        ],
    }
    assert back(body) == body


def test_documented_normalisations() -> None:
    """Members that say what their absence says are not written again: nulls, empty lists and texts, defaults."""
    body = {
        "model": "m",
        "max_tokens": 9,
        "stream": False,
        "system": [],
        "tools": [{"type": "custom", "name": "t", "description": "", "input_schema": {"type": "object"}}],
        "tool_choice": None,
        "stop_sequences": [],
        "messages": [{"role": "user", "content": "Hi"}],
    }
    assert back(body) == {
        "model": "m",
        "max_tokens": 9,
        "tools": [{"name": "t", "input_schema": {"type": "object"}}],
        "messages": [{"role": "user", "content": "Hi"}],
    }


def test_what_a_request_says() -> None:
    """Every member that another dialect knows has its neutral place; the rest are extras with their own names."""
    request = read(**FIELDS)
    assert request.dialect == CODEC.name == "messages"
    assert request.turns == (
        Turn(
            "system",
            (Text("Be brief.", cache=CacheMark(), at="system[0]"), Text("Be kind.", at="system[1]")),
            at="system",
        ),
    )
    assert request.stream
    look, bare, search = request.tools
    assert (look.name, look.kind, look.description, look.strict) == ("look", "function", "Looks.", True)
    assert json.loads(look.parameters) == {"type": "object"}
    assert look.extras is not None
    assert set(look.extras.fields) == {"defer_loading", "eager_input_streaming", "input_examples"}
    assert bare == Tool("bare", at="tools[1]")
    assert (search.name, search.kind, search.dialect) == ("web_search_20250305", "hosted", "messages")
    assert hosted_name(search) == "web_search"
    assert hosted_name(bare) == ""
    assert request.tool_choice is not None
    assert (request.tool_choice.mode, request.tool_choice.names) == ("named", ("look",))
    assert request.parallel_tool_calls is False
    assert request.output is not None
    assert request.output.kind == "schema"
    assert request.reasoning is not None
    assert request.reasoning.effort == "xhigh"
    assert request.reasoning.budget_tokens == 2048
    assert (request.reasoning.enabled, request.reasoning.visible) == (True, False)
    assert (request.temperature, request.top_p, request.top_k) == (0.5, 0.9, 5)
    assert request.stop == ("END", " ")
    assert request.user == "someone@example.org"
    assert request.cache == CacheMark("5m")
    assert request.extras is not None
    assert set(request.extras.fields) == {
        "service_tier", "speed", "container", "inference_geo", "diagnostics", "context_management", "mcp_servers",
        "x_unknown", "metadata.x_note", "output_config.task_budget",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("members", "reasoning"),
    [
        ({"thinking": {"type": "adaptive"}}, Reasoning(enabled=True)),
        ({"thinking": {"type": "disabled"}}, Reasoning(enabled=False)),
        ({"thinking": {"type": "enabled", "budget_tokens": 5}}, Reasoning(budget_tokens=5, enabled=True)),
        ({"output_config": {"effort": "max"}}, Reasoning("max")),
        ({"output_config": {}}, None),
    ],
)
def test_reasoning(members: dict[str, Any], reasoning: Reasoning | None) -> None:
    """Thinking and effort are one thing in the neutral form."""
    assert read(**members).reasoning == reasoning


def test_parts() -> None:
    """Blocks become parts with their place, their mark and their source."""
    at = "messages[0].content[0]"
    assert only({"type": "text", "text": "x", "cache_control": EPHEMERAL | {"ttl": "1h"}}) == Text(
        "x", cache=CacheMark("1h"), at=at
    )
    assert only(BLOCKS[2]) == Media("image", "image/png", data="aGk=", at=at)
    assert only(BLOCKS[4]) == Media("image", file_id="file_01", dialect="messages", at=at)
    assert only(BLOCKS[8]) == Media("file", url="https://papers.example/a.pdf", filename="On gaps", at=at)
    content = only(BLOCKS[12])
    assert isinstance(content, Media)
    assert content.text == "Gap."
    context = only(BLOCKS[9])
    assert isinstance(context, Media)
    assert context.extras is not None
    assert context.extras.vital == ("context",)
    assert only({"type": "tool_use", "id": "a", "name": "b", "input": {"c": 1}}) == ToolCall(
        "a", "b", '{"c": 1}', at=at
    )
    assert only({"type": "tool_use", "id": "a", "name": "b", "input": {}}) == ToolCall("a", "b", "", at=at)
    result = only(RESULTS[3])
    assert isinstance(result, ToolResult)
    assert [getattr(part, "at", "") for part in result.parts] == [f"{at}.content[{number}]" for number in range(3)]


@pytest.mark.parametrize(
    ("kind", "vital"),
    [
        ("container_upload", True),
        ("search_result", True),
        ("compaction", True),
        ("something_new", True),
        ("server_tool_use", False),
        ("bash_code_execution_tool_result", False),
        ("mcp_tool_result", False),
    ],
)
def test_blocks_of_our_own(kind: str, vital: bool) -> None:
    """A block that only Anthropic has is kept whole; leaving out content matters, leaving out a trace does not."""
    raw = json.dumps({"type": kind, "id": "i"}).encode()
    body = b'{"model":"m","messages":[{"role":"user","content":[%b]}]}' % raw
    assert read_request(body).turns[0].parts == (Opaque("messages", kind, raw, vital, "messages[0].content[0]"),)


def test_state_of_other_providers_comes_out_of_its_envelope() -> None:
    """Thinking that we had sealed is what it was; what is not sealed is Anthropic's own; no state has no origin."""
    sealed = seal("blob", "responses", own="messages")
    redacted = seal("blob", "gemini", own="messages", redacted=True)
    assert only({"type": "thinking", "thinking": "a", "signature": sealed}) == Thinking(
        ("a",), "blob", "responses", at="messages[0].content[0]"
    )
    assert only({"type": "redacted_thinking", "data": redacted}) == Thinking(
        (), "blob", "gemini", redacted=True, at="messages[0].content[0]"
    )
    own = only({"type": "thinking", "thinking": "a", "signature": "sig"})
    assert isinstance(own, Thinking)
    assert own.origin == "messages"
    none = only({"type": "thinking", "thinking": "a", "signature": ""})
    assert isinstance(none, Thinking)
    assert none.origin == ""


def test_a_count_has_no_limit() -> None:
    """`count_tokens` sends the same body without `max_tokens`."""
    request = read_request(b'{"model":"m","messages":[{"role":"user","content":"Hi"}]}')
    assert request.max_output_tokens is None


def test_the_path_may_tell_model_and_stream() -> None:
    """What the body does not say the caller may know."""
    request = read_request(b"{}", model="n", stream=True)
    assert (request.model, request.stream) == ("n", True)


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b"[]", ""),
        (b'{"messages":{}}', "messages"),
        (b'{"messages":[1]}', "messages[0]"),
        (b'{"messages":[{"content":"x"}]}', "messages[0].role"),
        (b'{"messages":[{"role":"tool","content":"x"}]}', "messages[0].role"),
        (b'{"messages":[{"role":"user","content":5}]}', "messages[0].content"),
        (b'{"messages":[{"role":"user","content":[{"text":"x"}]}]}', "messages[0].content[0].type"),
        (b'{"messages":[{"role":"user","content":[{"type":"text"}]}]}', "messages[0].content[0].text"),
        (b'{"messages":[{"role":"user","content":[{"type":"tool_use","id":"a"}]}]}', "messages[0].content[0].name"),
        (
            b'{"messages":[{"role":"user","content":[{"type":"tool_use","id":"a","name":"b","input":[]}]}]}',
            "messages[0].content[0].input",
        ),
        (b'{"messages":[{"role":"user","content":[{"type":"tool_result"}]}]}', "messages[0].content[0].tool_use_id"),
        (b'{"tools":[{"description":"x"}]}', "tools[0].name"),
        (b'{"tool_choice":{"type":"perhaps"}}', "tool_choice.type"),
        (b'{"tool_choice":{"type":"tool"}}', "tool_choice.name"),
        (b'{"thinking":{}}', "thinking.type"),
        (b'{"max_tokens":"many"}', "max_tokens"),
        (b'{"metadata":{"user_id":5}}', "metadata.user_id"),
        (b'{"output_config":{"effort":5}}', "output_config.effort"),
    ],
)
def test_a_document_of_another_kind_is_refused_with_its_place(body: bytes, path: str) -> None:
    """The client is told which member is wrong."""
    with pytest.raises(ReadError) as caught:
        read_request(body)
    assert caught.value.path == path


def test_the_choice_knows_tools_that_run_at_the_provider() -> None:
    """A hosted tool that must be called is something that another provider cannot be asked for."""
    request = read(tools=[{"type": "bash_20250124", "name": "bash"}], tool_choice={"type": "tool", "name": "bash"})
    assert request.tool_choice == ToolChoice("named", ("bash",), kind="hosted")
