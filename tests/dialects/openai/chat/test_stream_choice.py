from __future__ import annotations

from flumegate.dialects.openai.chat.chunk import Delta
from flumegate.dialects.openai.chat.stream_choice import Numbers, StreamChoice
from flumegate.ir import events as e
from flumegate.ir.parts import Text


def test_choices_share_the_count_of_blocks() -> None:
    """Blocks are numbered over the whole stream (see test_read_stream for the deltas)."""
    numbers = Numbers()
    found: list[e.Event] = []
    for number in (0, 1):
        choice = StreamChoice(number, numbers)
        choice.take(Delta(content="a"), b"", found)
        choice.end(found)
    assert [one for one in found if isinstance(one, e.Opened)] == [e.Opened(0, Text("")), e.Opened(1, Text(""), 1)]
