"""The budget of WeChat's one-time consents in MongoDB: `wechat_grants`, `_id` = `<openid>:<template id>`.

WeChat counts by openid, so these do too; `account_id` says whose data a document is. A citizen's "allow" in
the dialog is worth one message of that template. WeChat never tells how many are left.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from bson.codec_options import CodecOptions
from pymongo import ASCENDING
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from domain.devices import MAX_DEVICE_AGE, MAX_GRANTS

Document = dict[str, Any]
_KEYS_KEPT = 10
_KEPT = MAX_DEVICE_AGE + timedelta(days=30)


class WechatGrantStore:
    """Counts the consents that are left for each openid and template."""

    name = "wechat_grants"

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        options: CodecOptions[Document] = CodecOptions(tz_aware=True, tzinfo=UTC)
        self._grants = database.with_options(codec_options=options)["wechat_grants"]

    async def ensure_indexes(self) -> None:
        """Create the indexes that the queries need; cheap when they exist."""
        await self._grants.create_index([("account_id", ASCENDING)], name="account")
        await self._grants.create_index(
            [("changed_at", ASCENDING)],
            name="changed_at",
            expireAfterSeconds=int(_KEPT.total_seconds()),
        )

    async def grant(
        self, openid: str, account_id: str, template_ids: Sequence[str], *, key: str, now: datetime
    ) -> dict[str, int]:
        """Add one consent for each template and give what is left of each, at most `MAX_GRANTS`.

        The same report, told apart by `key`, counts once however often it comes.
        """
        for template_id in template_ids:
            await self._grant(f"{openid}:{template_id}", account_id, key, now)
        return {template_id: await self.get_left(openid, template_id) for template_id in template_ids}

    async def _grant(self, id_: str, account_id: str, key: str, now: datetime) -> None:
        counted = {"_id": id_, "keys": {"$ne": key}, "left": {"$lt": MAX_GRANTS}}
        change = {
            "$inc": {"left": 1},
            "$push": {"keys": {"$each": [key], "$slice": -_KEYS_KEPT}},
            "$set": {"account_id": account_id, "changed_at": now},
        }
        if (await self._grants.update_one(counted, change)).matched_count:
            return
        first = {"_id": id_, "account_id": account_id, "left": 1, "keys": [key], "changed_at": now}
        try:
            await self._grants.insert_one(first)
        except DuplicateKeyError:
            # It is there: this report was counted before, or there are as many as are kept. But another
            # report may have made it between the two commands.
            await self._grants.update_one(counted, change)

    async def get_left(self, openid: str, template_id: str) -> int:
        """Give the consents that are left."""
        document = await self._grants.find_one({"_id": f"{openid}:{template_id}"}, ("left",))
        return 0 if document is None else int(document["left"])

    async def consume(self, openid: str, template_id: str, *, now: datetime) -> bool:
        """Take one consent; False when none is left."""
        result = await self._grants.update_one(
            {"_id": f"{openid}:{template_id}", "left": {"$gt": 0}},
            {"$inc": {"left": -1}, "$set": {"changed_at": now}},
        )
        return result.modified_count == 1

    async def give_back(self, openid: str, template_id: str) -> None:
        """Put one consent back that was taken for a message which provably was not sent."""
        await self._grants.update_one(
            {"_id": f"{openid}:{template_id}", "left": {"$lt": MAX_GRANTS}}, {"$inc": {"left": 1}}
        )

    async def clear(self, openid: str, template_id: str) -> None:
        """Take note that WeChat has no consent of this person for the template."""
        await self._grants.update_one({"_id": f"{openid}:{template_id}"}, {"$set": {"left": 0}})

    async def export_account(self, account_id: str) -> list[Document]:
        """Give everything that is kept about the consents of an account."""
        documents = await self._grants.find({"account_id": account_id}, {"keys": 0}).to_list()
        return sorted(documents, key=lambda document: str(document["_id"]))

    async def erase_account(self, account_id: str, *, now: datetime) -> int:
        """Remove all consents of an account; count them."""
        return (await self._grants.delete_many({"account_id": account_id})).deleted_count
