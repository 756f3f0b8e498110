from __future__ import annotations

import pytest

from flumegate.routing.failure import Failure
from flumegate.routing.health import OUT_SECONDS, READY, SHUT, SOFT, Health
from flumegate.routing.healths import Healths
from flumegate.snapshot import BreakerPolicy
from rig.exchanges import provider

POLICY = BreakerPolicy()
NOW = 1_000.0


def refuse(health: Health, status: int, account: int = 0) -> None:
    """Make one attempt whose credential is refused."""
    failure = Failure("credential", f"upstream_{status}", status)
    health.fail(NOW, failure, account, probe=health.begin(NOW, account))
    health.leave()


def test_health_outlives_snapshots() -> None:
    """The same provider keeps its state; one that has changed begins anew."""
    healths = Healths()
    one = provider()
    health = healths.of(one, "m", POLICY, loose=False)
    health.limit(3, 3)
    stricter = BreakerPolicy(failures=1)
    healths.keep_only({"up": one})
    assert health.max_concurrency == 0, "the new Snapshot says it again, or not"
    assert healths.of(one, "m", stricter, loose=False) is health
    assert health.policy == stricter
    changed = provider(port=9)
    fresh = healths.of(changed, "m", POLICY, loose=False)
    assert fresh is not health
    assert healths.at("up") == [fresh]
    healths.keep_only({"up": changed})
    assert healths.all() == [fresh]
    healths.keep_only({})
    assert (healths.all(), healths.at("up")) == ([], [])


def test_a_changed_provider_is_no_sibling_of_what_it_was() -> None:
    """Neither is what it was still asked how it fares."""
    healths = Healths()
    old = healths.of(provider(), "m", POLICY, loose=False)
    changed = provider(port=9)
    healths.keep_only({"up": changed})
    assert healths.at("up") == []
    new_one = healths.of(changed, "m", POLICY, loose=False)
    refuse(old, 401)
    assert new_one.calm


def test_targets_are_named_by_provider_and_model() -> None:
    """Without a model by the provider alone."""
    healths = Healths()
    assert healths.of(provider("a"), "m", POLICY, loose=False).name == "a/m"
    assert healths.of(provider("a"), "", POLICY, loose=True).name == "a"
    assert [health.name for health in healths.at("a")] == ["a/m", "a"]


def test_names_without_end_are_forgotten() -> None:
    """The configured ones stay, and stay siblings."""
    healths = Healths()
    one = provider()
    kept = healths.of(one, "kept", POLICY, loose=False)
    for number in range(Healths.MOST_LOOSE):
        healths.of(one, f"m{number}", POLICY, loose=True)
    last = healths.of(one, "one more", POLICY, loose=True)
    assert healths.all() == [kept, last]
    assert healths.at("up") == [kept, last]
    assert kept.siblings.known == [kept, last]


def test_forcing_holds_for_targets_to_come() -> None:
    """Also over a change of the provider; a name that nobody has is told apart."""
    healths = Healths()
    health = healths.of(provider(), "m", POLICY, loose=False)
    assert healths.force("up/m", "open")
    assert health.forced == "open"
    assert healths.of(provider(port=9), "m", POLICY, loose=False).forced == "open"
    assert healths.force("up/m", "auto")
    assert healths.of(provider(port=10), "m", POLICY, loose=False).forced == "auto"
    assert not healths.force("up/other", "auto")


@pytest.mark.parametrize("asked_before", [True, False])
def test_a_provider_that_failed_its_check_has_no_well_targets(asked_before: bool) -> None:
    """Not one that is asked for later either, nor with a project's own credential; all are well together again."""
    healths = Healths()
    one, own = provider(), provider(credential="sk-project")
    if asked_before:
        assert healths.of(one, "m", POLICY, loose=False).calm
    healths.check(one, well=False)
    found = [healths.of(one, name, POLICY, loose=False) for name in ("m", "n")]
    found.append(healths.of(own, "m", POLICY, loose=True, mark="@project"))
    stranger = healths.of(provider("other"), "m", POLICY, loose=False)
    assert [health.availability(NOW)[0] for health in found] == [SHUT, SHUT, SHUT]
    assert not any(health.calm for health in found)
    assert stranger.calm
    healths.check(one, well=True)
    found.append(healths.of(one, "o", POLICY, loose=False))
    assert [health.availability(NOW) for health in found] == [(READY, NOW)] * 4
    assert all(health.calm for health in found)


