"""What a complaint adds to the figures, and how figures are read."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import complaints as c
from domain.complaint_standing import Event, Standing, evolve
from domain.complaint_statistics import (
    COUNTERS,
    QUANTILE_ERROR,
    SLOTS,
    Deltas,
    InvalidStatisticsError,
    Month,
    Round,
    Tally,
    deltas_of,
    merge_deltas,
    months_between,
    read_outcome,
    rounds_of,
)
from domain.complaint_steps import take
from domain.complaints import Actor, ActorRole, Kind
from domain.units import Outcome
from domain.working_days import calendar_of

NOW = datetime(2026, 3, 2, 2, tzinfo=UTC)
"""A Monday, 10:00 in Fuzhou."""
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
CALENDAR = calendar_of()
CITIZEN, CLOCK = Actor(ActorRole.COMPLAINANT), Actor(ActorRole.SYSTEM)
SEAT, UNIT = Actor(ActorRole.SEAT, "s", "centre"), Actor(ActorRole.UNIT, "u", "water")
SUBMIT = c.Submit(
    kind=Kind.COMPLAINT,
    channel=c.ComplaintChannel.APP,
    contact=c.ContactWish.ANONYMOUS,
    division_code="350102",
    centre="centre",
    limit_days=10,
    limit_rule="complaint",
    text="水管爆裂",
)
ACCEPT = c.Accept(kind=Kind.HELP, class_code="0201", limit_days=3, limit_rule="help")
ANSWER = c.Answer(outcome=c.Outcome.FULL, text="已修复")


def history(*steps: tuple[c.AnyStep, Actor, datetime]) -> list[Event]:
    events: list[Event] = []
    standing: Standing | None = None
    for step, actor, at in steps:
        event, _ = take(standing, step, actor, now=at)
        standing = evolve(standing, event)
        events.append(event)
    return events


WAY = (
    (SUBMIT, CITIZEN, NOW),
    (ACCEPT, SEAT, NOW + HOUR),
    (c.Dispatch("roads"), SEAT, NOW + 1.5 * HOUR),
    (c.Return("不是我们的"), Actor(ActorRole.UNIT, "r", "roads"), NOW + 1.6 * HOUR),
    (c.Dispatch("water.gulou"), SEAT, NOW + 1.7 * HOUR),
    (c.TakeUp(), UNIT, NOW + 1.8 * HOUR),
    (ANSWER, UNIT, NOW + DAY),
    (c.PassCheck(), SEAT, NOW + DAY + HOUR),
)


def test_a_complaint_counts_as_what_its_history_says() -> None:
    submitted = Round(Month(2026, 3), Kind.COMPLAINT, "350102", is_first=True)
    assert rounds_of(history(WAY[0]), CALENDAR) == (submitted,)
    expected = Round(
        month=Month(2026, 3),
        kind=Kind.HELP,
        division_code="350102",
        class_code="0201",
        unit="water.gulou",
        is_first=True,
        is_answered=True,
        is_in_time=True,
        minutes=9 * 60,
        returned=("roads",),
    )
    assert rounds_of(history(*WAY), CALENDAR) == (expected,)


def test_every_round_counts_in_its_own_month() -> None:
    april = datetime(2026, 4, 1, 1, tzinfo=UTC)
    rate = (c.Rate(speed=1, attitude=5, result=2), CITIZEN, NOW + 2 * DAY)
    again = (c.Reopen("又漏了", limit_days=3, limit_rule="help"), CITIZEN, april)
    late = (c.AnswerDirectly("已通知抢修"), SEAT, april + 20 * DAY)
    called = (c.CallBack(was_reached=True, is_satisfied=True), SEAT, april + 21 * DAY)
    first, second = rounds_of(history(*WAY, rate, again, late, called), CALENDAR)
    assert (first.month, first.is_first, first.is_rated, first.is_satisfied) == (
        Month(2026, 3),
        True,
        True,
        False,
    )
    assert (second.month, second.is_first, second.unit) == (Month(2026, 4), False, "centre")
    assert (second.is_answered, second.is_in_time, second.is_rated, second.is_satisfied) == (
        True,
        False,
        True,
        True,
    )


@pytest.mark.parametrize(
    ("step", "actor", "end"),
    [
        (c.Withdraw(), CITIZEN, "withdrawn"),
        (c.Refuse(ground=c.RefusalGround.EMERGENCY, next_owner="110"), SEAT, "refused"),
        (c.Merge(into="2603020000016"), SEAT, "merged"),
    ],
)
def test_an_end_without_an_answer_counts_as_such(step: c.AnyStep, actor: Actor, end: str) -> None:
    (only,) = rounds_of(history(WAY[0], WAY[1], (step, actor, NOW + 2 * HOUR)), CALENDAR)
    assert (only.end, only.is_answered, only.minutes) == (end, False, 0)


def test_what_a_round_adds() -> None:
    deltas = deltas_of((), rounds_of(history(*WAY), CALENDAR))
    scopes = ("d:*", "d:350102", "d:350100", "d:350000", "u:water.gulou")
    classes, kinds = ("*", "02", "0201"), ("*", "HELP")
    sums = {f"{scope}|{of}|{kind}|2026" for scope in scopes for of in classes for kind in kinds}
    outcomes = {"o:0201|350102|water.gulou": Outcome(1, 0), "o:0201|350102|roads": Outcome(0, 1)}
    assert set(deltas) == sums | set(outcomes)
    march = 2 * SLOTS
    slots = {march + COUNTERS.index(name): 1 for name in ("received", "answered", "in_time")}
    slots[march + 16 + 73] = 1
    assert [deltas[key] for key in sums] == [slots] * len(sums)
    assert {key: read_outcome(deltas[key]) for key in outcomes} == outcomes


_rounds = st.builds(
    Round,
    month=st.builds(Month, st.just(2026), st.integers(1, 3)),
    kind=st.sampled_from(Kind),
    division_code=st.sampled_from(["350102", "350102001", "350200"]),
    class_code=st.sampled_from([None, "0201", "0301"]),
    unit=st.sampled_from([None, "water", "roads"]),
    is_first=st.booleans(),
    is_answered=st.booleans(),
    is_in_time=st.booleans(),
    is_rated=st.booleans(),
    is_satisfied=st.booleans(),
    end=st.sampled_from([None, "refused"]),
    minutes=st.integers(0, 5_000),
    returned=st.lists(st.sampled_from(["water", "roads"]), max_size=2).map(tuple),
)
_histories = st.lists(st.tuples(st.integers(0, 4), st.lists(_rounds, max_size=3).map(tuple)), max_size=20)


@given(_histories)
def test_differences_add_up_to_what_there_is(changes: list[tuple[int, tuple[Round, ...]]]) -> None:
    counted: dict[int, tuple[Round, ...]] = {}
    total: Deltas = {}
    for number, rounds in changes:
        merge_deltas(total, deltas_of(counted.get(number, ()), rounds))
        counted[number] = rounds
    scratch: Deltas = {}
    for rounds in counted.values():
        merge_deltas(scratch, deltas_of((), rounds))
    assert without_nothing(total) == without_nothing(scratch)


def without_nothing(deltas: Deltas) -> Deltas:
    found = {key: {slot: n for slot, n in slots.items() if n} for key, slots in deltas.items()}
    return {key: slots for key, slots in found.items() if slots}


@given(st.lists(st.integers(0, 200_000), min_size=1, max_size=200), st.sampled_from([0.5, 0.9, 1.0]))
def test_quantiles_are_as_near_as_promised(minutes: list[int], share: float) -> None:
    slots = np.zeros(SLOTS, np.int64)
    for each in minutes:
        round_ = Round(Month(2026, 1), Kind.HELP, "350000", is_answered=True, minutes=each)
        for slot, count in deltas_of((), [round_])["d:*|*|*|2026"].items():
            slots[slot] += count
    tally = Tally(slots)
    exact = sorted(minutes)[math.ceil(share * len(minutes)) - 1]
    found = tally.hours(share)
    assert found is not None
    assert abs(found * 60 - exact) <= max(exact * (QUANTILE_ERROR + 1e-9), 1e-9)
    counts = {"reopened": len(minutes), "answered": len(minutes)}
    assert tally.counts == dict.fromkeys(COUNTERS, 0) | counts


def test_an_empty_tally_has_no_quantiles() -> None:
    tally = Tally(np.zeros(SLOTS, np.int64))
    assert tally.hours(0.5) is None
    assert tally.is_empty


def test_months() -> None:
    found = months_between(Month(2025, 11), Month(2026, 2))
    assert list(map(str, found)) == ["2025-11", "2025-12", "2026-01", "2026-02"]
    assert len(months_between(Month(2022, 1), Month(2026, 12))) == 60
    bad: list[Any] = [
        ((2026, 2), (2026, 1), "to"),
        ((2021, 12), (2026, 12), "to"),
        ((2026, 13), (2026, 12), "from"),
        ((2026, 1), (99999, 1), "to"),
    ]
    for first, last, field in bad:
        with pytest.raises(InvalidStatisticsError) as refused:
            months_between(Month(*first), Month(*last))
        assert refused.value.params == {"field": field}
    assert Month.of(datetime(2026, 1, 31, 16, tzinfo=UTC)) == Month(2026, 2)
