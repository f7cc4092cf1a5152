"""Working days and office hours: the State Council's calendar with its make-up days, in Asia/Shanghai."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import Final

from chinese_calendar.constants import holidays, workdays  # type: ignore[import-untyped]
from msgspec import Struct

from domain.errors import DomainError
from domain.preferences import SHANGHAI

DAY: Final = timedelta(days=1)
_TURN_OF_YEAR: Final = (12, 28)


class CalendarNotPublishedError(DomainError):
    """Nobody knows yet which days of `year` are worked; the operator has to supply its calendar."""

    code = "CALENDAR_NOT_PUBLISHED"


class OfficeHours(Struct, frozen=True):
    """When an office is open on a working day: two parts that do not overlap, in Asia/Shanghai."""

    morning: tuple[time, time] = (time(8, 30), time(12, 0))
    afternoon: tuple[time, time] = (time(13, 30), time(18, 0))

    def on(self, day: date) -> tuple[tuple[datetime, datetime], ...]:
        """Give the beginning and the end of both parts of a day."""
        return tuple(
            (datetime.combine(day, start, SHANGHAI), datetime.combine(day, end, SHANGHAI))
            for start, end in (self.morning, self.afternoon)
        )

    def instant(self, day: date, share: float) -> datetime:
        """Give the instant, UTC, at which a share (0 to 1) of the day's hours has gone by."""
        parts = self.on(day)
        left = sum((end - start for start, end in parts), timedelta()) * share
        for start, end in parts:
            if left < end - start:
                return (start + left).astimezone(UTC)
            left -= end - start
        return parts[-1][1].astimezone(UTC)


OFFICE_HOURS: Final = OfficeHours()
"""Eight hours, 08:30-12:00 and 13:30-18:00."""


class PublishedYear(Struct, frozen=True):
    """What one year's notice says: weekdays off, and days of a weekend that are worked.

    A notice may name days of December before its year.
    """

    year: int
    days_off: frozenset[date]
    days_worked: frozenset[date]


class WorkingCalendar(Struct, frozen=True):
    """The working days of all years whose notice is known; made by `calendar_of`."""

    years: frozenset[int]
    days_off: frozenset[date]
    days_worked: frozenset[date]

    def is_published(self, year: int) -> bool:
        """Tell whether the notice for a year is known."""
        return year in self.years

    def is_firm(self, day: date) -> bool:
        """Tell whether nothing to be published can change a day.

        The last days of December belong to the next year's notice, too: those for 2007, 2008, 2012, 2019 and
        2023 moved them.
        """
        at_turn = (day.month, day.day) >= _TURN_OF_YEAR
        return day.year in self.years and (not at_turn or day.year + 1 in self.years)

    def is_working_day(self, day: date) -> bool:
        """Tell whether a day is worked, for certain.

        Raises: CalendarNotPublishedError.
        """
        if not self.is_published(day.year):
            raise CalendarNotPublishedError(year=day.year)
        return self.is_expected_working_day(day)

    def is_expected_working_day(self, day: date) -> bool:
        """Tell whether a day is worked; in a year without notice, Monday to Friday are."""
        if day in self.days_worked:
            return True
        return day.weekday() < 5 and day not in self.days_off

    def working_days_from(self, day: date) -> Iterator[date]:
        """Yield the expected working days from a day on, that day included, without end."""
        while True:
            if self.is_expected_working_day(day):
                yield day
            day += DAY


def calendar_of(extra: Iterable[PublishedYear] = ()) -> WorkingCalendar:
    """Build the calendar from the notices that are shipped, and those an operator supplies.

    A supplied year takes the place of the shipped one. Source: the yearly notices of the State Council's
    General Office, as in the package chinesecalendar.
    """
    years = {**_shipped(), **{year.year: year for year in extra}}
    days_off: set[date] = set()
    days_worked: set[date] = set()
    for _, year in sorted(years.items()):
        days_off = (days_off - year.days_worked) | year.days_off
        days_worked = (days_worked - year.days_off) | year.days_worked
    return WorkingCalendar(frozenset(years), frozenset(days_off), frozenset(days_worked))


@cache
def _shipped() -> dict[int, PublishedYear]:
    return {
        year: PublishedYear(
            year,
            frozenset(day for day in holidays if _notice_of(day) == year),
            frozenset(day for day in workdays if _notice_of(day) == year),
        )
        for year in {_notice_of(day) for day in holidays}
    }


def _notice_of(day: date) -> int:
    return day.year + ((day.month, day.day) >= _TURN_OF_YEAR)


def working_time_between(
    start: datetime, end: datetime, calendar: WorkingCalendar, *, hours: OfficeHours = OFFICE_HOURS
) -> timedelta:
    """Measure the office hours between two instants; nothing when the end is before the start.

    Years without notice count Monday to Friday.
    """
    total = timedelta()
    last = end.astimezone(SHANGHAI).date()
    for day in calendar.working_days_from(start.astimezone(SHANGHAI).date()):
        if day > last:
            return total
        for opens, closes in hours.on(day):
            total += max(min(closes, end) - max(opens, start), timedelta())
    return total
