"""What staff have on their desk: queues of a unit, as pages and as counts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from heapq import merge
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from domain.access import ForbiddenError, Viewer, is_within, prefix_of
from domain.complaint_desk import (
    CENTRE_STATES,
    MARKED,
    MAX_CLAIMS,
    UNIT_STATES,
    URGENT_STATES,
    Narrow,
    Place,
    Queue,
    end_of_soon,
    mark,
)
from domain.complaints import State
from domain.units import Unit, UnitTree
from operations.complaints import Complaints
from store.complaint_queues import MOST_COUNTED
from store.complaints import Summary
from store.keys import LONG_AGO

_NOBODY: Final = "-"  # begins no code
_BY_NUMBER: Final = (Queue.TO_REVIEW, Queue.WRITTEN)
"""Queues of complaints of which nothing need be due any more."""
_END: Final = datetime.max.replace(tzinfo=UTC)
NO_NARROWING: Final = Narrow()


class QueueRequest(Struct, frozen=True):
    """A queue of a unit (None: the viewer's own), narrowed, the newest or the most urgent first.

    Of TO_REVIEW and WRITTEN, where nothing need be due, the oldest are the most urgent.
    """

    queue: Queue
    unit: str | None = None
    newest: bool = False
    narrow: Narrow = NO_NARROWING


class QueueCount(Struct, frozen=True):
    """How many complaints are in a queue; `is_more`: at least so many."""

    queue: Queue
    count: int
    is_more: bool = False


def unit_on_desk(units: UnitTree, viewer: Viewer, unit_id: str | None) -> Unit:
    """Give the unit whose queues a viewer may read: their own, or one below it.

    Below a centre are all units of the viewer's division; below another unit those of its line.
    Raises: UnknownUnitError, ForbiddenError.
    """
    if viewer.unit is None or viewer.division_code is None:
        raise ForbiddenError
    unit = units.get(unit_id or viewer.unit)
    if unit.id == viewer.unit:
        return unit
    if units.is_centre(viewer.unit):
        if is_within(unit.division_code, viewer.division_code):
            return unit
        raise ForbiddenError
    above, seen = unit.parent_id, {unit.id}
    while above is not None and above not in seen:
        if above == viewer.unit:
            return unit
        seen.add(above)
        parent = units.find(above)
        above = parent.parent_id if parent else None
    raise ForbiddenError


async def list_queue(
    complaints: Complaints,
    viewer: Viewer,
    request: QueueRequest,
    first: int,
    after: Place | None = None,
    *,
    now: datetime,
) -> list[Summary]:
    """List a queue behind a place, in a number of calls of the store that is always the same.

    A seat sees what is within its division, whoever holds it; other staff what their unit holds.
    Raises: UnknownUnitError, ForbiddenError.
    """
    units = complaints.units()
    unit = unit_on_desk(units, viewer, request.unit)
    narrow = _within_scope(units, viewer, unit, request.narrow)
    queues, queue = complaints.store.queues, request.queue
    if queue is Queue.MINE:
        return await _list_mine(complaints, viewer, request, first, after, now=now)
    if queue in MARKED:
        name = mark(queue, unit.id)
        if request.newest or queue in _BY_NUMBER:
            return await queues.list_marked_by_number(
                name, first, after, narrow=narrow, newest=request.newest
            )
        return await queues.list_marked(name, first, after, narrow=narrow)
    states = _states(units, queue, unit, narrow.state)
    since, before = _when(complaints, queue, now=now)
    if request.newest:
        return await queues.list_newest_held(
            unit.id, states, first, after, narrow=narrow, since=since, before=before
        )
    found = await asyncio.gather(
        *(
            queues.list_held(unit.id, state, first, after, narrow=narrow, since=since, before=before)
            for state in states
        )
    )
    return list(merge(*found, key=_urgency))[:first]


async def count_queues(
    complaints: Complaints, viewer: Viewer, unit_id: str | None, *, now: datetime
) -> list[QueueCount]:
    """Count what is in each queue of a unit, among its 5,000 first complaints, in three calls of the store.

    Raises: UnknownUnitError, ForbiddenError.
    """
    units = complaints.units()
    unit = unit_on_desk(units, viewer, unit_id)
    narrow = _within_scope(units, viewer, unit, NO_NARROWING)
    queues, marks = complaints.store.queues, {queue: mark(queue, unit.id) for queue in MARKED}
    held, marked, mine = await asyncio.gather(
        queues.count_held(unit.id, narrow=narrow, now=now, soon=end_of_soon(complaints.calendar, now=now)),
        queues.count_marked(list(marks.values()), narrow=narrow),
        queues.list_claimed(viewer.account_id, MAX_CLAIMS, now=now),
    )
    urgent = [count for state, count in held.items() if state in URGENT_STATES]
    counts = {queue: marked.get(name, 0) for queue, name in marks.items()} | {
        Queue.MINE: len(mine),
        Queue.UNIT: sum(count.total for count in held.values()),
        Queue.DUE_SOON: sum(count.due_soon for count in urgent),
        Queue.OVERDUE: sum(count.overdue for count in urgent),
        Queue.TO_CHECK: held[State.ANSWERED].total if State.ANSWERED in held else 0,
    }
    is_cut = counts[Queue.UNIT] >= MOST_COUNTED
    are_marks_cut = sum(marked.values()) >= MOST_COUNTED
    return [
        QueueCount(
            queue, counts[queue], are_marks_cut if queue in MARKED else is_cut and queue is not Queue.MINE
        )
        for queue in Queue
    ]


async def _list_mine(
    complaints: Complaints,
    viewer: Viewer,
    request: QueueRequest,
    first: int,
    after: Place | None,
    *,
    now: datetime,
) -> list[Summary]:
    """List what the viewer has claimed, of which there are a few only."""
    claimed = await complaints.store.queues.list_claimed(viewer.account_id, MAX_CLAIMS, now=now)
    rows = [row for row in claimed if request.narrow.fits(row.standing)]
    if request.newest:
        rows.sort(key=lambda row: row.number, reverse=True)
        return [row for row in rows if after is None or row.number < after.number][:first]
    rows.sort(key=_urgency)
    behind = None if after is None else (after.act_by or _END, after.number)
    return [row for row in rows if behind is None or _urgency(row) > behind][:first]


def _urgency(row: Summary) -> tuple[datetime, str]:
    return row.act_by or _END, row.number


def _states(units: UnitTree, queue: Queue, unit: Unit, only: State | None) -> Sequence[State]:
    """List the states in which a unit holds the complaints of a queue."""
    states = CENTRE_STATES if units.is_centre(unit.id) else UNIT_STATES
    if queue in (Queue.DUE_SOON, Queue.OVERDUE):
        states = tuple(state for state in states if state in URGENT_STATES)
    elif queue is Queue.TO_CHECK:
        states = tuple(state for state in states if state is State.ANSWERED)
    return [state for state in states if only in (None, state)]


def _when(complaints: Complaints, queue: Queue, *, now: datetime) -> tuple[datetime, datetime | None]:
    """Give from when on, and until when, what is in a queue must be acted upon."""
    if queue is Queue.OVERDUE:
        return LONG_AGO, now
    if queue is Queue.DUE_SOON:
        return now, end_of_soon(complaints.calendar, now=now)
    return LONG_AGO, None


def _within_scope(units: UnitTree, viewer: Viewer, unit: Unit, narrow: Narrow) -> Narrow:
    """Narrow a queue to what a seat may see, which staff of other units see all of."""
    if not units.is_centre(viewer.unit) or viewer.division_code is None:
        return narrow
    if units.is_centre(unit.id) and is_within(unit.division_code, viewer.division_code):
        return narrow  # a centre holds nothing from beyond its division
    scope, asked = prefix_of(viewer.division_code), narrow.division_prefix or ""
    if asked.startswith(scope):
        return narrow
    return replace(narrow, division_prefix=scope if scope.startswith(asked) else _NOBODY)
