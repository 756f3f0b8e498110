"""Every place of the data plane, made from the door's own table of routes: a new one stands in every matrix at once.

    for place in places():
        request(place.path, place.body, method=place.method)

A place whose endpoint nobody has a body for fails where the table is made.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from flumegate.dialects.registry import ENDPOINTS
from flumegate.door import routes
from flumegate.door.routes import PROBES, Route

PREFIX = "/proxy"
LISTS = ("models", "model", "upstreams", "ollama_ps", "ollama_version")
"""What every key may read, whatever it may ask for."""


class Place(NamedTuple):
    """Where a request goes."""

    method: str
    path: str
    kind: str
    body: dict[str, Any] | None = None

    @property
    def public(self) -> bool:
        """Answered to everybody: health, and numbers without a name in them."""
        return self.kind in PROBES

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def places(model: str, text: str) -> list[Place]:
    """Return all places, asked for a model with a text."""
    return [*_exact(model, text), *_behind_a_model(model, text), *_beside(model, text)]


def _exact(model: str, text: str) -> Iterator[Place]:
    for path, route in routes._EXACT.items():
        for method in route.methods:
            body = _body_of(route, model, text) if method == b"POST" else None
            yield Place(method.decode(), path.decode(), route.kind, body)


def _behind_a_model(model: str, text: str) -> Iterator[Place]:
    for start in routes._MODELS:
        path = start.decode() + model
        for method in ("GET", "HEAD"):
            yield Place(method, path, "model")
        for verb, route in routes._VERBS.items():
            yield Place("POST", f"{path}:{verb.decode()}", route.kind, _body_of(route, model, text))


def _beside(model: str, text: str) -> Iterator[Place]:
    """Yield what is passed on unread, with and without a body, and what is known of those whom it is passed on to."""
    for known, route in routes._BEHIND_PREFIX.items():
        yield Place("POST", PREFIX + known.decode(), "transparent", _body_of(route, model, text))
    for path in ("/v1/files", "/v1/responses/resp_0123456789abcdef", "/v1/anything/at/all"):
        yield Place("GET", path, "transparent")
        yield Place("DELETE", PREFIX + path, "transparent")
        yield Place("POST", path, "transparent", {"model": model, "input": text})
    yield Place("GET", f"{PREFIX}/v1/upstreams", "upstreams")


def _body_of(route: Route, model: str, text: str) -> dict[str, Any]:
    if route.kind == "model":  # Ollama asks for one with a POST
        return {"model": model}
    endpoint = route.endpoint
    assert endpoint is not None, f"say what is asked at {route.kind}"
    codec = endpoint.codec
    if codec.startswith("gemini"):
        content = {"parts": [{"text": text}]}
        if route.kind == "gemini_embed_batch":
            return {"requests": [{"model": f"models/{model}", "content": content}]}
        return {"content": content} if endpoint.does == "embed" else {"contents": [content]}
    if codec in ("chat", "ollama_chat", "messages", "count_tokens"):
        return {"model": model, "max_tokens": 10, "messages": [{"role": "user", "content": text}]}
    asked = {"completions": "prompt", "ollama_generate": "prompt", "ollama_embeddings": "prompt"}
    asked |= dict.fromkeys(("responses", "openai_embeddings", "ollama_embed"), "input")
    return {"model": model, asked[codec]: text}


KINDS = frozenset(endpoint.name for endpoint in ENDPOINTS) | PROBES | set(LISTS) | {"transparent"}
"""Everything that a place can be."""
