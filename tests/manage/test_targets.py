from __future__ import annotations

from pathlib import Path

import pytest

from flumegate.manage.targets import force, merge, together
from flumegate.manage.workers import RefusedError
from flumegate.processes import link
from flumegate.records.manage import UNAVAILABLE, Refused, TargetList, TargetState
from rig.link import Control, connected, until


def test_what_is_under_way_is_summed_and_the_rest_is_the_worst() -> None:
    """An operator sees trouble in one worker at the first look."""
    one = TargetState("up/a", "closed", 1, 2, 0, 0.0, cooling=False, credentials=2, latency_ms=10.0)
    two = TargetState(
        "up/a", "open", 3, 4, 5, 6.0, cooling=True, credentials=2, credentials_out=1, ramp=0.5, last_error="x"
    )
    assert together([one, two]) == TargetState(
        "up/a", "open", 4, 6, 5, 6.0, True, 2, 1, latency_ms=10.0, ramp=0.5, last_error="x"
    )
    assert together([one]) == one


def test_the_last_error_of_a_healthier_worker_is_not_lost() -> None:
    states = [TargetState("a", "forced_open"), TargetState("a", "closed", last_error="upstream_500")]
    assert (together(states).state, together(states).last_error) == ("forced_open", "upstream_500")


def test_answers_are_kept_by_worker() -> None:
    """Who was silent is named; who knows no such target is not."""
    a, b = TargetState("a", "closed"), TargetState("b", "open")
    found = merge({"w0": TargetList([b, a]), "w1": TargetList([a]), "w2": UNAVAILABLE, "w3": Refused("x", "y")})
    assert [(target.together.name, sorted(target.workers)) for target in found.targets] == [
        ("a", ["w0", "w1"]),
        ("b", ["w0"]),
    ]
    assert found.silent == ["w2"]


async def test_a_worker_that_is_told_later_is_not_called_unavailable_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The operator learns that it may still happen."""
    monkeypatch.setattr(link, "REPLY_SECONDS", 0.01)
    control = Control(tmp_path / "link.sock")
    await control.end.open()
    async with connected(control.end.path):
        await until(control, lambda: bool(control.hellos))
        with pytest.raises(RefusedError, match="told as soon as it reads") as refused:
            await force(control.end, "up/a", "open")
    assert refused.value.code == "worker_unavailable"
    await control.end.idle.wait()
    control.end.close()
    with pytest.raises(RefusedError, match="Try again"):
        await force(control.end, "up/a", "open")
