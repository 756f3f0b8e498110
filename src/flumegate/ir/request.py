"""A request for an answer, in nobody's dialect."""

from __future__ import annotations

from typing import Literal

import msgspec

from flumegate.ir.parts import CacheMark, Extras, Part

Role = Literal["system", "developer", "user", "assistant", "tool"]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
EFFORTS: tuple[Effort, ...] = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


class Turn(msgspec.Struct, frozen=True, gc=False):
    """One message. Readers keep the order and number of what they read; `turns.py` groups where a writer must."""

    role: Role
    parts: tuple[Part, ...] = ()
    plain: bool = False
    """The content was a bare string, now in one Text."""
    name: str = ""
    at: str = ""
    extras: Extras | None = None


class Tool(msgspec.Struct, frozen=True, gc=False):
    """Something that the model may call."""

    name: str
    kind: Literal["function", "custom", "hosted"] = "function"
    """`custom` takes one free text; `hosted` runs at the provider and is known only to its own dialect."""
    description: str = ""
    parameters: bytes = b""
    """JSON Schema of a function's arguments as raw JSON; empty = not given."""
    strict: bool | None = None
    format: bytes = b""
    """A custom tool's text format as raw JSON (`{"type":"grammar",…}`); empty = any text."""
    namespace: str = ""
    dialect: str = ""
    """Of a hosted tool: who knows it. Its `name` is the type on the wire, its members are in `extras`."""
    cache: CacheMark | None = None
    at: str = ""
    extras: Extras | None = None


class ToolChoice(msgspec.Struct, frozen=True, gc=False):
    """Whether and what the model must call."""

    mode: Literal["none", "auto", "required", "named", "allowed"]
    names: tuple[str, ...] = ()
    """One for `named`; for `allowed` the only tools that may be called."""
    required: bool = False
    """Of `allowed`: one of them must be called."""
    kind: Literal["function", "custom", "hosted"] = "function"
    """Of a `named` tool."""
    extras: Extras | None = None


class Reasoning(msgspec.Struct, frozen=True, gc=False):
    """How much the model shall think, in the words of the dialects: an effort, a budget, or a switch."""

    effort: Effort | None = None
    budget_tokens: int | None = None
    enabled: bool | None = None
    """False: switched off; True without effort and budget: on, as the model likes (`adaptive`)."""
    visible: bool | None = None
    """The client wants to read the thinking, or a summary of it."""
    summary: str = ""
    """OpenAI's `auto`, `concise`, `detailed`; empty = not said."""
    encrypted: bool = False
    """The client wants the opaque state of the reasoning, to send it back (`reasoning.encrypted_content`)."""
    extras: Extras | None = None


class Output(msgspec.Struct, frozen=True, gc=False):
    """The form of the answer."""

    kind: Literal["text", "json", "schema"]
    name: str = ""
    schema: bytes = b""
    """Raw JSON."""
    strict: bool | None = None
    description: str = ""
    extras: Extras | None = None


class Request(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What a client asks for. None and empty = not said, so that defaults stay the provider's."""

    dialect: str
    """Who read it: a codec's name."""
    model: str
    turns: tuple[Turn, ...] = ()
    stream: bool = False
    include_usage: bool = False
    """A chat client asked for the stream's usage event; the other dialects always report it."""
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    output: Output | None = None
    reasoning: Reasoning | None = None
    verbosity: str = ""
    max_output_tokens: int | None = None
    """Thinking included."""
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repeat_penalty: float | None = None
    candidates: int | None = None
    """OpenAI's `n`."""
    logprobs: bool | None = None
    top_logprobs: int | None = None
    logit_bias: bytes = b""
    """Raw JSON object."""
    user: str = ""
    """Opaque id of the end user."""
    metadata: bytes = b""
    """Raw JSON object of the client's own notes."""
    service_tier: str = ""
    cache_key: str = ""
    """OpenAI's `prompt_cache_key`."""
    store: bool | None = None
    cache: CacheMark | None = None
    """A breakpoint that the provider shall place itself (Anthropic's top-level `cache_control`)."""
    extras: Extras | None = None
