from __future__ import annotations

import math
import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flumegate.catalog.load import Price
from flumegate.errors import UNAVAILABLE, UPSTREAM_LIMITED, GatewayError
from flumegate.routing.course import Choice, Course, Stage
from flumegate.routing.failure import Failure
from flumegate.routing.health import SHUT
from flumegate.routing.tries import Ask, Tries, none_left
from flumegate.snapshot import Hedge, Retry
from rig import cuts
from rig.courses import break_down, candidate_of, course_of, targets

NOW = 1_000.0
LATE = math.inf
BROKEN = Failure("server", "upstream_503", 503)
LIMITED = Failure("limited", "upstream_429", 429, 2.0)
CREDENTIAL = Failure("credential", "upstream_401", 401)
REFUSED = Failure("refused", "upstream_400", 400)
MISSING = Failure("missing", "upstream_404", 404)
FAILURES = [BROKEN, LIMITED, LIMITED._replace(retry_after=None), CREDENTIAL, REFUSED, MISSING]


def begin(course: Course, **ask: object) -> Tries:
    """Return the attempts of a request that was not sent yet; its dice are the same each time."""
    return Tries(course, Ask(**ask), random.Random(1))  # type: ignore[arg-type] # the fields' types differ


def name(choice: Choice | None) -> str:
    """Return the letter of the target of a choice, or an empty string where there is none."""
    return "" if choice is None else choice.candidate.target.provider


def fails(tries: Tries, choice: Choice, failure: Failure = BROKEN, now: float = NOW, by: float = LATE) -> Choice | None:
    """Make an attempt that fails; return the one that follows."""
    health = choice.candidate.health
    health.fail(now, failure, choice.account, probe=health.begin(now, choice.account))
    health.leave()
    return tries.after(choice.candidate, choice.account, failure, now, by)


def choice_after(tries: Tries, choice: Choice, failure: Failure = BROKEN, now: float = NOW) -> Choice:
    """Return the attempt that follows a failed one; there must be one."""
    following = fails(tries, choice, failure, now)
    assert following is not None
    return following


def test_another_target_comes_before_a_second_try() -> None:
    """All of the route, then those of its fallbacks, then the last one again, after a wait; at last nothing."""
    tries = begin(course_of(*targets("ab"), fallback=targets("cd"), retry=Retry(max_retries=4)))
    choice = tries.first(NOW)
    seen = [name(choice)]
    for _ in range(3):
        choice = choice_after(tries, choice)
        seen.append(name(choice))
        assert choice.wait_seconds == 0
    assert seen == ["a", "b", "c", "d"]
    again = choice_after(tries, choice)
    assert (name(again), 0 < again.wait_seconds <= 1) == ("d", True)
    assert fails(tries, again) is None
    assert tries.made == 5


def test_a_refusal_is_final() -> None:
    """A request that is at fault is at fault everywhere."""
    tries = begin(course_of(*targets("ab")))
    assert fails(tries, tries.first(NOW), REFUSED) is None


def test_no_attempt_begins_after_the_deadline() -> None:
    """Neither at once nor after a wait."""
    tries = begin(course_of(*targets("ab")))
    assert fails(tries, tries.first(NOW), by=NOW) is None
    tries = begin(course_of(*targets("a"), retry=Retry(initial_delay=10, max_delay=60)))
    choice = tries.first(NOW)
    assert fails(tries, choice, LIMITED._replace(retry_after=5.0), by=NOW + 5) is None


def test_who_asks_for_no_other_target_gets_none() -> None:
    """The same one may be asked again; nothing is kept for others, nothing runs beside it."""
    course = course_of(*targets("ab"), hedge=Hedge(1.0, 1.0))
    tries = begin(course, failover=False)
    choice = tries.first(NOW)
    assert tries.others(choice.candidate, NOW) == 0
    assert tries.beside(choice.candidate, NOW) is None
    again = choice_after(tries, choice)
    assert name(again) == "a"
    break_down(again.candidate.health, NOW)
    with pytest.raises(GatewayError):
        tries.waited(again, NOW + again.wait_seconds)


