"""What a writer of requests gives: bytes for the wire, what was lost, and what must be undone in the answer."""

from __future__ import annotations

from typing import Literal

import msgspec

from flumegate.ir.loss import Loss


class Rename(msgspec.Struct, frozen=True, gc=False):
    """A tool as the client knows it, for a name that had to be changed on the wire."""

    name: str
    namespace: str = ""
    kind: Literal["function", "custom"] = "function"
    """`custom`: it was sent as a function with one text argument (see `restore.CUSTOM_FIELD`)."""


class Written(msgspec.Struct, frozen=True, gc=False):
    """A request for the wire."""

    body: bytes
    losses: tuple[Loss, ...] = ()
    renames: dict[str, Rename] = {}
    """Tool names on the wire → what the client calls them."""


class Abilities(msgspec.Struct, frozen=True, gc=False):
    """What a model at a provider takes, as far as a writer must know. None = unknown: said as if it could.

    The catalogue and the provider's row fill it.
    """

    model: str
    """The name that goes onto the wire."""
    server: str = ""
    """The provider's type (`openai`, `vllm`, `mistral`, …), for the few fields that only some servers know."""
    max_output_tokens: int | None = None
    context_tokens: int | None = None
    sampling: bool | None = None
    """Takes temperature, top_p, top_k."""
    temperature_and_top_p: bool | None = None
    """Takes both at once."""
    efforts: tuple[str, ...] | None = None
    """Levels of effort that it takes; () = it takes none."""
    adaptive_thinking: bool | None = None
    thinking_budget: bool | None = None
    """Takes a budget in tokens."""
    system_anywhere: bool | None = None
    """Takes system messages behind the first turns."""
    prefill: bool | None = None
    """Continues a last assistant message."""
    json_schema: bool | None = None
    images: bool | None = None
    files: bool | None = None
    audio: bool | None = None
    tools: bool | None = None
    developer_role: bool | None = None
    max_completion_tokens: bool | None = None
    """Wants `max_completion_tokens`; False: knows only `max_tokens`."""
    reasoning_field: str = ""
    """Chat servers: the message field in which earlier reasoning goes back (`reasoning_content`, `reasoning`)."""
    num_ctx: int | None = None
    """Ollama: the window to ask for."""
    cache_marks: bool | None = None
    """Takes breakpoints for its prompt cache."""
