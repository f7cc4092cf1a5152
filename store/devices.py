"""Devices in MongoDB: `devices`, `_id` = the device's id; a token belongs to one device at most.

What broadcasts need of them is copied (store/targets.py): after the device, and looked at again after that,
so that of several changes at once the last one stands in the copy. A process that dies in between leaves a
copy that is not like its device; `repair_targets`, run round and round, finds those.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import structlog
from bson.codec_options import CodecOptions
from pymongo import ASCENDING, DeleteOne
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from domain.devices import MAX_DEVICE_AGE, MAX_DEVICES, Device, Target
from domain.ids import shard_of
from store.keys import KEY_BATCH, LONG_AGO, WRITE_BATCH, chunks
from store.targets import TargetStore

Document = dict[str, Any]
_ATTEMPTS = 5

_log = structlog.get_logger()


def _document(device: Device) -> Document:
    document: Document = msgspec.to_builtins(device, builtin_types=(datetime,))
    del document["id"], document["registered_at"]
    document["shard"] = shard_of(device.account_id)  # the order in which a broadcast meets them
    return document


def _device(document: Document) -> Device:
    document["id"] = document["_id"]
    return msgspec.convert(document, Device)


class DeviceStore:
    """Reads and writes devices."""

    name = "devices"

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        options: CodecOptions[Document] = CodecOptions(tz_aware=True, tzinfo=UTC)
        self._devices = database.with_options(codec_options=options)["devices"]
        self._targets = TargetStore(database)

    async def ensure_indexes(self) -> None:
        """Create the indexes that the queries need; cheap when they exist."""
        await self._devices.create_index(
            [("account_id", ASCENDING), ("seen_at", ASCENDING)], name="account_seen"
        )
        await self._devices.create_index(
            [("channel", ASCENDING), ("token", ASCENDING)], name="token", unique=True
        )
        await self._devices.create_index([("shard", ASCENDING)], name="shard")
        await self._devices.create_index([("seen_at", ASCENDING)], name="seen_at")
        await self._targets.ensure_indexes()

    async def upsert(self, device: Device) -> Device:
        """Write a device and give it back as it is stored.

        Its token leaves whichever device had it, of this account or of another; a device that had another
        account leaves that. `registered_at` stays that of the first time with this account. Beyond
        `MAX_DEVICES` the account's devices that were not seen for longest are removed.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            others = {"channel": device.channel.value, "token": device.token, "_id": {"$ne": device.id}}
            await self._delete(await self._list(others))
            try:
                stored = await self._write(device)
                break
            except DuplicateKeyError:
                # Two phones report one token at the same moment, or two people one device: the later has it.
                if attempt == _ATTEMPTS:
                    raise
        await self._copy(stored.target)
        await self._cap(device)
        return stored

    async def _write(self, device: Device) -> Device:
        known = await self.find(device.id)
        ours = known is not None and known.account_id == device.account_id
        since = known.registered_at if known is not None and ours else device.registered_at
        as_read = {"_id": device.id, "account_id": device.account_id}
        if known is not None and not ours:
            await self._targets.remove([known.target])
            as_read = {"_id": device.id, "account_id": known.account_id, "token": known.token}
        stored = msgspec.structs.replace(device, registered_at=since)
        await self._devices.update_one(
            as_read, {"$set": _document(device) | {"registered_at": since}}, upsert=True
        )
        if known is not None and not ours:
            # Again: whoever wrote the other account may have copied it between the removal and this write.
            await self._targets.remove([known.target])
        return stored

    async def _copy(self, target: Target) -> None:
        """Copy a device to the targets; what became of it meanwhile counts."""
        for _ in range(_ATTEMPTS):
            await self._targets.put(target)
            device = await self.find(target.id)
            if device is not None and device.target == target:
                return
            await self._targets.remove([target])
            if device is None:
                return
            target = device.target

    async def _delete(self, devices: Sequence[Device], condition: Document | None = None) -> int:
        """Delete devices that still have the token with which they were read, and count them."""
        removed = 0
        for some in chunks(devices, WRITE_BATCH):
            requests = [
                DeleteOne({"_id": each.id, "token": each.token, **(condition or {})}) for each in some
            ]
            removed += (await self._devices.bulk_write(requests, ordered=False)).deleted_count
            await self._targets.remove(each.target for each in some)
            for left in (await self.list_by_id([each.id for each in some])).values():
                await self._copy(left.target)
        return removed

    async def _cap(self, newest: Device) -> None:
        devices = await self.list_for_account(newest.account_id)
        others = [device for device in devices if device.id != newest.id]
        await self._delete(others[MAX_DEVICES - 1 :], {"account_id": newest.account_id})

    async def load(self, devices: Iterable[Device]) -> None:
        """Register many devices that are new: for moving in from another system."""
        targets: list[Target] = []
        for some in chunks(devices, WRITE_BATCH):
            documents = [
                {"_id": each.id, **_document(each), "registered_at": each.registered_at} for each in some
            ]
            await self._devices.insert_many(documents, ordered=False)
            targets += [each.target for each in some]
        await self._targets.put_new(targets)

    async def find(self, device_id: str) -> Device | None:
        """Find a device by its id, whosever it is."""
        document = await self._devices.find_one({"_id": device_id})
        return None if document is None else _device(document)

    async def list_for_account(self, account_id: str) -> list[Device]:
        """List an account's devices, the one seen last first."""
        devices = await self._list({"account_id": account_id})
        return sorted(devices, key=lambda device: (device.seen_at, device.id), reverse=True)

    async def list_for_accounts(self, account_ids: Collection[str]) -> dict[str, list[Device]]:
        """Fetch the devices of many accounts; those without any are left out.

        One query for every 64 accounts.
        """
        found: dict[str, list[Device]] = {}
        for chunk in chunks(dict.fromkeys(account_ids), KEY_BATCH):
            for document in await self._devices.find({"account_id": {"$in": chunk}}).to_list():
                device = _device(document)
                found.setdefault(device.account_id, []).append(device)
        return found

    async def list_targets(self, accounts: Collection[str] | None, first: int, end: int) -> list[Target]:
        """Give where pushes to accounts in the shards from `first` until before `end` go; None: to all there.

        Reads the targets of everybody in these shards, a thousand in the time of some hundred devices.
        """
        return await self._targets.list_in_shards(first, end, accounts)

    async def repair_targets(self, first: int, end: int) -> int:
        """Make the targets of some shards like their devices, and count those that were not."""
        found = await self._list({"shard": {"$gte": first, "$lt": end}})
        wanted = {device.target for device in found}
        targets = await self._targets.list_in_shards(first, end)
        wrong = [target for target in targets if target not in wanted]
        missing = wanted.difference(targets)
        await self._targets.remove(wrong)
        for target in missing:
            await self._copy(target)
        return len(wrong) + len(missing)

    async def estimate(self) -> int:
        """Estimate how many devices there are."""
        return int(await self._devices.estimated_document_count())

    async def list_by_id(self, device_ids: Collection[str]) -> dict[str, Device]:
        """Fetch devices by id; unknown ids are left out. One query for every 64 devices."""
        found: dict[str, Device] = {}
        for chunk in chunks(dict.fromkeys(device_ids), KEY_BATCH):
            for document in await self._devices.find({"_id": {"$in": chunk}}).to_list():
                found[document["_id"]] = _device(document)
        return found

    async def remove(self, account_id: str, device_id: str) -> bool:
        """Remove a device of an account and tell whether it was there."""
        own = {"_id": device_id, "account_id": account_id}
        return bool(await self._delete(await self._list(own), {"account_id": account_id}))

    async def remove_tokens(
        self, device_ids: Collection[str], reason: str, *, tokens: Mapping[str, str] | None = None
    ) -> int:
        """Remove devices whose token is dead and tell how many there were.

        `reason` is the channel's word for it. `tokens` says by device id which token was found dead: a device
        that has refreshed it meanwhile stays. Always give it after a push was sent.
        """
        found = (await self.list_by_id(device_ids)).values()
        removed = await self._delete(
            [each for each in found if tokens is None or tokens[each.id] == each.token]
        )
        if removed:
            _log.info("devices_removed", reason=reason, count=removed)
        return removed

    async def remove_stale(self, *, now: datetime, kept: timedelta = MAX_DEVICE_AGE) -> int:
        """Remove up to 1,000 devices that were not seen for `kept`, and tell how many there were."""
        stale = {"seen_at": {"$gt": LONG_AGO, "$lt": now - kept}}
        return await self._delete(await self._list(stale, WRITE_BATCH), stale)

    async def export_account(self, account_id: str) -> list[Document]:
        """Give everything that is kept about the devices of an account, the one seen last first."""
        devices = await self.list_for_account(account_id)
        exported = [msgspec.to_builtins(device, builtin_types=(datetime,)) for device in devices]
        for document in exported:
            del document["account_id"]
        return exported

    async def erase_account(self, account_id: str, *, now: datetime) -> int:
        """Remove all devices of an account; count them."""
        count = await self._delete(await self._list({"account_id": account_id}), {"account_id": account_id})
        await self._targets.erase_account(account_id)
        return count

    async def _list(self, query: Document, most: int = 0) -> list[Device]:
        return [_device(each) for each in await self._devices.find(query, limit=most).to_list()]