@pytest.mark.parametrize("failure", [LIMITED, LIMITED._replace(retry_after=None), CREDENTIAL])
def test_another_credential_of_the_same_target_is_tried_at_once(failure: Failure) -> None:
    """The target is well: only this credential is limited or refused."""
    tries = begin(course_of(*targets("ab"), credentials=2))
    first = tries.first(NOW)
    second = choice_after(tries, first, failure)
    assert (name(first), name(second), second.wait_seconds) == ("a", "a", 0)
    assert {first.account, second.account} == {0, 1}
    assert name(fails(tries, second, failure)) == "b"


def test_a_failure_that_stays_is_not_repeated() -> None:
    """A model that is not there will not be there in a second."""
    tries = begin(course_of(*targets("a")))
    assert fails(tries, tries.first(NOW), MISSING) is None


def test_an_earlier_target_is_asked_again_where_the_last_one_cannot() -> None:
    """The model is not at `b`; `a` only failed."""
    tries = begin(course_of(*targets("ab")))
    second = choice_after(tries, tries.first(NOW))
    assert name(fails(tries, second, MISSING)) == "a"


def test_an_upstream_that_asks_for_too_much_is_not_waited_for() -> None:
    """Its answer is the client's answer."""
    tries = begin(course_of(*targets("a"), retry=Retry(max_delay=1.0)))
    assert fails(tries, tries.first(NOW), LIMITED) is None


def test_a_spent_budget_ends_repeats() -> None:
    """It is the target's, not the request's."""
    course = course_of(*targets("a"))
    while course.candidates[0].health.pay_out():
        pass
    tries = begin(course)
    assert fails(tries, tries.first(NOW)) is None


def test_who_waits_is_told_how_things_are_by_then() -> None:
    """Of many that waited for one moment the first may meet the same fault: the others do not pile up there."""
    course = course_of(*targets("a"))
    tries = begin(course)
    choice = choice_after(tries, tries.first(NOW), LIMITED)
    assert choice.wait_seconds >= 2
    then = NOW + choice.wait_seconds
    assert name(tries.waited(choice, then)) == "a"
    health = course.candidates[0].health
    health.fail(then, LIMITED, 0, probe=health.begin(then))
    with pytest.raises(GatewayError) as refused:
        tries.waited(choice, then)
    assert refused.value.code == "targets_limited"


def test_after_a_wait_a_target_that_came_back_does_as_well() -> None:
    """It was left alone when the wait began."""
    course = course_of(*targets("ab"))
    a, b = (candidate_of(course, letter).health for letter in "ab")
    break_down(b, NOW)
    tries = begin(course)
    again = choice_after(tries, tries.first(NOW))
    assert name(again) == "a"
    break_down(a, NOW + 4)
    assert name(tries.waited(again, NOW + 5)) == "b"


def test_after_a_wait_an_earlier_target_does_as_well() -> None:
    """If what it failed by may have passed."""
    for failure, expected in ((BROKEN, "a"), (MISSING, "")):
        course = course_of(*targets("ab"))
        tries = begin(course)
        again = choice_after(tries, choice_after(tries, tries.first(NOW), failure))
        assert name(again) == "b"
        break_down(candidate_of(course, "b").health, NOW)
        if expected:
            assert name(tries.waited(again, NOW + 1)) == expected
        else:
            with pytest.raises(GatewayError) as refused:
                tries.waited(again, NOW + 1)
            assert refused.value.code == "no_target_available"


