"""Inboxes in MongoDB: `inbox`, one row for each message of an account, or for each of a bucket of accounts.

A private message and a small broadcast have a row for each account: `_id` = `<account>:<message>`, `owner` =
the account. A large broadcast has one for each bucket (domain.ids.bucket_of): `_id` = `#<bucket>:<message>`,
`owner` = `#<bucket>`, with all of its recipients there in `accounts`. Either way `read` and `archived` say by
account since when: a message that is in neither is unread, in the inbox proper. What is asked and changed is
the same for both, in one call.

`place` = `<position>.<message>`: a position sorts by when the row was written, so that a client that was away
reads on from its cursor; rows of one job share it and sort by their message. It is one field, because the
embedded engine uses no index for a condition with `$or`, and one owner a call, because it uses the wrong one
for several owners and a range.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any, Final

from msgspec import Struct
from pymongo import ASCENDING, DESCENDING, ReplaceOne
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError

from domain.ids import bucket_of, floor_id, time_of
from store.keys import KEY_BATCH, WRITE_BATCH, chunks, duplicates

Document = dict[str, Any]
KEPT: Final = timedelta(days=365)
MOST_COUNTED: Final = 5_000
"""Unread messages are counted among so many newest ones."""
_BUCKETS_PER_WRITE: Final = 128
_FIRST: Final = "0"  # sorts before every place
_LAST: Final = "~"


class Place(Struct, frozen=True):
    """Where a row stands among those of its account."""

    position: str
    message: str

    @property
    def key(self) -> str:
        """Give the text that sorts as places do."""
        return f"{self.position}.{self.message}"


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
        await self._inbox.create_index([("owner", ASCENDING), ("place", ASCENDING)], name="owner")
        await self._inbox.create_index([("place", ASCENDING)], name="place")

    # --- fan-out ------------------------------------------------------------------------------------------

    async def insert(self, rows: Iterable[tuple[str, str, str]], position: str) -> int:
        """Insert rows of (account, message, kind) that are not there yet, and tell how many were new."""
        new = 0
        for batch in chunks(rows, WRITE_BATCH):
            documents = [
                _document(account, [account], message, kind, position) for account, message, kind in batch
            ]
            try:
                await self._inbox.insert_many(documents, ordered=False)
                new += len(batch)
            except BulkWriteError as error:
                new += len(batch) - len(duplicates(error))
        return new

    async def insert_together(self, accounts: Iterable[str], message: str, kind: str, position: str) -> None:
        """Insert one message for many accounts, a row for each bucket; whoever has it keeps it as it is."""
        by_bucket: dict[str, list[str]] = defaultdict(list)
        for account in accounts:
            by_bucket[_bucket(account)].append(account)
        for buckets in chunks(sorted(by_bucket), _BUCKETS_PER_WRITE):
            documents = [_document(each, by_bucket[each], message, kind, position) for each in buckets]
            try:
                await self._inbox.insert_many(documents, ordered=False)
            except BulkWriteError as error:
                for index in duplicates(error):
                    change = {"$addToSet": {"accounts": {"$each": documents[index]["accounts"]}}}
                    await self._inbox.update_one({"_id": documents[index]["_id"]}, change)

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
        query: Document = {f"archived.{account}": {"$ne": None} if archived else None}
        if kind is not None:
            query["kind"] = kind
        if before is not None:
            query["place"] = {"$gte": _FIRST, "$lt": before.key}
        return await self._list(account, query, DESCENDING, first)

    async def list_after(self, account: str, first: int, after: Place) -> list[InboxRow]:
        """List at most `first` rows of an account that stand after a place, oldest first."""
        return await self._list(account, {"place": {"$gt": after.key, "$lt": _LAST}}, ASCENDING, first)

    async def list_by_message(self, account: str, messages: Sequence[str]) -> dict[str, InboxRow]:
        """Give an account's rows of these messages, by message."""
        found = {}
        for some in chunks(_ids(account, messages), KEY_BATCH):
            query = {"_id": {"$in": some}, "accounts": account}
            async for document in self._inbox.find(query, _shown_to(account)):
                row = _row(document, account)
                found[row.message] = row
        return found

    async def count_unread(self, account: str) -> dict[str, int]:
        """Count an account's unread messages outside of the archive by kind, among its newest 5,000."""
        counted = await self._inbox.aggregate(
            [
                {"$match": {"owner": {"$in": _owners(account)}, "accounts": account}},
                {"$sort": {"place": DESCENDING}},
                {"$limit": MOST_COUNTED},
                {"$match": {f"read.{account}": None, f"archived.{account}": None}},
                {"$group": {"_id": "$kind", "count": {"$sum": 1}}},
            ]
        )
        return {group["_id"]: group["count"] async for group in counted}

    async def list_all(self, account: str) -> list[InboxRow]:
        """Give all rows of an account, the oldest first: for its export and its deletion."""
        return await self._list(account, {}, ASCENDING, 0)

    async def _list(self, account: str, query: Document, direction: int, first: int) -> list[InboxRow]:
        async def of_owner(owner: str) -> list[Document]:
            found = self._inbox.find(
                {"owner": owner, "accounts": account, **query},
                _shown_to(account),
                sort=[("place", direction)],
                limit=first,
            )
            return await found.to_list()

        own, shared = await asyncio.gather(*map(of_owner, _owners(account)))
        both = sorted(own + shared, key=itemgetter("place"), reverse=direction == DESCENDING)
        return [_row(document, account) for document in (both[:first] if first else both)]

    # --- what a citizen does ------------------------------------------------------------------------------

    async def mark_read(self, account: str, messages: Sequence[str], *, now: datetime) -> int:
        """Mark rows as read; what was read before keeps its time."""
        read = f"read.{account}"
        return await self._update(account, messages, {read: None}, {"$set": {read: now}})

    async def mark_read_until(self, account: str, last: Place, *, now: datetime) -> int:
        """Mark everything unread up to a place as read, that place included."""
        read, until = f"read.{account}", {"$gte": _FIRST, "$lte": last.key}
        count = 0
        for owner in _owners(account):
            query = {"owner": owner, "accounts": account, read: None, "place": until}
            count += (await self._inbox.update_many(query, {"$set": {read: now}})).modified_count
        return count

    async def archive(self, account: str, messages: Sequence[str], *, now: datetime) -> int:
        """Put rows into the archive."""
        archived = f"archived.{account}"
        return await self._update(account, messages, {archived: None}, {"$set": {archived: now}})

    async def restore(self, account: str, messages: Sequence[str]) -> int:
        """Take rows out of the archive."""
        archived = f"archived.{account}"
        return await self._update(account, messages, {archived: {"$ne": None}}, {"$unset": {archived: ""}})

    async def delete(self, account: str, messages: Sequence[str]) -> int:
        """Delete rows for good; those of a bucket lose the account."""
        count = 0
        for some in chunks(_ids(account, messages), KEY_BATCH):
            count += await self._forget(account, {"_id": {"$in": some}})
        return count

    async def delete_all(self, account: str) -> int:
        """Delete all rows of an account for good, and count them."""
        return await self._forget(account, {})

    async def _forget(self, account: str, query: Document) -> int:
        own = await self._inbox.delete_many({**query, "owner": account})
        taken_out = await self._inbox.update_many(
            {**query, "owner": _bucket(account), "accounts": account},
            {"$pull": {"accounts": account}, "$unset": {f"read.{account}": "", f"archived.{account}": ""}},
        )
        return own.deleted_count + taken_out.modified_count

    async def _update(
        self, account: str, messages: Sequence[str], as_read: Document, change: Document
    ) -> int:
        count = 0
        for some in chunks(_ids(account, messages), KEY_BATCH):
            query = {"_id": {"$in": some}, "accounts": account, **as_read}
            count += (await self._inbox.update_many(query, change)).modified_count
        return count

    # --- retention ----------------------------------------------------------------------------------------

    async def upgrade(self) -> int:
        """Bring rows from before they could be for a bucket to today's form, and count them.

        May break off and be run again. Until then nobody sees such rows, retention and deletion neither.
        """
        count = 0
        while found := await self._inbox.find({"account": {"$exists": True}}, limit=WRITE_BATCH).to_list():
            await self._inbox.bulk_write(
                [ReplaceOne({"_id": each["_id"]}, _upgraded(each)) for each in found], ordered=False
            )
            count += len(found)
        return count

    async def delete_old(self, *, before: datetime) -> int:
        """Delete the rows that were written before an instant, and count them."""
        old = {"place": {"$gte": _FIRST, "$lt": floor_id(before)}}
        return (await self._inbox.delete_many(old)).deleted_count


