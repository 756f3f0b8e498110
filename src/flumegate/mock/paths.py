"""Which dialect and operation a path means. Pure.

Any prefix before the known end of a path is tolerated (`/openai/v1`, `/api/v1`, `/inference/v1`, `/v1beta/openai`),
so that every provider's base address can point here. Ollama's own paths are `/api/…` without a version.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple
from urllib.parse import unquote

Dialect = Literal["openai", "anthropic", "ollama", "gemini", "bedrock"]


class Place(NamedTuple):
    """Where a request goes: its dialect, what is asked for, and what the path says about the model.

    `operation` is empty for a path that nobody serves; `allow` names the right method where the path is known and the
    method is not. `variant` is what the dialect's reader wants to know (`azure`, `generate`, `array`, `vertex`,
    `stream`).
    """

    dialect: Dialect
    operation: str
    model: str = ""
    variant: str = ""
    allow: str = ""


_OWN = {
    ("GET", "/health"): "health",
    ("HEAD", "/health"): "health",
    ("GET", "/mock/ledger"): "ledger",
    ("GET", "/mock/state"): "state",
    ("POST", "/mock/mark"): "mark",
}
_OPENAI = {
    "/chat/completions": "chat",
    "/completions": "completions",
    "/responses": "responses",
    "/responses/input_tokens": "input_tokens",
    "/embeddings": "embeddings",
}
_ANTHROPIC = {"/messages": "messages", "/messages/count_tokens": "count_tokens"}
_OLLAMA_POST = {
    "/api/chat": "ollama",
    "/api/generate": "ollama",
    "/api/embed": "embed",
    "/api/embeddings": "old_embedding",
    "/api/show": "show",
}
_OLLAMA_GET = {"/api/tags": "tags", "/api/ps": "running", "/api/version": "version"}
_AZURE = re.compile(r"/openai/deployments/(?P<model>[^/]+)(?P<rest>/.+)")
_GEMINI = re.compile(r"/models/(?P<model>.+):(?P<verb>\w+)$")
_GEMINI_VERBS = {
    "generateContent": "generate_content",
    "streamGenerateContent": "generate_content",
    "embedContent": "embed_content",
    "batchEmbedContents": "embed_batch",
    "countTokens": "count_gemini",
}
_BEDROCK = re.compile(r"/model/(?P<model>.+)/converse(?P<stream>-stream)?$")
_MODELS = re.compile(r"/(?P<version>v1\w*|openai)/models(?:/(?P<model>.+))?$")
_PROOFS = re.compile(r"/v1/(?P<name>upload|download|reflect|echo)(?P<rest>/.*)?$")
_VERTEX = re.compile(r"/publishers/anthropic/models/(?P<model>[^/]+):(?:rawPredict|streamRawPredict)$")
VERTEX = "vertex"
"""Anthropic's messages, with the model in the path and the version in the body."""
_STREAM_VERB = "streamGenerateContent"


def own(method: str, path: str) -> str:
    """Return the mock's own operation (`health`, `ledger`, `state`, `mark`), or an empty string."""
    return _OWN.get((method, path), "")


def find(method: str, path: str, query: str, headers: dict[bytes, bytes]) -> Place:
    """Return where a request goes; a path that nobody serves keeps the dialect that it looks like."""
    path = path.rstrip("/") or "/"
    place = (
        _proof(method, path)
        or _bedrock(method, path)
        or _vertex(method, path)
        or _gemini(method, path, query)
        or _models(method, path, headers)
        or _ollama(method, path)
        or _openai_or_anthropic(method, path)
        or Place(_likeness(path, headers), "")
    )
    return place._replace(model=unquote(place.model)) if "%" in place.model else place


def _proof(method: str, path: str) -> Place | None:
    found = _PROOFS.search(path)
    if not found or (found["rest"] and found["name"] != "echo"):
        return None
    name = "reflect" if found["name"] == "echo" else found["name"]
    wanted = {"upload": ("POST", "PUT"), "download": ("GET", "HEAD")}.get(name)
    if wanted and method not in wanted:
        return Place("openai", "", allow=", ".join(wanted))
    return Place("openai", name)


def _bedrock(method: str, path: str) -> Place | None:
    found = _BEDROCK.search(path)
    if not found:
        return None
    if method != "POST":
        return _wrong("bedrock", ("POST",))
    return Place("bedrock", "converse", found["model"], "stream" if found["stream"] else "")


def _vertex(method: str, path: str) -> Place | None:
    found = _VERTEX.search(path)
    if not found:
        return None
    return (
        Place("anthropic", "messages", found["model"], VERTEX) if method == "POST" else _wrong("anthropic", ("POST",))
    )


def _gemini(method: str, path: str, query: str) -> Place | None:
    found = _GEMINI.search(path)
    operation = _GEMINI_VERBS.get(found["verb"]) if found else None
    if not found or not operation:
        return None
    if method != "POST":
        return Place("gemini", "", allow="POST")
    if found["verb"] != _STREAM_VERB:
        return Place("gemini", operation, found["model"])
    return Place("gemini", operation, found["model"], "sse" if "alt=sse" in query.split("&") else "array")


def _models(method: str, path: str, headers: dict[bytes, bytes]) -> Place | None:
    found = _MODELS.search(path)
    if not found:
        return None
    dialect = _likeness(path, headers)
    if method not in {"GET", "HEAD"}:
        return Place(dialect, "", allow="GET")
    return Place(dialect, "model" if found["model"] else "models", found["model"] or "")


def _ollama(method: str, path: str) -> Place | None:
    if path == "/":
        return Place("ollama", "root") if method in {"GET", "HEAD"} else None
    for table, methods in ((_OLLAMA_POST, ("POST",)), (_OLLAMA_GET, ("GET", "HEAD"))):
        operation = table.get(path[path.rfind("/api/") :] if "/api/" in path else path)
        if operation:
            variant = "generate" if path.endswith("/generate") else ""
            return Place("ollama", operation, variant=variant) if method in methods else _wrong("ollama", methods)
    return None


def _openai_or_anthropic(method: str, path: str) -> Place | None:
    azure = _AZURE.search(path)
    model, variant = (azure["model"], "azure") if azure else ("", "")
    for dialect, table in (("openai", _OPENAI), ("anthropic", _ANTHROPIC)):
        for end in sorted(table, key=len, reverse=True):
            if not path.endswith(end):
                continue
            place: Dialect = "openai" if dialect == "openai" else "anthropic"
            return Place(place, table[end], model, variant) if method == "POST" else _wrong(place, ("POST",))
    return None


def _wrong(dialect: Dialect, methods: tuple[str, ...]) -> Place:
    return Place(dialect, "", allow=", ".join(methods))


def _likeness(path: str, headers: dict[bytes, bytes]) -> Dialect:
    if b"anthropic-version" in headers or "/messages" in path:
        return "anthropic"
    if "/openai" not in path and (b"x-goog-api-key" in headers or "/v1beta" in path):
        return "gemini"
    if path.startswith("/model/"):
        return "bedrock"
    if path.startswith("/api/") and "/v1/" not in path:
        return "ollama"
    return "openai"
