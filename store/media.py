"""Attachments in MongoDB: `media`, one document for what one owner has uploaded once; files in `media_files`.

A document is written before its files and goes after them, so that every file has a document that leads to
it. While it waits for its complaint it has `draft`, owner and SHA-256 of what was sent, which is unique:
sending the same again gives the same attachment. `wake_at` says when the sweeper looks at it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from bson import ObjectId
from msgspec.structs import replace
from pymongo import ASCENDING
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from domain.media import (
    MAX_ATTACHED,
    RESERVED_LIFE,
    UNATTACHED_LIFE,
    Cleaned,
    Media,
    MediaNotFoundError,
    TooManyMediaError,
    account_owner,
)
from store.keys import KEY_BATCH, LONG_AGO, chunks
from store.media_files import TOUCHED_FOR, MediaFiles
from store.media_spool import Spool

Document = dict[str, Any]
Exists = Callable[[Collection[str]], Awaitable[set[str]]]
"""Tells which numbers of complaints exist."""
_FIELD: Final = "mediaIds"
_ABANDONED: Final = timedelta(seconds=30)
"""A complaint that is not there so long after its attachments were reserved will not come."""
_LIVE: Final = {"is_stored": True, "is_dying": None}


class MediaStore:
    """Reads and writes attachments."""

    name = "media"

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._media = database["media"]
        self._complaints = database["complaints"]
        self.files = MediaFiles(database)
        self._is_indexed = False

    async def ensure_indexes(self) -> None:
        """Make the indexes."""
        await self._media.create_index([("draft", ASCENDING)], name="draft", unique=True, sparse=True)
        await self._media.create_index([("owner", ASCENDING), ("_id", ASCENDING)], name="owner")
        await self._media.create_index([("complaint", ASCENDING)], name="complaint", sparse=True)
        await self._media.create_index([("contents", ASCENDING)], name="contents")
        await self._media.create_index([("wake_at", ASCENDING)], name="wake_at", sparse=True)
        await self.files.ensure_indexes()
        self._is_indexed = True

    # --- uploading ----------------------------------------------------------------------------------------

    async def find_draft(self, owner: str, source: str, *, now: datetime) -> Media | None:
        """Find what an owner has uploaded and not attached by its SHA-256 as sent; it waits 24 hours anew."""
        query = {"draft": _draft(owner, source), **_LIVE}
        renewed = await self._media.update_one(query, {"$set": {"wake_at": now + UNATTACHED_LIFE}})
        document = await self._media.find_one(query) if renewed.matched_count else None
        return None if document is None else _media(document)

    async def count_drafts(self, owner: str) -> int:
        """Count what an owner has uploaded and not attached."""
        return await self._media.count_documents({"owner": owner, "complaint": None, "is_dying": None})

    async def add(self, media: Media, source: str, spool: Spool, limit: int, *, now: datetime) -> Media:
        """Keep what was cleaned; the attachment that is there already when the same was sent twice at once.

        Of uploads at the same moment at most `limit` survive. Raises: TooManyMediaError.
        """
        if not self._is_indexed:  # without it the same could be kept twice
            await self.ensure_indexes()
        file_ids = [ObjectId() for _ in _contents(media)]
        document = _document(media) | {
            "draft": _draft(media.owner, source),
            "source": source,
            "writing": file_ids,
            "wake_at": now + UNATTACHED_LIFE,
        }
        try:
            await self._media.insert_one(document)
        except DuplicateKeyError:
            known = await self._retake(document)
            if known["is_stored"]:
                return _media(known)
            media = replace(media, id=known["_id"])
        if await self.count_drafts(media.owner) > limit:
            await self.delete_draft(media.owner, media.id, now=now)
            raise TooManyMediaError(limit=limit)
        paths = (spool.target, spool.thumbnail)
        for digest, path, file_id in zip(_contents(media), paths, file_ids, strict=False):
            await self.files.put(digest, path, file_id, now=now)
        stored = await self._media.update_one(
            {"_id": media.id, "is_dying": None}, {"$set": {"is_stored": True}, "$unset": {"writing": ""}}
        )
        if not stored.matched_count:
            raise MediaNotFoundError(id=media.id)
        return replace(media, expires_at=now + UNATTACHED_LIFE)

    async def _retake(self, document: Document) -> Document:
        """Go on with an upload whose first attempt died before its files were written."""
        known = {"draft": document["draft"]}
        found = await self._media.find_one(known)
        if found is not None and found["is_stored"]:
            return found
        fresh = {name: document[name] for name in ("contents", "cleaned", "size_bytes")}
        await self._media.update_one(
            {**known, "is_stored": False},
            {"$push": {"writing": {"$each": document["writing"]}}, "$set": fresh},
        )
        found = await self._media.find_one(known)
        if found is None:
            raise MediaNotFoundError(id=document["_id"])
        return found

    # --- reading ------------------------------------------------------------------------------------------

    async def find(self, media_id: str) -> Media | None:
        """Find an attachment, whosever it is."""
        document = await self._media.find_one({"_id": media_id, **_LIVE})
        return None if document is None else _media(document)

    async def list_drafts(self, owner: str) -> list[Media]:
        """List what an owner has uploaded and not attached, the oldest first."""
        found = self._media.find({"owner": owner, "complaint": None, **_LIVE}, sort=[("_id", ASCENDING)])
        return [_media(document) async for document in found]

    async def list_for_complaints(self, numbers: Collection[str]) -> dict[str, list[Media]]:
        """List the attachments of complaints in the order in which they were attached; a query for 64."""
        found: dict[str, list[Document]] = {}
        for some in chunks(dict.fromkeys(numbers), KEY_BATCH):
            query = {"complaint": {"$in": some}, **_LIVE}
            for document in await self._media.find(query).to_list():
                found.setdefault(document["complaint"], []).append(document)
        return {
            number: [_media(each) for each in sorted(documents, key=lambda each: each["place"])]
            for number, documents in found.items()
        }

    # --- attaching ----------------------------------------------------------------------------------------

    async def reserve(
        self, ids: Sequence[str], owner: str, number: str, *, now: datetime, exists: Exists | None = None
    ) -> list[Media]:
        """Attach uploads of an owner to the complaint `number`, all or none, and list all that it has.

        May be run again with the same ids and number. The complaint is to be written next; what is reserved
        for one that never was becomes free an hour later, or with `exists` when it is wanted again.
        Raises: MediaNotFoundError, TooManyMediaError, both naming the field.
        """
        attached = {each.id: each.owner for each in await self._attached(number)}
        if any(attached.get(each, owner) != owner for each in ids):
            raise MediaNotFoundError(field=_FIELD)
        fresh = [each for each in dict.fromkeys(ids) if each not in attached]
        if len(attached) + len(fresh) > MAX_ATTACHED:
            raise TooManyMediaError(field=_FIELD, limit=MAX_ATTACHED)
        taken: list[str] = []
        for place, media_id in enumerate(fresh, len(attached)):
            if not await self._take(media_id, owner, number, place, now=now, exists=exists):
                await self.release(taken, now=now)
                raise MediaNotFoundError(field=_FIELD, id=media_id[:26])
            taken.append(media_id)
        reserved = await self._attached(number)
        if len(reserved) > MAX_ATTACHED:  # two supplements at the same moment
            await self.release(taken, now=now)
            raise TooManyMediaError(field=_FIELD, limit=MAX_ATTACHED)
        return reserved

    async def _attached(self, number: str) -> list[Media]:
        return (await self.list_for_complaints([number])).get(number, [])

    async def _take(
        self, media_id: str, owner: str, number: str, place: int, *, now: datetime, exists: Exists | None
    ) -> bool:
        own = {"_id": media_id, "owner": owner, **_LIVE}
        change = {
            "$set": {"complaint": number, "place": place, "wake_at": now + RESERVED_LIFE},
            "$unset": {"draft": ""},
        }
        free = {**own, "complaint": None, "wake_at": {"$gt": now}}
        if (await self._media.update_one(free, change)).matched_count:
            return True
        if exists is None:
            return False
        # A submission that died here left it reserved for a number that its retry does not have.
        before = now - _ABANDONED + RESERVED_LIFE
        abandoned = {**own, "wake_at": {"$gt": LONG_AGO, "$lte": before}, "complaint": {"$type": "string"}}
        document = await self._media.find_one(abandoned)
        if document is None or await exists([document["complaint"]]):
            return False
        again = {**abandoned, "complaint": document["complaint"]}
        return (await self._media.update_one(again, change)).matched_count == 1

    async def release(self, ids: Collection[str], *, now: datetime) -> int:
        """Give attachments back to their owners, unattached for another 24 hours; count them."""
        count = 0
        for media_id in ids:
            document = await self._media.find_one({"_id": media_id, "complaint": {"$type": "string"}})
            if document is None:
                continue
            values = {"wake_at": now + UNATTACHED_LIFE}
            draft = {"draft": _draft(document["owner"], document["source"])}
            nowhere = {"complaint": "", "place": ""}
            same = {"_id": media_id, "complaint": document["complaint"]}
            try:
                done = await self._media.update_one(same, {"$set": {**values, **draft}, "$unset": nowhere})
            except DuplicateKeyError:  # uploaded again meanwhile; this one goes when its time has come
                done = await self._media.update_one(same, {"$set": values, "$unset": nowhere})
            count += done.modified_count
        return count

    async def list_existing(self, numbers: Collection[str]) -> set[str]:
        """Tell which of these numbers are those of complaints."""
        found: set[str] = set()
        for some in chunks(dict.fromkeys(numbers), KEY_BATCH):
            query = self._complaints.find({"_id": {"$in": some}}, {"_id": 1})
            found.update([document["_id"] async for document in query])
        return found

    # --- removing -----------------------------------------------------------------------------------------

    async def list_due(self, limit: int, *, now: datetime) -> list[Media]:
        """List what the sweeper has to look at, the longest due first: drafts, reservations, the dying."""
        found = self._media.find(
            {"wake_at": {"$gt": LONG_AGO, "$lte": now}}, sort=[("wake_at", ASCENDING)], limit=limit
        )
        return [_media(document) async for document in found]

    async def confirm(self, ids: Collection[str]) -> None:
        """Note that the complaints of these attachments exist: they are kept as long as those are."""
        for media_id in ids:
            await self._media.update_one({"_id": media_id}, {"$unset": {"wake_at": ""}})

    async def delete_draft(self, owner: str, media_id: str, *, now: datetime) -> bool:
        """Delete an unattached upload of an owner and tell whether it was there; its files go later."""
        own = {"_id": media_id, "owner": owner, "complaint": None, "is_dying": None}
        return (await self._media.update_one(own, _dying(now + TOUCHED_FOR))).matched_count == 1

    async def delete_for_complaint(self, number: str, *, now: datetime) -> int:
        """Delete all attachments of a complaint and count them; their files go later."""
        own = {"complaint": number, "is_dying": None}
        return (await self._media.update_many(own, _dying(now + TOUCHED_FOR))).modified_count

    async def bury(self, media_id: str, *, now: datetime) -> bool:
        """Remove an upload whose time is over, its files first; False when it was attached or must wait."""
        over = {"_id": media_id, "wake_at": {"$lte": now}}
        draft = {**over, "complaint": None, "is_dying": None}
        await self._media.update_one(draft, _dying(now))
        document = await self._media.find_one({**over, "is_dying": True})
        if document is None:
            return False
        await self.files.remove_unfinished(document.get("writing", ()))
        for digest in document["contents"]:
            users = {"contents": digest, "is_dying": None}

            async def is_used(users: Document = users) -> bool:
                return await self._media.find_one(users, {"_id": 1}) is not None

            if not await self.files.remove(digest, is_used, now=now):
                await self._media.update_one({"_id": media_id}, {"$set": {"wake_at": now + TOUCHED_FOR}})
                return False
        await self._media.delete_one({"_id": media_id, "is_dying": True})
        return True

    async def export_account(self, account_id: str) -> list[Document]:
        """Give what is kept about an account's uploads, the oldest first, without the files."""
        found = self._media.find({"owner": account_owner(account_id), **_LIVE}, sort=[("_id", ASCENDING)])
        return [
            {
                "_id": document["_id"],
                "cleaned": document["cleaned"],
                "size_bytes": document["size_bytes"],
                "uploaded_at": document["uploaded_at"],
                "complaint": document.get("complaint"),
            }
            async for document in found
        ]

    async def erase_account(self, account_id: str, *, now: datetime) -> int:
        """Delete an account's unattached uploads, and forget whose the attached ones are; count both.

        Attachments of complaints stay with them.
        """
        own = {"owner": account_owner(account_id)}
        nobody: Document = {"owner": "", "source": ""}
        dying = _dying(now + TOUCHED_FOR)
        gone = await self._media.update_many(
            {**own, "complaint": None}, {**dying, "$set": {**dying["$set"], **nobody}}
        )
        kept = await self._media.update_many(own, {"$set": nobody})
        return gone.modified_count + kept.modified_count


def _dying(wake_at: datetime) -> Document:
    return {"$set": {"is_dying": True, "wake_at": wake_at}, "$unset": {"draft": "", "complaint": ""}}


def _draft(owner: str, source: str) -> str:
    return f"{owner}|{source}"


def _contents(media: Media) -> list[str]:
    return [media.content] if media.thumbnail is None else [media.content, media.thumbnail]


def _document(media: Media) -> Document:
    return {
        "_id": media.id,
        "owner": media.owner,
        "cleaned": msgspec.to_builtins(media.cleaned),
        "contents": _contents(media),
        "size_bytes": media.size_bytes,
        "uploaded_at": media.uploaded_at,
        "complaint": None,
        "is_stored": False,
    }


def _media(document: Document) -> Media:
    contents = document["contents"]
    number = document.get("complaint")
    return Media(
        id=document["_id"],
        owner=document["owner"],
        cleaned=msgspec.convert(document["cleaned"], Cleaned),
        content=contents[0],
        size_bytes=document["size_bytes"],
        uploaded_at=document["uploaded_at"],
        thumbnail=contents[1] if len(contents) > 1 else None,
        complaint=number,
        expires_at=document.get("wake_at") if number is None else None,
    )