def test_a_full_target_is_waited_for_where_no_other_is_ready() -> None:
    """In its queue, if that has room; after a wait just the same."""
    course = course_of(*targets("ab", max_concurrency=1, max_queued=1))
    a, b = (candidate_of(course, letter) for letter in "ab")
    a.health.begin(NOW)
    assert name(begin(course).first(NOW)) == "b"
    b.health.begin(NOW)
    queued = begin(course).first(NOW)
    assert (name(queued), queued.queued) == ("a", True)
    assert begin(course).waited(Choice(b), NOW) == Choice(b, queued=True)
    a.health.queued = 1
    assert name(begin(course).first(NOW)) == "b"
    b.health.queued = 1
    with pytest.raises(GatewayError) as refused:
        begin(course).first(NOW)
    assert (refused.value.kind, refused.value.code) == (UNAVAILABLE, "targets_busy")
    with pytest.raises(GatewayError) as refused:
        begin(course).waited(Choice(b), NOW)
    assert refused.value.code == "targets_busy"


def test_a_last_resort_is_a_first_attempt_but_never_a_second() -> None:
    """A target that limits without a word for how long is asked where nothing else is left."""
    course = course_of(*targets("ab"))
    a, b = (candidate_of(course, letter) for letter in "ab")
    for health in (a.health, b.health):
        health.fail(NOW, LIMITED._replace(retry_after=None), 0, probe=health.begin(NOW))
    tries = begin(course)
    choice = tries.first(NOW)
    assert name(choice) == "a"
    assert name(fails(tries, choice, MISSING)) == ""


def test_time_is_left_for_those_that_could_follow() -> None:
    """Ready, not tried, and as many as attempts are left."""
    course = course_of(*targets("abcd"), retry=Retry(max_retries=1))
    tries = begin(course)
    choice = tries.first(NOW)
    assert tries.others(choice.candidate, NOW) == 3
    break_down(candidate_of(course, "d").health, NOW)
    choice = choice_after(tries, choice)
    assert tries.others(choice.candidate, NOW) == 1


def test_a_second_attempt_beside_the_first_goes_elsewhere() -> None:
    """To a target that is ready and was not tried; where there is none there is no second."""
    course = course_of(*targets("ab"), fallback=targets("c"))
    tries = begin(course)
    choice = tries.first(NOW)
    assert name(tries.beside(choice.candidate, NOW)) == "b"
    tries.note(candidate_of(course, "b"), BROKEN)
    assert name(tries.beside(choice.candidate, NOW)) == "c"
    break_down(candidate_of(course, "c").health, NOW)
    assert tries.beside(choice.candidate, NOW) is None


def test_the_whole_order_can_be_shown() -> None:
    """Stage by stage, as this request would try them."""
    course = course_of(*targets("ab"), fallback=targets("cd"))
    assert [candidate.target.provider for candidate in begin(course).in_order()] == ["a", "b", "c", "d"]


def test_strategies_see_what_they_need() -> None:
    """Load, price, abilities and the part of the share that a target gets after an outage."""
    course = course_of(*targets("ab"), strategy="least_busy")
    candidate_of(course, "a").health.begin(NOW)
    assert name(begin(course).first(NOW)) == "b"

    course = course_of(*targets("ab"), strategy="cheapest")
    candidate_of(course, "a").price = Price(input=2_000_000, output=1_000_000)
    candidate_of(course, "b").price = Price(input=1_000_000, output=9_000_000)
    assert name(begin(course, input_tokens=1_000, output_tokens=1).first(NOW)) == "b"
    assert name(begin(course, input_tokens=1, output_tokens=1_000).first(NOW)) == "a"

    course = course_of(*targets("ab"))
    a = candidate_of(course, "a")
    a.abilities = msgspec.structs.replace(a.abilities, images=False)
    assert name(begin(course, needs=frozenset(("images",))).first(NOW)) == "b"
    assert name(begin(course, needs=frozenset(("tools",))).first(NOW)) == "a"
    assert name(begin(course).first(NOW)) == "a"

    break_down(a.health, NOW)
    back = NOW + 5
    a.health.succeed(back, 0, probe=a.health.begin(back))
    firsts = [name(Tries(course, Ask(), random.Random(seed)).first(back + 1)) for seed in range(200)]
    assert 0.1 < firsts.count("a") / 200 < 0.3


