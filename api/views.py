"""Counts of looked-at items: kept in memory, written in batches, so that no read waits for a write."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, date, datetime
from typing import Final

import structlog
from pymongo.errors import PyMongoError

log = structlog.get_logger(__name__)

WriteViews = Callable[[date, Mapping[str, int]], Awaitable[None]]
# While the store is away counts are kept, up to this many items; then new items are not counted.
MAX_ITEMS: Final = 200_000


class Views:
    """The views of this process that are not written yet."""

    def __init__(self, write: WriteViews) -> None:
        self._write = write
        self._counts: Counter[str] = Counter()

    def count(self, item_id: str) -> None:
        """Count one view of an item by its raw id."""
        if item_id in self._counts or len(self._counts) < MAX_ITEMS:
            self._counts[item_id] += 1

    async def flush(self, *, now: datetime) -> int:
        """Write what was counted and tell how many views that were; they stay when the store is away."""
        if not self._counts:
            return 0
        counts, self._counts = self._counts, Counter()
        try:
            await self._write(now.date(), counts)
        except (PyMongoError, OSError) as error:
            log.warning("views.kept", error=type(error).__name__, items=len(counts))
            counts.update(self._counts)
            self._counts = counts
            return 0
        return counts.total()

    async def run(self, interval_s: float) -> None:
        """Flush at intervals until cancelled."""
        while True:
            await asyncio.sleep(interval_s)
            await self.flush(now=datetime.now(UTC))
