"""Who has joined whose complaint: `complaint_joins`, one document each; they are told of its progress."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from bson.binary import Binary
from pymongo import ASCENDING, DESCENDING
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

Document = dict[str, Any]


class JoinStore:
    """Reads and writes `complaint_joins`; owners are encrypted as `complaints` keeps them."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._joins = database["complaint_joins"]

    async def ensure_indexes(self) -> None:
        """Make the indexes."""
        await self._joins.create_index([("owner", ASCENDING), ("number", DESCENDING)], name="owner")
        await self._joins.create_index([("number", ASCENDING), ("_id", ASCENDING)], name="number")

    async def add(self, number: str, owner: Binary, *, now: datetime) -> bool:
        """Let somebody join a complaint; False when they had already."""
        key = f"{number}:{bytes(owner).hex()}"
        try:
            await self._joins.insert_one({"_id": key, "number": number, "owner": owner, "at": now})
        except DuplicateKeyError:
            return False
        return True

    async def remove(self, number: str, owner: Binary) -> bool:
        """Let somebody leave again; False when they had not joined."""
        found = await self._joins.delete_one({"_id": f"{number}:{bytes(owner).hex()}"})
        return bool(found.deleted_count)

    async def has(self, number: str, owner: Binary) -> bool:
        """Tell whether somebody has joined a complaint."""
        return await self._joins.find_one({"_id": f"{number}:{bytes(owner).hex()}"}) is not None

    async def count(self, number: str) -> int:
        """Count who has joined a complaint."""
        return await self._joins.count_documents({"number": number})

    async def list_numbers(self, owner: Binary, first: int, before: str | None = None) -> list[str]:
        """List the complaints that somebody has joined, newest first, older than the number `before`."""
        query = {"owner": owner, "number": {"$lt": before or "~"}}
        found = self._joins.find(query, {"number": 1}, sort=[("owner", 1), ("number", -1)], limit=first)
        return [document["number"] async for document in found]

    async def list_owners(self, number: str, first: int, after: str = "") -> list[tuple[str, Binary]]:
        """List who has joined a complaint, as keys in order and owners, behind a key."""
        query = {"number": number, "_id": {"$gt": after}}
        found = self._joins.find(query, sort=[("number", 1), ("_id", 1)], limit=first)
        return [(document["_id"], document["owner"]) async for document in found]

    async def erase(self, owner: Binary) -> int:
        """Forget all that somebody has joined; count it."""
        return (await self._joins.delete_many({"owner": owner})).deleted_count
