"""Who looked at whose data, when and why: written by whoever looks, read by the citizen."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from msgspec import Struct
from pymongo import ASCENDING, DESCENDING
from pymongo.asynchronous.database import AsyncDatabase

from domain.access import Role, Viewer

KEPT: Final = timedelta(days=3 * 365)


class AccessEntry(Struct, frozen=True):
    """One look at an account's data. `id` orders by time; `reason` is the words of whoever looked."""

    id: str
    role: Role
    unit: str | None
    fields: tuple[str, ...]
    reason: str
    at: datetime


class AccessLog:
    """Reads and writes `access_log`."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]]) -> None:
        self._entries = database["access_log"]

    @property
    def name(self) -> str:
        """Name the collection."""
        return "access_log"

    async def ensure_indexes(self) -> None:
        """Make the indexes."""
        await self._entries.create_index(
            [("account_id", ASCENDING), ("_id", DESCENDING)], name="account_newest"
        )
        await self._entries.create_index([("actor_id", ASCENDING)], name="actor")
        await self._entries.create_index([("delete_at", ASCENDING)], name="delete", expireAfterSeconds=0)

    async def record(
        self, account_id: str, actor: Viewer, role: Role, fields: Sequence[str], reason: str, *, now: datetime
    ) -> None:
        """Write down that somebody, acting as `role`, is shown these fields of an account; do so first."""
        await self._entries.insert_one(
            {
                "_id": f"{int(now.timestamp() * 1000):012x}{secrets.token_hex(6)}",
                "account_id": account_id,
                "actor_id": actor.account_id,
                "role": role.value,
                "unit": actor.unit,
                "fields": list(fields),
                "reason": reason,
                "at": now,
                "delete_at": now + KEPT,
            }
        )

    async def list_newest(self, account_id: str, first: int, before: str | None) -> list[AccessEntry]:
        """List at most `first` entries about an account, newest first, those before the entry `before`."""
        query: dict[str, Any] = {"account_id": account_id}
        if before is not None:
            query["_id"] = {"$lt": before}
        cursor = self._entries.find(query, sort=[("_id", DESCENDING)], limit=first)
        return [
            AccessEntry(
                id=document["_id"],
                role=Role(document["role"]),
                unit=document["unit"],
                fields=tuple(document["fields"]),
                reason=document["reason"],
                at=document["at"],
            )
            async for document in cursor
        ]

    async def export_account(self, account_id: str) -> list[dict[str, Any]]:
        """Give all entries about an account; who looked is told by role and unit, not by name."""
        hidden = {"actor_id": 0, "delete_at": 0}
        return [entry async for entry in self._entries.find({"account_id": account_id}, hidden)]

    async def erase_account(self, account_id: str, *, now: datetime) -> int:
        """Delete the entries about an account; where it was staff that looked, forget who it was."""
        gone = (await self._entries.delete_many({"account_id": account_id})).deleted_count
        await self._entries.update_many({"actor_id": account_id}, {"$set": {"actor_id": "deleted"}})
        return gone
