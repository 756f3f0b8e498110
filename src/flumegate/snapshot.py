"""The Snapshot: all that a worker knows, as one immutable, versioned value, swapped atomically.

Control compiles it from the configuration (later also from the database), sends it to every worker over the link and
keeps the last one where a restarting worker finds it. It holds credentials: it never touches a disk in the clear.
It is compiled in `manage/compile.py`; this module holds only what workers and control share.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

import msgspec

from flumegate.catalog.load import Price
from flumegate.records.access import Budget, Key, Project

FORMAT = 3
"""Raised whenever a worker of the previous release could not read the value."""


class Timeouts(msgspec.Struct, frozen=True, gc=False):
    """Seconds; None = no limit."""

    connect: float = 10.0
    first_byte: float | None = 60.0
    """From the request's last byte to the head of the answer."""
    idle: float | None = 120.0
    """Between two pieces of an answer, or of a request body that the upstream does not accept."""
    total: float | None = None
    first_token: float | None = 600.0
    """From the request's last byte to the first meaningful event of a stream: signs of life alone, such as comments and
    pings, keep nobody waiting for ever. As long as the official clients wait at most."""


class Tls(msgspec.Struct, frozen=True, gc=False):
    """How TLS is spoken with a provider. Two providers with equal values share connections."""

    verify: bool = True
    ca_file: str = ""
    client_cert: str = ""
    client_key: str = ""
    server_name: str = ""


class Signing(msgspec.Struct, frozen=True, gc=False):
    """The credential of a provider whose requests are signed (AWS Signature Version 4) and carry no secret."""

    access_key: str
    secret_key: str
    region: str
    service: str
    session_token: str = ""

    def __repr__(self) -> str:
        return f"Signing({self.region!r}, {self.service!r})"  # never the credential: tracebacks show this


class Provider(msgspec.Struct, frozen=True, gc=False):
    """Where a request goes and how it is signed: host and credential from one immutable value."""

    name: str
    type: str
    """Row of the provider table: `openai`, `anthropic`, `azure`, `groq`, …"""
    scheme: str
    host: str
    port: int
    base_path: str
    """What replaces the client's `/v1`: `/v1`, `/openai/v1`, `/v1beta/openai`, `/openai`; no trailing slash."""
    speaks: tuple[str, ...]
    """Dialects in which it is asked, the preferred one first; see `providers.rows`."""
    credential: str = ""
    """The secret itself; empty = none is sent."""
    more_credentials: tuple[str, ...] = ()
    """Further ones of the same kind, between which requests are spread."""
    signing: Signing | None = None
    """Requests are signed with it, and `credential` is empty."""
    credential_header: str = "authorization"
    credential_prefix: str = "Bearer "
    headers: tuple[tuple[str, str], ...] = ()
    """Sent on every request, in place of the client's header of that name."""
    default_headers: tuple[tuple[str, str], ...] = ()
    """Sent where the client sent none of that name (`anthropic-version`)."""
    azure_api_version: str = ""
    """Not empty: deployment paths, `/openai/deployments/{model}/…?api-version=…`."""
    stream_usage: bool = True
    """The server understands `stream_options.include_usage`."""
    betas: dict[str, str] = {}
    """Anthropic's beta values: `drop`, or the name to send; `*` = all that are not named."""
    native_path: str = ""
    """What stands before the paths of Gemini's and Ollama's own API; `base_path` leads to their compatible one."""
    native_credential_header: str = ""
    """Where its own API wants the credential, bare, if not where the compatible one does."""
    lacks: tuple[str, ...] = ()
    """Endpoints of its dialects that it does not serve; requests for them are translated."""
    timeouts: Timeouts = Timeouts()
    tls: Tls = Tls()
    proxy: str = ""
    """`http://[user:password@]host:port` of an HTTP CONNECT proxy; empty = direct."""
    max_connections: int = 1024
    allowed_endpoints: tuple[str, ...] = ()
    """Path prefixes under `/v1`; empty = all."""
    allowed_methods: tuple[str, ...] = ()
    """Empty = all."""
    check_seconds: float = 0.0
    """How often its health is asked for on its own account; 0 = never."""
    check_path: str = ""
    """Path under `base_path` of that question."""

    def secrets(self) -> list[str]:
        """Return what no log line may show."""
        signed = (self.signing.secret_key, self.signing.session_token) if self.signing is not None else ()
        login = urlsplit(self.proxy).password or ""
        return [
            secret for secret in (self.credential, *self.more_credentials, *signed, unquote(login), login) if secret
        ]

    def __repr__(self) -> str:
        return f"Provider({self.name!r}, {self.type!r}, {self.host!r})"  # never the credential: tracebacks show this


