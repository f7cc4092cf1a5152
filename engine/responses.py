"""Whole answers kept as ready bytes, computed once however many requests wait for them."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

_ENTRY_BYTES = 700
T = TypeVar("T")


class ResponseKey(NamedTuple):
    """What an answer depends on."""

    text: str
    operation: str | None
    variables: Hashable
    language: str | None
    snapshot: Hashable


@dataclass(frozen=True, slots=True, weakref_slot=True)
class StoredResponse:
    """The bytes of an answer without errors, with its validators."""

    body: bytes
    etag: str
    cache_control: str
    vary: str
    expires_s: float
    """On the cache's clock."""
    key: ResponseKey
    codings: dict[str, bytes]
    """The body in content codings, added by `ResponseCache.add_coding`."""


class SharedStore(Protocol):
    """A store shared by several processes, such as Redis.

    It may lose entries at any time and answers for its own faults: where it cannot be reached, `get` returns
    None and `set` does nothing.
    """

    async def get(self, key: bytes) -> tuple[bytes, float] | None:
        """Return the body kept under a key and the seconds that it may still be used."""

    async def set(self, key: bytes, body: bytes, max_age_s: int) -> None:
        """Keep a body for a time."""


def shared_key(key: Hashable) -> bytes:
    """Return the name of an answer that is the same in every process."""
    return hashlib.blake2b(repr(key).encode("utf-8", "surrogatepass"), digest_size=24).digest()


def etag_of(body: bytes) -> str:
    """Return the strong validator of a body."""
    return f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'


class ResponseCache:
    """Keep answers, at most `max_bytes` of them; the least recently used go first."""

    def __init__(self, max_bytes: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self.hits = 0
        self.misses = 0
        self.clock = clock
        self._entries: OrderedDict[ResponseKey, tuple[StoredResponse, int]] = OrderedDict()
        self._flights: dict[ResponseKey, asyncio.Future[bool]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self.bytes = 0

    def is_awaited(self, key: ResponseKey) -> bool:
        """Tell whether an answer is being computed now."""
        return key in self._flights

    def find(self, key: ResponseKey) -> StoredResponse | None:
        """Return the kept answer, None if there is none or its time is over."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry[0].expires_s <= self.clock():
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        self.hits += 1
        return entry[0]

    def put(
        self,
        key: ResponseKey,
        body: bytes,
        *,
        max_age_s: float,
        cache_control: str,
        vary: str,
        key_bytes: int,
    ) -> StoredResponse:
        """Keep a body for `max_age_s` seconds."""
        # A copy, because orjson leaves room allocated behind its results.
        body = bytes(memoryview(body))
        expires_s = self.clock() + max_age_s
        stored = StoredResponse(body, etag_of(body), cache_control, vary, expires_s, key, {})
        size = len(body) + key_bytes + _ENTRY_BYTES
        self._drop(key)
        if size <= self.max_bytes:
            self._entries[key] = (stored, size)
            self.bytes += size
            self._make_room()
        return stored

    def add_coding(self, stored: StoredResponse, coding: str, body: bytes) -> None:
        """Keep a body in a content coding beside the answer, where that is still kept."""
        entry = self._entries.get(stored.key)
        if entry is None or entry[0] is not stored or coding in stored.codings:
            return
        stored.codings[coding] = body
        self._entries[stored.key] = (stored, entry[1] + len(body))
        self.bytes += len(body)
        self._make_room()

    def _make_room(self) -> None:
        while self.bytes > self.max_bytes:
            self._drop(next(iter(self._entries)))

    async def once(self, key: ResponseKey, compute: Callable[[], Awaitable[T]]) -> StoredResponse | T:
        """Return the kept answer, or compute it while other requests for it wait.

        When the one that computes is cancelled or gets nothing that may be kept, the next one computes.
        """
        while True:
            found = self.find(key)
            if found is not None:
                return found
            flight = self._flights.get(key)
            if flight is None:
                break
            finished = await asyncio.shield(flight)
            if finished and key not in self._entries:
                # The answer may not be kept; waiting for one another would only make a queue of it.
                return await compute()
        return await self.lead(key, compute)

    async def lead(self, key: ResponseKey, compute: Callable[[], Awaitable[T]]) -> T:
        """Compute an answer that is not kept; unless one is being computed, others wait for this one."""
        self.misses += 1
        if key in self._flights:
            return await compute()
        flight = self._flights[key] = asyncio.get_running_loop().create_future()
        try:
            result = await compute()
        except BaseException:
            del self._flights[key]
            flight.set_result(False)
            raise
        del self._flights[key]
        flight.set_result(True)
        return result

    def _drop(self, key: ResponseKey) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.bytes -= entry[1]
