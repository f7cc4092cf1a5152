"""Inboxes in MongoDB: `inbox`, one row for each message of an account, `_id` = `<account>:<message>`.

`position` sorts by when the row was written, so that a client that was away reads on from its cursor. A row
without `read_at` is unread.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pymongo import ASCENDING
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError

from store.keys import WRITE_BATCH, chunks, duplicates

Document = dict[str, Any]


class InboxStore:
    """Writes `inbox`."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._inbox = database["inbox"]

    @property
    def name(self) -> str:
        """Name the collection."""
        return "inbox"

    async def ensure_indexes(self) -> None:
        """Make the indexes."""
        await self._inbox.create_index([("account", ASCENDING), ("position", ASCENDING)], name="account")

    async def insert(self, rows: Iterable[tuple[str, str, str]], position: str) -> int:
        """Insert rows of (account, message, kind) that are not there yet, and tell how many were new."""
        new = 0
        for batch in chunks(rows, WRITE_BATCH):
            documents = [
                {
                    "_id": f"{account}:{message}",
                    "account": account,
                    "message": message,
                    "kind": kind,
                    "position": position,
                }
                for account, message, kind in batch
            ]
            try:
                await self._inbox.insert_many(documents, ordered=False)
                new += len(batch)
            except BulkWriteError as error:
                new += len(batch) - len(duplicates(error))
        return new
