"""From bytes to requests: llhttp's callbacks of one client connection.

llhttp runs without leniencies; what it lets pass and we do not is checked in `head.py`. A request whose body must be
looked at becomes a turn when it is whole; one that is passed on while it arrives becomes a turn with its head.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import httptools

from flumegate.door import head as heads
from flumegate.door.routes import Route, find
from flumegate.door.turn import Turn
from flumegate.door.upload import Upload
from flumegate.errors import CLIENT_TIMEOUT, INVALID_REQUEST, GatewayError
from flumegate.exchange import Exchange

if TYPE_CHECKING:
    from flumegate.door.connection import ClientConnection
    from flumegate.door.server import Server

EARLY_CHECK_BYTES = 65_536
"""A body announced as larger than this is not read before the gates have agreed."""
RATE_GRACE_SECONDS = 10.0
_ID_MASK = 0xFFFFFFFFFFFFFFFF
_READ = heads.READ.get
_PREFLIGHT = Route("preflight")
_LISTS = ("models", "model")


class RequestReader:
    """Reads the requests of one connection.

    Attributes:
        due: clock time at which what is being read (or waited for) must have come.
        reading: the request whose body is being read.
        in_head: a request's head has begun and is not complete.
        expects: the client waits for an invitation to send its body.
    """

    __slots__ = (
        "_body",
        "_body_bytes",
        "_body_since",
        "_conflict",
        "_connection",
        "_ended_now",
        "_head_bytes",
        "_headers",
        "_parser",
        "_picked",
        "_read_bytes",
        "_route",
        "_server",
        "_special",
        "_undecided",
        "_upload",
        "_url",
        "due",
        "expects",
        "in_head",
        "reading",
    )

    def __init__(self, connection: ClientConnection, server: Server) -> None:
        self._connection = connection
        self._server = server
        self._parser = httptools.HttpRequestParser(self)
        self._headers: list[tuple[bytes, bytes]] = []
        self._picked: dict[bytes, bytes] = {}
        self._url = b""
        self._conflict = b""
        self._special = False
        self._ended_now = False
        """A request ended within the read that is being parsed."""
        self._head_bytes = 0
        self._read_bytes = 0
        self._route: Route | None = None
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._body_since = 0.0
        self._upload: Upload | None = None
        self._undecided: Turn | None = None
        """A form that is passed on once its beginning is here: the model in it may select the provider."""
        self.due = math.inf
        self.reading: Exchange | None = None
        self.in_head = False
        self.expects = False

    @property
    def http11(self) -> bool:
        """The client speaks HTTP/1.1, so chunked framing may be used."""
        return self._parser.get_http_version() == "1.1"

    def feed(self, data: bytes) -> None:
        """Take the bytes of one read."""
        self._read_bytes = len(data)
        self._ended_now = False
        body_bytes = self._body_bytes
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._connection.refuse_upgrade()
            return
        except httptools.HttpParserError as error:
            self._refuse_framing(str(error))
            return
        if self.in_head:
            if not self._ended_now:
                self._head_bytes += len(
                    data
                )  # a head that began behind another request's end counts from the next read
            if self._head_bytes > self._server.door.max_header_bytes:
                self.turn_away(heads.too_large(self._server.door))
        elif self.reading is not None:
            self._bound_framing(len(data) if self._body_bytes == body_bytes else 0)

    def _bound_framing(self, size: int) -> None:
        """Bound what comes of a body without being body, its trailers: they count for no limit of bodies."""
        self._head_bytes = self._head_bytes + size if size else 0
        if self._head_bytes > self._server.door.max_header_bytes:
            if self._upload is not None and self._undecided is None:
                self._connection.kill()
            else:
                self.turn_away(heads.too_large(self._server.door))

    # llhttp

    def on_message_begin(self) -> None:
        self._headers = []
        self._picked = {}
        self._url = b""
        self._conflict = b""
        self._special = False
        self._head_bytes = 0
        self.in_head = True
        if self._connection.idle:
            self.due = self._server.now() + self._server.door.header_seconds

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.in_head:
            return  # a trailer: nothing that decides anything may arrive behind the body
        name = name.lower()
        self._headers.append((name, value))
        special = _READ(name)
        if special is not None:
            picked = self._picked
            if name in picked and (picked[name] != value or name == b"host"):  # RFC 9112 §3.2: one Host, ever
                if name == b"connection":
                    value = picked[name] + b"," + value
                else:
                    self._conflict = name
            picked[name] = value
            if special:
                self._special = True

    def on_headers_complete(self) -> None:
        self.in_head = False
        if self._connection.lingering:
            return
        exchange = self._begin()
        picked, server = self._picked, self._server
        try:
            if self._head_bytes + self._read_bytes > server.door.max_header_bytes:
                heads.check_size(self._headers, server.door)
            length = heads.check(
                self._parser, self._headers, picked, self._conflict, server.door, special=self._special
            )
            path = exchange.path
            if path[:1] != b"/":
                path = heads.plain_path(path)
            if self._special and exchange.method == b"OPTIONS" and heads.is_preflight(picked):
                route = _PREFLIGHT  # a question about another method: what this path takes does not matter
            else:
                route, exchange.path = find(exchange.method, path, server.prefix)
        except GatewayError as error:
            exchange.kind = "malformed" if error.close else "unknown"
            self.turn_away(error)
            return
        self._route = route
        exchange.kind = route.kind
        exchange.endpoint = route.endpoint
        if not (self._special and b"anthropic-version" in picked):
            exchange.family = route.family
            if self._special and route.kind in _LISTS and route.family == "openai" and b"x-goog-api-key" in picked:
                exchange.family = "gemini"  # Google's SDK asks below /v1 as well
        if length == 0:
            return  # on_message_complete follows at once
        self._body_since = exchange.started
        self.due = exchange.started + RATE_GRACE_SECONDS
        if length is None or length > EARLY_CHECK_BYTES or self._special or route.endpoint is None:
            self._expect_body(exchange, route, length)

    def _begin(self) -> Exchange:
        """Return the exchange for the head that was just read."""
        server = self._server
        path, mark, query = self._url.partition(b"?")
        exchange = self.reading = Exchange(self._connection, self._parser.get_method(), path, mark + query)
        exchange.headers = self._headers
        exchange.picked = picked = self._picked
        exchange.special = self._special
        exchange.snapshot = server.engine.snapshot
        exchange.started = server.now()
        exchange.started_at = time.time()
        client = self._connection.client
        exchange.client = client if not server.trusted else server.client_of(client, self._headers)
        server.number += 1
        exchange.record_id = record_id = "%016x" % (server.number & _ID_MASK)
        exchange.request_id = (self._special and heads.request_id(picked)) or record_id.encode()
        if self._special and b"anthropic-version" in picked:
            exchange.family = "anthropic"
        self._route = None
        self._body = []
        self._body_bytes = 0
        self._upload = None
        return exchange

    def _expect_body(self, exchange: Exchange, route: Route, length: int | None) -> None:
        """Decide how a body is taken, before any of it is."""
        door = self._server.door
        self.expects = heads.expects_continue(exchange.picked)
        streamed = route.kind == "transparent" and not _is_looked_at(exchange, length, door.max_body_bytes)
        try:
            if length is not None and length > door.max_body_bytes and not streamed:
                raise heads.body_too_large(door)
            if length is None or length > EARLY_CHECK_BYTES or self.expects:
                self._server.engine.admit(exchange)
                self._server.engine.overload.check_memory()
        except GatewayError as error:
            self.turn_away(error)
            return
        if streamed:
            self._upload = exchange.upload = Upload(self._connection, length)
            turn = Turn(exchange, route, self._parser.should_keep_alive(), self.http11)
            if not _may_name_model(exchange):
                self._connection.enqueue(turn)
                return
            self._undecided = turn
        if self._connection.idle:
            self._connection.invite()

    def on_body(self, piece: bytes) -> None:
        exchange = self.reading
        if exchange is None:
            return
        size = len(piece)
        exchange.request_bytes += size
        self._body_bytes += size
        if self._upload is not None:
            self._upload.push(piece)
            if self._undecided is not None and self._upload.full:
                self._decide(self._undecided)
        elif self._body_bytes > self._server.door.max_body_bytes:
            self.turn_away(heads.body_too_large(self._server.door))
        else:
            self._body.append(piece)

    def on_message_complete(self) -> None:
        self._ended_now = True
        self.expects = False
        exchange, self.reading = self.reading, None
        if exchange is None:
            return
        self.due = math.inf
        if self._upload is not None:
            upload, self._upload = self._upload, None
            upload.end()
            if self._undecided is not None:
                self._decide(self._undecided)
            return
        body = self._body
        exchange.body = body[0] if len(body) == 1 else b"".join(body)
        self._connection.enqueue(Turn(exchange, self._route, self._parser.should_keep_alive(), self.http11))

    def _decide(self, turn: Turn) -> None:
        self._undecided = None
        self._connection.enqueue(turn)

    # what is not read to its end

    def turn_away(self, error: GatewayError) -> None:
        """Answer what is being read with an error; what still comes of it is thrown away."""
        exchange = self.reading
        if exchange is None:
            exchange = self._begin()
            exchange.kind = "malformed"
            if not self._url:
                exchange.method = b"-"  # llhttp had not come as far
        if exchange.family == "openai" and exchange.path.startswith(b"/v1/messages"):
            exchange.family = "anthropic"
        self.in_head = False
        self.reading = None
        self._upload = self._undecided = None
        self._body = []
        error.close = True
        self.due = math.inf  # no time runs for it any more, and answers before it may take theirs
        self._connection.last_turn(Turn(exchange, None, keep_alive=False, http11=self.http11, error=error))

    def _refuse_framing(self, detail: str) -> None:
        if self._upload is not None and self._undecided is None:
            self._connection.kill()  # its turn has begun: cutting the connection ends it
        elif not self._connection.lingering and (
            self.in_head or self.reading is not None or self._connection.keep_alive
        ):
            message = f"The request is not valid HTTP/1.1: {detail[:100]}."
            self.turn_away(GatewayError(INVALID_REQUEST, "malformed_request", message, close=True))

    def abandon_upload(self, answered: Exchange | None) -> bool:
        """Forget the upload of an exchange that has been answered; return whether it was still under way."""
        if self._upload is None or self.reading is not answered:
            return False
        self._upload = None
        self.reading = None
        return True

    def pardon(self) -> None:
        """Start the clock of the body rate anew: the client was not allowed to send."""
        self._body_since = self._server.now()
        self._body_bytes = 0 if self._upload is not None else self._body_bytes

    def expire(self, now: float) -> bool:
        """Judge a reading whose time is up; return whether the connection was idle and may just be closed."""
        if self.reading is not None:
            self._check_rate(now)
            return False
        if self.in_head and self._url:
            message = "The request's head did not arrive in time."
            self.turn_away(GatewayError(CLIENT_TIMEOUT, "header_timeout", message, close=True))
            return False
        return True

    def _check_rate(self, now: float) -> None:
        elapsed = now - self._body_since
        if (
            self._connection.held
            or elapsed < RATE_GRACE_SECONDS
            or self._body_bytes >= elapsed * self._server.door.min_body_rate
        ):
            self.due = now + RATE_GRACE_SECONDS / 2
        elif self._upload is not None and self._undecided is None:
            self._connection.kill()
        else:
            message = "The request's body arrived too slowly (server.min_body_rate)."
            self.turn_away(GatewayError(CLIENT_TIMEOUT, "body_timeout", message, close=True))


def _is_looked_at(exchange: Exchange, length: int | None, max_bytes: int) -> bool:
    """Tell whether a transparent body is read whole first: JSON below `/v1`, whose model may select the provider."""
    if length is None or length > max_bytes or not exchange.path.startswith(b"/v1/"):
        return False
    return exchange.picked.get(b"content-type", b"").startswith(b"application/json")


def _may_name_model(exchange: Exchange) -> bool:
    """Tell whether a body that is passed on is a form whose model may select the provider."""
    kind = exchange.picked.get(b"content-type", b"")
    return exchange.path.startswith(b"/v1/") and kind.lower().startswith(b"multipart/form-data")
