"""Retention: what is too old goes, some of it at a time; and what broadcasts read is looked after."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import structlog
from msgspec import Struct

from domain.devices import MAX_DEVICE_AGE
from domain.ids import SHARDS
from store.deliveries import KEPT as DELIVERIES_KEPT
from store.deliveries import DeliveryStore
from store.devices import DeviceStore
from store.inbox import KEPT as INBOX_KEPT
from store.inbox import InboxStore

log = structlog.get_logger(__name__)

_SHARDS_AT_ONCE: Final = 16


class Kept(Struct, frozen=True):
    """How long things are kept: inbox rows, deliveries with dead letters, devices that are not seen."""

    inbox: timedelta = INBOX_KEPT
    deliveries: timedelta = DELIVERIES_KEPT
    devices: timedelta = MAX_DEVICE_AGE


class Retention:
    """Deletes old messages from the inboxes, old deliveries, and devices that nobody has seen for long.

    Compares the targets of some shards with their devices, and remembers how far it has come.
    """

    def __init__(
        self,
        inbox: InboxStore,
        deliveries: DeliveryStore,
        devices: DeviceStore,
        kept: Kept,
        clock: Callable[[], datetime],
    ) -> None:
        self._inbox = inbox
        self._deliveries = deliveries
        self._devices = devices
        self._kept = kept
        self._clock = clock
        self._shard = 0

    async def go_on(self) -> int:
        """Do the next part of the work, and count the documents that are gone."""
        now, kept = self._clock(), self._kept
        rows = await self._inbox.delete_old(before=now - kept.inbox)
        deliveries = await self._deliveries.delete_old(before=now - kept.deliveries)
        devices = await self._devices.remove_stale(now=now, kept=kept.devices)
        if rows or deliveries or devices:
            log.info("retention.deleted", rows=rows, deliveries=deliveries, devices=devices)
        await self._repair_targets()
        return rows + deliveries + devices

    async def _repair_targets(self) -> None:
        end = self._shard + _SHARDS_AT_ONCE
        repaired = await self._devices.repair_targets(self._shard, end)
        self._shard = end % SHARDS
        if repaired:
            log.warning("retention.targets_repaired", targets=repaired)
