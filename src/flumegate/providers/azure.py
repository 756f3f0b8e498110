"""Azure OpenAI: one resource, two path styles, chosen by the API version.

A dated version (`2024-10-21`) means deployment paths below `/openai`, with the version in the query. No version, or
`v1`, means the v1 API below `/openai/v1`, where the body's model names the deployment (Azure OpenAI API lifecycle).
"""

from __future__ import annotations

import re

UNDATED = ("v1", "preview", "latest")
_DATED = re.compile(r"\d{4}-\d{2}-\d{2}(-preview)?")
_TAILS = ("/openai/v1", "/openai/deployments", "/openai")


def is_version(api_version: str) -> bool:
    """Tell whether this is an API version: a date (`2024-10-21`, `2024-10-01-preview`) or one of UNDATED."""
    return api_version in UNDATED or _DATED.fullmatch(api_version) is not None


def place(path: str, api_version: str) -> tuple[str, str]:
    """Return base path and dated API version (empty = the v1 API) for the path of a resource's base URL.

    The path may be empty (the endpoint as the portal shows it), a prefix of one's own (an API management gateway), or
    already end in `/openai` or `/openai/v1`.
    """
    for tail in _TAILS:
        if path.endswith(tail):
            path = path[: -len(tail)]
            break
    if api_version and api_version not in UNDATED:
        return f"{path}/openai", api_version
    return f"{path}/openai/v1", ""
