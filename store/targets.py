"""Where pushes go, in MongoDB: `device_targets`, the devices of one bucket of accounts in one document.

`_id` = the bucket (domain.ids.bucket_of), `shard` its shard, `devices` by device id. A copy of `devices`,
which DeviceStore keeps, for broadcasts: these need the devices of whole shards, which lie scattered among
millions there. Device ids are letters, digits, `_` and `-`, so that they can be names of fields.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import Any, Final

from pymongo import ASCENDING, UpdateOne
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError

from domain.devices import DeviceLocale, PushChannel, Target
from domain.ids import bucket_of, shard_of
from store.keys import chunks, duplicates

Document = dict[str, Any]
_PER_WRITE: Final = 200
_CHANNELS: Final = {channel.value: channel for channel in PushChannel}
_LOCALES: Final = {locale.value: locale for locale in DeviceLocale}


class TargetStore:
    """Reads and writes `device_targets`."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._targets = database["device_targets"]

    async def ensure_indexes(self) -> None:
        """Make the index."""
        await self._targets.create_index([("shard", ASCENDING)], name="shard")

    async def put(self, target: Target) -> None:
        """Write where pushes to a device go."""
        change = {f"devices.{target.id}": _shown(target), "shard": shard_of(target.account_id)}
        await self._targets.update_one({"_id": bucket_of(target.account_id)}, {"$set": change}, upsert=True)

    async def put_new(self, targets: Iterable[Target]) -> None:
        """Write targets of many accounts, a document at a time for those that have none yet."""
        by_bucket: dict[int, dict[str, Document]] = defaultdict(dict)
        shards: dict[int, int] = {}
        for target in targets:
            bucket = bucket_of(target.account_id)
            by_bucket[bucket][target.id] = _shown(target)
            shards[bucket] = shard_of(target.account_id)
        for some in chunks(sorted(by_bucket), _PER_WRITE):
            documents = [{"_id": each, "shard": shards[each], "devices": by_bucket[each]} for each in some]
            try:
                await self._targets.insert_many(documents, ordered=False)
            except BulkWriteError as error:
                for index in duplicates(error):
                    change = {f"devices.{id}": shown for id, shown in by_bucket[some[index]].items()}
                    await self._targets.update_one({"_id": some[index]}, {"$set": change})

    async def remove(self, targets: Iterable[Target]) -> None:
        """Remove targets unless they have another token or account meanwhile."""
        for some in chunks(targets, _PER_WRITE):
            requests = [
                UpdateOne(
                    {
                        "_id": bucket_of(target.account_id),
                        f"devices.{target.id}.account": target.account_id,
                        f"devices.{target.id}.token": target.token,
                    },
                    {"$unset": {f"devices.{target.id}": ""}},
                )
                for target in some
            ]
            await self._targets.bulk_write(requests, ordered=False)

    async def list_in_shards(
        self, first: int, end: int, accounts: Collection[str] | None = None
    ) -> list[Target]:
        """Give the targets in the shards from `first` until before `end`: these accounts' ones, or all."""
        found = await self._targets.find({"shard": {"$gte": first, "$lt": end}}).to_list()
        return [
            _target(id, shown)
            for document in found
            for id, shown in document["devices"].items()
            if accounts is None or shown["account"] in accounts
        ]

    async def erase_account(self, account_id: str) -> None:
        """Forget every target of an account."""
        found = await self._targets.find_one({"_id": bucket_of(account_id)})
        await self.remove(
            _target(id, shown)
            for id, shown in (found or {"devices": {}})["devices"].items()
            if shown["account"] == account_id
        )


def _shown(target: Target) -> Document:
    return {
        "account": target.account_id,
        "channel": target.channel.value,
        "token": target.token,
        "locale": target.locale.value,
    }


def _target(id: str, shown: Document) -> Target:
    return Target(
        id, shown["account"], _CHANNELS[shown["channel"]], shown["token"], _LOCALES[shown["locale"]]
    )
