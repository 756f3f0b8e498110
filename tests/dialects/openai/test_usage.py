from __future__ import annotations

import pytest

from flumegate.dialects.openai.usage import WireUsage, _Details, read_usage
from flumegate.ir.usage import Usage

THOUGHT = _Details(reasoning_tokens=5)


@pytest.mark.parametrize(
    ("wire", "usage"),
    [
        (WireUsage(), Usage()),
        (WireUsage(prompt_tokens=1, completion_tokens=2), Usage(1, 2)),
        (WireUsage(input_tokens=1, output_tokens=2), Usage(1, 2)),
        (WireUsage(prompt_tokens=0, input_tokens=9, completion_tokens=0, output_tokens=9), Usage(0, 0)),
        (WireUsage(prompt_tokens=9, prompt_tokens_details=_Details(4, 3)), Usage(9, None, 4, 3)),
        (WireUsage(input_tokens=9, input_tokens_details=_Details(4, 3)), Usage(9, None, 4, 3)),
        (
            WireUsage(completion_tokens=9, completion_tokens_details=_Details(None, None, 5)),
            Usage(None, 9, None, None, 5),
        ),
        (WireUsage(output_tokens=9, output_tokens_details=_Details(None, None, 5)), Usage(None, 9, None, None, 5)),
    ],
)
def test_both_namings_are_read(wire: WireUsage, usage: Usage) -> None:
    """Chat and Responses count alike, inclusively, and name the counts differently; zero is a count."""
    assert read_usage(wire) == usage
