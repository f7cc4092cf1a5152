"""What the worker does beside its jobs: it tends complaints, forgets uploads."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pymongo import AsyncMongoClient
from redis.asyncio import Redis

from api.complaints import make_complaints
from api.identity import kms_of
from loaders.reference import Follower
from loaders.units import Units
from notifications.outbox import Outbox
from notifications.queue import JobQueue
from notifications.worker import Chore
from operations.complaint_care import AT_ONCE, Caretaker, tend
from operations.complaint_publication import Publisher
from operations.complaint_statistics import Counting, count_marked
from operations.media import expire
from operations.open311 import PartnerFollower
from settings import Settings
from store.complaint_drafts import ComplaintDraftStore
from store.complaint_statistics import StatisticsStore
from store.encryption import FieldCipher
from store.media import MediaStore
from store.messages import MessageStore
from store.open311_keys import Open311KeyStore
from store.open311_requests import Open311RequestStore
from store.public_complaints import PublicComplaintStore
from store.units import UnitStore

_TEND_S: Final = 1.0
_COUNT_S: Final = 2.0
_EXPIRE_S: Final = 60.0


@asynccontextmanager
async def open_chores(
    settings: Settings, mongodb: AsyncMongoClient[dict[str, Any]], redis: Redis
) -> AsyncIterator[list[Chore]]:
    """Open what the chores need; close it afterwards.

    Raises: store.encryption.MasterKeyError, and what `api.complaints.make_complaints` raises.
    """
    database = mongodb[settings.database]
    queue = JobQueue(settings.redis_url or "", timeout_s=settings.engine_timeout_ms / 1000)
    units = Units(UnitStore(database))
    follower = Follower(
        units.store.reference, redis, units.followed, poll=timedelta(seconds=settings.snapshot_poll_s)
    )
    await follower.refresh()

    def is_division(code: str) -> bool:
        return units.tree.covers(code)

    following = asyncio.create_task(follower.run())
    try:
        async with aclosing(FieldCipher(mongodb, settings.database, kms_of(settings))) as cipher:
            complaints = make_complaints(
                settings,
                database,
                cipher,
                units=lambda: units.tree,
                read_classes=lambda: units.classes,
                is_division=is_division,
            )
            await complaints.store.ensure_indexes()
            await complaints.joins.ensure_indexes()
            await ComplaintDraftStore(database, cipher).ensure_indexes()
            outbox = Outbox(MessageStore(database, timedelta(days=settings.inbox_days)), queue)
            publisher = Publisher(PublicComplaintStore(database), complaints.secrets, complaints.calendar)
            await publisher.store.ensure_indexes()
            counting = Counting(
                StatisticsStore(database), complaints.store, complaints.numbers, complaints.calendar
            )
            await counting.store.ensure_indexes()
            await Open311KeyStore(database).ensure_indexes()
            partners = PartnerFollower(Open311RequestStore(database), publisher)
            await partners.requests.ensure_indexes()
            caretaker = Caretaker(complaints, outbox, (publisher, counting, partners), redis)
            media = MediaStore(database)
            await media.ensure_indexes()
            yield [
                Chore("complaints", lambda: _tend_all(caretaker), _TEND_S),
                Chore("statistics", lambda: _count_all(counting), _COUNT_S),
                Chore("media", lambda: expire(media, now=datetime.now(UTC)), _EXPIRE_S),
            ]
    finally:
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following
        await queue.aclose()


async def _count_all(counting: Counting) -> None:
    while await count_marked(counting):
        continue


async def _tend_all(caretaker: Caretaker) -> None:
    while await tend(caretaker, now=datetime.now(UTC)) == AT_ONCE:
        continue
