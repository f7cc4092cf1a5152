"""What is kept about one account in the way of messages, for its export and its deletion."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
from pymongo.asynchronous.database import AsyncDatabase

from domain.devices import DeviceLocale, PushChannel, sms_target
from domain.ids import shard_of
from domain.messages import MAX_WINDOW
from store.deliveries import KEPT, DeliveryStore
from store.devices import DeviceStore
from store.inbox import InboxStore
from store.keys import KEY_BATCH, LONG_AGO, chunks
from store.messages import MessageStore
from store.subscriptions import part_of_shard

Document = dict[str, Any]
_CHANNELS: Final = tuple(channel.value for channel in PushChannel)
_FAR: Final = datetime(9999, 1, 1, tzinfo=UTC)


class AccountMessages:
    """Exports and erases an account's inbox, the messages to it alone, and their deliveries.

    To be erased before the account's devices, which are taken out of the deliveries of broadcasts by their
    ids; `deliveries_kept` is how long these are there.
    """

    def __init__(self, database: AsyncDatabase[Document], deliveries_kept: timedelta = KEPT) -> None:
        self._inbox = InboxStore(database)
        self._messages = database["messages"]
        self._broadcasts = MessageStore(database)
        self._deliveries = DeliveryStore(database)
        self._devices = DeviceStore(database)
        self._kept = deliveries_kept

    @property
    def name(self) -> str:
        """Name the collection, as the export shows it."""
        return "messages"

    async def export_account(self, account_id: str) -> list[Document]:
        """Give an account's inbox with what every message says; instants are UTC."""
        rows = await self._inbox.list_all(account_id)
        found: dict[str, Document] = {}
        for some in chunks((row.message for row in rows), KEY_BATCH):
            async for message in self._messages.find({"_id": {"$in": some}}, {"payload": 1, "created_at": 1}):
                found[message["_id"]] = message
        return [
            {
                **msgspec.structs.asdict(row),
                "payload": found.get(row.message, {}).get("payload"),
                "created_at": found.get(row.message, {}).get("created_at"),
            }
            for row in rows
        ]

    async def erase_account(self, account_id: str, *, now: datetime) -> int:
        """Forget an account's inbox and the messages to it alone; count the documents; may be run again."""
        ids = [row.message for row in await self._inbox.list_all(account_id)]
        # Those that wait for their fan-out have no row yet.
        waiting = {"wake_at": {"$gt": LONG_AGO, "$lt": _FAR}, "audience.account": account_id}
        ids += [message["_id"] async for message in self._messages.find(waiting, {"_id": 1})]
        # Digests never get one.
        digests = {"dedupe_key": {"$gte": f"digest:{account_id}@", "$lt": f"digest:{account_id}A"}}
        ids += [message["_id"] async for message in self._messages.find(digests, {"_id": 1})]
        for role in ("composed_by", "approved_by"):
            campaigns = {"composed": {"$gt": ""}, f"campaign.{role}": account_id}
            await self._messages.update_many(campaigns, {"$set": {f"campaign.{role}": "deleted"}})
        count = await self.forget(account_id, ids) + await self._forget_devices(account_id, now)
        return count + await self._inbox.delete_all(account_id)

    async def forget(self, account_id: str, ids: Iterable[str]) -> int:
        """Forget those of these messages that are for this account alone, with their deliveries; count."""
        count = 0
        for some in chunks(ids, KEY_BATCH):
            private = {"_id": {"$in": some}, "audience.account": account_id}
            own = [each["_id"] async for each in self._messages.find(private, {"_id": 1})]
            count += await self._deliveries.forget_messages(own, _CHANNELS)
            count += (await self._messages.delete_many(private)).deleted_count
        return count

    async def _forget_devices(self, account_id: str, now: datetime) -> int:
        """Take an account's devices out of the deliveries of broadcasts, also of those it has deleted."""
        devices = [device.id for device in await self._devices.list_for_account(account_id)]
        devices.append(sms_target(account_id, DeviceLocale.ZH).id)
        shard = shard_of(account_id)
        broadcasts = await self._broadcasts.list_broadcasts(since=now - self._kept - MAX_WINDOW)
        parts = [(message, part_of_shard(shard, splits)) for message, splits in broadcasts if splits]
        return await self._deliveries.forget_devices(devices, parts, _CHANNELS)
