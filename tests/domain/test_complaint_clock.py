"""The clock of a complaint against rules, properties and calculations of another kind."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from domain.complaint_clock import ClockEffect, ClockMove, ClockState, clock_of
from domain.complaint_limits import DEFAULT_RULES, LimitRule, limit_rules
from domain.complaints import Kind
from domain.preferences import SHANGHAI
from domain.working_days import DAY, PublishedYear, calendar_of

HOLIDAYS = Path(__file__).parents[3] / "shared/data/holidays"
CALENDAR = calendar_of()
START, LIMIT, PAUSE, RESUME, EXTEND, STOP, RESTART = ClockEffect
MINUTE = timedelta(minutes=1)
FOREVER = datetime(9000, 1, 1, tzinfo=UTC)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=SHANGHAI)


def due(text: str) -> datetime:
    return datetime.combine(date.fromisoformat(text), time(23, 59, 59), SHANGHAI)


def history(*moves: tuple[str, ClockEffect] | tuple[str, ClockEffect, int]) -> list[ClockMove]:
    return [ClockMove(at(move[0]), *move[1:]) for move in moves]


# --- the rules, one by one ------------------------------------------------------------------------------


def test_a_clock_that_only_runs() -> None:
    moves = [ClockMove(at("2026-11-20T16:00"), START, 5, "suggestion")]
    clock = clock_of(moves, CALENDAR, now=at("2026-11-25T10:00"))
    assert clock.state is ClockState.RUNNING
    assert clock.due_at == due("2026-11-27")
    assert clock.due_at.utcoffset() == timedelta(0)
    assert (clock.limit_days, clock.used_days, clock.left_days) == (5, 2, 3)
    assert clock.remind_at == (at("2026-11-25T14:00"), at("2026-11-27T08:30"))
    assert clock.escalate_at == at("2026-11-28T00:00")
    assert (clock.rule, clock.is_provisional, clock.ended_at) == ("suggestion", False, None)


@pytest.mark.parametrize(("days", "reminders"), [
    (1, ("2026-11-23T14:00", "2026-11-23T16:24")),
    (2, ("2026-11-24T08:30", "2026-11-24T14:48")),
    (3, ("2026-11-24T14:00", "2026-11-25T11:42")),
    (10, ("2026-11-30T08:30", "2026-12-03T08:30")),
])  # fmt: skip
def test_reminders_come_in_office_hours(days: int, reminders: tuple[str, str]) -> None:
    clock = clock_of(history(("2026-11-20T16:00", START, days)), CALENDAR, now=at("2026-11-20T16:00"))
    assert clock.remind_at == tuple(map(at, reminders))


def test_make_up_days_count_and_holidays_do_not() -> None:
    clock = clock_of(history(("2026-09-30T23:59", START, 3)), CALENDAR, now=at("2026-10-01T00:00"))
    assert clock.due_at == due("2026-10-10")  # 8, 9 and Saturday 10 October


def test_a_pause_leaves_the_due_time_open_and_its_days_out() -> None:
    moves = [
        ClockMove(at("2026-11-20T16:00"), START, 3),
        ClockMove(at("2026-11-24T10:00"), PAUSE, reason="AWAITING_CITIZEN"),
    ]
    clock = clock_of(moves, CALENDAR, now=at("2026-12-24T10:00"))
    assert (clock.state, clock.due_at, clock.used_days) == (ClockState.PAUSED, None, 1)
    assert (clock.remind_at, clock.escalate_at, clock.reason) == ((), None, "AWAITING_CITIZEN")
    assert not clock.is_overdue(at("2026-12-24T10:00"))
    resumed = [*moves, ClockMove(at("2026-11-26T23:00"), RESUME)]
    clock = clock_of(resumed, CALENDAR, now=at("2026-11-27T10:00"))
    assert (clock.state, clock.due_at, clock.used_days) == (ClockState.RUNNING, due("2026-11-27"), 2)
    assert clock.reason is None


def test_a_pause_after_the_limit_changes_nothing() -> None:
    moves = history(("2026-11-20T16:00", START, 2), ("2026-11-25T00:00", PAUSE))
    clock = clock_of(moves, CALENDAR, now=at("2026-11-30T00:00"))
    assert clock.due_at == due("2026-11-24")
    assert clock.escalate_at == at("2026-11-25T00:00")
    assert clock.is_overdue(at("2026-11-30T00:00"))


def test_another_limit_keeps_what_was_counted_and_granted() -> None:
    moves = [
        ClockMove(at("2026-11-20T16:00"), START, 10, "complaint"),
        ClockMove(at("2026-11-23T16:00"), EXTEND, 2),
        ClockMove(at("2026-11-25T16:00"), LIMIT, 3, "help"),
    ]
    clock = clock_of(moves, CALENDAR, now=at("2026-11-25T17:00"))
    assert (clock.due_at, clock.limit_days, clock.rule) == (due("2026-11-27"), 5, "help")
    assert clock.used_days == 2


def test_a_restart_begins_anew() -> None:
    moves = history(
        ("2026-11-20T16:00", START, 2),
        ("2026-11-20T17:00", EXTEND, 3),
        ("2026-11-24T10:00", STOP),
        ("2026-11-30T10:00", RESTART, 3),
    )
    clock = clock_of(moves, CALENDAR, now=at("2026-12-01T10:00"))
    assert (clock.state, clock.due_at) == (ClockState.RUNNING, due("2026-12-03"))
    assert (clock.limit_days, clock.used_days, clock.ended_at) == (3, 0, None)


@pytest.mark.parametrize(
    ("stop", "is_overdue"), [("2026-11-24T23:59:59", False), ("2026-11-25T00:00:00", True)]
)
def test_a_stopped_clock_says_whether_it_was_in_time_for_ever(stop: str, is_overdue: bool) -> None:
    moves = history(("2026-11-20T16:00", START, 2), (stop, STOP), ("2026-12-24T10:00", EXTEND, 5))
    clock = clock_of(moves, CALENDAR, now=at("2027-06-01T00:00"))
    assert (clock.state, clock.due_at) == (ClockState.STOPPED, due("2026-11-24"))
    assert (clock.ended_at, clock.remind_at, clock.escalate_at) == (at(stop), (), None)
    assert clock.is_overdue(at("2027-06-01T00:00")) is is_overdue


def test_a_clock_stopped_in_a_pause_was_in_time() -> None:
    moves = history(("2026-11-20T16:00", START, 2), ("2026-11-24T15:00", PAUSE), ("2026-11-26T10:00", STOP))
    clock = clock_of(moves, CALENDAR, now=at("2026-12-20T10:00"))
    assert (clock.due_at, clock.used_days) == (due("2026-11-26"), 1)
    assert not clock.is_overdue(at("2026-12-20T10:00"))


def test_due_times_in_a_year_without_notice_are_provisional() -> None:
    now = at("2026-12-29T10:00")
    moves = history(("2026-12-29T10:00", START, 10))
    clock = clock_of(moves, CALENDAR, now=now)
    assert (clock.due_at, clock.is_provisional) == (due("2027-01-12"), True)
    days_off = frozenset({date(2027, 1, 1)})
    known = clock_of(moves, calendar_of([PublishedYear(2027, days_off, frozenset())]), now=now)
    assert (known.due_at, known.is_provisional) == (due("2027-01-13"), False)


def test_the_clocks_of_two_machines_may_differ() -> None:
    moves = history(("2026-11-20T16:00", START, 2), ("2026-11-24T10:00", PAUSE), ("2026-11-23T23:00", RESUME))
    clock = clock_of(moves, CALENDAR, now=at("2026-11-24T11:00"))
    assert (clock.due_at, clock.state) == (due("2026-11-24"), ClockState.RUNNING)


@pytest.mark.parametrize("moves", [
    [],
    [ClockMove(FOREVER, PAUSE)],
    [ClockMove(FOREVER, START, 2), ClockMove(FOREVER, START, 2)],
])  # fmt: skip
def test_a_clock_starts_once(moves: list[ClockMove]) -> None:
    with pytest.raises(ValueError, match=r"START|starts once"):
        clock_of(moves, CALENDAR, now=FOREVER)


@pytest.mark.parametrize(("effect", "days"), [(START, 0), (EXTEND, 0), (LIMIT, -1), (PAUSE, 1), (STOP, -1)])
def test_only_limits_have_days(effect: ClockEffect, days: int) -> None:
    with pytest.raises(ValueError, match=r"a \w+ of -?\d days"):
        ClockMove(FOREVER, effect, days)


# --- every day of eight years, by another calculation ---------------------------------------------------


def naive_days() -> dict[date, bool]:
    """Tell of every day from 2018 to 2027 whether it is worked, from the published files alone."""
    said = {
        date.fromisoformat(day["date"]): not day["isOffDay"]
        for file in sorted(HOLIDAYS.glob("20*.json"))
        for day in json.loads(file.read_text())["days"]
    }
    days = [date(2018, 1, 1) + number * DAY for number in range(3652)]
    return {day: said.get(day, day.isoweekday() <= 5) for day in days}


@pytest.mark.skipif(
    not HOLIDAYS.is_dir(), reason="the published calendars (shared/data/holidays) are not here"
)
@pytest.mark.parametrize("rule", DEFAULT_RULES, ids=lambda rule: rule.id)
def test_due_times_agree_with_the_published_calendars(rule: LimitRule) -> None:
    worked = naive_days()
    compared = provisional = 0
    for first in worked:
        if not 2019 <= first.year <= 2026 or not worked[first]:
            continue
        last, left = first, rule.days
        while left:
            last += timedelta(days=1)
            left -= worked[last]
        for clock_time in (time(0), time(8, 59), time(12, 30), time(17, 30), time(23, 59, 59, 999_999)):
            start = datetime.combine(first, clock_time, SHANGHAI)
            clock = clock_of([ClockMove(start, START, rule.days)], CALENDAR, now=start)
            assert clock.due_at == datetime.combine(last, time(23, 59, 59), SHANGHAI), (first, clock_time)
            assert clock.is_provisional is (last >= date(2026, 12, 28)), (first, clock_time)
            compared += 1
            provisional += last.year == 2027
    assert compared == 5 * sum(worked[day] for day in worked if 2019 <= day.year <= 2026)
    assert provisional == 5 * rule.days


@pytest.mark.parametrize(
    ("kind", "is_convenience", "days"),
    [
        (Kind.CONSULT, False, 2),
        (Kind.COMPLAINT, False, 10),
        (Kind.COMPLAINT, True, 3),
        (Kind.SUGGESTION, False, 5),
        (Kind.HELP, True, 3),
    ],
)
def test_every_kind_has_its_limit(kind: Kind, is_convenience: bool, days: int) -> None:
    rule = limit_rules().limit_for(kind, None, is_convenience, "350102", at=at("2026-11-22T10:00"))
    assert rule.days == days


# --- properties -----------------------------------------------------------------------------------------

INSTANTS = st.datetimes(datetime(2019, 1, 1), datetime(2026, 6, 1), timezones=st.just(SHANGHAI))
GAPS = st.one_of(st.integers(0, 600), st.integers(600, 60 * 24 * 12)).map(lambda minutes: minutes * MINUTE)
LATER = st.sampled_from([LIMIT, PAUSE, RESUME, EXTEND, STOP, RESTART, PAUSE, RESUME])


@st.composite
def histories(draw: st.DrawFn, effects: st.SearchStrategy[ClockEffect] = LATER) -> list[ClockMove]:
    instant = draw(INSTANTS)
    moves = [ClockMove(instant, START, draw(st.integers(1, 12)))]
    for effect in draw(st.lists(effects, max_size=7)):
        instant += draw(GAPS)
        days = draw(st.integers(1, 12)) if effect in {LIMIT, EXTEND, RESTART} else 0
        moves.append(ClockMove(instant, effect, days))
    return moves


def due_of(moves: Sequence[ClockMove]) -> datetime:
    """Give the due time, and a day that never comes while a pause leaves it open."""
    return clock_of(moves, CALENDAR, now=moves[-1].at).due_at or FOREVER


def working_days_between(first: datetime, last: datetime) -> int:
    day, end = first.astimezone(SHANGHAI).date() + DAY, last.astimezone(SHANGHAI).date()
    return sum(CALENDAR.is_expected_working_day(day + n * DAY) for n in range((end - day).days + 1))


def simulate(moves: Sequence[ClockMove]) -> tuple[datetime | None, int]:
    """Live through every night: look at the state at midnight, count, and note when the limit is reached."""
    begun, is_running, is_stopped, limit, extended = moves[0].at, True, False, moves[0].days, 0
    counted: list[date] = []
    queue = list(moves[1:])
    night = moves[0].at.date() + DAY
    for _ in range(1500):
        while queue and queue[0].at < datetime.combine(night, time(0), SHANGHAI):
            move = queue.pop(0)
            if move.effect is RESTART:
                begun, is_running, is_stopped, limit, extended = move.at, True, False, move.days, 0
                counted = []
            elif is_stopped:
                continue
            elif move.effect is LIMIT:
                limit = move.days
            elif move.effect is EXTEND:
                extended += move.days
            elif move.effect is STOP:
                is_stopped = is_running = True  # what would have been, had it gone on
            else:
                is_running = move.effect is RESUME
        day = night - DAY
        if is_running and day > begun.date() and CALENDAR.is_expected_working_day(day):
            counted.append(day)
        if not queue and len(counted) >= limit + extended:
            break
        night += DAY
    if len(counted) < limit + extended:
        return None, limit + extended
    return due(counted[limit + extended - 1].isoformat()), limit + extended


@given(histories())
def test_a_clock_agrees_with_living_through_every_night(moves: list[ClockMove]) -> None:
    clock = clock_of(moves, CALENDAR, now=moves[-1].at)
    assert (clock.due_at, clock.limit_days) == simulate(moves)


@given(histories(), st.timedeltas(timedelta(0), timedelta(days=900)))
def test_due_times_do_not_move_by_themselves(moves: list[ClockMove], later: timedelta) -> None:
    now = clock_of(moves, CALENDAR, now=moves[-1].at)
    then = clock_of(moves, CALENDAR, now=moves[-1].at + later)
    assert (now.due_at, now.remind_at, now.escalate_at) == (then.due_at, then.remind_at, then.escalate_at)
    assert then.used_days >= now.used_days
    assert (then.used_days == now.used_days) or now.state is ClockState.RUNNING


@given(histories())
def test_a_due_time_is_the_end_of_a_working_day(moves: list[ClockMove]) -> None:
    clock = clock_of(moves, CALENDAR, now=moves[-1].at)
    assume(clock.due_at is not None)
    assert clock.due_at is not None
    assert CALENDAR.is_expected_working_day(clock.due_at.astimezone(SHANGHAI).date())
    assert clock.due_at.astimezone(SHANGHAI).time() == time(23, 59, 59)
    assert clock.due_at > moves[0].at
    order = [*clock.remind_at, *([clock.escalate_at] if clock.escalate_at else [])]
    assert all(one < other for one, other in pairwise(order))


@given(histories(), st.integers(1, 9), st.data())
def test_a_longer_limit_is_never_due_earlier(moves: list[ClockMove], more: int, data: st.DataObject) -> None:
    longer = list(moves)
    place = data.draw(st.sampled_from([n for n, move in enumerate(moves) if move.days]))
    longer[place] = ClockMove(moves[place].at, moves[place].effect, moves[place].days + more)
    assert due_of(longer) >= due_of(moves)


@given(histories(st.sampled_from([LIMIT, EXTEND, RESTART])), st.integers(1, 9), GAPS)
def test_an_extension_moves_by_just_so_many_days(moves: list[ClockMove], days: int, gap: timedelta) -> None:
    extended = [*moves, ClockMove(moves[-1].at + gap, EXTEND, days)]
    assert working_days_between(due_of(moves), due_of(extended)) == days


@given(histories(), st.data())
def test_a_pause_is_never_to_the_disadvantage_of_who_waits_for_it(
    moves: list[ClockMove], data: st.DataObject
) -> None:
    place = data.draw(st.integers(1, len(moves)))
    before, after = moves[:place], moves[place:]
    assume(clock_of(before, CALENDAR, now=before[-1].at).state is ClockState.RUNNING)
    space = (after[0].at - before[-1].at) if after else timedelta(days=30)
    one, other = sorted(data.draw(st.timedeltas(timedelta(0), space)) for _ in range(2))
    pause, resume = ClockMove(before[-1].at + one, PAUSE), ClockMove(before[-1].at + other, RESUME)
    paused = due_of([*before, pause, resume, *after])
    assert paused >= due_of(moves)
    if pause.at.date() == resume.at.date():
        assert paused == due_of(moves)
    if not after:
        assert due_of([*before, pause]) >= paused
