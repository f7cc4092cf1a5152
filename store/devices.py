"""Devices in MongoDB: `devices`, `_id` = the device's id; a token belongs to one device at most."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import msgspec
import structlog
from bson.codec_options import CodecOptions
from pymongo import ASCENDING, DeleteOne
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from domain.devices import MAX_DEVICE_AGE, MAX_DEVICES, Device
from domain.ids import shard_of

Document = dict[str, Any]
_KEY_BATCH = 64  # the embedded engine answers `$in` in quadratic time
_WRITE_BATCH = 1000
_ATTEMPTS = 5

_log = structlog.get_logger()


def _chunks(values: Iterable[str], size: int) -> Iterator[list[str]]:
    iterator = iter(values)
    while chunk := list(islice(iterator, size)):
        yield chunk


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

    async def ensure_indexes(self) -> None:
        """Create the indexes that the queries need; cheap when they exist."""
        await self._devices.create_index(
            [("account_id", ASCENDING), ("seen_at", ASCENDING)], name="account_seen"
        )
        await self._devices.create_index(
            [("channel", ASCENDING), ("token", ASCENDING)], name="token", unique=True
        )
        await self._devices.create_index([("shard", ASCENDING)], name="shard")
        await self._devices.create_index(
            [("seen_at", ASCENDING)],
            name="seen_at",
            expireAfterSeconds=int(MAX_DEVICE_AGE.total_seconds()),
        )

    async def upsert(self, device: Device) -> Device:
        """Write a device and give it back as it is stored.

        Its token leaves whichever device had it, of this account or of another; a device that had another
        account leaves that. `registered_at` stays that of the first time with this account. Beyond
        `MAX_DEVICES` the account's devices that were not seen for longest are removed.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            await self._devices.delete_many(
                {"channel": device.channel.value, "token": device.token, "_id": {"$ne": device.id}}
            )
            try:
                stored = await self._write(device)
                break
            except DuplicateKeyError:
                # Two phones report one token at the same moment: the later one has it.
                if attempt == _ATTEMPTS:
                    raise
        await self._cap(device)
        return stored

    async def _write(self, device: Device) -> Device:
        known = await self._devices.find_one({"_id": device.id}, ("account_id", "registered_at"))
        ours = known is not None and known["account_id"] == device.account_id
        since = known["registered_at"] if known is not None and ours else device.registered_at
        stored = msgspec.structs.replace(device, registered_at=since)
        await self._devices.update_one(
            {"_id": device.id}, {"$set": _document(device) | {"registered_at": since}}, upsert=True
        )
        return stored

    async def _cap(self, newest: Device) -> None:
        devices = await self.list_for_account(newest.account_id)
        others = [device.id for device in devices if device.id != newest.id]
        if excess := others[MAX_DEVICES - 1 :]:
            await self._devices.delete_many({"_id": {"$in": excess}, "account_id": newest.account_id})

    async def find(self, device_id: str) -> Device | None:
        """Find a device by its id, whosever it is."""
        document = await self._devices.find_one({"_id": device_id})
        return None if document is None else _device(document)

    async def list_for_account(self, account_id: str) -> list[Device]:
        """List an account's devices, the one seen last first."""
        documents = await self._devices.find({"account_id": account_id}).to_list()
        return sorted(map(_device, documents), key=lambda device: (device.seen_at, device.id), reverse=True)

    async def list_for_accounts(self, account_ids: Collection[str]) -> dict[str, list[Device]]:
        """Fetch the devices of many accounts; those without any are left out.

        One query for every 64 accounts.
        """
        found: dict[str, list[Device]] = {}
        for chunk in _chunks(dict.fromkeys(account_ids), _KEY_BATCH):
            for document in await self._devices.find({"account_id": {"$in": chunk}}).to_list():
                device = _device(document)
                found.setdefault(device.account_id, []).append(device)
        return found

    async def list_in_shards(self, first: int, end: int) -> list[Device]:
        """Fetch the devices of all accounts in the shards from `first` until before `end`.

        For broadcasts that reach a good part of all accounts: a range is read in a third of the time.
        """
        found = self._devices.find({"shard": {"$gte": first, "$lt": end}})
        return [_device(document) async for document in found]

    async def estimate(self) -> int:
        """Estimate how many devices there are."""
        return int(await self._devices.estimated_document_count())

    async def list_by_id(self, device_ids: Collection[str]) -> dict[str, Device]:
        """Fetch devices by id; unknown ids are left out. One query for every 64 devices."""
        found: dict[str, Device] = {}
        for chunk in _chunks(dict.fromkeys(device_ids), _KEY_BATCH):
            for document in await self._devices.find({"_id": {"$in": chunk}}).to_list():
                found[document["_id"]] = _device(document)
        return found

    async def remove(self, account_id: str, device_id: str) -> bool:
        """Remove a device of an account and tell whether it was there."""
        result = await self._devices.delete_one({"_id": device_id, "account_id": account_id})
        return result.deleted_count == 1

    async def remove_tokens(
        self, device_ids: Collection[str], reason: str, *, tokens: Mapping[str, str] | None = None
    ) -> int:
        """Remove devices whose token is dead and tell how many there were.

        `reason` is the channel's word for it. `tokens` says by device id which token was found dead: a device
        that has refreshed it meanwhile stays. Always give it after a push was sent.
        """
        removed = 0
        for chunk in _chunks(dict.fromkeys(device_ids), _WRITE_BATCH):
            if tokens is None:
                requests = [DeleteOne({"_id": id_}) for id_ in chunk]
            else:
                requests = [DeleteOne({"_id": id_, "token": tokens[id_]}) for id_ in chunk]
            removed += (await self._devices.bulk_write(requests, ordered=False)).deleted_count
        if removed:
            _log.info("devices_removed", reason=reason, count=removed)
        return removed

    async def remove_stale(self, *, now: datetime) -> int:
        """Remove the devices not seen for `MAX_DEVICE_AGE` and tell how many there were.

        A server does so by its index; the embedded engine needs to be asked.
        """
        result = await self._devices.delete_many({"seen_at": {"$lt": now - MAX_DEVICE_AGE}})
        return result.deleted_count

    async def export_account(self, account_id: str) -> list[Document]:
        """Give everything that is kept about the devices of an account, the one seen last first."""
        devices = await self.list_for_account(account_id)
        exported = [msgspec.to_builtins(device, builtin_types=(datetime,)) for device in devices]
        for document in exported:
            del document["account_id"]
        return exported

    async def erase_account(self, account_id: str, *, now: datetime) -> int:
        """Remove all devices of an account; count them."""
        return (await self._devices.delete_many({"account_id": account_id})).deleted_count
