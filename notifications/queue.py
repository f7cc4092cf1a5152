"""The job queue: taskiq over Redis streams. A job carries ids only, may run twice, and may be lost.

Whatever a job says is also in the store, where the sweeper finds it. So Redis being away delays messages and
loses none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum
from typing import Any, Final

import structlog
from pymongo.errors import PyMongoError
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError
from taskiq.acks import AcknowledgeType
from taskiq.exceptions import TaskiqError
from taskiq.kicker import AsyncKicker
from taskiq.receiver import Receiver
from taskiq_redis import RedisStreamBroker

log = structlog.get_logger(__name__)

_GROUP: Final = "workers"
_BLOCK_MS: Final = 1_000
_IDLE_MS: Final = 60_000
_MOST_JOBS: Final = 1_000_000
_RETRY_S: Final = (0.1, 0.2, 0.5, 1.0, 2.0)


class Lane(StrEnum):
    """Which jobs wait for which: a broadcast to a million never stands before a message to one."""

    EXPRESS = "express"
    BULK = "bulk"


class Job(StrEnum):
    """What there is to do with the ids of a job."""

    FAN_OUT = "fan_out"
    DELIVER = "deliver"
    DELIVER_BROADCAST = "deliver_broadcast"


class _Broker(RedisStreamBroker):
    """Removes what is done from its stream, so that the stream's length is what waits."""

    def _ack_generator(self, id: str, queue_name: str) -> Callable[[], Awaitable[None]]:
        async def acknowledge() -> None:
            try:
                async with Redis(connection_pool=self.connection_pool) as redis:
                    pipe = redis.pipeline(transaction=True)
                    pipe.xack(queue_name, self.consumer_group_name, id)
                    pipe.xdel(queue_name, id)
                    await pipe.execute()
            except (RedisError, OSError) as error:
                # The job will come again and find nothing left to do.
                log.info("queue.not_acknowledged", error=type(error).__name__)

        return acknowledge


class JobQueue:
    """Puts jobs into the lanes of one Redis and takes them out again."""

    def __init__(self, redis_url: str, *, timeout_s: float = 5.0, prefix: str = "mintong:jobs") -> None:
        self._brokers = {lane: _open_broker(redis_url, f"{prefix}:{lane}", timeout_s) for lane in Lane}
        self._kickers: dict[tuple[Job, Lane], AsyncKicker[[list[str]], None]] = {
            (job, lane): AsyncKicker(task_name=job.value, broker=broker, labels={})
            for job in Job
            for lane, broker in self._brokers.items()
        }

    async def put(self, job: Job, ids: Sequence[str], lane: Lane) -> bool:
        """Queue a job; False when Redis does not take it, which the sweeper makes up for."""
        try:
            await self._kickers[job, lane].kiq(list(ids))
        except (TaskiqError, RedisError, OSError) as error:
            log.warning("queue.unavailable", job=job.value, error=type(error.__cause__ or error).__name__)
            return False
        return True

    async def depth(self, lane: Lane) -> tuple[int, int]:
        """Count the jobs of a lane that wait, and those that somebody took: they run, or their worker died.

        Raises: redis.exceptions.RedisError.
        """
        broker = self._brokers[lane]
        async with Redis(connection_pool=broker.connection_pool) as redis:
            total = int(await redis.xlen(broker.queue_name))
            try:
                taken = int((await redis.xpending(broker.queue_name, _GROUP))["pending"])
            except ResponseError:
                taken = 0  # no worker has run yet
        return max(0, total - taken), taken

    async def nudge(self, lane: Lane) -> None:
        """Queue a job without ids: workers look for the jobs of dead ones only when they get a new one."""
        await self.put(Job.DELIVER, (), lane)

    async def work(
        self,
        lane: Lane,
        handlers: dict[Job, Callable[[list[str]], Awaitable[None]]],
        stop: asyncio.Event,
        *,
        concurrency: int,
    ) -> None:
        """Run the jobs of a lane until `stop` is set, then finish those that run; Redis may come and go."""
        broker = self._brokers[lane]
        broker.is_worker_process = True
        for job, handler in handlers.items():
            broker.register_task(_guarded(job, handler), task_name=job.value)
        failures = 0
        while not stop.is_set():
            begun = asyncio.get_running_loop().time()
            try:
                await broker.startup()  # the stream may be gone with its Redis
                receiver = Receiver(
                    broker,
                    run_startup=False,
                    validate_params=False,
                    max_async_tasks=concurrency,
                    max_prefetch=concurrency,
                    ack_type=AcknowledgeType.WHEN_EXECUTED,
                )
                await receiver.listen(stop)
            except Exception as error:
                if stop.is_set():
                    break
                failures = 0 if asyncio.get_running_loop().time() - begun > 10 else failures + 1
                known = isinstance(_first(error), RedisError | OSError | TimeoutError)
                log.warning(
                    "queue.lost",
                    lane=lane.value,
                    error=type(_first(error)).__name__,
                    exc_info=None if known else error,
                )
                await asyncio.sleep(_RETRY_S[min(failures, len(_RETRY_S) - 1)])

    async def aclose(self) -> None:
        """Close the connections."""
        for broker in self._brokers.values():
            await broker.shutdown()


def _guarded(
    job: Job, handler: Callable[[list[str]], Awaitable[None]]
) -> Callable[[list[str]], Awaitable[None]]:
    """Let no failure of a job out: it is logged, and the sweeper finds what was not done."""

    async def guarded(ids: list[str]) -> None:
        try:
            await handler(ids)
        except PyMongoError as error:
            log.warning("job.store_away", job=job.value, error=type(error).__name__)
        except Exception as error:
            log.error("job.failed", job=job.value, error=type(error).__name__, exc_info=error)

    return guarded


def _open_broker(url: str, name: str, timeout_s: float) -> _Broker:
    options: dict[str, Any] = {
        "socket_timeout": timeout_s + _BLOCK_MS / 1000,
        "socket_connect_timeout": timeout_s,
        "timeout": timeout_s,
        "client_name": "mintong",
    }
    return _Broker(
        url,
        queue_name=name,
        consumer_group_name=_GROUP,
        consumer_id="0",  # what was queued before the first worker ever ran counts too
        max_connection_pool_size=64,
        xread_block=_BLOCK_MS,
        xread_count=100,
        maxlen=_MOST_JOBS,
        idle_timeout=_IDLE_MS,
        unacknowledged_lock_timeout=5,
        **options,
    )


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
