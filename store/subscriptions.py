"""Subscriptions in MongoDB: `subscriptions`, the accounts of one topic and one shard in one document.

`_id` = `<topic>|<shard>`. A fan-out goes through the shards in order and unites the topics of each, so that
nobody is met twice and no list is longer than a few shards. A million rows would take the embedded engine
some thirty times as long to read.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from pymongo import ASCENDING
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError

from domain.errors import DomainError
from domain.ids import SHARDS, shard_of
from domain.messages import check_topic
from store.keys import chunks, duplicates

Document = dict[str, Any]
MAX_TOPICS_PER_ACCOUNT: Final = 200
_LOAD_BATCH = 100


class TooManySubscriptionsError(DomainError):
    """An account has as many subscriptions as it may have."""

    code = "TOO_MANY_SUBSCRIPTIONS"


class SubscriptionStore:
    """Reads and writes `subscriptions`."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._topics = database["subscriptions"]

    @property
    def name(self) -> str:
        """Name the collection."""
        return "subscriptions"

    async def ensure_indexes(self) -> None:
        """Make the indexes."""
        await self._topics.create_index([("topic", ASCENDING), ("shard", ASCENDING)], name="topic")
        await self._topics.create_index([("accounts", ASCENDING)], name="accounts")

    async def subscribe(self, account: str, topic: str) -> bool:
        """Subscribe an account to a topic; False when it was subscribed already.

        Raises: domain.messages.InvalidTopicError, TooManySubscriptionsError.
        """
        check_topic(topic)
        known = await self.list_topics(account)
        if topic in known:
            return False
        if len(known) >= MAX_TOPICS_PER_ACCOUNT:
            raise TooManySubscriptionsError(limit=MAX_TOPICS_PER_ACCOUNT)
        shard = shard_of(account)
        result = await self._topics.update_one(
            {"_id": _key(topic, shard)},
            {"$addToSet": {"accounts": account}, "$setOnInsert": {"topic": topic, "shard": shard}},
            upsert=True,
        )
        return bool(result.modified_count or result.upserted_id)

    async def unsubscribe(self, account: str, topic: str) -> bool:
        """End a subscription; False when there was none."""
        key = _key(topic, shard_of(account))
        result = await self._topics.update_one(
            {"_id": key, "accounts": account}, {"$pull": {"accounts": account}}
        )
        return bool(result.modified_count)

    async def list_topics(self, account: str) -> list[str]:
        """List the topics of an account."""
        found = self._topics.find({"accounts": account}, {"topic": 1})
        return sorted([document["topic"] async for document in found])

    async def list_accounts(self, topics: Sequence[str], first: int, end: int) -> list[str]:
        """List everybody in the shards from `first` until before `end` who subscribed to any topic, once."""

        async def of_topic(topic: str) -> list[str]:
            found = self._topics.find({"topic": topic, "shard": {"$gte": first, "$lt": end}}, {"accounts": 1})
            return [account async for document in found for account in document["accounts"]]

        lists = await asyncio.gather(*map(of_topic, topics))
        return lists[0] if len(lists) == 1 else list(dict.fromkeys(each for one in lists for each in one))

    async def estimate(self, topics: Sequence[str]) -> int:
        """Count the subscriptions to these topics: at least as many as there are subscribers."""
        total = 0
        for topic in topics:
            sums = await self._topics.aggregate(
                [
                    {"$match": {"topic": topic}},
                    {"$group": {"_id": None, "count": {"$sum": {"$size": "$accounts"}}}},
                ]
            )
            total += sum([group["count"] async for group in sums])
        return total

    async def load(self, topic: str, accounts: Iterable[str]) -> None:
        """Subscribe many accounts to one topic: for moving in from another system."""
        by_shard: dict[int, list[str]] = defaultdict(list)
        for account in accounts:
            by_shard[shard_of(account)].append(account)
        for batch in chunks(sorted(by_shard), _LOAD_BATCH):
            documents = [
                {"_id": _key(topic, shard), "topic": topic, "shard": shard, "accounts": by_shard[shard]}
                for shard in batch
            ]
            try:
                await self._topics.insert_many(documents, ordered=False)
            except BulkWriteError as error:
                for index in duplicates(error):
                    change = {"$addToSet": {"accounts": {"$each": by_shard[batch[index]]}}}
                    await self._topics.update_one({"_id": _key(topic, batch[index])}, change)

    async def export_account(self, account_id: str) -> list[Document]:
        """Give what is kept about an account: its topics."""
        return [{"topic": topic} for topic in await self.list_topics(account_id)]

    async def erase_account(self, account_id: str, *, now: datetime) -> int:
        """Forget an account's subscriptions and count them; may be run again."""
        mine = {"accounts": account_id}
        return (await self._topics.update_many(mine, {"$pull": mine})).modified_count


def shards_of_part(part: int, splits: int) -> tuple[int, int]:
    """Give the first shard of a part and the one behind its last; `splits` is a power of two."""
    return part * SHARDS // splits, (part + 1) * SHARDS // splits


def part_of_shard(shard: int, splits: int) -> int:
    """Give the part in which a shard lies; `splits` is a power of two."""
    return shard * splits // SHARDS


def _key(topic: str, shard: int) -> str:
    return f"{topic}|{shard:04d}"
