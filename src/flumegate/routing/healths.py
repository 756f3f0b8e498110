"""The health of all targets in one worker: found by name, kept over Snapshots, and forced by operators."""

from __future__ import annotations

from flumegate.records.manage import TargetState
from flumegate.routing.health import Forced, Health, Siblings
from flumegate.snapshot import BreakerPolicy, Provider


class Healths:
    """The health of all targets in one worker. It outlives Snapshots; a provider that changes begins anew."""

    MOST_LOOSE = 4_096
    """Targets that no configuration names: clients may ask for names without end."""

    def __init__(self) -> None:
        self._known: dict[str, Health] = {}
        self._loose: dict[str, Health] = {}
        self._siblings: dict[str, Siblings] = {}
        self._unwell: dict[str, Provider] = {}
        """Providers whose check failed, by name."""
        self.forced: dict[str, Forced] = {}

    def of(self, provider: Provider, model: str, policy: BreakerPolicy, *, loose: bool, mark: str = "") -> Health:
        """Return the health of a target.

        `loose`: it is not named in the configuration; `mark`: whose own credential is used there, if not everybody's.
        """
        owner = provider.name + mark
        name = (f"{provider.name}/{model}" if model else provider.name) + mark
        for book in (self._known, self._loose):
            health = book.get(name)
            if health is not None and health.provider == provider:
                health.obey(policy)
                return health
        if loose and len(self._loose) >= self.MOST_LOOSE:
            self._forget(self._loose)
        siblings = self._siblings.get(owner)
        if siblings is None or siblings.provider != provider:
            siblings = self._siblings[owner] = Siblings(provider)
            siblings.unwell = provider.name in self._unwell
        fresh = Health(name, provider, policy, siblings)
        siblings.known.append(fresh)
        (self._loose if loose else self._known)[name] = fresh
        if name in self.forced:
            fresh.force(self.forced[name])
        return fresh

    def _forget(self, book: dict[str, Health]) -> None:
        gone = {id(health) for health in book.values()}
        for siblings in self._siblings.values():
            siblings.known = [health for health in siblings.known if id(health) not in gone]
        book.clear()

    def keep_only(self, providers: dict[str, Provider]) -> None:
        """Forget the targets of providers that a new Snapshot no longer has, or has changed."""
        for book in (self._known, self._loose):
            for name, health in list(book.items()):
                if providers.get(health.provider.name) != health.provider:
                    del book[name]
                else:
                    health.limit(0, 0)
        self._siblings = {
            owner: siblings
            for owner, siblings in self._siblings.items()
            if providers.get(siblings.provider.name) == siblings.provider
        }
        self._unwell = {name: unwell for name, unwell in self._unwell.items() if providers.get(name) == unwell}

    def all(self) -> list[Health]:
        """Return every target that was asked for, or is configured."""
        return [*self._known.values(), *self._loose.values()]

    def at(self, provider: str) -> list[Health]:
        """Return the targets of one provider."""
        siblings = self._siblings.get(provider)
        return [] if siblings is None else siblings.known

    def check(self, provider: Provider, *, well: bool) -> None:
        """Take the result of an active check: it holds for all targets of the provider, those to come included."""
        if well:
            self._unwell.pop(provider.name, None)
        else:
            self._unwell[provider.name] = provider
        for siblings in self._siblings.values():
            if siblings.provider.name == provider.name:
                siblings.check(well=well)

    def states(self, now: float) -> list[TargetState]:
        """Return how every target fares, for operators."""
        return [health.standing(now) for health in self.all()]

    def force(self, name: str, forced: Forced) -> bool:
        """Force a target's breaker, now and for as long as this worker lives; False = there is no such target."""
        if forced == "auto":
            self.forced.pop(name, None)
        else:
            self.forced[name] = forced
        found = [book[name] for book in (self._known, self._loose) if name in book]
        for health in found:
            health.force(forced)
        return bool(found)
