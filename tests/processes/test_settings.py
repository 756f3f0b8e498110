from __future__ import annotations

import json
import os
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flumegate import snapshot
from flumegate.processes import boot, settings, shelf
from flumegate.processes.first_start import StartRefusedError
from flumegate.processes.shelf import Shelf
from rig.redis import redis_server

PROVIDERS = {"up": {"type": "openai_compatible", "base_url": "http://127.0.0.1:9/v1"}}


class Place:
    """A configuration file, a data folder, and the supervisor's end of the channel."""

    def __init__(self, folder: Path, ours: boot.Channel, theirs: boot.Channel) -> None:
        self.config = folder / "flumegate.yaml"
        self.data = folder / "data"
        self.supervisor = ours
        self.channel = theirs

    def write(self, **tree: Any) -> None:
        server = {"listen": "127.0.0.1:0", "data_dir": str(self.data)} | tree.pop("server", {})
        self.config.write_text(json.dumps({"server": server, "providers": PROVIDERS} | tree))

    def start(self) -> settings.Settings:
        return settings.start(self.config, None, self.channel)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        made = Place(tmp_path, boot.Channel(ours), boot.Channel(theirs))
        yield made
        for descriptor in made.supervisor.descriptors:
            os.close(descriptor)


def test_the_supervisor_is_told_the_facts_and_given_the_lock(place: Place) -> None:
    """As soon as the configuration stands."""
    place.write(server={"workers": 3, "drain_seconds": 7}, log={"level": "error"})
    kept = place.start()
    (message,) = place.supervisor.receive()
    facts = boot.read_facts(message["boot"])
    assert (facts.host, facts.port, facts.workers, facts.drain_seconds) == ("127.0.0.1", 0, 3, 7.0)
    assert (facts.data_dir, facts.log_level, facts.needs_mock) == (str(place.data), "error", False)
    assert facts.watched == [str(place.config)]
    assert len(place.supervisor.descriptors) == 1
    assert kept.facts == facts
    assert (kept.snapshot.version, list(kept.snapshot.providers)) == (1, ["up"])


def test_a_reload_raises_the_version_only_when_something_changed(place: Place) -> None:
    """Workers are not bothered with what they already have."""
    place.write(auth={"static_keys": ["sk-test-settings-1"]})
    kept = place.start()
    assert kept.reload().snapshot is kept.snapshot
    place.write(auth={"static_keys": ["sk-test-settings-2"]})
    fresh = kept.reload()
    assert fresh.snapshot.version == 2
    assert fresh.snapshot.keys != kept.snapshot.keys
    assert kept.needs_restart(fresh) == []


def test_changes_that_wait_for_the_next_start_are_named_once_each(place: Place) -> None:
    """By the names of the settings."""
    place.write()
    kept = place.start()
    place.write(server={"listen": "[::1]:4999", "workers": 2}, database={"url": "sqlite:///elsewhere.db"})
    assert kept.needs_restart(kept.reload()) == ["server.listen", "server.workers", "database.url"]


def test_losing_the_last_provider_is_refused(place: Place) -> None:
    """The mock is not started behind the operator's back."""
    place.write()
    kept = place.start()
    place.write(providers={})
    with pytest.raises(StartRefusedError, match="add a provider"):
        kept.reload()


@pytest.mark.parametrize("running", [True, False])
def test_redis_without_its_client_is_refused(place: Place, monkeypatch: pytest.MonkeyPatch, *, running: bool) -> None:
    """With what to install; a gateway that runs goes on as it was."""
    place.write()
    act = place.start().reload if running else place.start
    monkeypatch.setitem(sys.modules, "redis", None)  # as if nothing had installed it
    place.write(redis={"url": "redis://127.0.0.1:9/0"})
    with pytest.raises(StartRefusedError, match=r"flumegate\[redis\]"):
        act()