class Target(msgspec.Struct, frozen=True, gc=False):
    """A model at a provider."""

    provider: str
    model: str
    """Name to send upstream; empty = the name that the client asked for."""
    strict: bool = False
    """What cannot be said in the provider's dialect is refused, hints included."""
    weight: int = 1
    """Its share beside others; 0 = only where no other is left."""
    tier: int = 0
    """Strategy `priority`: lower ones first; equal ones share by weight."""
    max_concurrency: int = 0
    """Requests that one worker has under way there at once; 0 = no limit."""
    max_queued: int = 0
    """Requests that wait for one of those places."""
    queue_seconds: float = 10.0
    """How long they wait."""


class Retry(msgspec.Struct, frozen=True, gc=False):
    """When another attempt is made, and how long it waits."""

    max_retries: int = 2
    on_status: tuple[int, ...] = (408, 429, 500, 502, 503, 504, 529)
    initial_delay: float = 1.0
    """Upper bound of the first wait, in seconds; the wait itself is drawn from 0 to it."""
    factor: float = 2.0
    max_delay: float = 60.0
    """Longest wait; an upstream that asks for a longer one is not waited for."""


class BreakerPolicy(msgspec.Struct, frozen=True, gc=False):
    """When a target is left alone."""

    enabled: bool = True
    failures: int = 5
    """In a row."""
    failure_rate: float = 0.5
    """Share of failures within ten seconds, of at least `min_requests`."""
    min_requests: int = 20
    open_seconds: float = 5.0
    """Until one request is let through as a probe."""


class When(msgspec.Struct, frozen=True, gc=False):
    """What a rule asks of a request; every part that is not empty must hold."""

    headers: tuple[tuple[str, str], ...] = ()
    """Lower-case name, and a pattern with `*` for its value."""
    keys: tuple[str, ...] = ()
    """Ids of client keys, any of them; patterns with `*`."""
    tags: tuple[str, ...] = ()
    """Any of them in `x-flumegate-tags`."""
    hours: tuple[int, int] | None = None
    """Minutes of the day in UTC, from (included) to (excluded); over midnight where the first is larger."""
    days: tuple[int, ...] = ()
    """Days of the week in UTC, Monday = 0."""


class Rule(msgspec.Struct, frozen=True, gc=False):
    """Where a request goes instead, if it is one of those."""

    when: When
    use: str
    """A model's name as a client could ask for it."""


class Hedge(msgspec.Struct, frozen=True, gc=False):
    """A second attempt beside the first, when that takes too long."""

    after_seconds: float
    share: float
    """Most of the requests that may cause one."""


class Mirror(msgspec.Struct, frozen=True, gc=False):
    """A copy of requests for another target, whose answers nobody gets."""

    use: str
    share: float = 1.0


class Route(msgspec.Struct, frozen=True, gc=False):
    """What serves a model name."""

    targets: tuple[Target, ...]
    strategy: str = "priority"
    """`priority`, `weighted`, `least_busy`, `fastest`, `cheapest`, `sticky`."""
    fallback: tuple[str, ...] = ()
    """Names whose targets are tried when none of its own is left."""
    retry: Retry | None = None
    """None = the Snapshot's."""
    timeout: float | None = None
    """Seconds for a request over all its attempts; None = the Snapshot's."""
    rules: tuple[Rule, ...] = ()
    sticky_by: str = "auto"
    """`session`, `prefix`, or `auto`: the session where the request names one, else the prefix."""
    hedge: Hedge | None = None
    mirror: Mirror | None = None
    coalesce: bool = False
    """Equal embeddings of one key that are under way at the same time are asked for once."""


class Wildcard(msgspec.Struct, frozen=True, gc=False):
    """`claude-*`: a pattern with one star, longest literal part first."""

    prefix: str
    suffix: str
    route: Route


