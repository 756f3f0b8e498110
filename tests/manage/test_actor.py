from __future__ import annotations

import pytest

from flumegate.manage.actor import ROLES, Role, may_give


@pytest.mark.parametrize("role", ROLES)
def test_nobody_gives_more_than_they_have(role: Role) -> None:
    """Whatever a role may hand out can itself hand out no more than that."""
    assert may_give(role, role)
    for other in ROLES:
        if may_give(role, other):
            assert {each for each in ROLES if may_give(other, each)} <= {each for each in ROLES if may_give(role, each)}
    assert may_give(role, "owner") == (role == "owner")
