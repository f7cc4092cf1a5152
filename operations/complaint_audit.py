"""Whether complaints are what their histories say, these what was sealed, and none is gone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import islice
from typing import Final

from msgspec import Struct

from domain.complaint_care import act_by
from domain.complaint_history import faults_of
from operations.complaints import HISTORY_SECRET, Complaints, clock
from store.complaint_statistics import StatisticsStore
from store.complaints import Complaint

NEWEST: Final = 1_000
_MAX_LISTED: Final = 1_000


class Audit(Struct, frozen=True):
    """How many complaints were checked, and what is wrong with which, at most 1,000 of them."""

    checked: int
    faults: dict[str, list[str]]


async def list_faults(complaints: Complaints, complaint: Complaint, *, now: datetime) -> list[str]:
    """Say what is wrong with one complaint; empty when nothing is.

    Its history: seals, order, steps; its texts; and what is stored only to be found by: holder, due times.
    """
    key = await complaints.secrets.get(HISTORY_SECRET)
    faults = faults_of(key, complaint.number, complaint.events, complaint.standing)
    if faults:
        return faults
    faults += await complaints.store.list_false_texts(complaint)
    running = clock(complaints, complaint, now=now)
    if complaint.due_at != running.due_at:
        faults.append("its due time is not that of its history")
    if complaint.act_by != act_by(complaint.standing, running):
        faults.append("the time to act by is not that of its history")
    if complaint.holder != complaint.standing.holder:
        faults.append("it lies with another unit than its history says")
    if complaint.told > complaint.standing.version:
        faults.append("more steps were told than were taken")
    return faults


async def audit(
    complaints: Complaints,
    statistics: StatisticsStore,
    *,
    now: datetime,
    newest: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Audit:
    """Check the complaints of all numbers that were given out, or of the `newest` of them.

    A number has a complaint, or had none ever: what was counted is there, or somebody has deleted it.
    `progress` hears how many were checked, part by part. Numbers are looked up, not walked through, because
    the embedded engine reads everything for a range of them.
    """
    report = Audit(0, {})
    if newest is not None:
        numbers = await complaints.numbers.list_newest(newest)
        return await _check(complaints, statistics, numbers, report, now=now)
    place, numbers = await complaints.numbers.list_leased()
    while numbers:
        before = report.checked
        report = await _check(complaints, statistics, numbers, report, now=now)
        if progress is not None:
            progress(report.checked - before)
        place, numbers = await complaints.numbers.list_leased(place)
    return report


async def _check(
    complaints: Complaints,
    statistics: StatisticsStore,
    numbers: Sequence[str],
    so_far: Audit,
    *,
    now: datetime,
) -> Audit:
    counted = await statistics.list_counted(numbers)
    found = await complaints.store.list_whole(numbers)
    gone = counted.difference(complaint.number for complaint in found)
    wrong = {number: ["it was counted, and is there no longer"] for number in sorted(gone)}
    for complaint in found:
        if faults := await list_faults(complaints, complaint, now=now):
            wrong[complaint.number] = faults
    first = dict(islice(wrong.items(), _MAX_LISTED - len(so_far.faults)))
    return Audit(so_far.checked + len(found), so_far.faults | first)
