"""What all connections of one mock share: its options, ledger and dice, the key it demands, and its own answers."""

from __future__ import annotations

import os
import random
import resource
import time
from collections import OrderedDict
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import msgspec

from flumegate.mock import aws_signature, faults
from flumegate.mock.answer import Answer, Request, refusal, write
from flumegate.mock.asked import Stamp, nonce_in
from flumegate.mock.codings import CodingError, decode
from flumegate.mock.faults import FaultError, Faults
from flumegate.mock.frames import encode
from flumegate.mock.ledger import Ledger
from flumegate.mock.look import Json, mapping, text
from flumegate.mock.options import Options

if TYPE_CHECKING:
    from flumegate.mock.protocol import Connection

TURNS_MAX = 10_000
"""So many tags have their calls counted for `times`; the oldest is forgotten first."""

_CARRIERS: dict[str, tuple[bytes, ...]] = {
    "openai": (b"authorization", b"api-key"),
    "anthropic": (b"x-api-key", b"authorization"),
    "ollama": (b"authorization",),
    "gemini": (b"x-goog-api-key", b"authorization"),
    "bedrock": (b"authorization",),
}
_WITHOUT_JSON = frozenset(
    {"upload", "reflect", "download", "root", "models", "model", "tags", "running", "version", ""}
)


class Stage:
    """The state of one mock."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.ledger = Ledger()
        self.connections: set[Connection] = set()
        self.started_at = time.time()
        self._aws_key = aws_signature.read_key(options.aws_key) if options.aws_key else None
        self._dice = random.Random(options.seed)
        self._turns: OrderedDict[str, int] = OrderedDict()

    def answer(self, request: Request, number: int) -> tuple[Answer, Faults]:
        """Return what one call is answered, and the faults under which it leaves."""
        dialect = request.place.dialect
        stamp = Stamp(number, int(time.time()))
        none = Faults()
        fields = dict(request.headers)
        wrong = self._unauthorised(request, fields)
        if wrong:
            return refusal(dialect, 403 if dialect == "bedrock" else 401, wrong, stamp=stamp), none
        body: Json = {}
        try:
            plain = decode(request.body, fields.get(b"content-encoding", b"").decode("latin-1"))
            if request.place.operation not in _WITHOUT_JSON:
                request = msgspec.structs.replace(request, body=plain)
                body = _object(plain)
            asked_for = faults.read(request.place.model or text(body.get("model")), request.headers)
        except CodingError as problem:
            return refusal(dialect, 415 if problem.unknown else 400, str(problem), stamp=stamp), none
        except msgspec.MsgspecError:
            return refusal(dialect, 400, "The request body is not a JSON object: check its syntax", stamp=stamp), none
        except FaultError as problem:
            return refusal(dialect, 400, str(problem), "unknown_fault", stamp), none
        key = fields.get(b"x-mock-tag", b"").decode("latin-1") or nonce_in(_beginning(plain))
        suffered = self._suffered(asked_for, key or text(body.get("model")))
        return write(request, body, suffered, stamp), suffered

    def own(self, operation: str, target: str) -> bytes:
        """Return the answer of one of the mock's own addresses."""
        query = {name: values[-1] for name, values in parse_qs(target.partition("?")[2]).items()}
        if operation == "ledger":
            since = query.get("since", "0")
            listed = self.ledger.listing(int(since) if since.isdigit() else 0, query.get("tag", ""))
            if query.get("clear") == "1":
                self.ledger.clear()
                self._turns.clear()
            return encode(listed)
        if operation == "mark":
            self.ledger.mark(query.get("tag", ""), time.time())
            return encode({"marked": query.get("tag", "")})
        if operation == "state":
            return encode(self._state())
        return encode({"status": "ok"})

    def _state(self) -> Json:
        return self.ledger.counts() | {
            "open_sockets": sum(connection.carries_calls for connection in self.connections),
            "pid": os.getpid(),
            "uptime_s": round(time.time() - self.started_at, 3),
            "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }

    def _unauthorised(self, request: Request, fields: dict[bytes, bytes]) -> str:
        """Return what is wrong with the credential of a request, or an empty string."""
        key, dialect = self.options.key, request.place.dialect
        if self._aws_key is not None:
            is_signed = fields.get(b"authorization", b"").startswith(aws_signature.SCHEME.encode())
            if is_signed or (dialect == "bedrock" and not key):
                place = (request.method, request.target, request.headers, request.body)
                return aws_signature.fault(self._aws_key, *place, time.time())
        if not key or (dialect == "gemini" and request.query.get("key") == key):
            return ""
        sent = (fields.get(carrier, b"").decode("latin-1") for carrier in _CARRIERS[dialect])
        if any(value.removeprefix("Bearer ") == key for value in sent):
            return ""
        return "The key is missing or wrong: send the one that the mock was started with"

    def _suffered(self, asked_for: Faults, key: str) -> Faults:
        """Return the faults, or what `times` and `share` leave of them."""
        if asked_for.times:
            turn = self._turns.pop(key, 0) + 1
            self._turns[key] = turn
            if len(self._turns) > TURNS_MAX:
                self._turns.popitem(last=False)
            if turn > asked_for.times:
                return faults.spared(asked_for)
        if asked_for.share < 1 and faults.share_falls(asked_for, self._dice.random()):
            return faults.spared(asked_for)
        return asked_for


def _object(body: bytes) -> Json:
    value = msgspec.json.decode(body)
    if not isinstance(value, dict):
        raise msgspec.ValidationError("not an object")
    return mapping(value)


def _beginning(body: bytes) -> str:
    return body[: 64 << 10].decode("utf-8", "replace")
