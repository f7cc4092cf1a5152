"""Devices that were read a moment ago: what a fan-out has just read, its deliveries need not read again."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Final

from domain.devices import Target
from store.devices import DeviceStore

_FRESH_S: Final = 15.0
_MOST: Final = 30_000


class RecentDevices:
    """Gives devices as they are in the store or were some seconds ago. Bounded."""

    def __init__(self, store: DeviceStore) -> None:
        self._store = store
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

    async def get(self, ids: Sequence[str]) -> dict[str, Target]:
        """Give the devices that exist among these ids."""
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
        if missing:
            read = await self._store.list_by_id(missing)
            found.update((id, device.target) for id, device in read.items())
        return found
