"""What every subject is asked: a chat request of about 1.1 KB, whole or streamed; and the check of the first answer."""

from __future__ import annotations

import http.client
import json

from bench.problem import BenchError

CLIENT_KEY = "sk-bench-0123456789abcdef0123456789abcdef"
UPSTREAM_KEY = "sk-upstream"
MODEL = "gpt-4o-mini"
PATH = "/v1/chat/completions"
_TEXT = "The quick brown fox jumps over the lazy dog. " * 20
_FIRST_ANSWER_SECONDS = 10.0


def body(*, streamed: bool) -> str:
    """Return the request's body; a streamed one asks for usage, so that nobody has to ask on the client's behalf."""
    question: dict[str, object] = {
        "model": MODEL,
        "messages": [
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": _TEXT},
        ],
        "temperature": 0.7,
        "max_tokens": 256,
    }
    if streamed:
        question |= {"stream": True, "stream_options": {"include_usage": True}}
    return json.dumps(question, separators=(",", ":"))


def headers() -> dict[str, str]:
    """Return the fields that every subject gets."""
    return {"Content-Type": "application/json", "Authorization": f"Bearer {CLIENT_KEY}"}


def ask(port: int, fields: dict[str, str], *, streamed: bool) -> tuple[int, str]:
    """Send one request; return status and body.

    Raises:
        OSError: nobody answers.
        http.client.HTTPException: the answer is no HTTP.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_FIRST_ANSWER_SECONDS)
    try:
        connection.request("POST", PATH, body(streamed=streamed), fields)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    finally:
        connection.close()


def check(name: str, port: int, fields: dict[str, str], *, streamed: bool) -> None:
    """Make sure that the subject answers as it should before it is measured.

    Raises:
        BenchError: it does not.
    """
    try:
        status, text = ask(port, fields, streamed=streamed)
    except (OSError, http.client.HTTPException) as problem:
        raise BenchError(f"{name} does not answer on port {port}: {problem}") from problem
    wanted = ("total_tokens", "[DONE]") if streamed else ("mock answer", "total_tokens")
    missing = [mark for mark in wanted if mark not in text]
    if status != 200 or missing:
        raise BenchError(f"{name} answers {status} without {missing or 'fault'}: {text[:600]}")
