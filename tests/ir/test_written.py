from __future__ import annotations

import msgspec

from flumegate.ir.embedding import EmbeddingAnswer, EmbeddingRequest
from flumegate.ir.request import EFFORTS, Request
from flumegate.ir.written import Abilities, Rename, Written


def test_an_unknown_ability_is_not_a_missing_one() -> None:
    """None means that nobody knows, so that a writer says it as if the model could."""
    told = msgspec.structs.asdict(Abilities("tern-2"))
    strings = {"model", "server", "reasoning_field"}
    assert all(value is None for name, value in told.items() if name not in strings)


def test_what_is_written_stands_alone() -> None:
    """Without losses and renames a written request is its bytes."""
    assert Written(b"{}") == Written(b"{}", (), {})
    assert Rename("weigh") == Rename("weigh", "", "function")


def test_what_was_not_said_is_empty() -> None:
    """A request holds nothing but what the client said, so that defaults stay the provider's."""
    told = msgspec.structs.asdict(Request(dialect="chat", model="m"))
    said = {name for name, value in told.items() if value not in (None, "", b"", (), False)}
    assert said == {"dialect", "model"}
    assert EFFORTS[0] == "none"
    request = EmbeddingRequest(dialect="embeddings", model="m", inputs=("a", (1, 2)))
    assert (request.plain, request.encoding, request.dimensions) == (False, "", None)
    assert EmbeddingAnswer(((0.5,),)).usage is None
