"""The requests of coding agents, in the shapes that they really send, over every kind of provider."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
import zstandard

from rig.gateway import Answer
from rig.road import record
from rig.translation import KEY, WEATHER_PARAMETERS, Stage
from rig.wire import events_of

READ_PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {"file_path": {"type": "string"}, "limit": {"type": ["integer", "null"]}},
    "required": ["file_path"],
    "additionalProperties": False,
    "$schema": "http://json-schema.org/draft-07/schema#",
}
TEXT_OF_A_TOOL = "What this tool does, at some length. " * 40


def send(stage: Stage, path: str, body: Any, **fields: str) -> Answer:
    """Return the answer to an agent's request."""
    return stage.gateway.request("POST", path, body=body, key=KEY, fields=fields)


def claude_code(provider: str, text: str, **more: Any) -> dict[str, Any]:
    """Return a request as Claude Code sends it: 20 tools, cache markers, adaptive thinking, betas' fields."""
    tools = [
        {"name": f"Tool{number}", "description": TEXT_OF_A_TOOL, "input_schema": READ_PARAMETERS}
        for number in range(19)
    ]
    tools.append(
        {
            "name": "Bash",
            "description": "Runs a command",
            "input_schema": {
                "type": "object",
                "properties": {"command": {"type": "string"}},
                "required": ["command"],
            },
            "cache_control": {"type": "ephemeral"},
        }
    )
    return {
        "model": f"{provider}/m1",
        "max_tokens": 64000,
        "stream": True,
        "system": [
            {"type": "text", "text": "You are a coding agent."},
            {"type": "text", "text": "The rules of the house.", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        ],
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "<reminder>the date</reminder>"},
                    {"type": "text", "text": text, "cache_control": {"type": "ephemeral"}},
                ],
            },
        ],
        "tools": tools,
        "thinking": {"type": "adaptive"},
        "output_config": {"effort": "high"},
        "context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]},
        "metadata": {"user_id": json.dumps({"device_id": "d1", "session_id": "s1"})},
        **more,
    }


CLAUDE_CODE_FIELDS = {
    "anthropic-version": "2023-06-01",
    "anthropic-beta": "claude-code-20250219,interleaved-thinking-2025-05-14,context-management-2025-06-27",
    "anthropic-dangerous-direct-browser-access": "true",
    "user-agent": "claude-cli/2.1",
    "x-app": "cli",
    "x-stainless-lang": "js",
}


def message_of(answer: Answer) -> dict[str, Any]:
    """Return a streamed message put together: content, stop reason, usage.

    Raises:
        AssertionError: the stream is not one of Anthropic's, from its start to its end.
    """
    assert answer.status == 200, answer.body
    found = [(event.name.decode(), json.loads(event.data)) for event in events_of(answer.body)]
    names = [name for name, _ in found]
    assert names[0] == "message_start"
    assert names[-1] == "message_stop"
    blocks: list[dict[str, Any]] = []
    done: dict[str, Any] = {}
    for name, data in found:
        assert data["type"] == name
        if name == "content_block_start":
            assert data["index"] == len(blocks)
            blocks.append(dict(data["content_block"], json=""))
        elif name == "content_block_delta":
            delta = data["delta"]
            block = blocks[data["index"]]
            for source, goal in (("text", "text"), ("thinking", "thinking"), ("partial_json", "json")):
                if source in delta:
                    block[goal] = block.get(goal, "") + delta[source]
            if "signature" in delta:
                block["signature"] = delta["signature"]
        elif name == "message_delta":
            done = {"stop_reason": data["delta"]["stop_reason"], "usage": data["usage"]}
    for block in blocks:
        text = block.pop("json")
        if block["type"] == "tool_use":
            block["input"] = json.loads(text or "{}")
    return {"content": blocks, **done}


