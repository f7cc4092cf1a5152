"""Devices that were read a moment ago: what a fan-out has just read, its deliveries need not read again."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Final

from domain.devices import Target, account_of_sms_target
from domain.ids import SHARDS
from store.devices import DeviceStore
from store.preferences import PreferenceStore

_FRESH_S: Final = 15.0
_COUNT_AGAIN_S: Final = 60.0
_READ_FOR_ONE: Final = 5
"""So many devices are read with their shards in the time of one by its id or its account."""
_MOST: Final = 30_000


class RecentDevices:
    """Gives devices, and where text messages go, as they are or were some seconds ago. Bounded."""

    def __init__(self, store: DeviceStore, preferences: PreferenceStore) -> None:
        self._store = store
        self._preferences = preferences
        self._count = 0
        self._counted_at = float("-inf")
        self._known: OrderedDict[str, tuple[float, Target]] = OrderedDict()

    def put(self, devices: Iterable[Target]) -> None:
        """Remember devices that were read just now."""
        now = time.monotonic()
        for device in devices:
            self._known[device.id] = (now, device)
            self._known.move_to_end(device.id)
        while len(self._known) > _MOST:
            self._known.popitem(last=False)

    def forget(self, ids: Iterable[str]) -> None:
        """Forget devices that are gone."""
        for each in ids:
            self._known.pop(each, None)

    async def is_by_shards(self, wanted: int, first: int, end: int) -> bool:
        """Tell whether so many devices are read quicker with all of their shards than one by one."""
        if time.monotonic() - self._counted_at > _COUNT_AGAIN_S:
            self._count, self._counted_at = await self._store.estimate(), time.monotonic()
        return self._count * (end - first) / SHARDS < _READ_FOR_ONE * wanted

    async def get(self, ids: Sequence[str], shards: tuple[int, int] | None = None) -> dict[str, Target]:
        """Give the devices that exist among these ids.

        `shards`, from the first until before the second, are those of their accounts, where that is known:
        who left these shards meanwhile may be missing.
        """
        oldest = time.monotonic() - _FRESH_S
        found: dict[str, Target] = {}
        missing: list[str] = []
        for each in ids:
            # Taken out: every device of a delivery is asked for once.
            known = self._known.pop(each, None)
            if known is not None and known[0] >= oldest:
                found[each] = known[1]
            else:
                missing.append(each)
        by_sms = [account for each in missing if (account := account_of_sms_target(each)) is not None]
        if by_sms:
            found.update((each.id, each) for each in await self._preferences.list_sms_targets(by_sms))
            missing = [each for each in missing if account_of_sms_target(each) is None]
        if missing and shards is not None and await self.is_by_shards(len(missing), *shards):
            await self._put_shards(*shards)
            found.update((id, self._known.pop(id)[1]) for id in missing if id in self._known)
        elif missing:
            read = await self._store.list_by_id(missing)
            found.update((id, device.target) for id, device in read.items())
        return found

    async def _put_shards(self, first: int, end: int) -> None:
        """Remember everybody in some shards: the next deliveries of their part are for them."""
        self.put(await self._store.list_targets(None, first, end))
