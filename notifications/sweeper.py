"""The sweeper: finds what was written and never told, and what a dead worker left in flight."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

import structlog
from redis.exceptions import RedisError

from notifications.delivery import Delivery
from notifications.fanout import FanOut
from notifications.metrics import DEAD_LETTERS, QUEUE_DEPTH, SWEPT, TAKEN_OVER
from notifications.queue import Job, JobQueue, Lane
from store.deliveries import FLIGHT_CHECK, SENT_WITHIN, Chunk, ChunkState, DeliveryStore
from store.messages import ANNOUNCED_WITHIN, MessageStore
from store.workers import LEASE, WorkerStore

log = structlog.get_logger(__name__)

BATCH: Final = 1_000
_PER_JOB: Final = 32
_BUSY_JOBS: Final = 2_000
"""With so many jobs waiting, what was not done yet is simply not done yet."""


class Sweeper:
    """Looks at whatever has not gone on by itself."""

    def __init__(
        self,
        messages: MessageStore,
        deliveries: DeliveryStore,
        workers: WorkerStore,
        queue: JobQueue,
        fan_out: FanOut,
        delivery: Delivery,
        clock: Callable[[], datetime],
    ) -> None:
        self._messages = messages
        self._deliveries = deliveries
        self._workers = workers
        self._queue = queue
        self._fan_out = fan_out
        self._delivery = delivery
        self._clock = clock
        self._trust_leases_from = clock() + LEASE

    async def beat(self) -> None:
        """Say that this worker is alive; after a failure nobody's lease counts for a while."""
        try:
            await self._workers.beat(now=self._clock())
        except Exception:
            self._trust_leases_from = self._clock() + LEASE
            raise

    async def sweep(self) -> int:
        """Hand over what waits, and tell how much that was."""
        depth = await self._depths()
        if depth is not None and depth > _BUSY_JOBS:
            return 0
        messages = await self._sweep_messages()
        deliveries = await self._sweep_deliveries()
        return messages + deliveries

    async def observe(self) -> None:
        """Set the gauges that nobody else sets."""
        await self._depths(nudge=True)
        DEAD_LETTERS.set(await self._deliveries.count_dead())

    async def _depths(self, *, nudge: bool = False) -> int | None:
        """Give the number of jobs that nobody has taken yet; None while Redis is away."""
        waiting = 0
        try:
            for lane in Lane:
                waits, taken = await self._queue.depth(lane)
                waiting += waits
                QUEUE_DEPTH.labels(lane.value, "waiting").set(waits)
                QUEUE_DEPTH.labels(lane.value, "taken").set(taken)
                if nudge and taken and not waits:
                    await self._queue.nudge(lane)
        except (RedisError, OSError):
            return None
        return waiting

    async def _sweep_messages(self) -> int:
        now = self._clock()
        ids = await self._messages.take_awake(BATCH, now=now, again_at=now + ANNOUNCED_WITHIN)
        SWEPT.labels("messages").inc(len(ids))
        await self._hand_over(Job.FAN_OUT, ids, Lane.EXPRESS)
        return len(ids)

    async def _sweep_deliveries(self) -> int:
        now = self._clock()
        awake = await self._deliveries.list_awake(BATCH, now=now)
        flying = [chunk for chunk in awake if chunk.state is ChunkState.IN_FLIGHT]
        stuck = await self._list_stuck(flying, now)
        await self._deliveries.take_over(stuck, now + SENT_WITHIN)
        left = {chunk.id for chunk in stuck}
        await self._deliveries.sleep([each.id for each in flying if each.id not in left], now + FLIGHT_CHECK)
        waiting = [chunk for chunk in awake if chunk.state is ChunkState.QUEUED]
        await self._deliveries.sleep([chunk.id for chunk in waiting], now + SENT_WITHIN)
        if stuck:
            TAKEN_OVER.inc(len(stuck))
            log.warning("sweeper.taken_over", deliveries=len(stuck))
        due = [*waiting, *stuck]
        SWEPT.labels("deliveries").inc(len(due))
        private = [chunk.id for chunk in due if chunk.broadcast is None]
        broadcast = [chunk.id for chunk in due if chunk.broadcast is not None]
        await self._hand_over(Job.DELIVER, private, Lane.EXPRESS)
        await self._hand_over(Job.DELIVER_BROADCAST, broadcast, Lane.BULK)
        return len(due)

    async def _list_stuck(self, flying: Sequence[Chunk], now: datetime) -> list[Chunk]:
        """List the deliveries in flight that nobody is sending any more."""
        owners = {chunk.id: (chunk.claim or "").rpartition("/")[0] for chunk in flying}
        dead = await self._workers.list_dead(
            owners.values(), now=now, by_lease=now >= self._trust_leases_from
        )
        mine, active = self._workers.id, self._delivery.claims
        return [
            chunk
            for chunk in flying
            if owners[chunk.id] in dead or (owners[chunk.id] == mine and chunk.claim not in active)
        ]

    async def _hand_over(self, job: Job, ids: Sequence[str], lane: Lane) -> None:
        """Queue jobs; what Redis does not take is done here."""
        for start in range(0, len(ids), _PER_JOB):
            some = list(ids[start : start + _PER_JOB])
            if not await self._queue.put(job, some, lane):
                await self._do(job, list(ids[start:]))
                return

    async def _do(self, job: Job, ids: list[str]) -> None:
        work = {
            Job.FAN_OUT: self._fan_out.run,
            Job.DELIVER: self._delivery.deliver,
            Job.DELIVER_BROADCAST: self._delivery.deliver_broadcast,
        }[job]
        for start in range(0, len(ids), _PER_JOB):
            await work(ids[start : start + _PER_JOB])
            await asyncio.sleep(0)
