from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flumegate.manage.grants import check_networks, check_tags, check_within
from flumegate.manage.workers import RefusedError

PATTERNS = st.text("ab*", min_size=1, max_size=5)


@given(outer=st.lists(PATTERNS, min_size=1, max_size=3), inner=PATTERNS, name=st.text("ab", max_size=6))
def test_what_is_let_pass_adds_nothing(outer: list[str], inner: str, name: str) -> None:
    """Whatever name a key's pattern matches is matched by one of its project's."""
    try:
        check_within(outer, [inner], "models")
    except RefusedError:
        return
    if fnmatchcase(name, inner):
        assert any(fnmatchcase(name, pattern) for pattern in outer)


def test_networks_and_tags_are_told_in_one_form() -> None:
    assert check_networks(["10.1.2.3/8", "::1", "10.0.0.0/8"]) == ("10.0.0.0/8", "::1/128")
    assert check_tags(["a", "a", "team:x"]) == ("a", "team:x")
    for wrong in ("-a", "a,b", "", "x" * 65):
        with pytest.raises(RefusedError):
            check_tags([wrong])
