"""The worker process: takes jobs from the queue, fans messages out, delivers them, sweeps."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import structlog
from msgspec import Struct
from prometheus_client import start_http_server
from pymongo.asynchronous.database import AsyncDatabase
from redis.asyncio import Redis

from domain.devices import MAX_DEVICE_AGE
from notifications.channels.base import Channel
from notifications.delivery import DecideChannels, Delivery
from notifications.devices import RecentDevices
from notifications.digests import Digests
from notifications.fanout import FanOut
from notifications.preferences import ByPreferences
from notifications.queue import Job, JobQueue, Lane
from notifications.retention import Kept, Retention
from notifications.sweeper import Sweeper
from store.connections import open_mongodb, open_redis
from store.deliveries import KEPT as DELIVERIES_KEPT
from store.deliveries import DeliveryStore
from store.devices import DeviceStore
from store.digests import DigestStore
from store.inbox import InboxStore
from store.messages import MessageStore
from store.preferences import PreferenceStore
from store.sms_days import SmsDayStore
from store.subscriptions import SubscriptionStore
from store.wechat_grants import WechatGrantStore
from store.workers import WorkerStore

log = structlog.get_logger(__name__)

_ANSWER_TIMEOUT_MS: Final = 60_000
_BEAT_S: Final = 5.0
_OBSERVE_S: Final = 15.0
_DIGESTS_S: Final = 5.0
_RETENTION_S: Final = 60.0


class WorkerConfig(Struct, frozen=True):
    """What a worker needs to know. `metrics_port` 0: no metrics are served. Times in seconds."""

    mongodb_uri: str
    redis_url: str
    database: str
    engine_timeout_ms: int = 2_000
    concurrency: int = 4
    """Batches that are sent at the same time, in each lane."""
    sweep_s: float = 1.0
    metrics_port: int = 0
    inbox_days: int = 365
    """So long inbox rows are kept."""
    device_days: int = MAX_DEVICE_AGE.days
    """So long devices are kept that were not seen."""
    delivery_days: int = DELIVERIES_KEPT.days
    """So long deliveries and dead letters are kept."""
    drain_s: float = 10.0


class Chore(Struct, frozen=True):
    """Something that a worker does again and again beside its jobs, every `interval_s` seconds."""

    name: str
    work: Callable[[], Awaitable[object]]
    interval_s: float


class Worker(Struct, frozen=True):
    """The parts of a worker, for whoever runs them one by one."""

    queue: JobQueue
    fan_out: FanOut
    delivery: Delivery
    sweeper: Sweeper
    digests: Digests
    retention: Retention
    workers: WorkerStore

    def handlers(self) -> dict[Job, Callable[[list[str]], Awaitable[None]]]:
        """Say what does which job."""
        return {
            Job.FAN_OUT: self.fan_out.run,
            Job.DELIVER: self.delivery.deliver,
            Job.DELIVER_BROADCAST: self.delivery.deliver_broadcast,
        }


def make_worker(
    database: AsyncDatabase[dict[str, Any]],
    redis: Redis,
    queue: JobQueue,
    channels: Mapping[str, Channel],
    *,
    clock: Callable[[], datetime] | None = None,
    decide: DecideChannels | None = None,
    concurrency: int = 4,
    kept: Kept | None = None,
) -> Worker:
    """Put the parts of a worker together; `decide` None: by the citizens' preferences."""
    clock, kept = clock or _utc_now, kept or Kept()
    messages, deliveries = MessageStore(database, kept.inbox), DeliveryStore(database)
    inbox, workers = InboxStore(database), WorkerStore(database)
    devices, preferences = DeviceStore(database), PreferenceStore(database)
    recent, digests = RecentDevices(devices, preferences), DigestStore(database)
    fan_out = FanOut(
        messages,
        inbox,
        deliveries,
        SubscriptionStore(database),
        devices,
        preferences,
        recent,
        queue,
        redis,
        channels,
        clock,
    )
    delivery = Delivery(
        messages,
        deliveries,
        devices,
        recent,
        workers,
        channels,
        clock,
        decide=decide or ByPreferences(preferences, digests),
        concurrency=concurrency,
    )
    sweeper = Sweeper(messages, deliveries, workers, queue, fan_out, delivery, clock)
    summaries = Digests(digests, messages, deliveries, devices, preferences, queue, channels, clock)
    retention = Retention(inbox, deliveries, devices, kept, clock)
    return Worker(queue, fan_out, delivery, sweeper, summaries, retention, workers)


