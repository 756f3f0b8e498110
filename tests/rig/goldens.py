"""The golden files of translation: what is in them, and how what is expected is made.

`tests/golden/cases/<case>/<client>.json` is a client's request, `answers/<case>/<provider>.json` and `.stream` are what
a provider answers, whole and streamed, `errors/<case>/<provider>.json` is an error answer with its status. All made up.
`tests/golden/expected/` holds what becomes of them; `make goldens` writes it, and people read the difference.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from flumegate.dialects.codecs import Codec
from flumegate.dialects.node import ReadError
from flumegate.ir.answer import Asked
from flumegate.ir.events import Event
from flumegate.ir.fold import unfold
from flumegate.ir.loss import Loss
from flumegate.ir.request import Request
from flumegate.ir.written import Abilities
from rig.fates import fates

FOLDER = Path(__file__).parents[1] / "golden"
CASES = FOLDER / "cases"
ANSWERS = FOLDER / "answers"
ERRORS = FOLDER / "errors"
EXPECTED = FOLDER / "expected"
_PLACES = {
    "chat": "flumegate.dialects.openai.chat",
    "responses": "flumegate.dialects.openai.responses",
    "completions": "flumegate.dialects.openai.completions",
    "messages": "flumegate.dialects.anthropic.messages",
    "ollama_chat": "flumegate.dialects.ollama.chat",
    "gemini": "flumegate.dialects.gemini",
}
CLIENT_MODEL = "tern-2"


class Target(NamedTuple):
    """A provider's dialect, and a model there with its abilities."""

    name: str
    title: str
    codec: str
    abilities: Abilities


_ALL = ("none", "minimal", "low", "medium", "high", "xhigh")
TARGETS = (
    Target(
        "openai",
        "chat at OpenAI",
        "chat",
        Abilities("gannet-1", "openai", developer_role=True, max_completion_tokens=True, system_anywhere=True),
    ),
    Target(
        "compatible",
        "chat at a compatible server",
        "chat",
        Abilities(
            "open-gannet",
            "vllm",
            developer_role=False,
            max_completion_tokens=False,
            reasoning_field="reasoning_content",
        ),
    ),
    Target("responses", "Responses", "responses", Abilities("gannet-1", "openai", efforts=_ALL)),
    Target(
        "messages",
        "Anthropic Messages",
        "messages",
        Abilities(
            "curlew-3",
            "anthropic",
            max_output_tokens=64_000,
            sampling=True,
            temperature_and_top_p=False,
            efforts=("low", "medium", "high", "max"),
            adaptive_thinking=True,
            thinking_budget=False,
            system_anywhere=True,
            prefill=False,
        ),
    ),
    Target("ollama_chat", "Ollama", "ollama_chat", Abilities("open-gannet:8b", "ollama", num_ctx=16_384)),
    Target(
        "gemini",
        "Gemini",
        "gemini",
        Abilities("plover-3", "gemini", efforts=("minimal", "low", "medium", "high"), adaptive_thinking=True),
    ),
)


def codecs() -> dict[str, Codec]:
    """Return every dialect's codec by name."""
    return {name: importlib.import_module(place).CODEC for name, place in _PLACES.items()}


CODECS = codecs()
CLIENTS = tuple(_PLACES)
PROVIDERS = tuple(name for name in CLIENTS if name != "completions")


class Question(NamedTuple):
    """A client's request of one case."""

    case: str
    client: str
    body: bytes

    @property
    def name(self) -> str:
        """Return how tests call it."""
        return f"{self.case}-{self.client}"

    def read(self) -> Request:
        """Return it in the neutral form.

        Raises:
            ReadError: it cannot be read.
        """
        read = CODECS[self.client].read_request
        assert read is not None
        return read(self.body, model=CLIENT_MODEL) if self.client == "gemini" else read(self.body)


class Given(NamedTuple):
    """A provider's answer of one case."""

    case: str
    provider: str
    whole: bytes
    """Empty where the case has only a stream."""
    stream: bytes

    @property
    def name(self) -> str:
        """Return how tests call it."""
        return f"{self.case}-{self.provider}"


def requests() -> list[Question]:
    """Return every request there is."""
    files = sorted(CASES.glob("*/*.json"))
    return [Question(file.parent.name, file.stem, _compact(file)) for file in files]


def answers() -> list[Given]:
    """Return every answer there is."""
    places = sorted({file.with_suffix("") for file in ANSWERS.glob("*/*.*")})
    return [
        Given(place.parent.name, place.name, _compact(place.with_suffix(".json")), _bytes(place.with_suffix(".stream")))
        for place in places
    ]


