"""Digests in MongoDB: `digests`, one document for each account and instant at which one is due.

`messages` are what is counted, `ways` how the citizen is told. It is gone when the digest is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct
from pymongo import ASCENDING, UpdateOne
from pymongo.asynchronous.database import AsyncDatabase

from domain.preferences import NotificationWay
from store.keys import KEY_BATCH, LONG_AGO, WRITE_BATCH, chunks

Document = dict[str, Any]


class Counted(Struct, frozen=True):
    """One message that is counted in an account's digest on one way."""

    account: str
    message: str
    way: NotificationWay
    due_at: datetime


class DueDigest(Struct, frozen=True):
    """What is counted for one account and one instant. `id` = `<account>@<seconds>`."""

    id: str
    account: str
    due_at: datetime
    messages: tuple[str, ...]
    ways: frozenset[NotificationWay]


class DigestStore:
    """Reads and writes `digests`."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._digests = database["digests"]

    @property
    def name(self) -> str:
        """Name the collection."""
        return "digests"

    async def ensure_indexes(self) -> None:
        """Make the indexes."""
        await self._digests.create_index([("due_at", ASCENDING)], name="due_at")
        await self._digests.create_index([("account", ASCENDING)], name="account")

    async def add(self, counted: Sequence[Counted]) -> None:
        """Count messages; the same one twice is one."""
        for batch in chunks(counted, WRITE_BATCH):
            await self._digests.bulk_write(
                [
                    UpdateOne(
                        {"_id": f"{each.account}@{int(each.due_at.timestamp())}"},
                        {
                            "$setOnInsert": {"account": each.account, "due_at": each.due_at},
                            "$addToSet": {"messages": each.message, "ways": each.way.value},
                        },
                        upsert=True,
                    )
                    for each in batch
                ],
                ordered=False,
            )

    async def list_due(self, limit: int, *, now: datetime) -> list[DueDigest]:
        """List digests whose time has come, the oldest first."""
        found = self._digests.find(
            {"due_at": {"$gt": LONG_AGO, "$lte": now}}, sort=[("due_at", ASCENDING)], limit=limit
        )
        return [msgspec.convert({**each, "id": each["_id"]}, DueDigest) async for each in found]

    async def remove(self, ids: Sequence[str]) -> None:
        """Forget digests that are written."""
        for some in chunks(ids, KEY_BATCH):
            await self._digests.delete_many({"_id": {"$in": some}})

    async def export_account(self, account_id: str) -> list[Document]:
        """Give what is counted for an account."""
        return [each async for each in self._digests.find({"account": account_id})]

    async def erase_account(self, account_id: str, *, now: datetime) -> int:
        """Forget what is counted for an account."""
        return (await self._digests.delete_many({"account": account_id})).deleted_count