class Door(msgspec.Struct, frozen=True, gc=False):
    """What the door enforces."""

    proxy_prefix: str = "/proxy"
    max_body_bytes: int = 33_554_432
    max_header_bytes: int = 32_768
    max_headers: int = 100
    header_seconds: float = 10.0
    """From the first byte of a request to the end of its head, and from accept to the first byte."""
    min_body_rate: int = 256
    """Bytes per second that a request body must reach, averaged, after ten seconds."""
    keep_alive_seconds: float = 75.0
    max_connections: int = 10_000
    trusted_proxies: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    """`*` = any; empty = CORS off."""
    tls_cert: str = ""
    """Path of the certificate chain; empty = plain HTTP."""
    tls_key: str = ""
    metrics: bool = True
    """False: `/metrics` is not served on the data-plane port."""
    max_active: int = 4_096
    """Requests that one worker serves at once; those beyond wait."""
    max_queued: int = 1_024
    """Requests that wait; those beyond are refused."""
    queue_seconds: float = 10.0
    """How long they wait."""
    max_memory_bytes: int = 0
    """Memory of one worker from which requests are refused; from 85 % of it on, those beyond each key's fair share.
    0 = what the machine or the container leaves it."""


class PriceRow(msgspec.Struct, frozen=True, gc=False):
    """What models cost."""

    pattern: str
    """`provider/model` or `model`, with `*`."""
    price: Price


class RecordPolicy(msgspec.Struct, frozen=True, gc=False):
    """What is kept of a request, and how surely."""

    content: str = "metadata"
    """`metadata` or `full`."""
    max_request_bytes: int = 65_536
    max_response_bytes: int = 262_144
    durable: bool = False
    """True: the record is on disk (fsync) before the last byte of the answer leaves."""
    spool_max_bytes: int = 1_073_741_824


class Snapshot(msgspec.Struct, frozen=True, gc=False):
    """Everything a worker needs to serve."""

    version: int
    providers: dict[str, Provider]
    default_provider: str = ""
    """Takes bare model names that nothing else matches; empty = those are 404."""
    models: dict[str, Route] = {}
    wildcards: tuple[Wildcard, ...] = ()
    auth_open: bool = False
    """No key is asked for (loopback only)."""
    pepper: bytes = b""
    keys: dict[bytes, Key] = {}
    """HMAC-SHA-256(pepper, key) → whose it is: the keys of the configuration."""
    key_table: str = ""
    """Path of the file with all other keys (see `keytable`); a new content has a new name. Empty = there are none."""
    revoked_keys: frozenset[str] = frozenset()
    """Ids of keys that are revoked, whatever the table says: it is older."""
    keys_are: str = "current"
    """`current`; `stale`: the database does not answer, a key that is not known may exist; `expired`: for so long that
    none of its keys is believed any more."""
    projects: dict[str, Project] = {}
    """By id."""
    redis_url: str = ""
    """Where limits and budgets are shared with other workers and machines; empty = this worker is the only one."""
    redis_seconds: float = 0.1
    """How long a request waits for that."""
    project_credentials: dict[str, dict[str, str]] = {}
    """By the project's id: provider → the credential that its requests carry there."""
    model_budgets: dict[str, tuple[Budget, ...]] = {}
    """By scope: `model:<name>`, `project:<id>/model:<name>`."""
    price_version: str = ""
    """Names the prices that are in force: the catalogue's date, and a digest of the operator's own."""
    prices: tuple[PriceRow, ...] = ()
    """What the operator says that models cost, the most exact first."""
    door: Door = Door()
    records: RecordPolicy = RecordPolicy()
    retry: Retry = Retry()
    breaker: BreakerPolicy = BreakerPolicy()
    timeout: float | None = None
    """Seconds for a request over all its attempts; None = no limit but each attempt's own."""
    format: int = FORMAT

    def secrets(self) -> Iterator[str]:
        """Yield what no log line may show."""
        for provider in self.providers.values():
            yield from provider.secrets()
        for credentials in self.project_credentials.values():
            yield from credentials.values()
        password = urlsplit(self.redis_url).password
        if password:
            yield from {password, unquote(password)}

    def __repr__(self) -> str:
        return f"Snapshot(version={self.version}, {len(self.providers)} providers, {len(self.keys)} keys)"


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Snapshot)


def encode(snapshot: Snapshot) -> bytes:
    """Return the snapshot as msgpack."""
    return _ENCODER.encode(snapshot)


def decode(data: bytes) -> Snapshot:
    """Return the snapshot that `encode` wrote.

    Raises:
        msgspec.DecodeError: the bytes are damaged or of another format.
    """
    snapshot = _DECODER.decode(data)
    if snapshot.format != FORMAT:
        raise msgspec.ValidationError(f"the snapshot has format {snapshot.format}, this release reads {FORMAT}")
    return snapshot
