"""A desk on a real database, SQLite or PostgreSQL, with a clock that stands still until a test moves it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from flumegate.manage.actor import Actor, Role
from flumegate.manage.desk import Desk
from flumegate.manage.seal import Ring, make_master_key, read_master_key
from flumegate.store.database import Database

PEPPER = b"a pepper of at least 32 bytes, made up"
NOW = 1_790_000_000.0
HOSTS = {"openai": "api.openai.com", "anthropic": "api.anthropic.com"}


class Clock:
    """The time."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class Bench(Desk):
    """A desk whose surroundings a test can change."""

    def __init__(self, url: str, folder: Path, ring: Ring | None = None) -> None:
        self.time = Clock()
        self.later: list[Bench] = []
        self.pushed = 0
        self.changes = 0
        self.no_limits: str | None = None
        self.known = dict(HOSTS)
        self.own_ring = ring or Ring([read_master_key(make_master_key())])
        super().__init__(
            Database(url),
            self.own_ring,
            PEPPER,
            hosts=lambda: self.known,
            may_limit=lambda: self.no_limits,
            changed=self._count,
            head=folder / "audit.head",
            clock=self.time,
        )

    def restarted(self) -> Bench:
        """Return a desk of the same installation that remembers nothing but what is stored."""
        assert self.head is not None
        self.later.append(Bench(self.database.url, self.head.parent, self.own_ring))
        return self.later[-1]

    def _count(self, changes: int) -> None:
        self.pushed += 1
        self.changes = changes


@contextlib.contextmanager
def desk_on(url: str, folder: Path) -> Iterator[Bench]:
    """Yield a desk on the database of a URL."""
    bench = Bench(url, folder)
    try:
        with bench.database.transaction():
            pass  # the first one makes the tables, as the recording does in a gateway
        yield bench
    finally:
        for each in (bench, *bench.later):
            each.database.close()


def actor(role: Role = "owner", name: str = "admin.token") -> Actor:
    """Return somebody who asks."""
    return Actor(name, role, request_id="r-1", client="127.0.0.1")
