"""Limits on how often something may be tried, counted in Redis for all processes together.

The windows move with the time of Redis and of this machine, not with a caller's `now`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from limits import RateLimitItem, parse
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from msgspec import Struct
from redis.asyncio import Redis


class Window(Struct, frozen=True):
    """A limit, as `limits` writes it (`5 per 1 hour`), on whatever `key` stands for."""

    limit: str
    key: str

    @property
    def item(self) -> RateLimitItem:
        """Give the limit as its library reads it. Raises: ValueError for text that is none."""
        return parse(self.limit)


class Gate:
    """Counts tries and says how long to wait."""

    def __init__(self, redis: Redis) -> None:
        self._limiter = MovingWindowRateLimiter(
            RedisStorage(
                "async+redis://pool:6379",
                implementation="redispy",
                key_prefix="mintong:limit",
                connection_pool=redis.connection_pool,  # type: ignore[arg-type]
            )
        )

    async def enter(self, windows: Sequence[Window]) -> int:
        """Count one try in each window; 0 when all allow it, else the seconds until the fullest one does.

        What is refused is counted nowhere.
        """
        # The first window is asked by counting in it; the others must be free before it may be.
        wait_s = await self.wait_s(windows[1:])
        if wait_s:
            return max(wait_s, await self.wait_s(windows[:1]))
        for window in windows:
            if not await self._limiter.hit(window.item, window.key):
                return await self.wait_s(windows) or 1
        return 0

    async def wait_s(self, windows: Sequence[Window]) -> int:
        """Give the seconds until all windows allow a try; 0 for now. Nothing is counted."""
        waits = [0]
        for window in windows:
            stats = await self._limiter.get_window_stats(window.item, window.key)
            if stats.remaining <= 0:
                waits.append(max(1, math.ceil(stats.reset_time - time.time())))
        return max(waits)

    async def forget(self, windows: Sequence[Window]) -> None:
        """Empty the windows."""
        for window in windows:
            await self._limiter.clear(window.item, window.key)