def test_a_check_is_remembered_until_its_provider_changes() -> None:
    """Over a reload that leaves the provider as it is, however many of its targets are forgotten."""
    healths = Healths()
    one, changed = provider(), provider(port=9)
    old = healths.of(one, "old", POLICY, loose=True)
    healths.check(one, well=False)
    for number in range(Healths.MOST_LOOSE):
        healths.of(one, f"m{number}", POLICY, loose=True)
    assert old not in healths.all()
    healths.keep_only({"up": provider()})
    assert healths.of(one, "n", POLICY, loose=False).unwell
    healths.check(one, well=True)
    assert old.availability(NOW) == (READY, NOW), "somebody may still hold one that was forgotten"
    healths.check(one, well=False)
    healths.keep_only({"up": changed})
    assert not healths.of(changed, "m", POLICY, loose=False).unwell
    healths.check(changed, well=False)
    healths.keep_only({})
    assert not healths.of(changed, "m", POLICY, loose=False).unwell


def test_a_refused_credential_is_out_at_targets_to_come() -> None:
    """Until its time is over; not after a 403, not at a provider that has changed, and not for another's credential."""
    healths = Healths()
    two = provider(more_credentials=("k1",))
    first = healths.of(two, "m", POLICY, loose=False)
    refuse(first, 403, 0)
    refuse(first, 401, 1)
    for number in range(Healths.MOST_LOOSE + 1):
        healths.of(two, f"m{number}", POLICY, loose=True)
    later = healths.of(two, "n", POLICY, loose=False)
    assert [account.free_at() for account in later.accounts] == [0.0, NOW + OUT_SECONDS]
    assert later.standing(NOW).credentials_out == 1
    assert {later.pick_account(NOW), later.pick_account(NOW)} == {0}
    assert later.standing(NOW + OUT_SECONDS).credentials_out == 0
    own = provider(credential="sk-project")
    assert healths.of(own, "m", POLICY, loose=True, mark="@project").calm
    healths.keep_only({"up": two})
    assert healths.of(two, "o", POLICY, loose=False).standing(NOW).credentials_out == 1
    changed = provider(more_credentials=("k2",))
    healths.keep_only({"up": changed})
    assert healths.of(changed, "m", POLICY, loose=False).standing(NOW).credentials_out == 0


def test_the_only_credential_that_was_refused_is_a_last_resort_at_targets_to_come() -> None:
    """Somebody may have paid the bill; after its time all is as if nothing had been."""
    healths = Healths()
    refuse(healths.of(provider(), "m", POLICY, loose=False), 401)
    later = healths.of(provider(), "n", POLICY, loose=False)
    assert (later.calm, later.availability(NOW)) == (False, (SOFT, NOW + OUT_SECONDS))
    assert later.availability(NOW + OUT_SECONDS) == (READY, NOW + OUT_SECONDS)
    assert later.calm


def test_a_refused_credential_is_out_at_all_its_targets() -> None:
    """But for 403, which may be about the model; other credentials and providers go on."""
    healths = Healths()
    two = provider(more_credentials=("k1",))
    first, second = (healths.of(two, model, POLICY, loose=False) for model in ("m", "n"))
    stranger = healths.of(provider("other"), "m", POLICY, loose=False)
    refuse(first, 403, 0)
    assert [health.accounts[0].free_at() > NOW for health in (first, second, stranger)] == [True, False, False]
    refuse(first, 401, 1)
    assert [health.accounts[-1].free_at() > NOW for health in (first, second, stranger)] == [True, True, False]
    assert (stranger.calm, second.availability(NOW)) == (True, (READY, NOW))
    assert first.availability(NOW) == (SOFT, NOW + OUT_SECONDS)
