"""What the public sees of complaints: `public_complaints`, copies without anything that leads to a person.

`_id` is the public id. A complaint that may no longer be seen leaves its `_id`, `version` and `published_at`
behind, so that whoever has a copy learns of it and no late writer brings it back. `changed_at` tells copies
what is new.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec import Struct
from pymongo import ASCENDING
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError, DuplicateKeyError

from domain.complaint_publication import PublicComplaint
from store.keys import KEY_BATCH, WRITE_BATCH, chunks, duplicates

Document = dict[str, Any]
_OWN: Final = ("changed_at", "gone")


class Change(Struct, frozen=True):
    """A public complaint as it is since `changed_at`; `shown` None: it may no longer be seen."""

    id: str
    published_at: datetime
    changed_at: datetime
    shown: PublicComplaint | None


class PublicComplaintStore:
    """Reads and writes `public_complaints`."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._public = database["public_complaints"]

    async def ensure_indexes(self) -> None:
        """Make the index."""
        await self._public.create_index([("changed_at", ASCENDING)], name="changed_at")

    async def put(self, complaint: PublicComplaint, *, now: datetime) -> None:
        """Show a complaint as it is at its version, unless a newer one is known."""
        found = await self._public.find_one({"_id": complaint.id})
        if found is not None and found["version"] >= complaint.version:
            return
        document = _document(complaint, now)
        if found is not None and _content(found) == _content(document):
            # Nothing to see has changed; a late writer of a version in between must still be held off.
            newer = {"$set": {"version": complaint.version}}
            await self._public.update_one({"_id": complaint.id, "version": {"$lt": complaint.version}}, newer)
            return
        await self._replace(document)

    async def remove(self, public_id: str, version: int, published_at: datetime, *, now: datetime) -> None:
        """Show a complaint that once was shown no longer, unless a newer version is known."""
        found = await self._public.find_one({"_id": public_id})
        if found is not None and found["version"] >= version:
            return
        document = {
            "_id": public_id,
            "version": version,
            "published_at": published_at,
            "changed_at": now,
            "gone": True,
        }
        await self._replace(document)

    async def _replace(self, document: Document) -> None:
        older = {"_id": document["_id"], "version": {"$lt": document["version"]}}
        try:
            await self._public.replace_one(older, document, upsert=True)
        except DuplicateKeyError:
            return  # there is a newer one

    async def load(self, complaints: Iterable[PublicComplaint], *, now: datetime) -> None:
        """Insert many complaints that were not there; those that were stay as they are."""
        for some in chunks(complaints, WRITE_BATCH):
            try:
                await self._public.insert_many([_document(each, now) for each in some], ordered=False)
            except BulkWriteError as error:
                duplicates(error)

    async def find(self, public_id: str) -> PublicComplaint | None:
        """Find a complaint that may be seen."""
        return (await self.list_by_ids([public_id])).get(public_id)

    async def list_by_ids(self, ids: Iterable[str]) -> dict[str, PublicComplaint]:
        """Give those of these complaints that may be seen."""
        rows: dict[str, PublicComplaint] = {}
        for some in chunks(ids, KEY_BATCH):
            async for document in self._public.find({"_id": {"$in": some}}):
                shown = _change(document).shown
                if shown is not None:
                    rows[shown.id] = shown
        return rows

    async def list_changes(self, since: datetime, until: datetime, first: int = 0) -> list[Change]:
        """List what has changed from an instant on and before another one, in order; keep the span short.

        `first`: so many at most; 0: all.
        """
        span = {"changed_at": {"$gte": since, "$lt": until}}
        found = self._public.find(span, sort=[("changed_at", 1)], limit=first)
        return [_change(document) async for document in found]


def _document(complaint: PublicComplaint, now: datetime) -> Document:
    document: Document = msgspec.to_builtins(complaint, builtin_types=(datetime,))
    document["_id"] = document.pop("id")
    document["changed_at"] = now
    return document


def _content(document: Document) -> Document:
    return {name: value for name, value in document.items() if name not in ("version", "changed_at")}


def _change(document: Document) -> Change:
    shown = None
    if "gone" not in document:
        fields = {name: value for name, value in document.items() if name not in ("_id", *_OWN)}
        shown = msgspec.convert({"id": document["_id"], **fields}, PublicComplaint)
    return Change(document["_id"], document["published_at"], document["changed_at"], shown)
