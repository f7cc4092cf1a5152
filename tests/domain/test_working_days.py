"""Working days and office hours."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.preferences import SHANGHAI
from domain.working_days import (
    CalendarNotPublishedError,
    OfficeHours,
    PublishedYear,
    calendar_of,
    working_time_between,
)

CALENDAR = calendar_of()
INSTANTS = st.datetimes(datetime(2024, 1, 1), datetime(2026, 12, 1), timezones=st.just(UTC))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=SHANGHAI)


@pytest.mark.parametrize(
    ("day", "is_worked"),
    [
        ("2026-11-23", True),  # a Monday
        ("2026-11-22", False),  # a Sunday
        ("2026-10-01", False),  # National Day
        ("2026-10-10", True),  # a Saturday that makes up for it
        ("2024-02-04", True),  # a Sunday before Spring Festival
        ("2020-01-31", False),  # the holiday made longer in the epidemic
        ("2018-12-29", True),  # moved by the notice for 2019
        ("2018-12-31", False),
    ],
)
def test_days_of_published_years(day: str, is_worked: bool) -> None:
    assert CALENDAR.is_working_day(date.fromisoformat(day)) is is_worked
    assert CALENDAR.is_expected_working_day(date.fromisoformat(day)) is is_worked


def test_a_year_without_notice_is_refused_and_guessed() -> None:
    assert not CALENDAR.is_published(2027)
    with pytest.raises(CalendarNotPublishedError) as refusal:
        CALENDAR.is_working_day(date(2027, 3, 1))
    assert refusal.value.params == {"year": 2027}
    assert CALENDAR.is_expected_working_day(date(2027, 3, 1))
    assert not CALENDAR.is_expected_working_day(date(2027, 3, 6))


def test_the_last_days_of_a_year_wait_for_the_next_notice() -> None:
    assert CALENDAR.is_firm(date(2026, 12, 27))
    assert not CALENDAR.is_firm(date(2026, 12, 28))
    assert not CALENDAR.is_firm(date(2027, 5, 5))
    assert CALENDAR.is_firm(date(2025, 12, 31))


def test_a_supplied_year_is_published_and_may_reach_into_december() -> None:
    extra = PublishedYear(
        2027, frozenset({date(2026, 12, 31), date(2027, 1, 1)}), frozenset({date(2027, 1, 3)})
    )
    calendar = calendar_of([extra])
    assert calendar.is_published(2027)
    assert not calendar.is_working_day(date(2026, 12, 31))
    assert not calendar.is_working_day(date(2027, 1, 1))
    assert calendar.is_working_day(date(2027, 1, 3))
    assert calendar.is_firm(date(2026, 12, 31))
    assert not calendar.is_firm(date(2027, 12, 31))


def test_a_supplied_year_takes_the_place_of_the_shipped_one() -> None:
    calendar = calendar_of([PublishedYear(2026, frozenset({date(2026, 11, 23)}), frozenset())])
    assert not calendar.is_working_day(date(2026, 11, 23))
    assert calendar.is_working_day(date(2026, 10, 1))  # the supplied notice says nothing of it
    assert not calendar.is_working_day(date(2026, 10, 10))
    assert not calendar.is_working_day(date(2025, 10, 1))


@pytest.mark.parametrize(
    ("start", "end", "hours"),
    [
        ("2026-11-23T08:30", "2026-11-23T18:00", 8.0),
        ("2026-11-23T11:00", "2026-11-23T14:00", 1.5),
        ("2026-11-23T12:10", "2026-11-23T13:20", 0.0),
        ("2026-11-20T17:00", "2026-11-23T09:30", 2.0),
        ("2026-09-30T17:00", "2026-10-08T09:30", 2.0),
        ("2026-10-09T17:00", "2026-10-10T09:30", 2.0),
        ("2026-11-21T00:00", "2026-11-22T23:00", 0.0),
        ("2026-11-24T09:00", "2026-11-23T09:00", 0.0),
    ],
)
def test_working_time(start: str, end: str, hours: float) -> None:
    assert working_time_between(at(start), at(end), CALENDAR) == timedelta(hours=hours)


def test_working_time_in_other_hours() -> None:
    hours = OfficeHours((time(9), time(12)), (time(14), time(17)))
    start, end = at("2026-11-23T08:00"), at("2026-11-24T20:00")
    assert working_time_between(start, end, CALENDAR, hours=hours) == timedelta(hours=12)


@given(
    INSTANTS, st.timedeltas(timedelta(0), timedelta(days=40)), st.timedeltas(timedelta(0), timedelta(days=40))
)
def test_working_time_adds_up(start: datetime, first: timedelta, second: timedelta) -> None:
    middle, end = start + first, start + first + second
    parts = working_time_between(start, middle, CALENDAR) + working_time_between(middle, end, CALENDAR)
    assert working_time_between(start, end, CALENDAR) == parts
    assert parts <= first + second


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_share_of_a_day_is_that_share_of_its_hours(one: float, other: float) -> None:
    hours, day = OfficeHours(), date(2026, 11, 23)
    opens = at("2026-11-23T00:00")
    gone = working_time_between(opens, hours.instant(day, one), CALENDAR)
    assert abs(gone - timedelta(hours=8) * one) < timedelta(milliseconds=1)
    assert (hours.instant(day, one) <= hours.instant(day, other)) or one > other
