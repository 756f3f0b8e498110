"""Every client's dialect before every provider's: questions, and answers read as that client's library reads them.

Five of the pairs speak one dialect and are relayed as they are, the others are translated. Behind all providers stands
one mock; it is told what to do in the model's name, for headers of the client's own do not pass a translation.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import quote

from rig import raw, road

CLIENTS = ("chat", "messages", "responses", "ollama", "gemini")
PROVIDERS = ("openai", "anthropic", "ollama", "gemini", "bedrock")
_LINE_END = re.compile(rb"\r\n|\r|\n")
_AT_HOME = {"chat": "openai", "responses": "openai", "messages": "anthropic", "ollama": "ollama", "gemini": "gemini"}


class Pair(NamedTuple):
    """Who asks whom."""

    client: str
    provider: str

    @property
    def verbatim(self) -> bool:
        return _AT_HOME[self.client] == self.provider

    def question(self, text: str, *, fault: str = "", stream: bool = True, request_id: str = "") -> bytes:
        """Return the request of this client; the mock answers `echo: ` and the text, or as `fault` says."""
        model = f"{self.provider}/m1{'+' * bool(fault)}{fault}"
        path, body = asked(self.client, model, text, stream=stream)
        headers = [("x-request-id", request_id)] if request_id else []
        return raw.request(path, body, key=road.KEY, headers=headers)


PAIRS = tuple(Pair(client, provider) for client in CLIENTS for provider in PROVIDERS)


def providers(port: int, **more: Any) -> dict[str, Any]:
    """Return the settings of one provider of each kind, all on one port of this machine."""
    url = f"http://127.0.0.1:{port}"
    bases = {"openai": f"{url}/v1", "gemini": f"{url}/v1beta/openai"}
    return {name: {"type": name, "base_url": bases.get(name, url), "api_key": "k", **more} for name in PROVIDERS}


def asked(client: str, model: str, text: str, *, stream: bool) -> tuple[str, dict[str, Any]]:
    """Return path and body of one client's question."""
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": text}], "stream": stream}
    match client:
        case "chat":
            return "/v1/chat/completions", body
        case "messages":
            return "/v1/messages", body | {"max_tokens": 1_000_000}
        case "responses":
            return "/v1/responses", {"model": model, "input": text, "stream": stream}
        case "ollama":
            return "/api/chat", body
        case _:
            verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
            return f"/v1beta/models/{quote(model, safe='')}:{verb}", {"contents": [{"parts": [{"text": text}]}]}


class Said(NamedTuple):
    """What an answer tells its client's library."""

    text: str
    ended: bool
    """Its dialect's own sign of a good end was there."""
    failed: bool
    """An error was told, by status, within the answer, or by a connection that was cut."""

    @property
    def looks_whole(self) -> bool:
        return self.ended and not self.failed


def said(client: str, answer: raw.Answer) -> Said:
    """Return what a client takes from an answer; what is no whole JSON at a cut end counts as not said."""
    if answer.status != 200:
        return Said("", ended=False, failed=True)
    kind = answer.headers.get("content-type", "")
    streamed = kind.startswith(("text/event-stream", "application/x-ndjson"))
    documents = list(_documents(answer.body, streamed=streamed))
    text, ended, failed = "", False, not answer.complete
    for document in documents:
        failed |= bool(document.get("error")) or document.get("type") in ("error", "response.failed")
        text += _text(client, document, streamed=streamed)
        ended |= _ends(client, document, streamed=streamed)
    return Said(text, ended, failed)


def _documents(body: bytes, *, streamed: bool) -> Iterator[dict[str, Any]]:
    lines = _LINE_END.split(body) if streamed else [body]
    for line in lines:
        data = line.removeprefix(b"data: ")
        if data.startswith(b"{"):
            with contextlib.suppress(ValueError):
                yield json.loads(data)


def _text(client: str, document: dict[str, Any], *, streamed: bool) -> str:
    if client == "responses" and streamed:
        return str(document["delta"]) if document.get("type") == "response.output_text.delta" else ""
    return "".join(str(part.get("text") or "") for part in _parts(client, document, streamed=streamed))


def _parts(client: str, document: dict[str, Any], *, streamed: bool) -> list[dict[str, Any]]:
    match client:
        case "chat":
            choice = (document.get("choices") or [{}])[0]
            return [{"text": (choice.get("delta" if streamed else "message") or {}).get("content")}]
        case "messages":
            return [document.get("delta") or {}] if streamed else document.get("content") or []
        case "responses":
            return [part for item in document.get("output") or [] for part in item.get("content") or []]
        case "ollama":
            return [{"text": (document.get("message") or {}).get("content")}]
        case _:
            return ((document.get("candidates") or [{}])[0].get("content") or {}).get("parts") or []


def _ends(client: str, document: dict[str, Any], *, streamed: bool) -> bool:
    match client:
        case "chat":
            return bool((document.get("choices") or [{}])[0].get("finish_reason"))
        case "messages":
            return document.get("type") == "message_stop" if streamed else bool(document.get("stop_reason"))
        case "responses":
            return document.get("type") == "response.completed" if streamed else document.get("status") == "completed"
        case "ollama":
            return document.get("done") is True
        case _:
            return bool((document.get("candidates") or [{}])[0].get("finishReason"))
