"""Counting complaints: what has changed is marked at once and counted in batches, each change once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from msgspec import Struct

from domain.complaint_statistics import rounds_of
from domain.working_days import WorkingCalendar
from operations.complaint_care import ReadTexts
from store.complaint_numbers import ComplaintNumbers
from store.complaint_statistics import Batch, Entry, StatisticsStore
from store.complaints import Complaint, ComplaintStore

AT_ONCE: Final = 200


class Counting(Struct, frozen=True):
    """What counting works with; a follower of complaints (`operations.complaint_care.Follower`)."""

    store: StatisticsStore
    complaints: ComplaintStore
    numbers: ComplaintNumbers
    calendar: WorkingCalendar

    async def __call__(self, complaint: Complaint, texts: ReadTexts, *, now: datetime) -> None:
        """Mark a complaint to be counted."""
        await self.store.mark(complaint.number, complaint.standing.version)


async def count_marked(counting: Counting) -> int:
    """Count up to 200 complaints that have changed, or finish what was begun; 0: nothing is left to do.

    Any number of processes may do so at once, and each may die at any time.
    """
    store = counting.store
    batch = await store.batch()
    if not batch.is_done:
        await store.apply(batch)
        await store.finish(batch)
        return max(len(batch.entries), 1)
    if batch.is_rebuilding:
        return await _count_anew(counting, batch)
    marks = await store.list_marks(AT_ONCE)
    if marks and await _count(counting, batch, list(marks)):
        await store.clear_marks(mark for marks_of_one in marks.values() for mark in marks_of_one)
    return len(marks)


async def rebuild(counting: Counting, progress: Callable[[int], None] | None = None) -> None:
    """Count all complaints anew; what was counted before is served until that is complete.

    A rebuild that was broken off is begun anew. `progress` hears how many numbers were looked at.
    """
    store = counting.store
    while True:
        batch = await store.batch()
        if not batch.is_done:
            await store.apply(batch)
            await store.finish(batch)
        elif await store.begin_rebuild(batch):
            break
    while (await store.batch()).is_rebuilding:
        looked_at = await count_marked(counting)
        if progress is not None:
            progress(looked_at)


async def _count_anew(counting: Counting, batch: Batch) -> int:
    place, numbers = await counting.numbers.list_leased(batch.walked)
    if not numbers:
        await counting.store.finish_rebuild(batch)
        return 1
    await _count(counting, batch, numbers, place)
    return len(numbers)


async def _count(counting: Counting, last: Batch, numbers: Sequence[str], walked: str | None = None) -> bool:
    """Count complaints as they are; False when somebody else has counted meanwhile."""
    store = counting.store
    counted = await store.read_ledger(numbers, last.generation)
    entries = []
    for complaint in await counting.complaints.list_whole(numbers):
        before = counted.get(complaint.number, ())
        after = rounds_of(complaint.events, counting.calendar)
        if after != before:
            entries.append(Entry(complaint.number, before, after))
    if not entries and walked is None:
        return True
    batch = await store.begin(last, entries, walked)
    if batch is None:
        return False
    await store.apply(batch)
    await store.finish(batch)
    return True
