"""The feeds process: everything that has to be done again and again for public data."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import structlog
from redis.asyncio import Redis

from feeds.catalogue_publish import publish_catalogue
from feeds.jobs import Job, JobMetrics, run_jobs
from loaders.catalogue import POPULARITY_LIMIT, POPULARITY_WINDOW
from settings import Settings
from store.catalogue import CatalogueStore, announce
from store.city_cases import CityCaseStore
from store.connections import open_mongodb, open_redis
from store.knowledge import KnowledgeStore

log = structlog.get_logger(__name__)

_PUBLICATION_CHECK = timedelta(seconds=15)
PUBLICATION_DELAY = timedelta(minutes=2)
_ANSWER_TIMEOUT_MS = 60_000


class Popularity:
    """Tells readers when the order of the most viewed items has changed."""

    def __init__(self, store: CatalogueStore, redis: Redis, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._redis = redis
        self._clock = clock
        self._announced: list[tuple[str, int]] = []

    async def refresh(self) -> bool:
        """Raise and announce the revision if the counts differ from those announced last; tell whether."""
        since = (self._clock() - POPULARITY_WINDOW).date()
        counts = await self._store.top_views(since, POPULARITY_LIMIT)
        if counts == self._announced:
            return False
        await announce(self._redis, await self._store.touch())
        self._announced = counts
        return True


class Publication:
    """Publishes what waits when nobody else does: after an import that was to publish and was killed, say.

    An import publishes by itself; only what waited through several checks is published here. While a load
    runs or lies broken off, nothing is: readers keep the version they have until it is finished.
    """

    def __init__(
        self, store: CatalogueStore, redis: Redis, settings: Settings, clock: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._redis = redis
        self._home = settings.home
        self._clock = clock
        self._waits_since: datetime | None = None

    async def publish_pending(self) -> bool:
        """Publish when stored content has been waiting for `PUBLICATION_DELAY`; tell whether."""
        now = self._clock()
        if not (await self._store.get_state()).pending:
            self._waits_since = None
            return False
        unfinished = await self._store.imports.list_unfinished()
        if unfinished:
            if self._waits_since is not None:
                log.warning("catalogue.publication_held", unfinished_imports=unfinished)
            self._waits_since = None
            return False
        self._waits_since = self._waits_since or now
        if now - self._waits_since < PUBLICATION_DELAY:
            return False
        self._waits_since = None
        version = await publish_catalogue(self._store, self._redis, self._home, now=now)
        log.info("catalogue.published", version=version)
        return True


async def run(settings: Settings, stop: asyncio.Event) -> None:
    """Run the periodic jobs until `stop` is set.

    Raises: ValueError when the settings name no engines.
    """
    if settings.mongodb_uri is None or settings.redis_url is None:
        raise ValueError("feeds need MONGODB_URI and REDIS_URL; `mintong run` starts embedded engines")
    timeout_ms = settings.engine_timeout_ms
    async with (
        open_mongodb(settings.mongodb_uri, timeout_ms, answer_timeout_ms=_ANSWER_TIMEOUT_MS) as mongodb,
        open_redis(settings.redis_url, timeout_ms, answer_timeout_ms=_ANSWER_TIMEOUT_MS) as redis,
    ):
        store = CatalogueStore(mongodb[settings.database])

        async def ensure_indexes() -> bool:
            await store.ensure_indexes()
            await KnowledgeStore(mongodb[settings.database]).ensure_indexes()
            await CityCaseStore(mongodb[settings.database]).ensure_indexes()
            return False

        popularity = Popularity(store, redis, _utc_now)
        publication = Publication(store, redis, settings, _utc_now)
        every = timedelta(seconds=settings.popularity_s)
        jobs = (
            Job("indexes", timedelta(hours=1), timedelta(minutes=10), ensure_indexes),
            Job("popularity", every, timedelta(minutes=2), popularity.refresh),
            Job("publication", _PUBLICATION_CHECK, timedelta(hours=1), publication.publish_pending),
        )
        metrics = JobMetrics(settings.home / "metrics" / "feeds.prom")
        running = asyncio.create_task(run_jobs(jobs, metrics, stop))
        await asyncio.wait({running, asyncio.create_task(stop.wait())}, return_when=asyncio.FIRST_COMPLETED)
        # Every job may be broken off: what it writes, it writes at once.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(running, settings.drain_s)


def main(settings: Settings) -> None:
    """Run the feeds process until SIGTERM or SIGINT."""

    async def serve() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await run(settings, stop)

    asyncio.run(serve())


def _utc_now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    main(Settings())
