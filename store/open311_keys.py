"""The keys of Open311 partners: `open311_keys`, one document each; of a key itself only a digest is kept."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime
from typing import Any, Final

import msgspec
from pymongo import ASCENDING
from pymongo.asynchronous.database import AsyncDatabase

from domain.open311 import ApiKey, KeyScope

Document = dict[str, Any]
_MAX_CHARS: Final = 100
_MAX_LISTED: Final = 1_000


class Open311KeyStore:
    """Reads and writes `open311_keys`."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._keys = database["open311_keys"]

    async def ensure_indexes(self) -> None:
        """Make the index."""
        await self._keys.create_index([("digest", ASCENDING)], name="digest", unique=True)

    async def create(
        self,
        name: str,
        contact: str,
        scope: KeyScope,
        *,
        per_minute: int,
        per_day: int,
        division_code: str | None = None,
        now: datetime,
    ) -> tuple[ApiKey, str]:
        """Make a key; the text beside it is shown once and never again."""
        text = secrets.token_urlsafe(32)
        key = ApiKey(
            secrets.token_hex(6), name, contact, scope, per_minute, per_day, now, division_code=division_code
        )
        document: Document = msgspec.to_builtins(key, builtin_types=(datetime,))
        document["_id"] = document.pop("id")
        await self._keys.insert_one({**document, "digest": _digest(text)})
        return key, text

    async def find(self, text: str) -> ApiKey | None:
        """Find the key that a text is, unless it was revoked."""
        if not 0 < len(text) <= _MAX_CHARS:
            return None
        found = await self._keys.find_one({"digest": _digest(text)})
        return None if found is None or found.get("revoked_at") else _key(found)

    async def list_all(self) -> list[ApiKey]:
        """List the keys, revoked ones too, oldest first; at most 1,000."""
        found = self._keys.find({}, sort=[("_id", 1)], limit=_MAX_LISTED)
        return sorted([_key(document) async for document in found], key=lambda each: each.created_at)

    async def revoke(self, key_id: str, *, now: datetime) -> bool:
        """Revoke a key for good; False when there is none, or none any more."""
        change = {"$set": {"revoked_at": now}}
        return bool((await self._keys.update_one({"_id": key_id, "revoked_at": None}, change)).matched_count)


def _digest(text: str) -> str:
    # 32 random bytes cannot be guessed: a plain digest keeps them as secret as a slow one would.
    return hashlib.sha256(text.encode()).hexdigest()


def _key(document: Document) -> ApiKey:
    fields = {name: value for name, value in document.items() if name not in ("_id", "digest")}
    return msgspec.convert({"id": document["_id"], **fields}, ApiKey)
