"""A stream on its way from one dialect to another: bytes in, events, bytes out.

What a client sees begins with the first meaningful event; until then an upstream's failure can still be answered as an
error with a status of its own.
"""

from __future__ import annotations

from collections.abc import Iterable

from flumegate.dialects.codecs import StreamReader, StreamWriter
from flumegate.engine.refusals import error_of
from flumegate.engine.seen import Seen
from flumegate.errors import GatewayError
from flumegate.ir import events as e
from flumegate.ir.failure import Failure
from flumegate.ir.grammar import Grammar, GrammarError
from flumegate.ir.loss import Loss
from flumegate.ir.restore import Restorer
from flumegate.snapshot import Provider


class Pipe:
    """Turns a provider's stream into the client's.

    Attributes:
        over: the stream has ended, or failed; nothing follows.
        error: how it failed.
        meaningful: something of the answer itself was seen.
    """

    __slots__ = (
        "_grammar",
        "_held",
        "_provider",
        "_reader",
        "_restorer",
        "_seen",
        "_writer",
        "error",
        "meaningful",
        "over",
    )

    def __init__(
        self, reader: StreamReader, writer: StreamWriter, restorer: Restorer, seen: Seen, provider: Provider
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._restorer = restorer
        self._seen = seen
        self._provider = provider
        self._grammar = Grammar()
        self._held: list[bytes] = []
        self.over = False
        self.error: GatewayError | None = None
        self.meaningful = False

    @property
    def losses(self) -> list[Loss]:
        """What of the answer could not be said."""
        return self._writer.losses.found

    def feed(self, data: bytes) -> bytes:
        """Return what the next bytes mean to the client.

        Raises:
            GatewayError: the upstream failed before anything meaningful came.
        """
        return self._take(self._reader.feed(data))

    def close(self) -> bytes:
        """The upstream's answer is complete: return the rest.

        Raises:
            GatewayError: there was nothing meaningful, and it was no whole answer.
        """
        return self._take(self._reader.close())

    def fail(self, error: GatewayError) -> bytes:
        """Return the client's view of a stream that broke off in the middle."""
        if self.over:
            return b""
        self.over = True
        self.error = error
        return self._writer.write(e.Failed(Failure("cut", error.message, error.code)))

    def _take(self, stream: Iterable[e.Event]) -> bytes:
        out: list[bytes] = []
        for event in self._restorer.restore(stream):
            if self.over:
                break
            out.append(self._writer.write(self._judge(event)))
        if not self.meaningful:
            self._held += out
            return b""
        if self._held:
            out = self._held + out
            self._held = []
        return b"".join(out)

    def _judge(self, event: e.Event) -> e.Event:
        """Return the event, or the failure that it amounts to."""
        try:
            self._grammar.check(event)
        except GrammarError as broken:
            return self._failed(Failure("garbage", f"its events are out of order ({broken})"))
        if type(event) is e.Grew:
            self.meaningful = True
            self._seen.hear(event.text)
            return event
        return self._note(event)

    def _note(self, event: e.Event) -> e.Event:
        seen = self._seen
        match event:
            case e.Started():
                seen.model = event.model
            case e.Counted():
                seen.usage = event.usage
            case e.Finished():
                if event.choice == 0:
                    seen.finish_reason = event.finish.raw or event.finish.reason
                self.meaningful = True
            case e.Failed():
                return self._failed(event.failure)
            case e.Ended():
                self.over = seen.complete = True
            case _:
                self.meaningful = True
        return event

    def _failed(self, failure: Failure) -> e.Failed:
        self.over = self._seen.failed = True
        self.error = error_of(failure, self._provider)
        if not self.meaningful:
            raise self.error
        # The upstream's own code stays behind like its address: it is free text, and could hold anything.
        return e.Failed(Failure(failure.reason, self.error.message, self.error.code))
