"""The two upstreams, both on the load's core: nginx with a fixed completion, and our own server of streams.

Their nginx configuration stands here too, beside the one of the nginx that is measured: same shape, same tuning.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from bench.launch import Launched, free_port, launched, listens
from bench.machine import Cores
from bench.question import UPSTREAM_KEY

COMPLETION = (
    '{"id":"chatcmpl-123","object":"chat.completion","created":1700000000,"model":"gpt-4o-mini-2024-07-18",'
    '"choices":[{"index":0,"message":{"role":"assistant","content":"Hello there! How may I assist you today? '
    'I am a mock model and this is a mock answer of a plausible length for a short chat turn.","refusal":null},'
    '"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":19,"completion_tokens":31,"total_tokens":50,'
    '"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}},'
    '"service_tier":"default","system_fingerprint":"fp_abc"}'
)
MESSAGE = (
    '{"id":"msg_0123456789","type":"message","role":"assistant","model":"gpt-4o-mini-2024-07-18","content":[{"type":"text",'
    '"text":"Hello there! How may I assist you today? '
    'I am a mock model and this is a mock answer of a plausible length for a short chat turn."}],'
    '"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":19,"cache_creation_input_tokens":0,'
    '"cache_read_input_tokens":0,"output_tokens":31,"service_tier":"standard"}}'
)
"""The same answer in Anthropic's dialect, for what the gateway translates."""
START_SECONDS = 10.0

_NGINX = """\
%(user)sdaemon off;
worker_processes 1;
pid %(folder)s/nginx.pid;
error_log stderr error;
events { worker_connections 4096; }
http {
  access_log off;
  keepalive_requests 100000000;
  keepalive_timeout 300s;
  client_body_buffer_size 1m;
  client_body_temp_path %(folder)s/body;
  proxy_temp_path %(folder)s/proxy;
  fastcgi_temp_path %(folder)s/fastcgi;
  uwsgi_temp_path %(folder)s/uwsgi;
  scgi_temp_path %(folder)s/scgi;
%(servers)s
}
"""
_ANSWERING = """\
  server {
    listen 127.0.0.1:%(port)d backlog=4096;
    location / { default_type application/json; return 200 '%(completion)s'; }
    location /v1/messages { default_type application/json; return 200 '%(message)s'; }
  }"""
_PROXYING = """\
  upstream origin { server 127.0.0.1:%(upstream)d; keepalive 512; keepalive_requests 100000000; }
  server {
    listen 127.0.0.1:%(port)d backlog=4096;
    location / {
      proxy_pass http://origin;
      proxy_http_version 1.1;
      proxy_buffering %(buffering)s;
      proxy_set_header Connection "";
      proxy_set_header Authorization "Bearer %(key)s";
    }
  }"""


@contextlib.contextmanager
def _nginx(servers: str, *, name: str, port: int, folder: Path, core: int) -> Iterator[Launched]:
    own = folder / name
    own.mkdir(exist_ok=True)
    # Started by root, nginx would serve as another user, who may not enter the temporary folder.
    user = "user root;\n" if os.geteuid() == 0 else ""
    configuration = own / "nginx.conf"
    configuration.write_text(_NGINX % {"user": user, "folder": own, "servers": servers})
    with launched(["nginx", "-p", own, "-c", configuration], name=name, folder=folder, core=core) as program:
        program.await_true(lambda: listens(port), within_seconds=START_SECONDS, what="open port")
        yield program


@contextlib.contextmanager
def proxying_nginx(*, folder: Path, core: int, upstream: int, streamed: bool) -> Iterator[tuple[Launched, int]]:
    """Run the nginx that everybody is compared with; yield it and its port."""
    port = free_port()
    # Buffered, it would hold a stream's events back until a page is full.
    buffering = "off" if streamed else "on"
    servers = _PROXYING % {"upstream": upstream, "port": port, "buffering": buffering, "key": UPSTREAM_KEY}
    with _nginx(servers, name="nginx", port=port, folder=folder, core=core) as program:
        yield program, port


@contextlib.contextmanager
def upstream(*, folder: Path, cores: Cores, streamed: bool) -> Iterator[int]:
    """Run the upstream for whole or for streamed answers; yield its port."""
    port = free_port()
    if streamed:
        arguments: list[str | Path] = [sys.executable, "-m", "bench.sse_upstream", str(port)]
        with launched(arguments, name="sse-upstream", folder=folder, core=cores.load) as program:
            program.await_true(lambda: listens(port), within_seconds=START_SECONDS, what="open port")
            yield port
    else:
        servers = _ANSWERING % {"port": port, "completion": COMPLETION, "message": MESSAGE}
        with _nginx(servers, name="upstream", port=port, folder=folder, core=cores.load):
            yield port
