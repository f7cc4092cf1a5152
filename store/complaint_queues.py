"""What a unit has on its desk, read from `complaints`: what it holds, what is marked for it, claims.

A queue goes by (`act_by`, number) or by number. What a unit holds has an index for either; the marked ones
are few, so those of one mark are sorted when they are read, but for the order by number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from pymongo.asynchronous.collection import AsyncCollection

from domain.complaint_desk import Narrow, Place
from domain.complaints import State
from store.keys import LONG_AGO

if TYPE_CHECKING:
    from store.complaints import Summary

Document = dict[str, Any]
MOST_COUNTED: Final = 5_000
_LATEST: Final = "~"  # sorts behind every number
_SUMMARY: Final = {"history": 0, "texts": 0}
_URGENT: Final = [("act_by", 1), ("_id", 1)]


class HeldCount(Struct, frozen=True):
    """How many complaints a unit holds in one state; those overdue are not due soon."""

    total: int = 0
    overdue: int = 0
    due_soon: int = 0


class ComplaintQueues:
    """Reads queues and keeps claims; made by the `ComplaintStore`."""

    def __init__(self, complaints: AsyncCollection[Document], read: Callable[[Document], Summary]) -> None:
        self._complaints = complaints
        self._read = read

    async def list_held(
        self,
        holder: str,
        state: State,
        first: int,
        after: Place | None = None,
        *,
        narrow: Narrow,
        since: datetime = LONG_AGO,
        before: datetime | None = None,
    ) -> list[Summary]:
        """List what a unit holds in one state and must act on from `since` and before `before`, by `act_by`.

        Those behind the place `after`, which has an `act_by`.
        """
        query = {"holder": holder, "standing.state": state.value, **_conditions(narrow, with_state=False)}
        order = [("holder", 1), ("standing.state", 1), *_URGENT]
        return await self._list_urgent(query, order, first, after, since=since, before=before)

    async def list_newest_held(
        self,
        holder: str,
        states: Sequence[State],
        first: int,
        after: Place | None,
        *,
        narrow: Narrow,
        since: datetime = LONG_AGO,
        before: datetime | None = None,
    ) -> list[Summary]:
        """List what a unit holds in some states and must act on within a time, the newest first."""
        query = {
            "holder": holder,
            "_id": {"$lt": after.number if after else _LATEST},
            "act_by": {"$gte": since, **({} if before is None else {"$lt": before})},
            **_conditions(narrow, with_state=False),
            "standing.state": {"$in": [state.value for state in states]},
        }
        return await self._list(query, [("holder", -1), ("_id", -1)], first)

    async def list_marked(
        self, mark: str, first: int, after: Place | None, *, narrow: Narrow
    ) -> list[Summary]:
        """List the complaints with a mark that somebody must act on, by `act_by`."""
        return await self._list_urgent({"marks": mark, **_conditions(narrow)}, _URGENT, first, after)

    async def list_marked_by_number(
        self, mark: str, first: int, after: Place | None, *, narrow: Narrow, newest: bool
    ) -> list[Summary]:
        """List the complaints with a mark, the newest or the oldest first."""
        if newest:
            number = {"$lt": after.number if after else _LATEST}
        else:
            number = {"$gt": after.number if after else ""}
        query = {"marks": mark, "_id": number, **_conditions(narrow)}
        direction = -1 if newest else 1
        return await self._list(query, [("marks", direction), ("_id", direction)], first)

    async def _list_urgent(
        self,
        query: Document,
        order: list[tuple[str, int]],
        first: int,
        after: Place | None,
        *,
        since: datetime = LONG_AGO,
        before: datetime | None = None,
    ) -> list[Summary]:
        """List by (`act_by`, number): the rest of one instant, and then what is due later.

        Two plain ranges, because neither engine walks an index along an `$or` of both.
        """
        rows: list[Summary] = []
        later: Document = {"$gte": since}
        if after is not None and after.act_by is not None and after.act_by >= since:
            same = {**query, "act_by": after.act_by, "_id": {"$gt": after.number}}
            rows = await self._list(same, order, first)
            later = {"$gt": after.act_by}
        if before is not None:
            later["$lt"] = before
        if len(rows) < first:
            rows += await self._list({**query, "act_by": later}, order, first - len(rows))
        return rows

    async def _list(self, query: Document, order: list[tuple[str, int]], first: int) -> list[Summary]:
        found = self._complaints.find(query, _SUMMARY, sort=order, limit=first)
        return [self._read(document) async for document in found]

    async def count_held(
        self, holder: str, *, narrow: Narrow, now: datetime, soon: datetime
    ) -> dict[State, HeldCount]:
        """Count what a unit holds, by state, among 5,000 at most."""
        when = {"$cond": [{"$lt": ["$act_by", soon]}, "due_soon", "later"]}
        when = {"$cond": [{"$lt": ["$act_by", now]}, "overdue", when]}
        groups = await self._complaints.aggregate(
            [
                {"$match": {"holder": holder, **_conditions(narrow)}},
                {"$limit": MOST_COUNTED},
                {"$group": {"_id": {"state": "$standing.state", "when": when}, "count": {"$sum": 1}}},
            ]
        )
        counts: dict[State, dict[str, int]] = {}
        async for group in groups:
            counts.setdefault(State(group["_id"]["state"]), {})[group["_id"]["when"]] = group["count"]
        return {
            state: HeldCount(sum(found.values()), found.get("overdue", 0), found.get("due_soon", 0))
            for state, found in counts.items()
        }

    async def count_marked(self, marks: Sequence[str], *, narrow: Narrow) -> dict[str, int]:
        """Count the complaints with each of some marks, among 5,000 at most."""
        one_of = {"marks": {"$in": list(marks)}}
        groups = await self._complaints.aggregate(
            [
                {"$match": {**one_of, **_conditions(narrow)}},
                {"$limit": MOST_COUNTED},
                {"$unwind": "$marks"},
                {"$match": one_of},
                {"$group": {"_id": "$marks", "count": {"$sum": 1}}},
            ]
        )
        return {group["_id"]: group["count"] async for group in groups}

    async def list_claimed(self, account_id: str, first: int, *, now: datetime) -> list[Summary]:
        """List what a member of staff has claimed, the leases that still hold, at most `first`."""
        query = {"claim.by": account_id, "claim.until": {"$gt": now}}
        return await self._list(query, [("claim.by", 1), ("claim.until", 1)], first)

    async def claim(
        self, number: str, holder: str, account_id: str, *, until: datetime, now: datetime
    ) -> bool:
        """Lease a complaint that a unit holds to a member of staff, unless somebody else's lease holds."""
        free = {"$or": [{"claim": None}, {"claim.until": {"$lte": now}}, {"claim.by": account_id}]}
        change = {"$set": {"claim": {"by": account_id, "until": until}}}
        found = await self._complaints.update_one({"_id": number, "holder": holder, **free}, change)
        return bool(found.matched_count)

    async def release(self, number: str, account_id: str) -> bool:
        """End a lease of one's own; False when there was none."""
        own = {"_id": number, "claim.by": account_id}
        return bool((await self._complaints.update_one(own, {"$unset": {"claim": ""}})).matched_count)


def _conditions(narrow: Narrow, *, with_state: bool = True) -> Document:
    conditions: Document = {}
    if narrow.state is not None and with_state:
        conditions["standing.state"] = narrow.state.value
    if narrow.kind is not None:
        conditions["standing.kind"] = narrow.kind.value
    for field, prefix in (("class_code", narrow.class_prefix), ("division_code", narrow.division_prefix)):
        if prefix is not None:
            # Codes are digits, and a colon sorts right behind the nine.
            conditions[f"standing.{field}"] = {"$gte": prefix, "$lt": f"{prefix}:"}
    return conditions
