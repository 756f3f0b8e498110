"""Where the processes meet the configuration: it is loaded here, at start and again on change, and compiled.

The rest of this room sees Facts (what supervisor and restarts need) and Snapshots (what workers need), and problems
only as text. Loading touches files and the environment; a start asks Redis whether it forgets, and nobody else.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import msgspec

from flumegate import log, snapshot
from flumegate.config.access import KEYS_MAX_AGE
from flumegate.config.address import read_listen
from flumegate.config.load import Loaded, load
from flumegate.config.problem import ConfigInvalid
from flumegate.manage.compile import compile_snapshot
from flumegate.manage.limits import may_limit
from flumegate.manage.offer import Offer, make_offer
from flumegate.manage.seal import Ring
from flumegate.manage.state import STALE, overlay
from flumegate.processes import boot, first_start
from flumegate.processes.banner import Start
from flumegate.processes.first_start import ClientKey, StartRefusedError
from flumegate.processes.kept_state import SQLITE, STATE_NAME, KeptState, Standing
from flumegate.processes.shelf import Shelf
from flumegate.providers.rows import BY_TYPE

RESUME_SECONDS = 5.0
REDIS_SECONDS = 1.0
"""How long a start waits for Redis to tell its policy."""
_AT_START = {
    "host": "server.listen",
    "port": "server.listen",
    "workers": "server.workers",
    "drain_seconds": "server.drain_seconds",
    "data_dir": "server.data_dir",
    "database_url": "database.url",
    "log_level": "log.level",
    "log_layout": "log.format",
    "console": "console.listen",
}
"""Facts that take effect at the next start only, and the settings that they come from."""

InvalidError = ConfigInvalid


@dataclass(frozen=True)
class Settings:
    """The configuration that is in force, and what it was made from."""

    config: Path | None
    """As given on the command line."""
    mock_port: int | None
    facts: boot.Facts
    """Of the start; later changes to them wait for the next one."""
    configured: snapshot.Snapshot
    """What the file says."""
    snapshot: snapshot.Snapshot
    """The same with what the database adds."""
    standing: Standing
    """What is known of the database."""
    ring: Ring | None
    """None: control was restarted while the file was invalid, and the file names the master keys."""
    kept_state: KeptState | None
    pepper: bytes
    key: ClientKey | None
    loaded: Loaded | None
    """None: control was restarted while the file was invalid, and runs on what the shelf kept."""
    offer: Offer | None = None
    """The setup token, at the first start."""

    @property
    def watched(self) -> tuple[Path, ...]:
        """The files whose change means a reload."""
        return tuple(self.loaded.watched) if self.loaded else tuple(Path(name) for name in self.facts.watched)

    @property
    def retention_days(self) -> int:
        """How long records are kept."""
        return self.loaded.config.records.retention_days if self.loaded else self.facts.retention_days

    def uncounted(self) -> str | None:
        """Return whose limits nobody can hold, and why; None = all that there are can be held."""
        state = self.standing.state
        reason = self.may_limit() if state is not None and state.limited else None
        return f"{state.limited} cannot be held: {reason}" if state is not None and reason else None

    @property
    def scheme(self) -> str:
        """What clients speak: http or https."""
        return "https" if self.snapshot.door.tls_cert else "http"

    def reload(self) -> Settings:
        """Return what the configuration says now; the Snapshot's version is higher only if something has changed.

        Raises:
            ConfigInvalid: it is invalid.
            StartRefusedError: a file in the data folder is.
        """
        loaded = load(self.config, os.environ)
        if loaded.needs_mock and not self.facts.needs_mock:
            raise StartRefusedError(
                "no provider is left, and the built-in mock is started only with the gateway: "
                "add a provider, or start the gateway again"
            )
        _print_warnings(loaded)
        folder = Path(self.facts.data_dir)
        key = _client_key(loaded, folder)
        if key and key.created:
            first_start.keep_client_key(folder, key)
            log.event("info", "client_key_made", kept_in=folder / "client.key")
        _refuse_uncounted(self.standing, loaded, self.facts.workers)
        configured = _compile(loaded, self.snapshot.version, self.pepper, key, self.mock_port)
        fresh = replace(self, loaded=loaded, key=key, configured=configured)
        if fresh.ring is not None:
            return fresh.following(self, self.standing)
        ring = _ring(loaded, folder)
        kept_state = KeptState(folder, ring)
        standing = Standing(kept_state.read(), self.standing.keys_are)
        return replace(fresh, ring=ring, kept_state=kept_state).following(self, standing)

    def following(self, before: Settings, standing: Standing) -> Settings:
        """Return these with what is known of the database, as the successors of those before.

        The Snapshot's version is higher than theirs only if something in it differs.
        """
        settings = self._hashing_by(standing)
        version = before.snapshot.version
        merged = msgspec.structs.replace(overlay(settings.configured, *standing), version=version)
        if merged != before.snapshot:
            return replace(settings, snapshot=msgspec.structs.replace(merged, version=version + 1), standing=standing)
        return replace(settings, snapshot=before.snapshot, standing=standing)

    def _hashing_by(self, standing: Standing) -> Settings:
        """Return these with the pepper that all machines of the installation have, which is then this one's, too."""
        pepper = standing.state.pepper if standing.state is not None else b""
        if not pepper or pepper == self.pepper or self.loaded is None:
            return self
        try:
            first_start.write_private(Path(self.facts.data_dir) / "pepper", pepper)
        except StartRefusedError as problem:
            log.event("warning", "pepper_not_kept", reason=problem, effect="the next start learns it anew")
        configured = _compile(self.loaded, self.snapshot.version, pepper, self.key, self.mock_port)
        return replace(self, pepper=pepper, configured=configured)

    @property
    def keys_max_age(self) -> float:
        """Seconds for which the database's keys are believed while it does not answer."""
        return self.loaded.config.auth.keys_max_age if self.loaded else KEYS_MAX_AGE

    def may_limit(self) -> str | None:
        """Return why no limits can be held; None = they can."""
        redis = self.loaded is not None and self.loaded.config.redis.url is not None
        return may_limit(self.facts.workers, shared=redis or self.loaded is None)

    def needs_restart(self, fresh: Settings) -> list[str]:
        """Return the settings whose change in `fresh` takes effect at the next start only."""
        if fresh.loaded is None or (self.loaded is not None and self.loaded == fresh.loaded):
            return []
        now = _facts(fresh.loaded, self.facts.link)
        names = [_AT_START[name] for name in _AT_START if getattr(now, name) != getattr(self.facts, name)]
        if self.loaded is not None and self.loaded.config.encryption != fresh.loaded.config.encryption:
            names.append("encryption.keys")
        return list(dict.fromkeys(names))

    def keep_key(self) -> None:
        """Write the client key, if it is new, and what is kept of a setup token.

        Raises:
            StartRefusedError: it cannot be written.
        """
        folder = Path(self.facts.data_dir)
        if self.key:
            first_start.keep_client_key(folder, self.key)
        if self.offer:
            first_start.offer_setup(folder, self.offer)

    def start(self, url: str) -> Start:
        """Return what the banner says."""
        loaded = self.loaded
        names = sorted(self.snapshot.providers)
        model, path = _example(self.snapshot, mock=self.facts.needs_mock)
        return Start(
            url=url,
            providers=names,
            mock=self.facts.needs_mock,
            source=str(loaded.source) if loaded and loaded.source else "",
            records=_shown(self.facts.database_url),
            key=self.key.key if self.key and self.key.created else "",
            key_file=str(Path(self.facts.data_dir) / "client.key") if self.key else "",
            auth_open=self.snapshot.auth_open,
            setup=self.offer.text if self.offer else "",
            model=model,
            path=path,
        )


