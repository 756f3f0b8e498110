"""One request and one stream for every endpoint, written so that whoever decodes and encodes them is found out."""

from __future__ import annotations

from typing import NamedTuple

ODD = (
    b'"seed":9007199254740993 ,"temperature":1.0,"top_p":-0.0,"x_big":123456789012345678901234567890,"x_exp":1E2,\r\n'
    b'"x_twice":1,"x_twice":[2],\t"x_escape":"\\u0041\\/\\ud83d\\ude00\\u2028",'
    b'"x_raw":"\xe2\x80\xa8\xe2\x80\xa9\xc2\x85 \xc3\xa9","":null ,"x_nested":{"model":"inner","a":[ ] }'
)
"""Members that a decoder and an encoder between the two sides would change."""


class Case(NamedTuple):
    """An endpoint, a body for it, and a stream that answers it."""

    path: str
    model: str
    members: bytes
    events: tuple[bytes, ...] = ()
    """A stream of its dialect, event by event."""

    def body(self, *members: bytes) -> bytes:
        return b'{ "model" : "%b",%b\n}\n' % (self.model.encode(), b",".join((self.members, *members)))


def data(text: str, name: str = "") -> bytes:
    """Return one event."""
    return (f"event: {name}\n" if name else "").encode() + b"data: " + text.encode() + b"\n\n"


CHUNK = '{"id":"c","object":"chat.completion.chunk","created":1,"model":"m", "choices":[%s]%s}'
TEXT = '{"index":0,"delta":{"content":"w\u00f6rd \u2028 \\u0041"},"finish_reason":null}'
USAGE = CHUNK % ("", ',"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5,"x":1.0}')
CHAT_EVENTS = (
    data(CHUNK % ('{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}', ',"usage":null')),
    b": OPENROUTER PROCESSING\n\n",
    data(CHUNK % (TEXT, ',"usage":null')),
    data(CHUNK % (TEXT, ', "x" : 9007199254740993')),
    data(CHUNK % ('{"index":0,"delta":{},"finish_reason":"stop"}', ',"usage":null')),
    data(USAGE),
    data("[DONE]"),
)
COMPLETION_EVENTS = (
    data('{"id":"c","object":"text_completion","choices":[{"text":" a","index":0,"finish_reason":null}]}'),
    data('{"id":"c","object":"text_completion","choices":[{"text":"","index":0,"finish_reason":"length"}]}'),
    data('{"id":"c","object":"text_completion","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}'),
    data("[DONE]"),
)
RESPONSE_EVENTS = (
    data(
        '{"type":"response.created","sequence_number":0,"response":{"id":"r","status":"in_progress"}}',
        "response.created",
    ),
    data('{"type":"response.output_text.delta","sequence_number":1,"delta":"a\u2028"}', "response.output_text.delta"),
    data('{"type":"response.unheard_of","sequence_number":2, "n" : 1.0}', "response.unheard_of"),
    data(
        '{"type":"response.completed","sequence_number":3,"response":{"id":"r","status":"completed",'
        '"usage":{"input_tokens":3,"output_tokens":1,"total_tokens":4}}}',
        "response.completed",
    ),
)
MESSAGE_EVENTS = (
    data('{"type":"message_start","message":{"id":"m","usage":{"input_tokens":3,"output_tokens":1}}}', "message_start"),
    data('{"type": "ping"}', "ping"),
    data(
        '{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}   }', "content_block_start"
    ),
    data(
        '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a\u2028"}  }',
        "content_block_delta",
    ),
    data('{"type":"content_block_stop","index":0     }', "content_block_stop"),
    data('{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":2}}', "message_delta"),
    data('{"type":"message_stop"  }', "message_stop"),
)
ASKED = b'"stream":true,"stream_options":{"include_usage":true}'
MESSAGES = b'"messages":[{"role":"user","content":"hi"}]'

CASES = {
    "chat": Case("/v1/chat/completions", "gpt-4o", MESSAGES, CHAT_EVENTS),
    "completions": Case("/v1/completions", "gpt-3.5", b'"prompt":"hi"', COMPLETION_EVENTS),
    "responses": Case("/v1/responses", "gpt-4o", b'"input":"hi"', RESPONSE_EVENTS),
    "embeddings": Case("/v1/embeddings", "text-embedding-3-small", b'"input":["a","b"]'),
    "messages": Case("/v1/messages", "claude-x", b'"max_tokens":9,' + MESSAGES, MESSAGE_EVENTS),
    "count_tokens": Case("/v1/messages/count_tokens", "claude-x", MESSAGES),
}
STREAMED = {name: case for name, case in CASES.items() if case.events}


def cut(block: bytes, size: int) -> list[bytes]:
    """Return a block as pieces of one size."""
    return [block[i : i + size] for i in range(0, len(block), size)]
