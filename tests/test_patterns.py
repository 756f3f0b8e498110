from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flumegate.patterns import fits
from rig import cuts


@cuts.law
@given(st.text("ab*", max_size=8), st.text("ab\n", max_size=12))
def test_a_pattern_means_what_its_regular_expression_would(pattern: str, text: str) -> None:
    """A star stands for anything, also for nothing; whatever else stands there stands for itself."""
    expression = ".*".join(re.escape(part) for part in pattern.split("*"))
    assert fits(pattern, text) is (re.fullmatch(expression, text, re.DOTALL) is not None)


@pytest.mark.parametrize("pattern", ["a*" * 200 + "c", "*a" * 100 + "*b*" + "a*" * 100, "*" * 200 + "b"])
def test_pumped_patterns_cannot_hang_a_worker(pattern: str) -> None:
    """Each star costs at most one walk through the text: nothing is tried twice."""
    assert not fits(pattern, "a" * 30_000)