def start(config: Path | None, mock_port: int | None, channel: boot.Channel) -> Settings:
    """Load the configuration for the first time, prepare the data folder, and tell the supervisor the Facts.

    Raises:
        ConfigInvalid: the configuration is invalid.
        StartRefusedError: the data folder is unusable, in use, or holds something weak.
        ChannelClosedError: the supervisor is gone.
    """
    loaded = load(config, os.environ)
    folder = loaded.config.server.data_dir
    first_start.open_folder(folder)
    lock = first_start.take_lock(folder)
    pepper = first_start.pepper(folder)
    key = _client_key(loaded, folder)
    ring = _ring(loaded, folder)
    kept_state = KeptState(folder, ring)
    facts = _facts(loaded, str(first_start.link_path(folder)))
    standing = kept_state.standing(facts.database_url)
    _refuse_uncounted(standing, loaded, facts.workers)
    _refuse_evicting(loaded)
    log.configure(log.level(facts.log_level), log.layout(facts.log_layout), "control")
    _print_warnings(loaded)
    # Before the Snapshot is compiled: sockets and workers come up meanwhile.
    channel.send("boot", facts._asdict(), descriptors=[lock])
    compiled = _compile(loaded, 1, pepper, key, mock_port)
    kept = Settings(
        config=config,
        mock_port=mock_port,
        facts=facts,
        configured=compiled,
        snapshot=compiled,
        standing=standing,
        ring=ring,
        kept_state=kept_state,
        pepper=pepper,
        key=key,
        loaded=loaded,
        offer=_offer(folder, pepper),
    )
    kept = kept.following(kept, standing)
    return replace(kept, snapshot=msgspec.structs.replace(kept.snapshot, version=1))


