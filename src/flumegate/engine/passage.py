"""What both lanes' relays have in common: how an answer is taken from its connection and framed for the client.

One read from the upstream is one write to the client. The last bytes are not written here: settle hands them over once
the Record is safe.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from flumegate.errors import GatewayError
from flumegate.exchange import Exchange
from flumegate.routing.plan import Plan
from flumegate.upstream.call import Call
from flumegate.upstream.connection import Connection


class Passage:
    """The way of one answer (see `upstream.call.AnswerSink`).

    Attributes:
        rest: what must still be handed to the client when the answer has ended.
        cut: the answer broke off and nothing could be said about it: the connection must be cut.
        stopped: it was ended by us, which is no fault of the target's.
    """

    __slots__ = ("_begun", "_call", "_chunked", "_done", "_exchange", "_plan", "cut", "rest", "stopped")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, exchange: Exchange, plan: Plan, begun: Callable[[], None]
    ) -> None:
        """`begun` is called once, when the first byte is handed to the client: the commit point."""
        self._exchange = exchange
        self._plan = plan
        self._begun = begun
        self._call: Call
        self._chunked = False
        self._done: asyncio.Future[None] = loop.create_future()
        self.rest = b""
        self.cut = False
        self.stopped = False

    async def start(self, call: Call, connection: Connection) -> None:
        """Take what has come, then the rest as it comes; return with the answer's end.

        Raises:
            GatewayError: it failed, and nothing has been handed to the client yet.
        """
        self._call = call
        if not call.ended:  # a whole answer has given its connection back, and it may serve another exchange by now
            connection.resume()
            self._exchange.reply.feed_from(connection)
        call.sink = self
        try:
            pieces, call.pieces = call.pieces, []
            self.push(b"".join(pieces))
            del pieces
            if call.error is not None:
                error, call.error = call.error, None
                self.fail(error)
                del error
            elif call.ended:
                self.end()
            await self._done
        finally:
            # Megabytes may hang on these: nothing may point back to who points here, or the collector must find them.
            call.sink = None
            del self._done

    def push(self, data: bytes) -> None:
        """Take the bytes of one read."""
        raise NotImplementedError  # pragma: no cover - abstract

    def end(self) -> None:
        """The upstream's answer is complete."""
        raise NotImplementedError  # pragma: no cover - abstract

    def fail(self, error: GatewayError) -> None:
        """The upstream's answer broke off."""
        raise NotImplementedError  # pragma: no cover - abstract

    def stop(self, error: GatewayError) -> None:
        """End an answer that has begun, for a reason of our own: the client is told, and the upstream left."""
        if not self._done.done():
            self.stopped = True
            self.fail(error)

    def as_it_came(self) -> bool:
        """Pass on an answer that failed before it had begun, where that is an answer at all; `rest` holds it then."""
        return False

    def _commit(self) -> None:
        """From here on there is no other answer than this one."""
        self._call.deadline = self._call.final_deadline
        self._begun()

    def _give_up(self, error: GatewayError) -> None:
        """Report a failure: nothing has been handed to the client."""
        self._done.set_exception(error.with_traceback(None))  # its frames hold what was to be let go

    def _frame(self, data: bytes) -> bytes:
        exchange = self._exchange
        exchange.response_bytes += len(data)
        kept = exchange.response_body
        if kept is not None and exchange.response_bytes - len(data) < exchange.snapshot.records.max_response_bytes:
            kept.append(data)
        return b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data
