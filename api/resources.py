"""What an API process holds open while it runs: engines, the served catalogue, counted views."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta

from msgspec import Struct
from redis.asyncio import Redis

from api.health import Probe
from api.views import WriteViews
from loaders.catalogue import Catalogue
from resolvers.context import Stores
from settings import Settings
from store.catalogue import CatalogueStore
from store.connections import open_mongodb, open_redis


class Resources(Struct, frozen=True):
    """The open resources of one process; `probes` by the engine's name, as `/readyz` shows it.

    `stores` is None where only public data is served.
    """

    catalogue: Catalogue
    redis: Redis
    write_views: WriteViews
    probes: Mapping[str, Probe]
    stores: Stores | None = None


@asynccontextmanager
async def open_resources(settings: Settings) -> AsyncIterator[Resources]:
    """Open the engines' clients and the catalogue's holder; close them afterwards.

    Engines that are away delay nothing: the newest snapshot on this disk serves meanwhile.

    Raises: ValueError when the settings name no engines.
    """
    if settings.mongodb_uri is None or settings.redis_url is None:
        raise ValueError("the API needs MONGODB_URI and REDIS_URL; `mintong run` starts embedded engines")
    redis = open_redis(settings.redis_url, settings.engine_timeout_ms)
    try:
        async with open_mongodb(settings.mongodb_uri, settings.engine_timeout_ms) as mongodb:
            store = CatalogueStore(mongodb[settings.database])
            catalogue = Catalogue(
                store,
                redis,
                settings.home / "snapshots",
                poll=timedelta(seconds=settings.snapshot_poll_s),
            )
            await catalogue.open_newest_local()
            yield Resources(
                catalogue,
                redis,
                store.add_views,
                {"mongodb": lambda: mongodb.admin.command("ping"), "redis": lambda: _ping(redis)},
                Stores(),
            )
    finally:
        await redis.aclose()


async def _ping(redis: Redis) -> object:
    return await redis.ping()