def test_claude_code(stage: Stage, provider: str) -> None:
    """A turn with a tool: the call comes, its result goes back with thinking and signature, text ends it."""
    head = stage.gateway.request("HEAD", "/")
    assert head.status == 200
    first = send(stage, "/v1/messages?beta=true", claude_code(provider, "use tool with ls"), **CLAUDE_CODE_FIELDS)
    said = message_of(first)
    assert said["stop_reason"] == "tool_use"
    (call,) = [block for block in said["content"] if block["type"] == "tool_use"]
    assert call["name"] == "Tool0"
    assert "use tool with ls" in call["input"]["file_path"]
    follow_up = claude_code(provider, "use tool with ls")
    follow_up["messages"] += [
        {"role": "assistant", "content": said["content"]},
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": call["id"], "content": [{"type": "text", "text": "main.py"}]},
                {"type": "text", "text": "go on", "cache_control": {"type": "ephemeral"}},
            ],
        },
        {"role": "system", "content": "The user opened main.py."},
        {"role": "user", "content": "and now the end"},
    ]
    second = send(stage, "/v1/messages?beta=true", follow_up, **CLAUDE_CODE_FIELDS)
    ended = message_of(second)
    assert ended["stop_reason"] == "end_turn"
    assert "".join(block.get("text", "") for block in ended["content"]).startswith("echo: ")
    if provider == "anthropic":
        assert second.headers["x-flumegate-lane"] == "verbatim"
        return
    losses = second.headers["x-flumegate-losses"]
    if provider not in ("openai", "bedrock"):  # which take breakpoints
        assert "cache_control" in losses
    assert "context_management" in losses
    assert record(stage.gateway, second.headers["x-request-id"])["lane"] == "translated"


def test_claude_code_parallel_tools_and_an_interrupt(stage: Stage, provider: str) -> None:
    """Several calls in one turn, one of them interrupted by its user, go to every provider."""
    body = claude_code(provider, "look around")
    body["messages"] += [
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "I will look."},
                {"type": "tool_use", "id": "toolu_01", "name": "Bash", "input": {"command": "ls"}},
                {"type": "tool_use", "id": "toolu_02", "name": "Tool3", "input": {"file_path": "a.py"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "toolu_01", "content": "a.py"},
                {
                    "type": "tool_result",
                    "tool_use_id": "toolu_02",
                    "content": "The user does not want this tool to run.",
                    "is_error": True,
                },
                {"type": "text", "text": "[Request interrupted by user]"},
            ],
        },
        {"role": "user", "content": "do something else"},
    ]
    said = message_of(send(stage, "/v1/messages?beta=true", body, **CLAUDE_CODE_FIELDS))
    assert said["stop_reason"] == "end_turn"


def codex(provider: str, items: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """Return a request as Codex sends it: developer messages, tools of four kinds, encrypted reasoning."""
    return {
        "model": f"{provider}/m1",
        "instructions": "You are a coding agent in a terminal.",
        "input": [
            {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "<permissions>"}]},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "<environment>"}]},
            *items,
        ],
        "tools": [
            {
                "type": "function",
                "name": "exec_command",
                "description": TEXT_OF_A_TOOL,
                "strict": False,
                "parameters": {
                    "type": "object",
                    "properties": {"cmd": {"type": "string"}},
                    "required": ["cmd"],
                    "additionalProperties": False,
                },
            },
            {
                "type": "custom",
                "name": "apply_patch",
                "description": "Edits files",
                "format": {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"},
            },
            {
                "type": "namespace",
                "name": "weather_server",
                "description": "Weather",
                "tools": [{"type": "function", "name": "today", "parameters": WEATHER_PARAMETERS}],
            },
            {"type": "web_search"},
        ],
        "tool_choice": "auto",
        "parallel_tool_calls": False,
        "reasoning": {"effort": "medium", "summary": "auto"},
        "store": False,
        "stream": True,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "0199-session",
        "text": {"verbosity": "low"},
        "client_metadata": {"x": "y"},
        **more,
    }


def user(text: str) -> dict[str, Any]:
    """Return a message of the user."""
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


