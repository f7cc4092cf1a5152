"""The clock of a complaint: when it is due, as one pure function of the moves that its history records.

A limit is a number of working days. The day on which the clock starts is not counted; a working day counts
when the clock was running at its close (24:00 in Asia/Shanghai); the complaint is due at the last second of
the Nth counted day (Civil Code, articles 201 to 203). A day of a pause is therefore not counted, and a pause
that ends on the day it began moves nothing. A change of the limit keeps the days that were counted and the
days by which it was extended; only a restart begins anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from itertools import islice, takewhile
from typing import Final

from msgspec import Struct

from domain.preferences import SHANGHAI
from domain.working_days import DAY, OFFICE_HOURS, OfficeHours, WorkingCalendar

REMINDERS: Final = (50, 80)
"""Per cent of the limit's office hours after which the responsible are reminded."""
_CLOSE: Final = time(23, 59, 59)
_SECOND: Final = timedelta(seconds=1)
_LIMITING: Final = frozenset({"START", "LIMIT", "EXTEND", "RESTART"})


class ClockEffect(StrEnum):
    """What an event does to the clock."""

    START = "START"
    """Begin, with a limit; the first move of every clock, and only that."""
    LIMIT = "LIMIT"
    """Put another limit in the place of the present one: another kind or class."""
    PAUSE = "PAUSE"
    RESUME = "RESUME"
    EXTEND = "EXTEND"
    """Add working days to the limit."""
    STOP = "STOP"
    """End; afterwards only a restart has an effect."""
    RESTART = "RESTART"
    """Begin anew with a limit: reopened."""


class ClockState(StrEnum):
    """Whether days are being counted."""

    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    STOPPED = "STOPPED"


class ClockMove(Struct, frozen=True, omit_defaults=True):
    """One effect on a clock, at an instant, UTC.

    `days`: working days of a START, LIMIT, EXTEND or RESTART, at least 1, and 0 otherwise. `rule`: id of the
    rule that set the limit. `reason`: a word for why, of a PAUSE or an EXTEND.
    """

    at: datetime
    effect: ClockEffect
    days: int = 0
    rule: str | None = None
    reason: str | None = None

    def __post_init__(self) -> None:
        if (self.days >= 1) != (self.effect in _LIMITING) or self.days < 0:
            raise ValueError(f"a {self.effect} of {self.days} days")


class Clock(Struct, frozen=True):
    """Where a clock stands. Instants are UTC.

    `due_at`: the last second of the limit; None while a pause leaves it open. Of a stopped clock it is what
    it was when the clock stopped (a pause that was never resumed ended then). `limit_days`: with extensions.
    `used_days`: working days counted and closed. `is_provisional`: a day decided that may still change,
    because its year's calendar is not published. `remind_at`: one instant for each of `REMINDERS`, and
    `escalate_at` the first one after the limit; neither while `due_at` is None, nor when stopped. `ended_at`:
    when the clock stopped. `rule` and `reason`: of the present limit and the present pause.
    """

    state: ClockState
    due_at: datetime | None
    limit_days: int
    used_days: int
    is_provisional: bool
    remind_at: tuple[datetime, ...] = ()
    escalate_at: datetime | None = None
    ended_at: datetime | None = None
    rule: str | None = None
    reason: str | None = None

    @property
    def left_days(self) -> int:
        """Working days of the limit that are not used yet."""
        return max(self.limit_days - self.used_days, 0)

    def is_overdue(self, now: datetime) -> bool:
        """Tell whether the limit was over before the clock stopped, or is over now."""
        return self.due_at is not None and (self.ended_at or now) >= self.due_at + _SECOND


