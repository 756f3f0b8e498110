from __future__ import annotations

import json
from pathlib import Path

import pytest

from rig import goldens
from rig.goldens import CLIENTS, EXPECTED, PROVIDERS, TARGETS, Given, Question, Target

ADVICE = "if this is meant, run `make goldens` and review the difference"


def stored(name: str) -> object:
    """Return a stored expectation."""
    file = EXPECTED / name
    assert file.is_file(), f"{name} is missing: {ADVICE}"
    return json.loads(file.read_bytes())


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
@pytest.mark.parametrize("question", goldens.requests(), ids=lambda question: question.name)
def test_a_request_becomes_what_is_expected(question: Question, target: Target) -> None:
    """Body, losses and renames are those that somebody has read and found right."""
    told = goldens.written(question, target)
    assert told == stored(f"{question.case}/{question.client}-to-{target.name}.json"), ADVICE


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("given", goldens.answers(), ids=lambda given: given.name)
def test_an_answer_becomes_what_is_expected(given: Given, client: str) -> None:
    """Whole and streamed, every client gets what somebody has read and found right."""
    assert goldens.answered(given, client) == stored(f"answers/{given.case}/{given.provider}-to-{client}.json"), ADVICE


@pytest.mark.parametrize("file", goldens.errors(), ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_an_error_is_read_as_expected(file: Path) -> None:
    """An error answer has the reason that somebody has read and found right."""
    assert goldens.failed(file) == stored(f"errors/{file.parent.name}/{file.stem}.json"), ADVICE


def test_nothing_is_expected_that_no_case_asks_for() -> None:
    """A case that was renamed or removed takes its expectations with it."""
    names = {name for name, _ in goldens.expected()}
    files = {str(file.relative_to(EXPECTED)) for file in EXPECTED.rglob("*.json")}
    assert files == names, ADVICE


def test_every_dialect_is_asked_in_and_answers() -> None:
    """No codec goes without goldens."""
    assert {question.client for question in goldens.requests()} == set(CLIENTS)
    assert {given.provider for given in goldens.answers()} == set(PROVIDERS)
    assert {file.stem for file in goldens.errors()} == set(PROVIDERS)