def response_of(answer: Answer) -> dict[str, Any]:
    """Return the final response object of a stream.

    Raises:
        AssertionError: the events are not in order, or the stream has no end.
    """
    assert answer.status == 200, answer.body
    found = [json.loads(event.data) for event in events_of(answer.body) if event.data != b"[DONE]"]
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    assert found[0]["type"] == "response.created"
    assert found[-1]["type"] == "response.completed", found[-1]
    done: dict[str, Any] = found[-1]["response"]
    return done


def call_of(done: dict[str, Any]) -> dict[str, Any]:
    """Return the only call of a response."""
    (call,) = [item for item in done["output"] if item["type"] in ("function_call", "custom_tool_call")]
    return dict(call)


@pytest.mark.parametrize("native", [False, True])
def test_codex(stage: Stage, provider: str, native: bool) -> None:
    """A turn with a command, zstd-compressed as Codex does: call, result, reasoning items back, text."""
    if native and provider != "openai":
        pytest.skip("only OpenAI's own endpoint is asked in Responses")
    path = "/v1/responses" if provider == "openai" or not native else "/response"
    first = response_of(send(stage, path, codex(provider, [user("use tool to list")])))
    call = call_of(first)
    assert call["name"] == "exec_command"
    assert "use tool to list" in json.loads(call["arguments"])["cmd"]
    items = [user("use tool to list"), *first["output"]]
    items.append({"type": "function_call_output", "call_id": call["call_id"], "output": "main.py"})
    again = codex(provider, items)
    done = response_of(send(stage, path, again))
    text = "".join(part["text"] for item in done["output"] if item["type"] == "message" for part in item["content"])
    assert text in ("echo: main.py", 'echo: {"output":"main.py"}')


def test_codex_compressed(stage: Stage, provider: str) -> None:
    """The body may come compressed with zstd."""
    body = zstandard.compress(json.dumps(codex(provider, [user("hello")])).encode())
    answer = stage.gateway.request(
        "POST",
        "/v1/responses",
        raw=body,
        key=KEY,
        fields={"content-encoding": "zstd", "content-type": "application/json"},
    )
    assert response_of(answer)["status"] == "completed"


@pytest.mark.parametrize(
    ("choice", "kind", "name", "namespace"),
    [
        ({"type": "custom", "name": "apply_patch"}, "custom_tool_call", "apply_patch", None),
        ({"type": "function", "name": "exec_command"}, "function_call", "exec_command", None),
    ],
)
def test_codex_kinds_of_tools(
    stage: Stage, provider: str, choice: dict[str, Any], kind: str, name: str, namespace: str | None
) -> None:
    """A custom tool's call comes back as one, whatever it had to travel as."""
    if provider == "ollama":
        pytest.skip("Ollama cannot be made to call a tool")
    if provider == "openai":
        pytest.skip("OpenAI knows custom tools itself, the fake provider does not")
    answer = send(stage, "/response", codex(provider, [user("change it")], tool_choice=choice))
    call = call_of(response_of(answer))
    assert (call["type"], call["name"], call.get("namespace")) == (kind, name, namespace)
    if kind == "custom_tool_call":
        assert call["input"]


def test_betas_follow_the_providers_policy(stage: Stage) -> None:
    """A value that a provider does not know is dropped with its members, and named; the rest is byte for byte."""
    body = claude_code("anthropic-strict", "hello nonce-betas1")
    answer = send(stage, "/v1/messages?beta=true", body, **CLAUDE_CODE_FIELDS)
    assert message_of(answer)["stop_reason"] == "end_turn"
    assert answer.headers["x-flumegate-lane"] == "verbatim"
    assert answer.headers["x-flumegate-losses"] == "dropped:anthropic-beta.context-management-2025-06-27"
    (row,) = stage.mock.ended("nonce-betas1")
    fields = dict(row["headers"])
    assert fields["anthropic-beta"] == "claude-code-20250219,interleaved-thinking-2025-05-14"
    sent = json.loads(base64.b64decode(row["body"]))
    assert "context_management" not in sent
    assert sent["tools"] == body["tools"]
