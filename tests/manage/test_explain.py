from __future__ import annotations

from pathlib import Path

import pytest

from flumegate.manage.explain import explain
from flumegate.manage.workers import RefusedError
from flumegate.records.manage import UNAVAILABLE, Answer, Explain, Explained, Question, Refused, TargetList
from rig.link import Control, connected, until

ASKED = Explain("POST", "/v1/chat/completions", [], b"{}")


@pytest.mark.parametrize(
    ("answer", "code"),
    [(Refused("invalid_path", "No."), "invalid_path"), (UNAVAILABLE, "worker_unavailable")],
)
async def test_what_a_worker_refuses_is_an_error(tmp_path: Path, answer: Answer, code: str) -> None:
    with pytest.raises(RefusedError) as refused:
        await asked_of(tmp_path, answer)
    assert refused.value.code == code


async def test_an_explanation_is_passed_on_as_it_is(tmp_path: Path) -> None:
    """Whatever the worker says of it."""
    assert await asked_of(tmp_path, Explained(b'{"b":1, "a":2}')) == b'{"b":1, "a":2}'


async def test_an_answer_to_another_question_is_none(tmp_path: Path) -> None:
    """A worker of another release is not believed."""
    with pytest.raises(RefusedError):
        await asked_of(tmp_path, TargetList([]))


async def asked_of(folder: Path, answer: Answer) -> bytes:
    """Ask a worker that says this, over the link."""
    control = Control(folder / "link.sock")
    await control.end.open()

    async def say(_: Question) -> Answer:
        return answer

    try:
        async with connected(control.end.path) as worker:
            worker.answer = say
            await until(control, lambda: bool(control.hellos))
            return await explain(control.end, ASKED)
    finally:
        control.end.close()