def resume(config: Path | None, mock_port: int | None, channel: boot.Channel, shelf: Shelf) -> Settings:
    """Take up where a dead control was; an invalid configuration is refused as it would have been by the old one.

    Raises:
        ConfigInvalid: the configuration is invalid, and the shelf holds nothing to go on with.
        StartRefusedError: a file in the data folder is weak, or others can read it.
        ChannelClosedError: the supervisor is gone.
    """
    told = channel.wait(RESUME_SECONDS)
    if not told or "resume" not in told[0]:
        raise boot.ChannelClosedError("the supervisor did not say where to resume")
    facts = boot.read_facts(told[0]["resume"])
    log.configure(log.level(facts.log_level), log.layout(facts.log_layout), "control")
    folder = Path(facts.data_dir)
    kept = shelf.read()
    last = snapshot.decode(kept) if kept else snapshot.Snapshot(version=0, providers={})
    old = Settings(
        config=config,
        mock_port=mock_port,
        facts=facts,
        configured=last,
        snapshot=last,
        standing=Standing(None, last.keys_are if kept else STALE),
        ring=None,
        kept_state=None,
        pepper=first_start.pepper(folder),
        key=None,
        loaded=None,
    )
    channel.send("boot", facts._asdict())
    try:
        return old.reload()
    except (ConfigInvalid, StartRefusedError) as problem:
        if not kept:
            raise
        log_refusal(problem, old.snapshot.version)
        return old


def leave(kept: Settings) -> None:
    """Remove the link's socket."""
    link = Path(kept.facts.link)
    link.unlink(missing_ok=True)
    if link.parent.name != "run":
        shutil.rmtree(link.parent, ignore_errors=True)


def print_refusal(problem: ConfigInvalid | StartRefusedError) -> None:
    """Say on stderr why the gateway does not start."""
    if isinstance(problem, ConfigInvalid):
        _print(["the configuration is invalid, nothing was started:"])
    _print(_lines(problem))


def log_refusal(problem: ConfigInvalid | StartRefusedError, version: int) -> None:
    """Say in the log why a change is not applied."""
    lines = _lines(problem)
    for line in lines:
        log.event("error", "config_problem", problem=line)
    log.event("error", "config_refused", problems=len(lines), effect="the old one serves on", version=version)


def _lines(problem: ConfigInvalid | StartRefusedError) -> list[str]:
    return [str(each) for each in problem.problems] if isinstance(problem, ConfigInvalid) else [str(problem)]


def _print(lines: Sequence[str]) -> None:
    with contextlib.suppress(OSError):
        sys.stderr.write("".join(f"flumegate: {log.visible(line)}\n" for line in lines))
        sys.stderr.flush()


def _print_warnings(loaded: Loaded) -> None:
    _print([f"warning: {warning}" for warning in loaded.warnings])


def _client_key(loaded: Loaded, folder: Path) -> ClientKey | None:
    auth = loaded.config.auth
    if auth.mode == "open" or auth.static_keys:
        return None
    key = first_start.client_key(folder)
    log.hide([key.key])
    return key


