from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from flumegate.routing import health as constants
from flumegate.routing.account import GUESSED_SECONDS, STATED_MOST_SECONDS
from flumegate.routing.failure import Failure
from flumegate.routing.health import FULL, OUT_SECONDS, RAMP_SECONDS, READY, SHUT, SOFT, Forced, Health, State
from flumegate.routing.healths import Healths
from flumegate.snapshot import BreakerPolicy
from rig import cuts
from rig.exchanges import provider

POLICY = BreakerPolicy()
BROKEN = Failure("server", "upstream_503", 503)
LIMITED = Failure("limited", "upstream_429", 429)
CREDENTIAL = Failure("credential", "upstream_401", 401)
FORBIDDEN = Failure("credential", "upstream_403", 403)
FAILURES = [
    BROKEN,
    BROKEN._replace(retry_after=3.0),
    LIMITED,
    LIMITED._replace(retry_after=2.0),
    CREDENTIAL,
    FORBIDDEN,
    Failure("connect", "upstream_unreachable"),
    Failure("timeout", "first_byte_timeout"),
    Failure("missing", "upstream_404", 404),
    Failure("busy", "too_many_connections"),
    Failure("unsaid", "cannot_be_said"),
    Failure("refused", "upstream_400", 400),
]
NOW = 1_000.0


def new(policy: BreakerPolicy = POLICY, credentials: int = 1) -> Health:
    """Return the health of a target that was never asked."""
    known = provider(more_credentials=tuple(f"k{number}" for number in range(1, credentials)))
    return Healths().of(known, "m", policy, loose=False)


def state(health: Health) -> State:
    """Return the breaker's state."""
    return health.state


def fail(health: Health, now: float, failure: Failure = BROKEN, account: int = 0) -> None:
    """Make one attempt that fails."""
    health.fail(now, failure, account, probe=health.begin(now, account))
    health.leave()


def succeed(health: Health, now: float, account: int = 0) -> None:
    """Make one attempt that succeeds."""
    health.succeed(now, account, probe=health.begin(now, account))
    health.leave()


def opened(health: Health | None = None, now: float = NOW) -> Health:
    """Return the health of a target whose breaker has just opened."""
    health = health or new()
    while health.state != "open":
        fail(health, now)
    return health


# the breaker


def test_failures_in_a_row_open() -> None:
    """One success between them begins the count anew; an open breaker lets nothing through before its time."""
    health = new()
    for _ in range(3):
        for _ in range(POLICY.failures - 1):
            fail(health, NOW)
        succeed(health, NOW)
    assert (health.state, health.availability(NOW)) == ("closed", (READY, NOW))
    opened(health)
    assert not health.calm
    end = NOW + POLICY.open_seconds
    assert health.availability(NOW) == (SHUT, end)
    assert health.availability(end - 0.001) == (SHUT, end)
    assert health.availability(end) == (READY, end)


def test_the_quickest_of_many_do_not_speak_for_all() -> None:
    """Of hundreds that began together the failures come back first; only many of them open, or a bad rate."""
    health = new()
    for _ in range(100):
        health.begin(NOW)
    for _ in range(16):
        health.fail(NOW, BROKEN, 0, probe=False)
    assert state(health) == "closed"
    health.fail(NOW, BROKEN, 0, probe=False)
    assert state(health) == "open"
    health = new()
    for _ in range(1_000):
        health.begin(NOW)
    for _ in range(POLICY.min_requests):
        health.fail(NOW, BROKEN, 0, probe=False)
    assert state(health) == "open"


def test_a_rate_of_failures_opens() -> None:
    """Of at least so many requests within the window; older ones are forgotten."""
    health = new()
    for _ in range(9):
        succeed(health, NOW)
        fail(health, NOW)
    assert state(health) == "closed"
    succeed(health, NOW)
    fail(health, NOW)
    assert state(health) == "open"


