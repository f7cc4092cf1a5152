"""The real application with Open311 partners, and the worker's part of the work done on demand."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from complaints_world import CITY, SEAT, UNITS
from media_world import Place, serving_media, settings_for

from api.complaints import open_complaints
from domain import complaints as c
from domain.open311 import ApiKey, KeyScope
from notifications.outbox import Outbox
from notifications.queue import JobQueue
from operations.complaint_care import AT_ONCE, Caretaker, tend
from operations.complaint_publication import Publisher
from operations.complaint_steps import advance
from operations.complaints import Complaints
from operations.open311 import PartnerFollower
from operations.units import replace_units
from settings import Settings
from store.connections import open_mongodb, open_redis
from store.messages import MessageStore
from store.open311_keys import Open311KeyStore
from store.open311_requests import Open311RequestStore
from store.public_complaints import PublicComplaintStore
from store.units import UnitStore

T = TypeVar("T")
MATTER = {
    "service_code": "0101",
    "lat": "26.0871",
    "long": "119.2965",
    "address_string": "福州市鼓楼区东街口",
    "description": "东街口垃圾桶满溢三天，我叫林小明，电话13800138000。",
    "first_name": "小明",
    "last_name": "林",
    "phone": "+86 (138) 0013-8000",
    "email": "lin@example.com",
    "media_url": "http://127.0.0.1:1/never-fetched.jpg",
}
SECRETS = ("13800138000", "0013", "林小明", "lin@example.com", "119.2965", "26.0871")


class Desk(Place):
    """A served application, and what partners, seats and the worker do."""

    def key(
        self, scope: KeyScope = KeyScope.WRITE, *, per_minute: int = 10_000, division: str | None = CITY
    ) -> tuple[ApiKey, str]:
        async def make(complaints: Complaints, database: Any) -> tuple[ApiKey, str]:
            return await Open311KeyStore(database).create(
                "partner",
                "someone@partner.example",
                scope,
                per_minute=per_minute,
                per_day=100_000,
                division_code=division,
                now=datetime.now(UTC),
            )

        return self.work(make)

    def revoke(self, key: ApiKey) -> None:
        self.work(lambda _, database: Open311KeyStore(database).revoke(key.id, now=datetime.now(UTC)))

    def count(self) -> int:
        return int(self.work(lambda _, database: database["complaints"].count_documents({})))

    def step(self, number: str, step: c.AnyStep) -> None:
        """Let a seat take a step, and the worker see it."""

        async def take(complaints: Complaints, _: Any) -> None:
            await advance(complaints, SEAT, number, step, now=datetime.now(UTC))

        self.work(take)
        self.tend()

    def tend(self) -> None:
        """Do what the worker does after every step."""

        async def look(complaints: Complaints, database: Any) -> None:
            publisher = Publisher(PublicComplaintStore(database), complaints.secrets, complaints.calendar)
            partners = PartnerFollower(Open311RequestStore(database), publisher)
            queue = JobQueue(self.settings.redis_url or "", timeout_s=10)
            outbox = Outbox(MessageStore(database, timedelta(days=1)), queue)
            caretaker = Caretaker(complaints, outbox, (publisher, partners))
            try:
                while await tend(caretaker, now=datetime.now(UTC)) == AT_ONCE:
                    continue
            finally:
                await queue.aclose()

        self.work(look)

    def work(self, act: Callable[[Complaints, Any], Awaitable[T]]) -> T:
        async def main() -> T:
            uri = self.settings.mongodb_uri or ""
            async with open_mongodb(uri, 30_000) as mongodb, open_complaints(self.settings, mongodb) as own:
                return await act(own, mongodb[self.settings.database])

        return asyncio.run(main())


async def prepare(settings: Settings) -> None:
    """Bring the units in and make the indexes."""
    redis = open_redis(settings.redis_url or "", 30_000)
    async with open_mongodb(settings.mongodb_uri or "", 30_000) as mongodb, aclosing(redis):
        database = mongodb[settings.database]
        await replace_units(UnitStore(database), redis, UNITS, now=datetime.now(UTC), force=True)
        await Open311KeyStore(database).ensure_indexes()
        await Open311RequestStore(database).ensure_indexes()
        await PublicComplaintStore(database).ensure_indexes()


@contextmanager
def serving_open311(mongodb_uri: str, redis_url: str, database: str, home: Path) -> Iterator[Desk]:
    changes: dict[str, Any] = {"snapshot_poll_s": 0.2, "open311_address_limit": "60 per 1 minute"}
    settings = settings_for(mongodb_uri, redis_url, database, home, **changes)
    asyncio.run(prepare(settings))
    with serving_media(settings) as place:
        desk = Desk(place.app, place.url, settings)
        with desk.http:
            yield desk