def _offer(folder: Path, pepper: bytes) -> Offer | None:
    if not first_start.is_first(folder):
        return None
    offer = make_offer(pepper, time.time())
    log.hide([offer.text])
    return offer


def _ring(loaded: Loaded, folder: Path) -> Ring:
    texts = [text for secret in loaded.config.encryption.keys for text in secret.entries()]
    return Ring(first_start.master_keys(folder, texts, sealed=folder / STATE_NAME))


def _refuse_uncounted(standing: Standing, loaded: Loaded, workers: int) -> None:
    state = standing.state
    reason = may_limit(workers, shared=loaded.config.redis.url is not None)
    if state is not None and state.limited and reason:
        raise StartRefusedError(f"{state.limited} cannot be held: {reason}")


def _refuse_evicting(loaded: Loaded) -> None:
    """Refuse a Redis that would forget what is spent; one that cannot be asked now is no reason not to start."""
    url = loaded.config.redis.url
    if url is None or find_spec("redis") is None:
        return
    from flumegate.shared.link import KEEPS_ALL, AwayError, Link  # noqa: PLC0415 - only who shares pays for the client

    loop = asyncio.new_event_loop()
    try:
        policy = loop.run_until_complete(Link(url.reveal(), "flumegate", REDIS_SECONDS).policy())
    except AwayError:
        return
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())  # a turn in which the connection is let go of
        loop.close()  # unlike `asyncio.run` it waits for no name server
    if policy not in ("", KEEPS_ALL):
        raise StartRefusedError(
            f"the Redis of redis.url throws away what budgets have spent when it is full (maxmemory-policy {policy}): "
            f"set its maxmemory-policy to {KEEPS_ALL}"
        )


def _compile(
    loaded: Loaded, version: int, pepper: bytes, key: ClientKey | None, mock_port: int | None
) -> snapshot.Snapshot:
    if loaded.config.redis.url is not None and find_spec("redis") is None:
        # Each worker would end at its first Snapshot.
        raise StartRefusedError("redis.url is set, and the client for it is not installed: install flumegate[redis]")
    log.hide(loaded.secrets())
    return compile_snapshot(
        loaded,
        version=version,
        pepper=pepper,
        extra_keys=[key.key] if key else [],
        mock_port=mock_port if loaded.needs_mock else None,
    )


def _facts(loaded: Loaded, link: str) -> boot.Facts:
    config = loaded.config
    listen = read_listen(config.server.listen)
    folder = config.server.data_dir
    url = config.database.url.reveal() if config.database.url else f"sqlite:///{folder / 'flumegate.db'}"
    return boot.Facts(
        host=listen.host,
        port=listen.port,
        workers=config.server.workers,
        drain_seconds=config.server.drain_seconds,
        needs_mock=loaded.needs_mock,
        data_dir=str(folder),
        link=link,
        database_url=url,
        retention_days=config.records.retention_days,
        log_level=config.log.level,
        log_layout=config.log.format,
        watched=[str(path) for path in loaded.watched],
        console=config.console.listen,
    )


def _shown(database_url: str) -> str:
    """Return what may be printed of a database's URL: never its password."""
    scheme, _, rest = database_url.partition("://")
    return database_url.removeprefix(SQLITE) if scheme == "sqlite" else f"{scheme}://{rest.rpartition('@')[2]}"


def _example(value: snapshot.Snapshot, *, mock: bool) -> tuple[str, str]:
    """Return a model that works and the path of the dialect that its provider speaks."""
    if mock:
        return "mock/hello", "/v1/chat/completions"
    for name, route in value.models.items():
        return name, _path_for(value.providers[route.targets[0].provider])
    for provider in sorted(value.providers.values(), key=lambda provider: "openai" not in provider.speaks):
        return f"{provider.name}/{BY_TYPE[provider.type].example}", _path_for(provider)
    return "provider/MODEL", "/v1/chat/completions"


def _path_for(provider: snapshot.Provider) -> str:
    return "/v1/chat/completions" if "openai" in provider.speaks else "/v1/messages"
