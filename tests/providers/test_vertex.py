from __future__ import annotations

import pytest

from flumegate.providers import vertex


@pytest.mark.parametrize(
    ("location", "host"),
    [
        ("europe-west4", "europe-west4-aiplatform.googleapis.com"),
        ("global", "aiplatform.googleapis.com"),
        ("us", "aiplatform.us.rep.googleapis.com"),
        ("eu", "aiplatform.eu.rep.googleapis.com"),
    ],
)
def test_each_location_has_its_host(location: str, host: str) -> None:
    """Regions, the global endpoint and the multi-regions."""
    assert vertex.is_location(location)
    assert vertex.origin(location) == f"https://{host}"


@pytest.mark.parametrize("text", ["", "Europe-West4", "a.b", "europe-west4/x", "eu-"])
def test_what_is_no_location_does_not_pass(text: str) -> None:
    """The location becomes a part of the host's name."""
    assert not vertex.is_location(text)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [("my-project-1", True), ("123456", True), ("example.com:my-project", True), ("", False), ("a/b", False)],
)
def test_projects_look_like_projects(text: str, is_one: bool) -> None:
    """The project becomes a part of the path."""
    assert vertex.is_project(text) is is_one


@pytest.mark.parametrize("path", ["", "/v1"])
def test_a_base_url_may_name_the_version(path: str) -> None:
    """A bare origin, or with /v1 as Anthropic's SDK has it, leads to the same place."""
    assert vertex.place(path, "p", "global") == "/v1/projects/p/locations/global"
    assert vertex.place(f"/gateway{path}", "p", "eu") == "/gateway/v1/projects/p/locations/eu"


@pytest.mark.parametrize(
    ("model", "streamed", "path"),
    [
        ("gemini-2.5-pro", False, "/publishers/google/models/gemini-2.5-pro:generateContent"),
        ("gemini-2.5-pro", True, "/publishers/google/models/gemini-2.5-pro:streamGenerateContent?alt=sse"),
        ("claude-opus-4-5@20251101", False, "/publishers/anthropic/models/claude-opus-4-5@20251101:rawPredict"),
        ("claude-haiku-4-5", True, "/publishers/anthropic/models/claude-haiku-4-5:streamRawPredict"),
    ],
)
def test_the_models_name_tells_the_publisher(model: str, streamed: bool, path: str) -> None:
    """Claude's models are Anthropic's, all others Google's."""
    assert vertex.model_path(model, streamed=streamed) == path
