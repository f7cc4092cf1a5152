"""`mintong worker`: the process that fans messages out and delivers them."""

from __future__ import annotations

import asyncio
import signal
from contextlib import aclosing

import uvloop

from api.identity import kms_of
from api.logs import configure_logging
from cli.channels import channels_config
from cli.chores import open_chores
from notifications.channels.opening import open_channels
from notifications.worker import WorkerConfig, ensure_indexes, run
from settings import Settings
from store.accounts import AccountStore
from store.connections import open_mongodb, open_redis
from store.encryption import FieldCipher

_ANSWER_TIMEOUT_MS = 60_000


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Run a worker until `stop` is set.

    Raises: ValueError when the settings name no engines or channels that cannot be opened;
    store.encryption.MasterKeyError.
    """
    if settings.mongodb_uri is None or settings.redis_url is None:
        raise ValueError("the worker needs MONGODB_URI and REDIS_URL; `mintong run` starts embedded engines")
    timeout_ms = settings.engine_timeout_ms
    config = WorkerConfig(
        settings.mongodb_uri,
        settings.redis_url,
        settings.database,
        engine_timeout_ms=timeout_ms,
        concurrency=settings.worker_concurrency,
        sweep_s=settings.worker_sweep_s,
        metrics_port=settings.worker_metrics_port,
        inbox_days=settings.inbox_days,
        device_days=settings.device_days,
        delivery_days=settings.delivery_days,
        drain_s=settings.drain_s,
    )
    redis = open_redis(settings.redis_url, timeout_ms)
    try:
        async with open_mongodb(
            settings.mongodb_uri, timeout_ms, answer_timeout_ms=_ANSWER_TIMEOUT_MS
        ) as mongodb:
            database = mongodb[settings.database]
            await ensure_indexes(database)
            async with (
                aclosing(FieldCipher(mongodb, settings.database, kms_of(settings))) as cipher,
                open_channels(
                    channels_config(settings), database, redis, AccountStore(database, cipher)
                ) as channels,
                open_chores(settings, mongodb, redis) as chores,
            ):
                await run(config, channels, stop, chores=chores)
    finally:
        await redis.aclose()


def main(settings: Settings) -> None:
    """Run the worker process until SIGTERM or SIGINT."""
    configure_logging(settings)

    async def until_signal() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await serve(settings, stop)

    uvloop.run(until_signal())
