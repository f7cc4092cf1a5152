"""Numbers of complaints: a counter for each day, from which a process leases blocks.

What a process has leased and not used when it ends is never used again: a number has gaps, not two owners.
"""

from __future__ import annotations

import asyncio
from datetime import date
from typing import Any, Final

from pymongo import ReturnDocument
from pymongo.asynchronous.database import AsyncDatabase

from domain.complaints import number_of

BLOCK: Final = 100


class ComplaintNumbers:
    """Gives numbers out, each once."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]]) -> None:
        self._counters = database["complaint_numbers"]
        self._day: date | None = None
        self._next = self._end = 0
        self._leasing = asyncio.Lock()

    async def take(self, day: date) -> str:
        """Take the next number of a day in Asia/Shanghai."""
        async with self._leasing:
            if day != self._day or self._next >= self._end:
                await self._lease(day)
            self._next += 1
            return number_of(day, self._next)

    async def list_leased(self, place: str = "", most: int = 192) -> tuple[str, list[str]]:
        """List the next numbers that were leased, used or not, behind a place; give the place behind them.

        Days in order, at most `most` at once; no numbers: there are no more.
        """
        day, _, done = place.partition("/")
        leased = {each["_id"]: int(each["leased"]) async for each in self._counters.find({})}
        for of_day in sorted(each for each in leased if each >= day):
            first = int(done) if of_day == day else 0
            end = min(first + most, leased[of_day])
            if end > first:
                date_ = date.fromisoformat(of_day)
                return f"{of_day}/{end}", [number_of(date_, n) for n in range(first + 1, end + 1)]
        return place, []

    async def list_newest(self, most: int) -> list[str]:
        """List the numbers that were leased last, used or not, newest first."""
        leased = {each["_id"]: int(each["leased"]) async for each in self._counters.find({})}
        newest: list[str] = []
        for of_day in sorted(leased, reverse=True):
            first = max(leased[of_day] - (most - len(newest)), 0)
            date_ = date.fromisoformat(of_day)
            newest += [number_of(date_, n) for n in range(leased[of_day], first, -1)]
            if len(newest) == most:
                break
        return newest

    async def _lease(self, day: date) -> None:
        counter: dict[str, Any] | None = await self._counters.find_one_and_update(
            {"_id": day.isoformat()},
            {"$inc": {"leased": BLOCK}},
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
        if counter is None:
            raise RuntimeError("the counter of a day was deleted as it was made")
        self._day, self._end = day, counter["leased"]
        self._next = self._end - BLOCK
