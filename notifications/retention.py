"""Retention: what is too old goes, some of it at a time; and what broadcasts read is looked after."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import structlog

from domain.ids import SHARDS
from store.devices import DeviceStore
from store.inbox import InboxStore

log = structlog.get_logger(__name__)

_SHARDS_AT_ONCE: Final = 16


class Retention:
    """Deletes old messages from the inboxes and devices nobody has seen for long.

    Compares the targets of some shards with their devices, and remembers how far it has come.
    """

    def __init__(
        self,
        inbox: InboxStore,
        devices: DeviceStore,
        inbox_kept: timedelta,
        devices_kept: timedelta,
        clock: Callable[[], datetime],
    ) -> None:
        self._inbox = inbox
        self._devices = devices
        self._inbox_kept = inbox_kept
        self._devices_kept = devices_kept
        self._clock = clock
        self._shard = 0

    async def go_on(self) -> int:
        """Do the next part of the work, and count the rows and devices that are gone."""
        now = self._clock()
        rows = await self._inbox.delete_old(before=now - self._inbox_kept)
        devices = await self._devices.remove_stale(now=now, kept=self._devices_kept)
        if rows or devices:
            log.info("retention.deleted", rows=rows, devices=devices)
        await self._repair_targets()
        return rows + devices

    async def _repair_targets(self) -> None:
        end = self._shard + _SHARDS_AT_ONCE
        repaired = await self._devices.repair_targets(self._shard, end)
        self._shard = end % SHARDS
        if repaired:
            log.warning("retention.targets_repaired", targets=repaired)
