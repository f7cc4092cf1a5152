"""Which service requests came from which Open311 partner, and what has happened to them.

`open311_requests`: one document a request, its `_id` the public id. `open311_updates`: one document for
each thing a partner is told, `at` when it was noted, so that whoever reads on from an instant misses none.
Neither holds a word of the request: texts are read where they are encrypted and may be erased.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

from msgspec import Struct
from pymongo import ASCENDING, DESCENDING
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError, DuplicateKeyError
from redis.asyncio import Redis

from store.keys import KEY_BATCH, chunks, duplicates

Document = dict[str, Any]
_RECENT: Final = "mintong:open311:recent:"


class PartnerRequest(Struct, frozen=True):
    """A request by its public id and its number."""

    id: str
    number: str


class PartnerUpdate(Struct, frozen=True):
    """Something that happened to a request: its event `seq`, noted `at`."""

    request: PartnerRequest
    seq: int
    at: datetime


class Open311RequestStore:
    """Reads and writes `open311_requests` and `open311_updates`."""

    def __init__(self, database: AsyncDatabase[Document], redis: Redis | None = None) -> None:
        self._requests = database["open311_requests"]
        self._updates = database["open311_updates"]
        self._redis = redis

    async def ensure_indexes(self) -> None:
        """Make the indexes."""
        await self._requests.create_index([("key", ASCENDING), ("number", DESCENDING)], name="key")
        await self._updates.create_index([("key", ASCENDING), ("at", ASCENDING)], name="key")

    async def add(self, key_id: str, request: PartnerRequest) -> None:
        """Note whose a request is; again changes nothing."""
        document = {"_id": request.id, "number": request.number, "key": key_id}
        try:
            await self._requests.insert_one(document)
        except DuplicateKeyError:
            return  # noted before

    async def add_updates(
        self, key_id: str, request: PartnerRequest, seqs: Iterable[int], *, now: datetime
    ) -> None:
        """Note what has happened to a request; what was noted before stays as it was."""
        documents = [
            {
                "_id": f"{request.id}_{seq}",
                "key": key_id,
                "at": now,
                "request": request.id,
                "number": request.number,
                "seq": seq,
            }
            for seq in seqs
        ]
        if not documents:
            return
        try:
            await self._updates.insert_many(documents, ordered=False)
        except BulkWriteError as error:
            duplicates(error)

    async def list_by_ids(self, key_id: str, ids: Iterable[str]) -> dict[str, PartnerRequest]:
        """Give those of these requests that are a partner's."""
        rows: dict[str, PartnerRequest] = {}
        for some in chunks(ids, KEY_BATCH):
            async for document in self._requests.find({"_id": {"$in": some}}):
                if document["key"] == key_id:
                    rows[document["_id"]] = PartnerRequest(document["_id"], document["number"])
        return rows

    async def list_newest(self, key_id: str, after: str, before: str, first: int) -> list[PartnerRequest]:
        """List a partner's requests with numbers above `after` and below `before`, newest first."""
        query = {"key": key_id, "number": {"$gt": after, "$lt": before}}
        found = self._requests.find(query, sort=[("key", 1), ("number", -1)], limit=first)
        return [PartnerRequest(document["_id"], document["number"]) async for document in found]

    async def list_updates(
        self, key_id: str, start: datetime, end: datetime, first: int
    ) -> list[PartnerUpdate]:
        """List what was noted for a partner from `start` to `end`, oldest first."""
        query = {"key": key_id, "at": {"$gte": start, "$lte": end}}
        found = self._updates.find(query, sort=[("key", 1), ("at", 1)], limit=first)
        return [
            PartnerUpdate(PartnerRequest(each["request"], each["number"]), each["seq"], each["at"])
            async for each in found
        ]

    async def find_comment(self, request_id: str, update_id: str) -> int | None:
        """Find the event that a partner's own id of a comment led to."""
        found = await self._requests.find_one({"_id": request_id})
        seq = ((found or {}).get("comments") or {}).get(_field(update_id))
        return None if seq is None else int(seq)

    async def add_comment(self, request_id: str, update_id: str, seq: int) -> None:
        """Note the event that a partner's own id of a comment led to."""
        change = {"$set": {f"comments.{_field(update_id)}": seq}}
        await self._requests.update_one({"_id": request_id}, change)

    async def same_within(self, digest: str, seconds: int) -> str:
        """Give one and the same random text to whoever comes with the same digest within a time.

        Raises: redis.exceptions.RedisError.
        """
        if self._redis is None:
            raise RuntimeError("this process counts nothing")
        name, text = f"{_RECENT}{digest}", secrets.token_hex(16)
        if await self._redis.set(name, text, nx=True, ex=seconds):
            return text
        found = await self._redis.get(name)
        return text if found is None else _text(found)


def _field(update_id: str) -> str:
    """Make a partner's id a name that a document may have."""
    return hashlib.blake2b(update_id.encode(), digest_size=12).hexdigest()


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
