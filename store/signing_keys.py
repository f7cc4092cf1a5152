"""The key pairs that sign access tokens: private halves encrypted, newest generation last."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from store.encryption import FieldCipher


class StoredKey(Struct, frozen=True):
    """A pair of raw Ed25519 keys (32 bytes each); it signs from `active_from` until the next one does."""

    generation: int
    kid: str
    private: bytes
    public: bytes
    active_from: datetime


class SigningKeyStore:
    """Reads and writes `signing_keys`; `_id` is the generation, so that one process only makes the next."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]], cipher: FieldCipher) -> None:
        self._keys = database["signing_keys"]
        self._cipher = cipher

    async def list_keys(self) -> list[StoredKey]:
        """List the keys, oldest generation first."""
        return [
            StoredKey(
                generation=document["_id"],
                kid=document["kid"],
                private=bytes(await self._cipher.decrypt(document["private"])),
                public=bytes(document["public"]),
                active_from=document["active_from"],
            )
            async for document in self._keys.find({}, sort=[("_id", 1)])
        ]

    async def insert(self, key: StoredKey) -> bool:
        """Insert a key; False when another process has made this generation."""
        document = {
            "_id": key.generation,
            "kid": key.kid,
            "private": await self._cipher.encrypt(key.private),
            "public": key.public,
            "active_from": key.active_from,
        }
        try:
            await self._keys.insert_one(document)
        except DuplicateKeyError:
            return False
        return True

    async def delete_before(self, generation: int) -> None:
        """Delete the keys of older generations."""
        await self._keys.delete_many({"_id": {"$lt": generation}})