def _bucket(account: str) -> str:
    return f"#{bucket_of(account):04x}"


def _owners(account: str) -> tuple[str, str]:
    return account, _bucket(account)


def _document(owner: str, accounts: list[str], message: str, kind: str, position: str) -> Document:
    return {
        "_id": f"{owner}:{message}",
        "owner": owner,
        "accounts": accounts,
        "kind": kind,
        "place": Place(position, message).key,
    }


def _upgraded(old: Document) -> Document:
    account = old["account"]
    document = _document(account, [account], old["message"], old["kind"], old["position"])
    for name in ("read", "archived"):
        if old.get(f"{name}_at") is not None:
            document[name] = {account: old[f"{name}_at"]}
    return document


def _ids(account: str, messages: Iterable[str]) -> Iterable[str]:
    """Name the rows that these messages have for an account, of which one at most exists for each."""
    owners = _owners(account)
    return (f"{owner}:{message}" for message in dict.fromkeys(messages) for owner in owners)


def _shown_to(account: str) -> Document:
    """Leave out who else has a message."""
    return {"kind": 1, "place": 1, f"read.{account}": 1, f"archived.{account}": 1}


def _row(document: Document, account: str) -> InboxRow:
    position, _, message = document["place"].partition(".")
    return InboxRow(
        message,
        document["kind"],
        position,
        document.get("read", {}).get(account),
        document.get("archived", {}).get(account),
    )


def place_at(instant: datetime) -> Place:
    """Give the place before everything that is written from an instant on."""
    return Place(floor_id(instant), "")
