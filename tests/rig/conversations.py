"""Hypothesis strategies for what the neutral model can say: parts, choices and whole answers.

Texts are short: laws are broken by structure, not by length.
"""

from __future__ import annotations

import msgspec
from hypothesis import strategies as st

from flumegate.ir.answer import Answer, Choice, Finish
from flumegate.ir.parts import Citation, Extras, Media, Opaque, Part, Refusal, Text, Thinking, ToolCall
from flumegate.ir.usage import Usage

WORDS = st.sampled_from(["", "a", "sea level", "\u2028", "naïve 🌊", '{"quay":3}', "\\n\n", "fg1."])
_NAMES = st.sampled_from(["weigh", "tide_table", "dock-7"])
_COUNTS = st.none() | st.integers(0, 5_000)
EXTRAS = st.none() | st.just(Extras("chat", {"annex": msgspec.Raw(b'{"berth":1}')}))
_CITATIONS = st.builds(Citation, st.just("https://harbour.example/a"), WORDS, st.none() | st.integers(0, 9))
_LOGPROBS = st.sampled_from([b"", b"[]", b'[{"token":"a","logprob":-0.5}]'])
_STATES = st.sampled_from([("", ""), ("opaque+state==", "messages"), ("other.state", "gemini")])

TEXTS = st.builds(Text, WORDS, st.lists(_CITATIONS, max_size=2).map(tuple), _LOGPROBS, extras=EXTRAS)
THINKINGS = st.builds(
    lambda texts, state, extras: Thinking(tuple(texts), state[0], state[1], extras=extras),
    st.lists(WORDS, max_size=3),
    _STATES,
    EXTRAS,
)
CALLS = st.builds(
    lambda number, name, arguments, kind, state: ToolCall(
        f"call_{number}", name, arguments, kind, signature=state[0], origin=state[1]
    ),
    st.integers(0, 99),
    _NAMES,
    st.sampled_from(["", "{}", '{"depth": 4.50}', '{"cut": "sh']),
    st.sampled_from(["function", "custom"]),
    _STATES,
)
_MEDIA = st.just(Media("image", "image/png", data="aGFyYm91cg=="))
_OPAQUE = st.just(Opaque("messages", "server_tool_use", b'{"type":"server_tool_use"}'))
PARTS: st.SearchStrategy[Part] = st.one_of(TEXTS, THINKINGS, CALLS, st.builds(Refusal, WORDS), _MEDIA, _OPAQUE)
FINISHES = st.builds(
    Finish,
    st.sampled_from(["stop", "stop_sequence", "tool", "length", "context_full", "filter", "refusal", "pause"]),
    st.sampled_from(["", "end_turn"]),
    WORDS,
    WORDS,
)
CHOICES = st.builds(Choice, st.lists(PARTS, max_size=4).map(tuple), FINISHES, EXTRAS)
USAGES = st.builds(Usage, _COUNTS, _COUNTS, _COUNTS, _COUNTS, _COUNTS)
ANSWERS = st.builds(
    Answer,
    st.sampled_from(["", "answer_1"]),
    st.sampled_from(["", "tern-2"]),
    st.integers(0, 2_000_000_000),
    st.lists(CHOICES, min_size=1, max_size=3).map(tuple),
    st.none() | USAGES,
    EXTRAS,
)