def test_a_key_that_becomes_necessary_is_made_and_kept(place: Place) -> None:
    """Also when the configuration names no key any more while the gateway runs."""
    place.write(auth={"static_keys": ["sk-test-settings-1"]})
    kept = place.start()
    assert not (place.data / "client.key").exists()
    place.write()
    fresh = kept.reload()
    assert fresh.key
    assert (place.data / "client.key").read_text().strip() == fresh.key.key
    assert fresh.reload().snapshot is fresh.snapshot


def resume(place: Place, facts: boot.Facts, kept: bytes | None) -> settings.Settings:
    descriptor = shelf.make("test")
    if kept is not None:
        Shelf(descriptor).write(kept)
    place.supervisor.send("resume", facts._asdict())
    try:
        return settings.resume(place.config, None, place.channel, Shelf(descriptor))
    finally:
        os.close(descriptor)


def test_a_new_control_takes_up_the_version_and_what_has_changed_meanwhile(place: Place) -> None:
    """Unchanged: the same version. Changed while nobody watched: the next one."""
    place.write(auth={"static_keys": ["sk-test-settings-1"]})
    kept = place.start()
    data = snapshot.encode(kept.snapshot)
    assert resume(place, kept.facts, data).snapshot == kept.snapshot
    place.write(auth={"static_keys": ["sk-test-settings-2"]})
    assert resume(place, kept.facts, data).snapshot.version == 2


def test_a_new_control_on_a_broken_file_goes_on_with_the_shelf(place: Place) -> None:
    """Without a shelf there is nothing to go on with."""
    place.write(auth={"static_keys": ["sk-test-settings-1"]})
    kept = place.start()
    place.config.write_text("server: [")
    again = resume(place, kept.facts, snapshot.encode(kept.snapshot))
    assert again.loaded is None
    assert again.snapshot == kept.snapshot
    assert again.watched == (place.config,)
    with pytest.raises(settings.InvalidError):
        resume(place, kept.facts, None)


def test_a_supervisor_that_says_nothing_is_not_waited_for(place: Place) -> None:
    """Its end is the end."""
    place.supervisor.socket.close()
    with pytest.raises(boot.ChannelClosedError):
        settings.resume(place.config, None, place.channel, Shelf(-1))


def test_a_redis_that_would_forget_what_was_spent_stops_the_start(place: Place) -> None:
    """With the remedy, and the way in is not told."""
    with redis_server() as redis:
        redis.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        place.write(redis={"url": redis.url.replace("redis://", "redis://:word@")})
        redis.command("CONFIG", "SET", "requirepass", "word")
        with pytest.raises(StartRefusedError, match=r"allkeys-lru.*set its maxmemory-policy to noeviction") as refused:
            place.start()
        assert "word" not in str(refused.value)


@pytest.mark.parametrize("state", ["well", "frozen", "away"])
def test_a_redis_that_keeps_all_or_cannot_be_asked_stops_no_start(
    place: Place, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    """What is down stops nothing."""
    monkeypatch.setattr(settings, "REDIS_SECONDS", 0.2 if state == "frozen" else 20.0)
    with redis_server() as redis:
        place.write(redis={"url": redis.url})
        if state == "frozen":
            redis.freeze()
        elif state == "away":
            redis.kill()
        assert place.start().snapshot.redis_url == redis.url


def test_a_name_server_that_stalls_does_not_hold_up_the_start(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is waited for as long as for Redis itself, and no longer."""
    monkeypatch.setattr(settings, "REDIS_SECONDS", 0.1)
    asked, started = threading.Event(), threading.Event()

    def stall(*_: object, **__: object) -> list[object]:
        asked.set()
        if not started.wait(5):
            late.append("the start has waited for a name")
        return []

    late: list[str] = []
    monkeypatch.setattr(socket, "getaddrinfo", stall)
    place.write(redis={"url": "redis://redis.invalid:6379/0"})
    try:
        place.start()
    finally:
        started.set()
    assert asked.is_set()
    assert not late
