"""Inboxes in MongoDB: `inbox`, one row for each message of an account, `_id` = `<account>:<message>`.

`position` sorts by when the row was written, so that a client that was away reads on from its cursor; rows of
one job share it and sort by their message. A row without `read_at` is unread, one without `archived_at` is in
the inbox proper.

Old rows are deleted account by account (`delete_old`): an index for a TTL would make a fan-out take half as
long again in the embedded engine.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from msgspec import Struct
from pymongo import ASCENDING, DESCENDING
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError

from domain.ids import floor_id, time_of
from store.keys import KEY_BATCH, WRITE_BATCH, chunks, duplicates

Document = dict[str, Any]
KEPT: Final = timedelta(days=365)
_PAGE: Final = 1_000
MOST_COUNTED: Final = 5_000
"""Unread messages are counted among so many newest ones."""


class Place(Struct, frozen=True):
    """Where a row stands among those of its account."""

    position: str
    message: str


class InboxRow(Struct, frozen=True):
    """One message of an account; instants are UTC."""

    message: str
    kind: str
    position: str
    read_at: datetime | None = None
    archived_at: datetime | None = None

    @property
    def place(self) -> Place:
        """Give where it stands."""
        return Place(self.position, self.message)

    @property
    def received_at(self) -> datetime:
        """Give when it was written, UTC."""
        return time_of(self.position)


class InboxStore:
    """Reads and writes `inbox`."""

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

    # --- reading ------------------------------------------------------------------------------------------

    async def list_newest(
        self,
        account: str,
        first: int,
        before: Place | None = None,
        *,
        kind: str | None = None,
        archived: bool = False,
    ) -> list[InboxRow]:
        """List at most `first` rows of an account, newest first, those behind the place `before`."""
        query: Document = {"account": account, "archived_at": {"$ne": None} if archived else None}
        if kind is not None:
            query["kind"] = kind
        if before is not None:
            query["$or"] = _beyond(before, "$lt")
        order = [("position", DESCENDING), ("message", DESCENDING)]
        return [_row(each) async for each in self._inbox.find(query, sort=order, limit=first)]

    async def list_after(self, account: str, first: int, after: Place) -> list[InboxRow]:
        """List at most `first` rows of an account that stand after a place, oldest first."""
        query = {"account": account, "$or": _beyond(after, "$gt")}
        order = [("position", ASCENDING), ("message", ASCENDING)]
        return [_row(each) async for each in self._inbox.find(query, sort=order, limit=first)]

    async def list_by_message(self, account: str, messages: Sequence[str]) -> dict[str, InboxRow]:
        """Give an account's rows of these messages, by message."""
        found = {}
        for some in chunks(_ids(account, messages), KEY_BATCH):
            async for document in self._inbox.find({"_id": {"$in": some}}):
                row = _row(document)
                found[row.message] = row
        return found

    async def count_unread(self, account: str) -> dict[str, int]:
        """Count an account's unread messages outside of the archive by kind, among its newest 5,000."""
        counted = await self._inbox.aggregate(
            [
                {"$match": {"account": account}},
                {"$sort": {"position": DESCENDING, "message": DESCENDING}},
                {"$limit": MOST_COUNTED},
                {"$match": {"read_at": None, "archived_at": None}},
                {"$group": {"_id": "$kind", "count": {"$sum": 1}}},
            ]
        )
        return {group["_id"]: group["count"] async for group in counted}

    # --- what a citizen does ------------------------------------------------------------------------------

    async def mark_read(self, account: str, messages: Sequence[str], *, now: datetime) -> int:
        """Mark rows as read; what was read before keeps its time."""
        return await self._update(account, messages, {"read_at": None}, {"$set": {"read_at": now}})

    async def mark_read_until(self, account: str, last: Place, *, now: datetime) -> int:
        """Mark everything unread up to a place as read, that place included."""
        query = {"account": account, "read_at": None, "$or": [*_beyond(last, "$lt"), _at(last)]}
        return (await self._inbox.update_many(query, {"$set": {"read_at": now}})).modified_count

    async def archive(self, account: str, messages: Sequence[str], *, now: datetime) -> int:
        """Put rows into the archive."""
        return await self._update(account, messages, {"archived_at": None}, {"$set": {"archived_at": now}})

    async def restore(self, account: str, messages: Sequence[str]) -> int:
        """Take rows out of the archive."""
        change = {"$unset": {"archived_at": ""}}
        return await self._update(account, messages, {"archived_at": {"$ne": None}}, change)

    async def delete(self, account: str, messages: Sequence[str]) -> int:
        """Delete rows for good."""
        count = 0
        for some in chunks(_ids(account, messages), KEY_BATCH):
            count += (await self._inbox.delete_many({"_id": {"$in": some}})).deleted_count
        return count

    async def _update(
        self, account: str, messages: Sequence[str], as_read: Document, change: Document
    ) -> int:
        count = 0
        for some in chunks(_ids(account, messages), KEY_BATCH):
            count += (await self._inbox.update_many({"_id": {"$in": some}, **as_read}, change)).modified_count
        return count

    # --- retention ----------------------------------------------------------------------------------------

    async def delete_old(self, after: str, *, before: datetime) -> tuple[str | None, int]:
        """Delete what some accounts were told before an instant.

        Looks at the accounts behind `after` and gives the last of them, None when there were no more, and
        the number of rows that are gone.
        """
        page = self._inbox.find(
            {"account": {"$gt": after}}, {"account": 1}, sort=[("account", ASCENDING)], limit=_PAGE
        )
        accounts = list(dict.fromkeys([each["account"] async for each in page]))
        count = 0
        for some in chunks(accounts, KEY_BATCH):
            old = {"account": {"$in": some}, "position": {"$lt": floor_id(before)}}
            count += (await self._inbox.delete_many(old)).deleted_count
        return (accounts[-1] if accounts else None), count


def _ids(account: str, messages: Iterable[str]) -> Iterable[str]:
    return (f"{account}:{message}" for message in dict.fromkeys(messages))


def _beyond(place: Place, operator: str) -> list[Document]:
    return [
        {"position": {operator: place.position}},
        {"position": place.position, "message": {operator: place.message}},
    ]


def _at(place: Place) -> Document:
    return {"position": place.position, "message": place.message}


def _row(document: Document) -> InboxRow:
    return msgspec.convert(document, InboxRow)


def place_at(instant: datetime) -> Place:
    """Give the place before everything that is written from an instant on."""
    return Place(floor_id(instant), "")
