"""Lists that a process keeps in memory and swaps when the store has a newer revision.

An announcement on Redis is only a hint: revisions are polled as well, all in one query. What was loaded
before goes on serving while the store is away.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any, Generic, TypeVar

import structlog
from pymongo.errors import PyMongoError
from redis.asyncio import Redis
from redis.exceptions import RedisError

from domain.errors import DomainError
from store.reference import CHANNEL, ReferenceStore

log = structlog.get_logger(__name__)

T = TypeVar("T")
RELOAD_S = 3_600.0
"""A list is loaded anew after so long: perhaps a writer died before it raised the revision."""


class ReferenceUnavailableError(DomainError):
    """This process could not load a list yet."""

    code = "REFERENCE_UNAVAILABLE"


class Followed(Generic[T]):
    """One list: its immutable value and the revision that it was loaded for."""

    def __init__(self, name: str, load: Callable[[], Awaitable[T]]) -> None:
        self.name = name
        self.revision = -1
        self._loaded_at = 0.0
        self._load = load
        self._value: T | None = None

    @property
    def current(self) -> T:
        """The value. Raises: ReferenceUnavailableError before it was first loaded."""
        if self._value is None:
            raise ReferenceUnavailableError(list=self.name)
        return self._value

    async def refresh(self, revision: int) -> bool:
        """Load the value unless it is of this revision and an hour old at most; tell whether it was."""
        now = time.monotonic()
        if revision == self.revision and now - self._loaded_at < RELOAD_S:
            return False
        # Read after the revision: a newer value under an older number is loaded once more, never missed.
        self._value = await self._load()
        self.revision, self._loaded_at = revision, now
        return True


class Follower:
    """Brings several lists to the store's revisions."""

    def __init__(
        self, store: ReferenceStore, redis: Redis, lists: Sequence[Followed[Any]], *, poll: timedelta
    ) -> None:
        self._store = store
        self._redis = redis
        self._lists = lists
        self._poll_s = poll.total_seconds()
        self._hint = asyncio.Event()

    async def refresh(self) -> bool:
        """Load what has changed; tell whether anything had.

        Raises: PyMongoError when the store cannot be read; what was served before stays.
        """
        revisions = await self._store.revisions()
        changed = False
        for each in self._lists:
            if await each.refresh(revisions.get(each.name, 0)):
                changed = True
                log.info("reference.swapped", list=each.name, revision=each.revision)
        return changed

    async def run(self) -> None:
        """Follow the store until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen())
            tasks.create_task(self._follow())

    async def _follow(self) -> None:
        reachable = True
        while True:
            try:
                await self.refresh()
            except (PyMongoError, DomainError) as error:
                if reachable:
                    log.warning("reference.unconfirmed", error=type(error).__name__)
                reachable = False
            else:
                if not reachable:
                    log.info("reference.confirmed_again")
                reachable = True
            try:
                async with asyncio.timeout(self._poll_s):
                    await self._hint.wait()
            except TimeoutError:
                continue
            self._hint.clear()

    async def _listen(self) -> None:
        while True:
            try:
                async with self._redis.pubsub() as channel:
                    await channel.subscribe(CHANNEL)
                    _honour_cancellation()
                    async for message in channel.listen():
                        if message["type"] == "message":
                            self._hint.set()
            except (RedisError, OSError) as error:
                log.debug("reference.no_announcements", error=type(error).__name__)
                await asyncio.sleep(self._poll_s)


def _honour_cancellation() -> None:
    """Raise a cancellation that `asyncio.wait_for` of Python 3.11 swallowed inside the Redis client."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
