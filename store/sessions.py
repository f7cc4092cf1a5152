"""Sessions: one document for each sign-in; what ended is told on Redis and can be polled."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from pymongo import ASCENDING
from pymongo.asynchronous.database import AsyncDatabase
from redis.asyncio import Redis

from domain.account import ACCESS_LIFE, EndReason, Session, next_expiry

ENDED_CHANNEL: Final = "mintong:sessions"
_KEPT_AFTER_END: Final = timedelta(days=30)
_MOST_ENDED: Final = 10_000


class SessionStore:
    """Reads and writes `sessions`."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]]) -> None:
        self._sessions = database["sessions"]

    @property
    def name(self) -> str:
        """Name the collection."""
        return "sessions"

    async def ensure_indexes(self) -> None:
        """Make the indexes."""
        await self._sessions.create_index([("account_id", ASCENDING)], name="account")
        await self._sessions.create_index([("ended_at", ASCENDING)], name="ended", sparse=True)
        await self._sessions.create_index([("delete_at", ASCENDING)], name="delete", expireAfterSeconds=0)

    async def insert(self, session: Session) -> None:
        """Insert a new session."""
        await self._sessions.insert_one(_document(session))

    async def adopt(self, session: Session) -> Session:
        """Insert a session that an outside issuer keeps, or prolong it; give it as it is now."""
        later = {"expires_at": session.expires_at, "delete_at": session.expires_at + _KEPT_AFTER_END}
        fresh = {name: value for name, value in _document(session).items() if name not in (*later, "_id")}
        await self._sessions.update_one(
            {"_id": session.id}, {"$max": later, "$setOnInsert": fresh}, upsert=True
        )
        return await self.find(session.id) or session

    async def find(self, session_id: str) -> Session | None:
        """Find a session by id, open or not."""
        document = await self._sessions.find_one({"_id": session_id, "account_id": {"$exists": True}})
        return None if document is None else _session(document)

    async def list_open(self, account_id: str, *, now: datetime) -> list[Session]:
        """List the open sessions of an account, last used first."""
        found = [_session(each) async for each in self._sessions.find({"account_id": account_id})]
        return sorted(
            (session for session in found if session.is_open(now)),
            key=lambda session: (session.refreshed_at, session.id),
            reverse=True,
        )

    async def advance(self, session: Session, *, now: datetime) -> Session | None:
        """Use the newest refresh token of a session up; None when it was not the newest any more."""
        expires_at = next_expiry(session.created_at, now)
        change = {
            "generation": session.generation + 1,
            "refreshed_at": now,
            "expires_at": expires_at,
            "delete_at": expires_at + _KEPT_AFTER_END,
        }
        as_read = {"_id": session.id, "generation": session.generation, "ended_at": None}
        if not (await self._sessions.update_one(as_read, {"$set": change})).matched_count:
            return None
        return msgspec.structs.replace(
            session, generation=session.generation + 1, refreshed_at=now, expires_at=expires_at
        )

    async def strengthen(self, session_id: str, until: datetime) -> bool:
        """Note a strong check; False when the session has ended."""
        as_read = {"_id": session_id, "ended_at": None}
        return bool(
            (await self._sessions.update_one(as_read, {"$set": {"strong_until": until}})).matched_count
        )

    async def end(
        self, account_id: str, session_ids: Collection[str], reason: EndReason, *, now: datetime
    ) -> list[str]:
        """End those of the sessions that are the account's and not ended; give their ids."""
        ended = []
        for session_id in session_ids:
            as_read = {"_id": session_id, "account_id": account_id, "ended_at": None}
            change = {"ended_at": now, "end_reason": reason.value, "delete_at": now + _KEPT_AFTER_END}
            if (await self._sessions.update_one(as_read, {"$set": change})).matched_count:
                ended.append(session_id)
        return ended

    async def list_ended_since(self, since: datetime) -> list[tuple[str, datetime]]:
        """List sessions that ended at `since` or later, at most 10,000, newest first, with their ends."""
        cursor = self._sessions.find(
            {"ended_at": {"$gte": since}}, {"ended_at": 1}, sort=[("ended_at", -1)], limit=_MOST_ENDED
        )
        return [(document["_id"], document["ended_at"]) async for document in cursor]

    async def export_account(self, account_id: str) -> list[dict[str, Any]]:
        """Give what is kept about an account, without what could be used to sign in."""
        secret = {"seed": 0, "delete_at": 0}
        return [each async for each in self._sessions.find({"account_id": account_id}, secret)]

    async def erase_account(self, account_id: str, *, now: datetime) -> int:
        """Forget all about the sessions of an account but that they ended; count them.

        Their bare ids stay for a while: processes that poll must learn that the access tokens are void.
        """
        kept = ("id", "ended_at")
        known = {name: "" for name in Session.__struct_fields__ if name not in kept}
        change = {"$unset": known, "$set": {"ended_at": now, "delete_at": now + 2 * ACCESS_LIFE}}
        return (await self._sessions.update_many({"account_id": account_id}, change)).modified_count


async def announce_ended(redis: Redis, session_ids: Collection[str]) -> None:
    """Tell every process that sessions have ended; those that miss it see it when they poll."""
    if session_ids:
        await redis.publish(ENDED_CHANNEL, " ".join(session_ids))


def _document(session: Session) -> dict[str, Any]:
    fields = {name: value for name, value in msgspec.structs.asdict(session).items() if value is not None}
    return {"_id": fields.pop("id"), **fields, "delete_at": session.expires_at + _KEPT_AFTER_END}


def _session(document: dict[str, Any]) -> Session:
    reason = document.get("end_reason")
    known = {name: document[name] for name in Session.__struct_fields__ if name in document}
    known |= {"id": document["_id"], "seed": bytes(document["seed"])}
    known["end_reason"] = EndReason(reason) if reason else None
    return Session(**known)
