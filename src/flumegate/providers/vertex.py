"""Google Vertex AI: Gemini's and Anthropic's models below one project and location.

Requests stand at `/v1/projects/{project}/locations/{location}/publishers/{publisher}/models/{model}:{verb}` (Vertex AI
REST reference). The location is a part of the host too, except for `global`, and for the multi-regions `us` and `eu`,
which have hosts of their own.
"""

from __future__ import annotations

import re

CLAUDE = "claude-"
"""How the models of Anthropic's publisher are called."""
_LOCATION = re.compile(r"[a-z]+(-[a-z]+[0-9]+)?")
_PROJECT = re.compile(r"([a-z0-9.-]+:)?[a-z0-9][a-z0-9-]{0,62}")
_MULTI_REGIONS = ("us", "eu")


def is_location(text: str) -> bool:
    """Tell whether this can be a location: `global`, `us`, `eu` or a region as in `europe-west4`."""
    return _LOCATION.fullmatch(text) is not None


def is_project(text: str) -> bool:
    """Tell whether this can be a project, by its id or its number."""
    return _PROJECT.fullmatch(text) is not None


def origin(location: str) -> str:
    """Return where the API of a location stands."""
    if location == "global":
        return "https://aiplatform.googleapis.com"
    if location in _MULTI_REGIONS:
        return f"https://aiplatform.{location}.rep.googleapis.com"
    return f"https://{location}-aiplatform.googleapis.com"


def place(path: str, project: str, location: str) -> str:
    """Return the base path for the path of a base URL, which may be empty, a prefix of one's own, or end in `/v1`."""
    return f"{path.removesuffix('/v1')}/v1/projects/{project}/locations/{location}"


def model_path(model: str, *, streamed: bool) -> str:
    """Return the path of a request for an answer below the base path; `model` is encoded already."""
    if model.startswith(CLAUDE):
        return f"/publishers/anthropic/models/{model}:{'streamRawPredict' if streamed else 'rawPredict'}"
    verb = "streamGenerateContent?alt=sse" if streamed else "generateContent"
    return f"/publishers/google/models/{model}:{verb}"
