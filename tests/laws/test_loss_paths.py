"""What an answer loses is named by one path, whoever asks: the place in the neutral answer."""

from __future__ import annotations

import msgspec
import pytest

from flumegate.ir.answer import Answer, Choice, Finish
from flumegate.ir.fold import unfold
from flumegate.ir.parts import Extras, Opaque, Text, Thinking
from flumegate.ir.usage import Usage
from rig import goldens
from rig.goldens import CODECS

ODD = Extras("elsewhere", {"odd": msgspec.Raw(b"1")})
PARTS = (Thinking(("hm",)), Text("a", extras=ODD), Opaque("elsewhere", "trace", b"{}", vital=False))
ANSWER = Answer("i", "m", 1, (Choice(PARTS, Finish("stop"), ODD),), Usage(1, 1), ODD)


@pytest.mark.parametrize("client", ["chat", "responses", "messages", "ollama_chat", "gemini"])
def test_a_loss_has_one_path_in_every_dialect(client: str) -> None:
    """`content[i]` for a part and below it for its members, the bare name for what belongs to no part."""
    write = CODECS[client].write_answer
    assert write is not None
    expected = {("dropped", path) for path in ("odd", "content[1].odd", "content[2]")}
    _, losses = write(ANSWER, goldens.asked(client))
    assert {(loss.kind, loss.path) for loss in losses} == expected
    _, streamed = goldens.rewritten(list(unfold(ANSWER)), client)
    assert {(loss.kind, loss.path) for loss in streamed} == expected
