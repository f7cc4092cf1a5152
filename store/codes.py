"""One-time codes in Redis: only their digests, with the tries left; a try is counted before it is judged."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Final, cast

from redis.asyncio import Redis

# Redis forgets codes a little later than they run out, so that a clock a little off decides nothing.
_KEPT_LONGER: Final = timedelta(minutes=1)
_TRY: Final = """
local found = redis.call('HMGET', KEYS[1], 'digest', 'until', 'tries')
if not found[1] or tonumber(found[2]) <= tonumber(ARGV[2]) then
  return 0
end
if tonumber(found[3]) >= tonumber(ARGV[3]) then
  return 0
end
if found[1] == ARGV[1] then
  redis.call('DEL', KEYS[1])
  return 1
end
redis.call('HINCRBY', KEYS[1], 'tries', 1)
return 2
"""


class Verdict(IntEnum):
    """What came of a try."""

    GONE = 0
    """No code waits: none was sent, or it was used, ran out, or was guessed at too often."""
    RIGHT = 1
    WRONG = 2


class CodeStore:
    """Keeps one code per key; a new one replaces the old."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def put(self, key: str, digest: str, *, now: datetime, life: timedelta) -> None:
        """Keep the digest of a code for `life` from now on."""
        name = f"mintong:code:{key}"
        values = {"digest": digest, "until": str(_ms(now + life)), "tries": "0"}
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.delete(name)
            pipe.hset(name, items=[part for pair in values.items() for part in pair])
            pipe.pexpire(name, int((life + _KEPT_LONGER) / timedelta(milliseconds=1)))
            await pipe.execute()

    async def try_once(self, key: str, digest: str, *, now: datetime, most_tries: int) -> Verdict:
        """Judge one try; the right digest uses the code up."""
        answer = self._redis.eval(_TRY, 1, f"mintong:code:{key}", digest, str(_ms(now)), str(most_tries))
        return Verdict(int(await cast("Awaitable[int]", answer)))


def _ms(instant: datetime) -> int:
    return int(instant.timestamp() * 1000)
