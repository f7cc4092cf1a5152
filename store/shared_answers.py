"""Whole public answers shared by several processes through Redis; they may vanish at any time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

log = structlog.get_logger(__name__)

_PREFIX: Final = b"mintong:answer:"
_MAX_BYTES: Final = 1_000_000
_AWAY_S: Final = 5.0


class SharedAnswers:
    """Answers under names that their callers make; `namespace` tells installations and schemas apart.

    Where Redis does not answer, nobody waits for it again for five seconds. `find_redis` gives None before
    the process has opened its client.
    """

    def __init__(
        self,
        find_redis: Callable[[], Redis | None],
        namespace: str,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._find_redis = find_redis
        self._prefix = _PREFIX + namespace.encode() + b":"
        self._clock = clock
        self._away_until = 0.0

    async def get(self, key: bytes) -> tuple[bytes, float] | None:
        """Give a body and the seconds that it may still be used; None when there is none."""
        redis = self._present()
        if redis is None:
            return None
        name = self._prefix + key
        try:
            async with redis.pipeline(transaction=True) as pipe:
                pipe.get(name)
                pipe.pttl(name)
                body, left_ms = await pipe.execute()
        except (RedisError, OSError) as error:
            self._lose(error)
            return None
        return None if body is None or left_ms <= 0 else (body, left_ms / 1000)

    async def set(self, key: bytes, body: bytes, max_age_s: int) -> None:
        """Keep a body of at most a million bytes for some seconds."""
        redis = self._present()
        if redis is None or len(body) > _MAX_BYTES:
            return
        try:
            await redis.set(self._prefix + key, body, ex=max_age_s)
        except (RedisError, OSError) as error:
            self._lose(error)

    def _present(self) -> Redis | None:
        return None if self._clock() < self._away_until else self._find_redis()

    def _lose(self, error: Exception) -> None:
        self._away_until = self._clock() + _AWAY_S
        log.warning("answers.redis_unavailable", error=type(error).__name__)
