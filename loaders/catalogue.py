"""The catalogue that an API process serves: one immutable snapshot behind one reference.

A publish, a withdrawal or a new order of popularity raises the revision in the store and announces it on
Redis. The announcement is only a hint: the revision is polled as well, so a silent Redis delays a change by
one poll. When MongoDB is gone, the snapshot goes on serving and `freshness()` says since when it could not be
confirmed.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog
from msgspec import Struct
from pymongo.errors import PyMongoError
from redis.asyncio import Redis
from redis.exceptions import RedisError

from domain.errors import DomainError
from loaders.catalogue_snapshot import CatalogueSnapshot
from store.catalogue import CHANNEL, CatalogueState, CatalogueStore

log = structlog.get_logger(__name__)

POPULARITY_WINDOW = timedelta(days=30)
POPULARITY_LIMIT = 5_000


class Freshness(Struct, frozen=True):
    """How far the served catalogue can be trusted: its age, and whether the store confirmed it of late."""

    version: int
    revision: int
    built_at: datetime
    confirmed_at: datetime | None
    is_stale: bool


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Catalogue:
    """Hold the current snapshot and swap it when the store has a newer revision."""

    def __init__(
        self,
        store: CatalogueStore,
        redis: Redis,
        snapshots: Path,
        *,
        poll: timedelta,
        clock: Callable[[], datetime] = _utc_now,
    ) -> None:
        self._store = store
        self._redis = redis
        self._snapshots = snapshots
        self._poll = poll
        self._clock = clock
        self._hint = asyncio.Event()
        self._confirmed_at: datetime | None = None
        self._reachable = True
        self.current: CatalogueSnapshot | None = None

    def freshness(self) -> Freshness | None:
        """Say which version is served and whether three polls went by unconfirmed; None before the first."""
        snapshot = self.current
        if snapshot is None:
            return None
        confirmed_at = self._confirmed_at
        stale = confirmed_at is None or self._clock() - confirmed_at > 3 * self._poll
        return Freshness(snapshot.version, snapshot.revision, snapshot.built_at, confirmed_at, stale)

    async def open_newest_local(self) -> None:
        """Serve the newest complete snapshot on this disk, so that a start needs no engine."""
        versions = sorted(
            (int(path.parent.name.removeprefix("catalogue-")), path.parent)
            for path in self._snapshots.glob("catalogue-*/manifest.json")
        )
        if versions and self.current is None:
            self.current = await asyncio.to_thread(CatalogueSnapshot.open, versions[-1][1])

    async def refresh(self) -> bool:
        """Bring the snapshot to the store's revision; tell whether it changed.

        Raises: PyMongoError when the store cannot be read; what was served before stays.
        """
        state = await self._store.get_state()
        current = self.current
        changed = state.version > 0 and (
            current is None or (current.version, current.revision) != (state.version, state.revision)
        )
        if changed:
            self.current = await self._load(state, current)
            log.info("catalogue.swapped", version=state.version, revision=state.revision)
        self._confirmed_at = self._clock()
        return changed

    async def run(self) -> None:
        """Follow the store until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen())
            tasks.create_task(self._follow())

    async def _load(self, state: CatalogueState, current: CatalogueSnapshot | None) -> CatalogueSnapshot:
        if current is not None and current.version == state.version:
            base = current
        else:
            directory = await self._fetch(state.version)
            base = await asyncio.to_thread(CatalogueSnapshot.open, directory)
        since = (self._clock() - POPULARITY_WINDOW).date()
        popularity = dict(await self._store.top_views(since, POPULARITY_LIMIT))
        return base.with_overlay(revision=state.revision, withdrawn=state.withdrawn, popularity=popularity)

    async def _fetch(self, version: int) -> Path:
        directory = self._snapshots / f"catalogue-{version}"
        if (directory / "manifest.json").exists():
            return directory
        self._snapshots.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".fetch-", dir=self._snapshots))
        try:
            await self._store.open_snapshot(version, temporary / "snapshot")
            try:
                (temporary / "snapshot").rename(directory)
            except OSError:
                # Another process of this machine was faster; what it fetched is the same.
                if not (directory / "manifest.json").exists():
                    raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return directory

    async def _follow(self) -> None:
        while True:
            try:
                await self.refresh()
            except (PyMongoError, OSError, DomainError) as error:
                # A missing or damaged archive is as good as a silent store: what was served before stays.
                if self._reachable:
                    log.warning("catalogue.unconfirmed", error=str(error) or type(error).__name__)
                self._reachable = False
            else:
                if not self._reachable:
                    log.info("catalogue.confirmed_again")
                self._reachable = True
            try:
                async with asyncio.timeout(self._poll.total_seconds()):
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
                log.debug("catalogue.no_announcements", error=type(error).__name__)
                await asyncio.sleep(self._poll.total_seconds())


def _honour_cancellation() -> None:
    """Raise a cancellation that `asyncio.wait_for` of Python 3.11 swallowed inside the Redis client."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
