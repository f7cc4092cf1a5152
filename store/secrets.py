"""Secrets that all processes share: random, made once, encrypted in the database."""

from __future__ import annotations

import secrets
from typing import Any

from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from store.encryption import FieldCipher

_BYTES = 32


class SecretStore:
    """Reads shared secrets by name; each is kept in memory once read."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]], cipher: FieldCipher) -> None:
        self._secrets = database["secrets"]
        self._cipher = cipher
        self._known: dict[str, bytes] = {}

    async def get(self, name: str) -> bytes:
        """Give the 32 bytes of a secret, made when nobody has asked for it before."""
        known = self._known.get(name)
        if known is None:
            known = self._known[name] = await self._find(name) or await self._make(name)
        return known

    async def _find(self, name: str) -> bytes | None:
        document = await self._secrets.find_one({"_id": name})
        return None if document is None else bytes(await self._cipher.decrypt(document["value"]))

    async def _make(self, name: str) -> bytes:
        value = secrets.token_bytes(_BYTES)
        try:
            await self._secrets.insert_one({"_id": name, "value": await self._cipher.encrypt(value)})
        except DuplicateKeyError:
            found = await self._find(name)
            if found is None:
                raise
            return found
        return value