def test_a_session_is_kept_by_the_order() -> None:
    """Also when its target fails: the next one is the same for all its requests."""
    course = course_of(*targets("abc"), strategy="sticky")
    orders = {
        tuple(
            candidate.target.provider for candidate in Tries(course, Ask(session=b"s"), random.Random(seed)).in_order()
        )
        for seed in range(20)
    }
    assert len(orders) == 1


def test_what_binds_a_request_is_each_stages_own_choice() -> None:
    """The session that the client names, what its turns have in common, or the first of these that there is."""
    both, session, prefix, neither = Ask(b"s", b"p"), Ask(b"s"), Ask(prefix=b"p"), Ask()
    for by, expected in (("auto", b"s s p "), ("session", b"s s  "), ("prefix", b"p  p ")):
        assert b" ".join(ask.affinity(by) for ask in (both, session, prefix, neither)) == expected


@pytest.mark.parametrize(
    ("states", "code", "seconds"),
    [
        ("limited limited", "targets_limited", 2),
        ("limited open", "no_target_available", 2),
        ("open open", "no_target_available", 5),
        ("forced limited", "no_target_available", 2),
        ("unwell limited", "no_target_available", 2),
        ("full limited", "targets_busy", 1),
        ("ready open", "no_target_available", 5),
        ("ready ready", "no_target_available", 1),
    ],
)
def test_the_error_says_why_and_when_to_come_back(states: str, code: str, seconds: int) -> None:
    """It names the model and no target."""
    course = course_of(*targets("pq"))
    for candidate, state in zip(course.candidates, states.split(), strict=True):
        health = candidate.health
        if state == "limited":
            health.fail(NOW, LIMITED._replace(retry_after=1.2), 0, probe=health.begin(NOW))
        elif state == "open":
            break_down(health, NOW)
        elif state == "forced":
            health.force("open")
        elif state == "unwell":
            health.siblings.check(well=False)
        elif state == "full":
            health.limit(1, 0)
            health.begin(NOW)
    error = none_left(course, NOW)
    assert (error.code, error.retry_after) == (code, seconds)
    assert error.kind is (UPSTREAM_LIMITED if code == "targets_limited" else UNAVAILABLE)
    assert "'m'" in error.message
    assert not any(f"{letter}/x" in error.message for letter in "pq")


@cuts.law
@given(
    st.integers(1, 4),
    st.integers(0, 2),
    st.integers(0, 4),
    st.integers(1, 2),
    st.lists(st.sampled_from(FAILURES), min_size=20, max_size=20),
    st.integers(),
)
def test_a_request_comes_to_an_end(
    own: int, others: int, retries: int, credentials: int, failures: list[Failure], seed: int
) -> None:
    """Whatever happens: so many attempts at most, none at a target that is shut, none after the deadline."""
    course = course_of(
        *targets("abcd"[:own]),
        fallback=targets("ef"[:others]),
        retry=Retry(max_retries=retries),
        credentials=credentials,
    )
    tries = Tries(course, Ask(), random.Random(seed))
    now, deadline = NOW, NOW + 10
    choice: Choice | None = tries.first(now)
    made = 0
    while choice is not None:
        now += choice.wait_seconds
        if choice.wait_seconds:
            choice = tries.waited(choice, now)
        assert now < deadline
        assert choice.candidate.health.availability(now)[0] != SHUT
        choice = fails(tries, choice, failures[made], now, deadline)
        made += 1
    assert made <= max(retries + 1, min(10, (own + others) * credentials))


def test_a_stage_with_one_target_throws_no_dice() -> None:
    """There is nothing to choose."""

    class NoDice:
        def random(self) -> float:
            raise AssertionError

    course = course_of(*targets("a"))
    assert isinstance(course.stages[0], Stage)
    assert name(Tries(course, Ask(), NoDice()).first(NOW)) == "a"
