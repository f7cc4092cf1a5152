"""What the clock does to a complaint by itself, and when it must be looked at again. Pure rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

from domain import complaints as c
from domain.complaint_clock import REMINDERS, Clock, ClockState
from domain.complaint_standing import Standing
from domain.complaints import State
from domain.preferences import SHANGHAI
from domain.working_days import WorkingCalendar

Above = Callable[[str], str | None]
"""Gives the id of the unit above a unit, None above the highest."""

MAX_LEVELS: Final = 4
_WAITING: Final = {State.ASKED_BY_SEAT, State.ASKED_BY_UNIT}


def act_by(standing: Standing, clock: Clock) -> datetime | None:
    """Give by when the holder must have done something; None when nobody must."""
    if standing.holder is None:
        return None
    waited = _end_of_wait(standing, clock)
    return waited[0] if waited else clock.due_at


def due_step(
    standing: Standing, clock: Clock, calendar: WorkingCalendar, above: Above, *, now: datetime
) -> c.AnyStep | None:
    """Give the step that the clock has to take by now; None when there is none."""
    return next((step for at, step in _plan(standing, clock, calendar, above) if at <= now), None)


def next_look(standing: Standing, clock: Clock, calendar: WorkingCalendar, above: Above) -> datetime | None:
    """Give when the next step of the clock is due; None when there will be none without somebody's doing."""
    return min((at for at, _ in _plan(standing, clock, calendar, above)), default=None)


def _plan(
    standing: Standing, clock: Clock, calendar: WorkingCalendar, above: Above
) -> Iterator[tuple[datetime, c.AnyStep]]:
    """Yield the steps of the clock that lie ahead, with their instants, the most important first."""
    waited = _end_of_wait(standing, clock)
    if waited is not None:
        yield waited
        return
    if clock.state is not ClockState.RUNNING or clock.due_at is None or clock.escalate_at is None:
        return
    level = standing.escalated + 1
    to = _escalation(standing, level, above)
    if to is not None:
        yield _after_working_days(clock.escalate_at, level - 1, calendar), c.Escalate(to=to, level=level)
    for percent, at in reversed(list(zip(REMINDERS, clock.remind_at, strict=True))):
        if percent > standing.reminded:
            yield at, c.Remind(percent=percent)


def _end_of_wait(standing: Standing, clock: Clock) -> tuple[datetime, c.AnyStep] | None:
    """Give when the complaint goes on by itself, and how, where it waits for somebody's word.

    The clock runs while an answer is checked, so that nobody stops it with a worthless one; and an answer
    in time is not made late by its check.
    """
    if standing.state in _WAITING and standing.asked_at is not None:
        return standing.asked_at + c.ANSWER_WITHIN, c.ResumeWork()
    if standing.state is State.ANSWERED and standing.answered_at is not None:
        checked = standing.answered_at + c.CHECK_WITHIN
        is_in_time = clock.due_at is not None and standing.answered_at <= clock.due_at
        return (min(checked, clock.due_at) if is_in_time and clock.due_at else checked), c.PassCheck()
    if standing.state in (State.REPLIED, State.RATED) and standing.replied_at is not None:
        return standing.replied_at + c.CLOSE_AFTER, c.Close()
    return None


def _escalation(standing: Standing, level: int, above: Above) -> str | None:
    """Name the unit that is so many levels above the holder."""
    unit = standing.holder
    for _ in range(level if level <= MAX_LEVELS else 0):
        unit = above(unit) if unit else None
    return unit if level <= MAX_LEVELS else None


def _after_working_days(instant: datetime, days: int, calendar: WorkingCalendar) -> datetime:
    """Give the same time of day, so many working days later."""
    if not days:
        return instant
    first = instant.astimezone(SHANGHAI).date() + timedelta(days=1)
    last = list(islice(calendar.working_days_from(first), days))[-1]
    return instant + (last - first + timedelta(days=1))