async def ensure_indexes(database: AsyncDatabase[dict[str, Any]]) -> None:
    """Make the indexes of everything that a worker reads and writes."""
    for store in (
        MessageStore(database),
        InboxStore(database),
        DeliveryStore(database),
        SubscriptionStore(database),
        DeviceStore(database),
        WechatGrantStore(database),
        SmsDayStore(database),
        PreferenceStore(database),
        DigestStore(database),
        WorkerStore(database),
    ):
        await store.ensure_indexes()


@asynccontextmanager
async def open_worker(
    config: WorkerConfig, channels: Mapping[str, Channel], *, decide: DecideChannels | None = None
) -> AsyncIterator[Worker]:
    """Open the engines' clients and put a worker together; close them afterwards."""
    timeout_ms = config.engine_timeout_ms
    queue = JobQueue(config.redis_url, timeout_s=timeout_ms / 1000)
    redis = open_redis(config.redis_url, timeout_ms)
    try:
        async with open_mongodb(
            config.mongodb_uri, timeout_ms, answer_timeout_ms=_ANSWER_TIMEOUT_MS
        ) as mongodb:
            database = mongodb[config.database]
            yield make_worker(
                database,
                redis,
                queue,
                channels,
                decide=decide,
                concurrency=config.concurrency,
                kept=Kept(
                    timedelta(days=config.inbox_days),
                    timedelta(days=config.delivery_days),
                    timedelta(days=config.device_days),
                ),
            )
    finally:
        await queue.aclose()
        await redis.aclose()


async def run(
    config: WorkerConfig,
    channels: Mapping[str, Channel],
    stop: asyncio.Event,
    *,
    decide: DecideChannels | None = None,
    chores: Sequence[Chore] = (),
) -> None:
    """Run a worker until `stop` is set; what is being sent then is finished first, for `drain_s` at most."""
    logging.getLogger("taskiq").setLevel(logging.ERROR)
    async with open_worker(config, channels, decide=decide) as worker:
        server = start_http_server(config.metrics_port, addr="127.0.0.1") if config.metrics_port else None
        tasks = [
            asyncio.create_task(_repeat("beat", worker.sweeper.beat, _BEAT_S, stop)),
            asyncio.create_task(_repeat("sweep", worker.sweeper.sweep, config.sweep_s, stop)),
            asyncio.create_task(_repeat("observe", worker.sweeper.observe, _OBSERVE_S, stop)),
            asyncio.create_task(_repeat("digests", worker.digests.send_due, _DIGESTS_S, stop)),
            asyncio.create_task(_repeat("retention", worker.retention.go_on, _RETENTION_S, stop)),
            *(
                asyncio.create_task(_repeat(chore.name, chore.work, chore.interval_s, stop))
                for chore in chores
            ),
            *(
                asyncio.create_task(
                    worker.queue.work(lane, worker.handlers(), stop, concurrency=16 * config.concurrency)
                )
                for lane in Lane
            ),
        ]
        log.info("worker.started", worker=worker.workers.id, channels=sorted(channels))
        await stop.wait()
        _, late = await asyncio.wait(tasks, timeout=config.drain_s)
        for task in late:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if not late:
            await worker.workers.leave()
        if server is not None:
            server[0].shutdown()
            server[0].server_close()
        log.info("worker.stopped", broken_off=len(late))


async def _repeat(
    name: str, work: Callable[[], Awaitable[object]], interval_s: float, stop: asyncio.Event
) -> None:
    """Do something again and again until `stop` is set; a failure is logged and tried again."""
    while not stop.is_set():
        try:
            await work()
        except Exception as error:
            log.warning("worker.failed", part=name, error=type(error).__name__, exc_info=error)
        try:
            async with asyncio.timeout(interval_s):
                await stop.wait()
        except TimeoutError:
            continue


def _utc_now() -> datetime:
    return datetime.now(UTC)