class _Tally:
    """What the moves read so far come to; `since` is the first day whose close nobody has looked at."""

    def __init__(self, start: ClockMove, calendar: WorkingCalendar) -> None:
        self.calendar = calendar
        self.at = start.at
        self.ended_at: datetime | None = None
        self._begin(start)

    def _begin(self, move: ClockMove) -> None:
        self.state = ClockState.RUNNING
        self.started = _day_of(self.at)
        self.since = self.started + DAY
        self.counted: list[date] = []
        self.limit, self.extended = move.days, 0
        self.rule = move.rule
        self.reason: str | None = None
        self.ended_at = None

    def take(self, move: ClockMove) -> None:
        self.at = max(self.at, move.at)
        self._count_until(_day_of(self.at))
        match move.effect:
            case ClockEffect.START:
                raise ValueError("a clock starts once")
            case ClockEffect.RESTART:
                self._begin(move)
            case _ if self.state is ClockState.STOPPED:
                return
            case ClockEffect.LIMIT:
                self.limit, self.rule = move.days, move.rule
            case ClockEffect.EXTEND:
                self.extended += move.days
            case ClockEffect.PAUSE:
                self.state, self.reason = ClockState.PAUSED, move.reason
            case ClockEffect.RESUME:
                self.state, self.reason = ClockState.RUNNING, None
            case ClockEffect.STOP:
                self.state, self.reason, self.ended_at = ClockState.STOPPED, None, self.at

    def _count_until(self, day: date) -> None:
        """Count the closes before a day; a stopped clock stays at the day on which it stopped."""
        if self.state is ClockState.STOPPED:
            return
        if self.state is ClockState.RUNNING:
            self.counted += _working_days(self.since, day, self.calendar)
        self.since = max(self.since, day)

    def used_days(self, now: datetime) -> int:
        if self.state is not ClockState.RUNNING:
            return len(self.counted)
        return len(self.counted) + len(_working_days(self.since, _day_of(now), self.calendar))

    def days_of_limit(self) -> list[date] | None:
        """Give the days counted and to be counted until the limit, or None when a pause leaves them open."""
        missing = self.limit + self.extended - len(self.counted)
        if missing > 0 and self.state is ClockState.PAUSED:
            return None
        ahead = islice(self.calendar.working_days_from(self.since), max(missing, 0))
        return [*self.counted, *ahead][: self.limit + self.extended]


def clock_of(
    moves: Sequence[ClockMove],
    calendar: WorkingCalendar,
    *,
    now: datetime,
    hours: OfficeHours = OFFICE_HOURS,
) -> Clock:
    """Work out where the clock of one complaint stands.

    `moves` in the order of the history; one whose instant lies before that of its predecessor (the clocks of
    two machines differ) counts as of the same instant. `now` decides on nothing but `used_days`: what is due
    moves by moves only. Reminders come in office hours, when that share of the limit has gone by.

    Raises: ValueError when there is no START at the beginning, or another one later.
    Source: the promise of working days 2, 3, 5 and 10 of the hotline; Civil Code, articles 201 to 203.
    """
    if not moves or moves[0].effect is not ClockEffect.START:
        raise ValueError("a clock begins with a START")
    tally = _Tally(moves[0], calendar)
    for move in moves[1:]:
        tally.take(move)
    days = tally.days_of_limit()
    due_at = None if days is None else _close_of(days[-1])
    is_open = days is not None and tally.state is not ClockState.STOPPED
    return Clock(
        state=tally.state,
        due_at=due_at,
        limit_days=tally.limit + tally.extended,
        used_days=tally.used_days(now),
        is_provisional=not _is_firm(tally.started, days[-1] if days else tally.since, calendar),
        remind_at=_reminders(days, hours) if days is not None and is_open else (),
        escalate_at=due_at + _SECOND if due_at is not None and is_open else None,
        ended_at=tally.ended_at,
        rule=tally.rule,
        reason=tally.reason,
    )


def _reminders(days: Sequence[date], hours: OfficeHours) -> tuple[datetime, ...]:
    places = [divmod(percent * len(days), 100) for percent in REMINDERS]
    return tuple(hours.instant(days[whole], rest / 100) for whole, rest in places)


def _is_firm(first: date, last: date, calendar: WorkingCalendar) -> bool:
    days = (last - first).days + 1
    return all(calendar.is_firm(first + number * DAY) for number in range(days))


def _working_days(first: date, before: date, calendar: WorkingCalendar) -> list[date]:
    return list(takewhile(lambda day: day < before, calendar.working_days_from(first)))


def _day_of(instant: datetime) -> date:
    return instant.astimezone(SHANGHAI).date()


def _close_of(day: date) -> datetime:
    return datetime.combine(day, _CLOSE, SHANGHAI).astimezone(UTC)
