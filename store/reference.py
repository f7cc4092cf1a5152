"""Lists that an operator replaces as a whole (units, classes): one document each, so a change is atomic.

The same documents count the revisions of what is too large for one document, such as the guides.
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from msgspec import Struct
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError
from redis.asyncio import Redis
from redis.exceptions import RedisError

from domain.errors import DomainError

Document = dict[str, Any]
CHANNEL: Final = "mintong:reference"
_MAX_BYTES: Final = 64_000_000


class ListChangedError(DomainError):
    """Somebody else has replaced the list meanwhile; nothing was written."""

    code = "LIST_CHANGED"


class StoredList(Struct, frozen=True):
    """A list as stored; `content` is what was handed in, empty before the first time."""

    revision: int = 0
    content: bytes = b""


class ReferenceStore:
    """Reads and replaces lists by name."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._lists = database["reference_lists"]

    async def revisions(self) -> Mapping[str, int]:
        """Read the revision of every list; a list that was never written is missing."""
        found = await self._lists.find({}, {"revision": 1}).to_list()
        return {each["_id"]: int(each["revision"]) for each in found}

    async def load(self, name: str) -> StoredList:
        """Read a list; revision 0 before it was first written."""
        found = await self._lists.find_one({"_id": name})
        if found is None:
            return StoredList()
        packed = found.get("content")
        unpacker = zlib.decompressobj()
        content = unpacker.decompress(packed, _MAX_BYTES) if packed else b""
        return StoredList(int(found["revision"]), content)

    async def changed_at(self, name: str) -> datetime | None:
        """Tell when a list was last replaced; None for one that was never written."""
        found = await self._lists.find_one({"_id": name}, {"changed_at": 1})
        return None if found is None else found["changed_at"]

    async def replace(self, name: str, content: bytes, *, expected: int, now: datetime) -> int:
        """Replace a list whose revision is still the expected one (0: not there) and give the new revision.

        Raises: ListChangedError.
        """
        document = {
            "_id": name,
            "revision": expected + 1,
            "content": zlib.compress(content, 6),
            "changed_at": now,
        }
        if expected == 0:
            try:
                await self._lists.insert_one(document)
            except DuplicateKeyError as error:
                raise ListChangedError(list=name) from error
        else:
            result = await self._lists.replace_one({"_id": name, "revision": expected}, document)
            if not result.matched_count:
                raise ListChangedError(list=name)
        return expected + 1

    async def touch(self, name: str, *, now: datetime) -> None:
        """Raise the revision of what is stored elsewhere."""
        change = {"$inc": {"revision": 1}, "$set": {"changed_at": now}}
        await self._lists.update_one({"_id": name}, change, upsert=True)


async def announce(redis: Redis, name: str) -> None:
    """Tell readers that a list has changed: only a hint, they poll as well, so Redis may be away."""
    with contextlib.suppress(RedisError, OSError):
        await redis.publish(CHANNEL, name)
