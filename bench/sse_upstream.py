"""`python -m bench.sse_upstream PORT`: an upstream that streams chat completions at an even pace.

Each stream has 100 events (role, text, finish reason, usage) and `[DONE]`, the first at once with the head, the others
20 ms apart, each in a chunk and a write of its own, as OpenAI sends them. Streams keep the phase in which they were
asked for: real clients do not march in step, and a proxy that wakes up for each event shows what that costs.
"""

from __future__ import annotations

import asyncio
import sys

import httptools
import uvloop

EVENTS_A_STREAM = 100
"""Before `[DONE]`, which is counted too by whoever counts `data:` lines."""
EVENT_SECONDS = 0.02
TICK_SECONDS = 0.001
"""The finest that the loop's timers can do; a stream's events stay on the tick that it began with."""
PHASES = round(EVENT_SECONDS / TICK_SECONDS)

HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"transfer-encoding: chunked\r\nx-request-id: req_abc\r\n\r\n"
)
_CHUNK = (
    '{"id":"chatcmpl-123","object":"chat.completion.chunk","created":1700000000,"model":"gpt-4o-mini-2024-07-18",'
    '"service_tier":"default","system_fingerprint":"fp_abc","choices":[%s],"usage":%s}'
)
_CHOICE = '{"index":0,"delta":%s,"logprobs":null,"finish_reason":%s}'
_USAGE = '{"prompt_tokens":19,"completion_tokens":97,"total_tokens":116}'


def _framed(data: str) -> bytes:
    event = f"data: {data}\n\n".encode()
    return b"%x\r\n%b\r\n" % (len(event), event)


FIRST = _framed(_CHUNK % (_CHOICE % ('{"role":"assistant","content":"","refusal":null}', "null"), "null"))
TEXT = _framed(_CHUNK % (_CHOICE % ('{"content":" hello"}', "null"), "null"))
FINISH = _framed(_CHUNK % (_CHOICE % ("{}", '"stop"'), "null"))
USAGE = _framed(_CHUNK % ("", _USAGE))
DONE = _framed("[DONE]") + b"0\r\n\r\n"
SCRIPT = [FIRST, *[TEXT] * (EVENTS_A_STREAM - 3), FINISH, USAGE, DONE]


def _named(name: str, rest: str) -> bytes:
    event = f'event: {name}\ndata: {{"type":"{name}"{rest}}}\n\n'.encode()
    return b"%x\r\n%b\r\n" % (len(event), event)


MESSAGE_SCRIPT = [
    _named(
        "message_start",
        ',"message":{"id":"msg_0123456789","type":"message","role":"assistant","model":"gpt-4o-mini-2024-07-18","content":[],'
        '"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":19,"output_tokens":1}}',
    )
    + _named("content_block_start", ',"index":0,"content_block":{"type":"text","text":""}'),
    *[_named("content_block_delta", ',"index":0,"delta":{"type":"text_delta","text":" hello"}')]
    * (EVENTS_A_STREAM - 3),
    _named("content_block_stop", ',"index":0'),
    _named("message_delta", ',"delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":97}'),
    _named("message_stop", "") + b"0\r\n\r\n",
]
"""The same stream in Anthropic's dialect, write for write; translated it has as many events as the other."""


class Stream(asyncio.Protocol):
    """One connection: it answers each request with one stream, in the dialect of its path."""

    def __init__(self, phases: list[set[Stream]]) -> None:
        self.phases = phases
        self.phase: set[Stream] | None = None
        self.script = SCRIPT
        self.sent = 0
        self.parser = httptools.HttpRequestParser(self)
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = transport  # type: ignore[assignment] # asyncio types the argument as BaseTransport

    def data_received(self, data: bytes) -> None:
        """Feed the parser."""
        self.parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        """Choose the dialect."""
        self.script = MESSAGE_SCRIPT if url.endswith(b"/messages") else SCRIPT

    def on_message_complete(self) -> None:
        """Begin a stream: its first event goes out at once, so that first-event times are the proxy's alone."""
        self.transport.write(HEAD + self.script[0])
        self.sent = 1
        tick = round(asyncio.get_running_loop().time() / TICK_SECONDS)
        # The tick before this one: the next event is due a whole turn from now.
        self.phase = self.phases[(tick - 1) % PHASES]
        self.phase.add(self)

    def send_next(self) -> None:
        """Send the next event."""
        self.transport.write(self.script[self.sent])
        self.sent += 1
        if self.sent == len(self.script):
            self._leave()

    def connection_lost(self, _problem: Exception | None) -> None:
        """Forget the stream."""
        self._leave()

    def _leave(self) -> None:
        if self.phase is not None:
            self.phase.discard(self)
            self.phase = None


async def serve(port: int) -> None:
    """Serve on a port of 127.0.0.1 until killed."""
    loop = asyncio.get_running_loop()
    phases: list[set[Stream]] = [set() for _ in range(PHASES)]
    await loop.create_server(lambda: Stream(phases), "127.0.0.1", port, backlog=1024)
    tick = round(loop.time() / TICK_SECONDS)
    while True:
        # A tick that comes late is made up for: the pace holds on average, whatever the machine does.
        tick += 1
        await asyncio.sleep(max(0.0, tick * TICK_SECONDS - loop.time()))
        for stream in list(phases[tick % PHASES]):
            stream.send_next()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