def test_the_window_moves_in_halves() -> None:
    """What lies one half back still counts, what lies two back no longer."""
    for pause, expected in ((constants.WINDOW_SECONDS, "open"), (2 * constants.WINDOW_SECONDS, "closed")):
        health = new()
        for _ in range(9):
            succeed(health, NOW)
            fail(health, NOW)
        succeed(health, NOW + pause)
        fail(health, NOW + pause)
        assert state(health) == expected


def test_answers_that_break_off_open_by_their_rate() -> None:
    """They began well, so they are no failures in a row; half of them cut is a rate of one half."""
    health = new()
    for _ in range(POLICY.min_requests - 1):
        succeed(health, NOW)
    for _ in range(9):
        health.cut(NOW)
    assert (health.state, health.failures) == ("closed", 0)
    succeed(health, NOW)
    health.cut(NOW)
    assert state(health) == "open"
    health.cut(NOW)
    assert health.open_until == NOW + POLICY.open_seconds


def test_an_answer_that_breaks_off_later_counts_in_its_own_half_of_the_window() -> None:
    """Its good beginning, noted in the half before, no longer counts for the target."""
    health = new()
    for _ in range(POLICY.min_requests):
        succeed(health, NOW)
    for _ in range(POLICY.min_requests // 2 - 1):
        health.cut(NOW + constants.WINDOW_SECONDS)
    assert state(health) == "closed"
    health.cut(NOW + constants.WINDOW_SECONDS)
    assert state(health) == "open"
    stranger = new()
    stranger.cut(NOW)  # begun before a reload forgot it
    assert stranger.state == "closed"


def test_one_probe_decides() -> None:
    """While it is under way nobody else is let through; its failure keeps the breaker open, its success closes it."""
    health = opened()
    end = NOW + POLICY.open_seconds
    assert health.begin(end)
    assert (health.state, health.availability(end)) == ("half_open", (SHUT, end + 1.0))
    assert not health.begin(end), "one that came from elsewhere is no probe"
    health.fail(end, BROKEN, 0, probe=False)
    assert state(health) == "half_open"
    health.fail(end, BROKEN, 0, probe=True)
    assert (health.state, health.availability(end)) == ("open", (SHUT, end + POLICY.open_seconds))
    again = end + POLICY.open_seconds
    assert health.begin(again)
    health.succeed(again, 0, probe=True)
    assert (health.state, health.availability(again)) == ("closed", (READY, again))


def test_a_probe_that_tells_nothing_makes_place_for_another() -> None:
    """Its client left, or the request was at fault."""
    health = opened()
    end = NOW + POLICY.open_seconds
    assert health.begin(end)
    health.release(probe=True)
    assert health.availability(end) == (READY, end)
    assert health.begin(end)


@pytest.mark.parametrize("failure", [LIMITED, FORBIDDEN, Failure("missing", "upstream_404", 404)])
def test_a_probe_that_gets_any_answer_closes(failure: Failure) -> None:
    """A target that limits or knows a credential no longer is there again; old failures count no further."""
    health = opened()
    end = NOW + POLICY.open_seconds
    fail(health, end, failure)
    assert (health.state, health.failures) == ("closed", 0)


def test_a_share_rises_after_an_outage() -> None:
    """From a tenth to all; meanwhile fewer failures in a row are enough, afterwards the usual number."""
    health = opened()
    end = NOW + POLICY.open_seconds
    succeed(health, end)
    assert [health.ramp(end + part * RAMP_SECONDS) for part in (0, 0.05, 0.5, 1, 9)] == [0.1, 0.1, 0.5, 1, 1]
    for _ in range(constants.RAMP_FAILURES - 1):
        fail(health, end + 1)
    assert state(health) == "closed"
    fail(health, end + 1)
    assert state(health) == "open"
    end += 1 + POLICY.open_seconds
    succeed(health, end)
    for _ in range(POLICY.failures - 1):
        fail(health, end + RAMP_SECONDS)
    assert state(health) == "closed"


def test_no_probe_slot_is_lost() -> None:
    """A thousand outages, each probe ending in another way: the next one always finds its place, and it heals."""
    dice = random.Random(1)
    health = new()
    now = NOW
    for cycle in range(1_000):
        opened(health, now)
        now = health.open_until
        probe = health.begin(now)
        assert probe, cycle
        ending = dice.randrange(len(FAILURES) + 2)
        if ending == len(FAILURES):
            health.release(probe=probe)
        elif ending > len(FAILURES):
            health.force(dice.choice(("auto", "open", "closed")))
            health.fail(now, BROKEN, 0, probe=probe)
            health.force("auto")
        else:
            health.fail(now, FAILURES[ending], 0, probe=probe)
        health.leave()
        assert not health.probing
        now += OUT_SECONDS
        assert health.availability(now)[0] == READY
        succeed(health, now)
        assert state(health) == "closed"
        now += RAMP_SECONDS
        assert health.availability(now) == (READY, now)
        assert (health.calm, health.in_flight) == (True, 0)


@pytest.mark.parametrize("enabled", [True, False])
def test_without_breaker_nothing_is_shut(enabled: bool) -> None:
    """Also where a new Snapshot takes it away while it is open, or half-open."""
    off = BreakerPolicy(enabled=False)
    if not enabled:
        health = new(off)
        for _ in range(100):
            fail(health, NOW)
        assert health.availability(NOW) == (READY, NOW)
        return
    health = opened()
    health.obey(off)
    assert health.availability(NOW) == (READY, NOW)
    health = opened()
    probe = health.begin(NOW + POLICY.open_seconds)
    health.obey(off)
    assert health.availability(NOW) == (READY, NOW)
    health.fail(NOW, BROKEN, 0, probe=probe)
    assert health.availability(NOW) == (READY, NOW)
    health = opened()
    health.obey(BreakerPolicy(failures=9))
    assert state(health) == "open"


# by hand, and by checks


def test_forced_open_is_shut_whatever_happens() -> None:
    """Until somebody says otherwise; then it begins anew."""
    health = new()
    fail(health, NOW, LIMITED)
    health.force("open")
    succeed(health, NOW)
    assert health.availability(NOW) == (SHUT, NOW + POLICY.open_seconds)
    health.force("auto")
    assert health.availability(NOW) == (READY, NOW)
    assert health.calm


def test_forced_closed_is_open_to_all_whatever_happens() -> None:
    """No probes, no waiting, not even for a check that failed."""
    health = opened()
    health.siblings.check(well=False)
    health.force("closed")
    assert health.availability(NOW + 9) == (READY, NOW + 9)
    assert not health.begin(NOW + 9)
    assert not health.calm


def test_a_failed_check_shuts_until_the_next_one() -> None:
    """What the breaker knows stays as it is."""
    health = new()
    health.siblings.check(well=False)
    assert health.availability(NOW)[0] == SHUT
    health.siblings.check(well=True)
    assert health.availability(NOW) == (READY, NOW)
    assert health.calm


# limits


def test_a_full_target_is_full_until_somebody_leaves() -> None:
    """Its limit is never calm: each request must ask."""
    health = new()
    health.limit(0, 0)
    assert health.calm
    health.limit(1, 5)
    assert health.availability(NOW) == (READY, NOW)
    health.begin(NOW)
    assert (health.calm, health.availability(NOW)) == (False, (FULL, NOW))
    health.begin(NOW, entered=True)
    assert health.in_flight == 1
    health.leave()
    assert health.availability(NOW) == (READY, NOW)


@pytest.mark.parametrize("failure", [LIMITED, BROKEN])
def test_a_wish_to_be_left_alone_is_obeyed(failure: Failure) -> None:
    """Nothing is sent before its time; a success of another request meanwhile changes nothing."""
    health = new()
    fail(health, NOW, failure._replace(retry_after=7.0))
    succeed(health, NOW)
    assert health.availability(NOW + 6.9) == (SHUT, NOW + 7)
    assert health.availability(NOW + 7) == (READY, NOW + 7)
    assert health.calm


def test_a_look_ahead_opens_nothing() -> None:
    """Whoever asks about a later time leaves the target as it is now."""
    health = new()
    fail(health, NOW, LIMITED._replace(retry_after=7.0))
    assert health.outlook(NOW + 7) == (READY, NOW + 7)
    assert not health.calm
    assert health.availability(NOW) == (SHUT, NOW + 7)


def test_a_longer_wish_stands() -> None:
    """A shorter one does not undo it; one that is out of all measure is asked after five minutes."""
    health = new()
    fail(health, NOW, LIMITED._replace(retry_after=20.0))
    fail(health, NOW + 1, LIMITED._replace(retry_after=2.0))
    assert health.availability(NOW + 1) == (SHUT, NOW + 20)
    fail(health, NOW + 2, LIMITED._replace(retry_after=86_400.0))
    assert health.availability(NOW + 2) == (SHUT, NOW + 2 + STATED_MOST_SECONDS)


def test_a_guess_does_not_loosen_a_wish() -> None:
    """A second answer that names no time leaves the time that the first one named."""
    health = new()
    fail(health, NOW, LIMITED._replace(retry_after=20.0))
    fail(health, NOW, LIMITED)
    assert health.availability(NOW) == (SHUT, NOW + 20)
    succeed(health, NOW)
    assert health.availability(NOW) == (SHUT, NOW + 20)


def test_where_no_time_is_named_it_is_guessed() -> None:
    """Longer each time, only a last resort meanwhile, and over with the first success."""
    health = new()
    now = NOW
    for seconds in (*GUESSED_SECONDS, GUESSED_SECONDS[-1]):
        fail(health, now, LIMITED)
        assert health.availability(now) == (SOFT, now + seconds)
        now += seconds
        assert health.availability(now) == (READY, now)
    fail(health, now, LIMITED)
    succeed(health, now)
    assert health.availability(now) == (READY, now)
    fail(health, now, LIMITED)
    assert health.availability(now) == (SOFT, now + GUESSED_SECONDS[0])


def test_simultaneous_refusals_are_one_strike() -> None:
    """A hundred requests that meet the same limit at once say it once."""
    health = new()
    for _ in range(100):
        fail(health, NOW, LIMITED)
    assert health.availability(NOW) == (SOFT, NOW + GUESSED_SECONDS[0])


# credentials


def test_credentials_are_taken_in_turn() -> None:
    """Past those that are cooling or out; where all are, the one that is free soonest."""
    health = new(credentials=3)

    def taken(attempts: int) -> list[int]:
        accounts = []
        for _ in range(attempts):
            accounts.append(health.pick_account(NOW))
            assert health.pick_account(NOW) == accounts[-1], "asking changes nothing"
            health.begin(NOW, accounts[-1])
        return accounts

    assert not health.calm
    assert taken(6) == [0, 1, 2, 0, 1, 2]
    fail(health, NOW, LIMITED._replace(retry_after=9.0), account=1)
    assert taken(4) == [2, 0, 2, 0]
    assert health.availability(NOW)[0] == READY
    fail(health, NOW, CREDENTIAL, account=0)
    assert health.spare_account(0, NOW)
    assert not health.spare_account(2, NOW)
    fail(health, NOW, LIMITED._replace(retry_after=5.0), account=2)
    assert health.pick_account(NOW) == 2
    assert health.availability(NOW) == (SOFT, NOW + 5)
    assert not health.calm
    assert new().pick_account(NOW) == 0


# measurements


def test_latency_is_smoothed() -> None:
    """The first one counts whole, later ones a fifth each."""
    health = new()
    health.measure(1.0)
    health.measure(2.0)
    assert health.latency == pytest.approx(1.2)


def test_the_retry_budget() -> None:
    """A reserve, then a share of the requests; it never grows beyond the reserve."""
    health = new()
    health.pay_in()
    assert sum(health.pay_out() for _ in range(100)) == constants.BUDGET_MOST
    for _ in range(1_000):
        health.pay_in()
        health.pay_out()
    assert not health.pay_out()
    paid = 0
    for _ in range(1_000):
        health.pay_in()
        paid += health.pay_out()
    assert paid <= 1_000 * constants.BUDGET_SHARE + 1


def test_operators_see_how_a_target_fares() -> None:
    """What is done by hand or by a check comes before what the breaker says; times are those that are left."""
    healths = Healths()
    health = healths.of(provider(more_credentials=("k1",)), "m", POLICY, loose=False)

    def states() -> tuple[str, float, bool]:
        (seen,) = healths.states(NOW)
        return seen.state, seen.until_seconds, seen.cooling

    assert states() == ("closed", 0.0, False)
    fail(health, NOW, LIMITED._replace(retry_after=3.0), account=0)
    assert states() == ("closed", 0.0, False)
    fail(health, NOW, LIMITED._replace(retry_after=7.0), account=1)
    assert states() == ("closed", 3.0, True)
    health.force("auto")
    opened(health, NOW - 2)
    assert states() == ("open", 3.0, False)
    health.open_until = NOW
    assert states() == ("half_open", 0.0, False)
    health.siblings.check(well=False)
    assert states() == ("open", POLICY.open_seconds, False)
    health.force("open")
    assert states() == ("forced_open", POLICY.open_seconds, False)
    health.force("closed")
    assert states() == ("forced_closed", 0.0, False)
    health.measure(0.1234)
    fail(health, NOW, CREDENTIAL)
    health.begin(NOW)
    seen = health.standing(NOW)
    assert (seen.name, seen.in_flight, seen.latency_ms, seen.last_error) == ("up/m", 1, 123.4, "upstream_401")
    assert (seen.credentials, seen.credentials_out) == (2, 1)


class Life(RuleBasedStateMachine):
    """A target's life: attempts that begin and end in any order, somebody at the switch, and a clock."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.health = new()
        self.untold: list[tuple[bool, int]] = []
        """Attempts that health has heard nothing of yet: is it the probe, and which credential it has."""
        self.told = 0

    @initialize(credentials=st.integers(1, 3), failures=st.integers(1, 4), limit=st.sampled_from((0, 0, 2)))
    def start(self, credentials: int, failures: int, limit: int) -> None:
        self.health = new(BreakerPolicy(failures=failures, min_requests=6), credentials)
        self.health.limit(limit, 0)

    @rule(seconds=st.sampled_from((0.0, 0.1, 1.0, 4.9, 5.0, 20.0, 301.0)))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def begin(self) -> None:
        """A request asks, and goes only where it may."""
        rank, until = self.health.availability(self.now)
        if rank == SHUT:
            assert until > self.now
        elif rank == FULL:
            assert self.health.in_flight >= self.health.max_concurrency > 0
        else:
            self.enter()

    @rule()
    def enter(self) -> None:
        """A request goes without having asked just now: it had waited for its time or its turn."""
        account = self.health.pick_account(self.now)
        shut = self.health.state == "open" and self.now < self.health.open_until
        probe = self.health.begin(self.now, account)
        assert not (probe and shut)
        self.untold.append((probe, account))

    def take(self, data: st.DataObject) -> tuple[bool, int]:
        return self.untold.pop(data.draw(st.integers(0, len(self.untold) - 1)))

    @precondition(lambda self: self.untold)
    @rule(data=st.data())
    def succeed(self, data: st.DataObject) -> None:
        probe, account = self.take(data)
        self.health.succeed(self.now, account, probe=probe)
        assert not probe or self.health.state == "closed"
        self.told += 1

    @precondition(lambda self: self.untold)
    @rule(data=st.data(), failure=st.sampled_from(FAILURES))
    def fail(self, data: st.DataObject, failure: Failure) -> None:
        probe, account = self.take(data)
        self.health.fail(self.now, failure, account, probe=probe)
        self.told += 1

    @precondition(lambda self: self.untold)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        probe, _ = self.take(data)
        self.health.release(probe=probe)
        self.told += 1

    @precondition(lambda self: self.told)
    @rule()
    def leave(self) -> None:
        self.told -= 1
        self.health.leave()

    @precondition(lambda self: self.told)
    @rule()
    def hand_over(self) -> None:
        """One that waited takes the place of one that leaves."""
        self.told -= 1
        account = self.health.pick_account(self.now)
        self.untold.append((self.health.begin(self.now, account, entered=True), account))

    @precondition(lambda self: self.told)
    @rule()
    def cut(self) -> None:
        self.health.cut(self.now)

    @rule(seconds=st.sampled_from((0.0, 1.0, 60.0)))
    def look_ahead(self, seconds: float) -> None:
        """A request asks whether it may go later: that says nothing of now."""
        self.health.outlook(self.now + seconds)

    @rule(forced=st.sampled_from(("auto", "auto", "open", "closed")))
    def force(self, forced: Forced) -> None:
        self.health.force(forced)

    @rule(well=st.booleans())
    def check(self, well: bool) -> None:
        self.health.siblings.check(well=well)

    @rule(enabled=st.booleans())
    def obey(self, enabled: bool) -> None:
        self.health.obey(BreakerPolicy(enabled=enabled, failures=3))

    @invariant()
    def everybody_is_counted_once(self) -> None:
        assert self.health.in_flight == len(self.untold) + self.told
        assert self.health.unheard == len(self.untold)

    @invariant()
    def there_is_one_probe_at_most(self) -> None:
        probes = sum(probe for probe, _ in self.untold)
        assert probes == self.health.probing <= 1

    @invariant()
    def open_is_shut_until_its_time(self) -> None:
        health = self.health
        if health.forced == "auto" and health.state == "open" and self.now < health.open_until:
            rank, until = health.availability(self.now)
            assert rank == SHUT
            assert until > self.now

    @invariant()
    def calm_means_ready(self) -> None:
        if self.health.calm:
            assert self.health.availability(self.now) == (READY, self.now)

    def teardown(self) -> None:
        """The fault ends, requests go on: soon all is as if nothing had been."""
        health = self.health
        for probe, _ in self.untold:
            health.release(probe=probe)
        for _ in range(len(self.untold) + self.told):
            health.leave()
        assert health.in_flight == 0
        if health.forced != "auto":
            health.force("auto")
        health.siblings.check(well=True)
        now = max(self.now, *(account.free_at() for account in health.accounts))
        end = now + health.policy.open_seconds + RAMP_SECONDS
        while now <= end:
            if health.availability(now)[0] == READY:
                succeed(health, now, health.pick_account(now))
            now += 0.25
        assert state(health) == "closed"
        assert health.ramp(end) == 1.0
        assert health.availability(end) == (READY, end)
        assert health.calm is (len(health.accounts) == 1 and not health.max_concurrency)


TestLife = Life.TestCase
TestLife.settings = settings(cuts.law, stateful_step_count=60)


@pytest.mark.parametrize("act", [lambda health: health.force("open"), lambda health: health.siblings.check(well=False)])
def test_what_is_shut_by_hand_or_check_says_when_to_ask_again(act: Callable[[Health], None]) -> None:
    """A client is told a time that is neither past nor never."""
    health = new()
    act(health)
    rank, until = health.availability(NOW)
    assert rank == SHUT
    assert NOW < until < math.inf
