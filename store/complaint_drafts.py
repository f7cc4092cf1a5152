"""Drafts of complaints in MongoDB: `complaint_drafts`, one document each, content and owner encrypted.

The `_id` is a digest of account and key, so that a repeated save meets its draft. `delete_at` ends it.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any

import msgspec
from bson.binary import Binary
from msgspec import Struct
from pymongo import ASCENDING, DESCENDING
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from domain.complaint_drafts import MAX_DRAFTS, Draft, DraftContent
from store.encryption import FieldCipher
from store.keys import LONG_AGO

Document = dict[str, Any]


class _Kept(Struct, frozen=True):
    """What is encrypted."""

    key: str
    content: DraftContent


class ComplaintDraftStore:
    """Reads and writes `complaint_drafts`."""

    name = "complaint_drafts"

    def __init__(self, database: AsyncDatabase[Document], cipher: FieldCipher) -> None:
        self._drafts = database["complaint_drafts"]
        self._cipher = cipher

    async def ensure_indexes(self) -> None:
        """Make the indexes."""
        await self._drafts.create_index([("owner", ASCENDING), ("saved_at", DESCENDING)], name="owner")
        await self._drafts.create_index([("delete_at", ASCENDING)], name="delete", expireAfterSeconds=0)

    async def insert(self, account_id: str, draft: Draft) -> bool:
        """Insert a draft; False when the account has one of the same key."""
        document = {"_id": _id(account_id, draft.key), **await self._document(account_id, draft)}
        # One whose time is over may still lie there for a minute.
        await self._drafts.delete_one({"_id": document["_id"], "delete_at": {"$lte": draft.saved_at}})
        try:
            await self._drafts.insert_one(document)
        except DuplicateKeyError:
            return False
        return True

    async def replace(self, account_id: str, draft: Draft) -> bool:
        """Write the next version of a draft if nobody else has written it."""
        as_read = {
            "_id": _id(account_id, draft.key),
            "version": draft.version - 1,
            "delete_at": {"$gt": draft.saved_at},
        }
        change = {"$set": await self._document(account_id, draft)}
        return bool((await self._drafts.update_one(as_read, change)).matched_count)

    async def find(self, account_id: str, key: str, *, now: datetime) -> Draft | None:
        """Find a draft of an account."""
        document = await self._drafts.find_one({"_id": _id(account_id, key), "delete_at": {"$gt": now}})
        return None if document is None else await self._draft(document)

    async def list_newest(self, account_id: str, *, now: datetime) -> list[Draft]:
        """List an account's drafts, the last saved first."""
        query = {"owner": await self._owner(account_id), "saved_at": {"$gt": LONG_AGO}}
        found = self._drafts.find(query, sort=[("owner", 1), ("saved_at", -1)], limit=2 * MAX_DRAFTS)
        return [await self._draft(document) async for document in found if document["delete_at"] > now]

    async def count(self, account_id: str, *, now: datetime) -> int:
        """Count an account's drafts."""
        query = {"owner": await self._owner(account_id), "delete_at": {"$gt": now}}
        return await self._drafts.count_documents(query)

    async def delete(self, account_id: str, key: str) -> bool:
        """Delete a draft and tell whether it was there."""
        return bool((await self._drafts.delete_one({"_id": _id(account_id, key)})).deleted_count)

    async def export_account(self, account_id: str) -> list[Document]:
        """Give an account's drafts in the clear, the last saved first."""
        found = self._drafts.find({"owner": await self._owner(account_id)}, sort=[("saved_at", -1)])
        drafts = [await self._draft(document) async for document in found]
        return [msgspec.to_builtins(draft, builtin_types=(datetime,)) for draft in drafts]

    async def erase_account(self, account_id: str, *, now: datetime) -> int:
        """Delete an account's drafts and count them."""
        return (await self._drafts.delete_many({"owner": await self._owner(account_id)})).deleted_count

    async def _owner(self, account_id: str) -> Binary:
        return await self._cipher.encrypt_for_lookup(account_id)

    async def _document(self, account_id: str, draft: Draft) -> Document:
        kept = msgspec.json.encode(_Kept(draft.key, draft.content))
        return {
            "owner": await self._owner(account_id),
            "version": draft.version,
            "saved_at": draft.saved_at,
            "delete_at": draft.expires_at,
            "content": await self._cipher.encrypt(kept),
        }

    async def _draft(self, document: Document) -> Draft:
        kept = msgspec.json.decode(await self._cipher.decrypt(document["content"]), type=_Kept)
        return Draft(kept.key, document["version"], document["saved_at"], kept.content)


def _id(account_id: str, key: str) -> Binary:
    return Binary(hashlib.blake2b(f"{account_id}\n{key}".encode(), digest_size=16).digest())
