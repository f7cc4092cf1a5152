"""How many text messages an account got on a day, in MongoDB: `sms_days`, `_id` = `<account>:<day>`.

A message counts once however often it is tried, so `messages` names those that were counted.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any, Final

from pymongo import ASCENDING
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

Document = dict[str, Any]
_KEPT: Final = timedelta(days=3)


class SmsDayStore:
    """Counts text messages by account and day."""

    name = "sms_days"

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._days = database["sms_days"]

    async def ensure_indexes(self) -> None:
        """Make the indexes."""
        await self._days.create_index([("account_id", ASCENDING)], name="account")
        await self._days.create_index([("delete_at", ASCENDING)], name="delete", expireAfterSeconds=0)

    async def take(self, account_id: str, message: str, day: date, most: int, *, now: datetime) -> bool:
        """Count a message to an account on a day; False when `most` others are counted already."""
        if most < 1:
            return False
        id_ = f"{account_id}:{day.isoformat()}"
        another = {"_id": id_, "messages": {"$ne": message}, "count": {"$lt": most}}
        change = {"$inc": {"count": 1}, "$push": {"messages": message}}
        if (await self._days.update_one(another, change)).matched_count:
            return True
        first = {"_id": id_, "account_id": account_id, "count": 1, "messages": [message]}
        try:
            await self._days.insert_one(first | {"delete_at": now + _KEPT})
        except DuplicateKeyError:
            # Counted before, or the day is full; but another message may have begun it between the commands.
            if (await self._days.update_one(another, change)).matched_count:
                return True
            return await self._days.find_one({"_id": id_, "messages": message}, ("_id",)) is not None
        return True

    async def export_account(self, account_id: str) -> list[Document]:
        """Give what is counted for an account."""
        found = self._days.find({"account_id": account_id}, {"delete_at": 0})
        return sorted([each async for each in found], key=lambda document: str(document["_id"]))

    async def erase_account(self, account_id: str, *, now: datetime) -> int:
        """Forget what is counted for an account; count the documents."""
        return (await self._days.delete_many({"account_id": account_id})).deleted_count
