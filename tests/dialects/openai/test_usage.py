from __future__ import annotations

import msgspec
import pytest

from flumegate.dialects.openai.usage import WireUsage, _Details, decode_usage, read_usage, write_usage
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


@pytest.mark.parametrize(
    ("wire", "usage"),
    [
        ({"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}, Usage(5, 3)),
        ({"prompt_tokens": 5.0, "completion_tokens": "3"}, Usage(5, 3)),
        ({"prompt_tokens": 5, "completion_tokens": 3, "prompt_cache_hit_tokens": 4}, Usage(5, 3, 4)),
        ({"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 18}, Usage(5, 13, reasoning_tokens=10)),
        (
            {
                "prompt_tokens": 5,
                "completion_tokens": 3,
                "total_tokens": 18,
                "completion_tokens_details": {"reasoning_tokens": 2},
            },
            Usage(5, 3, reasoning_tokens=2),
        ),
        ({"total_tokens": 5}, None),
        ("none", None),
    ],
)
def test_usage_of_other_servers_is_made_inclusive(wire: object, usage: Usage | None) -> None:
    """Cached tokens from wherever they stand; reasoning that shows only in the total belongs to the output."""
    assert decode_usage(msgspec.json.encode(wire)) == usage


def test_usage_is_written_with_what_is_known() -> None:
    """Totals always, details where somebody counted."""
    assert write_usage(Usage()) == {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    assert decode_usage(msgspec.json.encode(write_usage(Usage(5, 3, 2, 1, 1)))) == Usage(5, 3, 2, 1, 1)