def errors() -> list[Path]:
    """Return the file of every error answer there is."""
    return sorted(ERRORS.glob("*/*.json"))


def _bytes(file: Path) -> bytes:
    return file.read_bytes() if file.is_file() else b""


def _compact(file: Path) -> bytes:
    """Return a JSON file as it would come over the wire; the files themselves are written for people."""
    if not file.is_file():
        return b""
    return json.dumps(json.loads(file.read_bytes()), ensure_ascii=False, separators=(",", ":")).encode()


def expected() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield path below `expected/` and content of every expectation, as the code fulfils it now."""
    for request in requests():
        for target in TARGETS:
            yield f"{request.case}/{request.client}-to-{target.name}.json", written(request, target)
    for given in answers():
        for client in CLIENTS:
            yield f"answers/{given.case}/{given.provider}-to-{client}.json", answered(given, client)
    for file in errors():
        yield f"errors/{file.parent.name}/{file.stem}.json", failed(file)


def written(request: Question, target: Target) -> dict[str, Any]:
    """Return what a request becomes at a target."""
    write = CODECS[target.codec].write_request
    assert write is not None
    try:
        neutral = request.read()
    except ReadError as error:
        return {"unreadable": {"path": error.path, "detail": error.detail}}
    done = write(neutral, target.abilities)
    told: dict[str, Any] = {"body": json.loads(done.body), "losses": _losses(done.losses)}
    if done.renames:
        told["renames"] = {name: msgspec.to_builtins(rename) for name, rename in done.renames.items()}
    return told | {"fates": fates(neutral, done.losses)}


def asked(client: str) -> Asked:
    """Return the question that golden answers are answers to."""
    body = _compact(CASES / "plain-text" / f"{client}.json")
    request = Question("plain-text", client, body).read()
    request = msgspec.structs.replace(request, model=CLIENT_MODEL, stream=True, include_usage=True)
    return Asked(request, "00goldenseed", 1_760_000_000)


def answered(given: Given, client: str) -> dict[str, Any]:
    """Return what an answer becomes for a client, whole and streamed."""
    told: dict[str, Any] = {}
    codec = CODECS[client]
    read = CODECS[given.provider].read_answer
    assert codec.write_answer is not None
    assert read is not None
    if given.whole:
        try:
            body, losses = codec.write_answer(read(given.whole), asked(client))
            told |= {"answer": json.loads(body), "losses": _losses(losses)}
        except ReadError as error:
            told["unreadable"] = {"path": error.path, "detail": error.detail}
    if given.stream:
        text, losses = rewritten(events(given.provider, [given.stream]), client)
        told |= {"stream": text.decode().split("\n"), "stream_losses": _losses(losses)}
    return told


def events(provider: str, pieces: list[bytes]) -> list[Event]:
    """Return what a stream says that arrives in pieces."""
    new = CODECS[provider].stream_reader
    assert new is not None
    reader = new()
    return [event for piece in pieces for event in reader.feed(piece)] + reader.close()


def rewritten(stream: list[Event], client: str) -> tuple[bytes, tuple[Loss, ...]]:
    """Return a stream as a client gets it, and what could not be said."""
    new = CODECS[client].stream_writer
    assert new is not None
    writer = new(asked(client))
    return b"".join(writer.write(event) for event in stream), tuple(writer.losses.found)


def streamed(given: Given) -> list[Event]:
    """Return the events of an answer: of its stream, or of the whole taken apart."""
    if given.stream:
        return events(given.provider, [given.stream])
    read = CODECS[given.provider].read_answer
    assert read is not None
    return list(unfold(read(given.whole)))


def failed(file: Path) -> dict[str, Any]:
    """Return what an error answer is read as."""
    read = CODECS[file.stem].read_error
    assert read is not None
    document = json.loads(file.read_bytes())
    body = document["body"]
    raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    told: dict[str, Any] = msgspec.to_builtins(read(document["status"], raw))
    return {name: value for name, value in told.items() if value not in ("", None)}


def _losses(losses: tuple[Loss, ...]) -> list[dict[str, str]]:
    return [{"kind": loss.kind, "path": loss.path, "reason": loss.reason} for loss in losses]


def text_of(told: dict[str, Any]) -> str:
    """Return an expectation as it stands in its file."""
    return json.dumps(told, indent=1, ensure_ascii=False) + "\n"
