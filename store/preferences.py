"""Preferences in MongoDB: `preferences`, one document for each account that has ever said what it wants.

Whoever allowed text messages for at least one kind has `sms`, the list of these kinds, and `shard`, that of
the account (domain.ids.shard_of): by them a broadcast finds the few among its subscribers.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec.structs import replace
from pymongo import ASCENDING
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from domain.devices import DeviceLocale, Target, sms_target
from domain.ids import shard_of
from domain.preferences import (
    MessageKind,
    NotificationWay,
    Preferences,
    PreferencesConflictError,
    kinds_allowed,
)
from store.keys import KEY_BATCH, chunks

Document = dict[str, Any]


class PreferenceStore:
    """Reads and writes `preferences`."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._preferences = database["preferences"]

    @property
    def name(self) -> str:
        """Name the collection."""
        return "preferences"

    async def ensure_indexes(self) -> None:
        """Make the index."""
        await self._preferences.create_index([("shard", ASCENDING)], name="shard", sparse=True)

    async def get(self, account: str) -> Preferences:
        """Give what an account wants; version 0 when it has never said."""
        found = await self._preferences.find_one({"_id": account})
        return Preferences() if found is None else _preferences(found)

    async def list_for_accounts(self, accounts: Sequence[str]) -> dict[str, Preferences]:
        """Give what those of these accounts want that have ever said so."""
        return {
            document["_id"]: _preferences(document)
            for some in chunks(dict.fromkeys(accounts), KEY_BATCH)
            async for document in self._preferences.find({"_id": {"$in": some}})
        }

    async def list_sms_targets(self, accounts: Collection[str], kind: str | None = None) -> list[Target]:
        """Give where text messages go of those of these accounts that allowed them for a kind.

        None: of all that have ever said what they want. One query for every 64 accounts.
        """
        allowed: Document = {} if kind is None else {"sms": kind}
        return [
            _sms_target(document)
            for some in chunks(dict.fromkeys(accounts), KEY_BATCH)
            async for document in self._preferences.find({"_id": {"$in": some}, **allowed}, _OF_TARGET)
        ]

    async def list_sms_targets_in_shards(
        self, accounts: Collection[str], kind: str, first: int, end: int
    ) -> list[Target]:
        """Give the same of accounts in the shards from `first` until before `end`, in one query."""
        found = self._preferences.find({"shard": {"$gte": first, "$lt": end}, "sms": kind}, _OF_TARGET)
        return [_sms_target(document) async for document in found if document["_id"] in accounts]

    async def estimate(self) -> int:
        """Estimate how many accounts have said what they want."""
        return int(await self._preferences.estimated_document_count())

    async def save(self, account: str, preferences: Preferences, *, expected: int) -> Preferences:
        """Write preferences over those of the version `expected`, and give them with their new version.

        Raises: PreferencesConflictError with the version that there is; nothing is changed then.
        """
        saved = replace(preferences, version=expected + 1)
        document = {"_id": account, **msgspec.to_builtins(saved, builtin_types=(datetime,))}
        document |= _by_sms(account, saved)
        as_read = {"_id": account, "version": expected}
        if expected == 0:
            try:
                await self._preferences.insert_one(document)
            except DuplicateKeyError:
                raise await self._conflict(account) from None
        elif not (await self._preferences.replace_one(as_read, document)).matched_count:
            raise await self._conflict(account)
        return saved

    async def upgrade(self) -> int:
        """Let broadcasts find those who allowed text messages before these were sent, and count them."""
        given = [
            {f"consents.{kind.value}.{NotificationWay.SMS.value}.is_given": True} for kind in MessageKind
        ]
        count = 0
        async for document in self._preferences.find({"sms": {"$exists": False}, "$or": given}):
            as_read = {"_id": document["_id"], "version": document["version"]}
            found = _by_sms(document["_id"], _preferences(document))
            count += (await self._preferences.update_one(as_read, {"$set": found})).modified_count
        return count

    async def _conflict(self, account: str) -> PreferencesConflictError:
        current = (await self.get(account)).version
        return PreferencesConflictError(field="expectedVersion", current=current)

    async def export_account(self, account_id: str) -> list[Document]:
        """Give what an account wants, as it is stored."""
        return [each async for each in self._preferences.find({"_id": account_id})]

    async def erase_account(self, account_id: str, *, now: datetime) -> int:
        """Forget what an account wants."""
        return (await self._preferences.delete_one({"_id": account_id})).deleted_count


def _by_sms(account: str, preferences: Preferences) -> Document:
    """Give what a document says beside the preferences."""
    kinds = kinds_allowed(preferences, NotificationWay.SMS)
    return {"sms": [kind.value for kind in kinds], "shard": shard_of(account)} if kinds else {}


_OF_TARGET: Final = ("language",)


def _sms_target(document: Document) -> Target:
    return sms_target(document["_id"], DeviceLocale(document.get("language", DeviceLocale.ZH.value)))


def _preferences(document: Document) -> Preferences:
    return msgspec.convert({key: value for key, value in document.items() if key != "_id"}, Preferences)
