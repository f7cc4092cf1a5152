"""The real pipeline on real engines, its parts run by hand and its clock moved by the test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from domain.devices import Device, DeviceLocale, Platform, PushChannel
from domain.message_texts import AirLevel, AirQuality, ApplicationProgress, ApplicationStep
from domain.messages import Message
from notifications.channels.base import Channel, Outcome, Push, Receipt
from notifications.outbox import Outbox
from notifications.queue import JobQueue, Lane
from notifications.recent import RecentMessages
from notifications.worker import Worker, ensure_indexes, make_worker
from operations.inbox import Messages
from store.account_messages import AccountMessages
from store.connections import open_mongodb, open_redis
from store.deliveries import DeliveryStore
from store.devices import DeviceStore
from store.digests import DigestStore
from store.inbox import InboxStore
from store.messages import MessageStore
from store.preferences import PreferenceStore
from store.subscriptions import SubscriptionStore

NOW = datetime(2026, 11, 22, 4, tzinfo=UTC)  # Sunday noon in Fujian
AIR = AirQuality("350100", "福州", 212, AirLevel.HEAVY)
PROGRESS = ApplicationProgress("a1", "社会保障卡申领", ApplicationStep.ACCEPTED)


class KeepingChannel:
    """Takes every push and keeps it."""

    max_batch = 500

    def __init__(self, name: str) -> None:
        self.name = name
        self.pushes: list[Push] = []

    async def send(self, pushes: Sequence[Push], *, now: datetime) -> list[Receipt]:
        self.pushes += pushes
        return [Receipt(push.device_id, Outcome.SENT, "SENT") for push in pushes]


class MessagesWorld:
    """One database, one worker, three channels; another one in `channels` takes the place of its name."""

    def __init__(self, database: Any, redis: Any, queue: JobQueue) -> None:
        self.now = NOW
        self.database = database
        self.fcm, self.wechat, self.sms = (KeepingChannel(name) for name in ("fcm", "wechat", "sms"))
        self.channels: dict[str, Channel] = {each.name: each for each in (self.fcm, self.wechat, self.sms)}
        self.worker: Worker = make_worker(
            database,
            redis,
            queue,
            self.channels,
            clock=lambda: self.now,
        )
        self.devices = DeviceStore(database)
        self.digests = DigestStore(database)
        store = MessageStore(database)
        self.messages = Messages(
            outbox=Outbox(store, queue),
            recent=RecentMessages(store),
            inbox=InboxStore(database),
            own=AccountMessages(database),
            deliveries=DeliveryStore(database),
            subscriptions=SubscriptionStore(database),
            preferences=PreferenceStore(database),
            channels=("fcm", "wechat", "sms"),
        )

    async def device(
        self, account: str, channel: PushChannel = PushChannel.FCM, locale: DeviceLocale = DeviceLocale.ZH
    ) -> str:
        device_id = f"{channel.value}-of-{account}".ljust(20, "_")
        platform = Platform.WECHAT if channel is PushChannel.WECHAT else Platform.ANDROID
        await self.devices.upsert(
            Device(device_id, account, channel, device_id, platform, "5.0", locale, self.now, self.now)
        )
        return device_id

    async def run(self, message: Message | None = None) -> None:
        """Do what is due by now: fan out, write digests, sweep, deliver."""
        if message is not None:
            await self.worker.fan_out.run([message.id])
        await self.worker.digests.send_due()
        found = await self.database["deliveries"].find({"state": "QUEUED"}, {"_id": 1}).to_list()
        await self.worker.delivery.deliver([each["_id"] for each in found])

    def told(self) -> list[tuple[str, str]]:
        """Give and forget what went out: channel and text."""
        told = [("fcm", push.body) for push in self.fcm.pushes]
        told += [("wechat", push.body) for push in self.wechat.pushes]
        told += [("sms", push.body) for push in self.sms.pushes]
        for channel in (self.fcm, self.wechat, self.sms):
            channel.pushes.clear()
        return told


@asynccontextmanager
async def open_messages_world(
    mongodb_uri: str, redis_url: str, database: str
) -> AsyncIterator[MessagesWorld]:
    queue = JobQueue(redis_url, timeout_s=5, prefix=f"{database}:jobs")
    redis = open_redis(redis_url, 5_000)
    try:
        async with open_mongodb(mongodb_uri, 20_000) as client:
            await ensure_indexes(client[database])
            yield MessagesWorld(client[database], redis, queue)
    finally:
        for lane in Lane:
            await redis.delete(f"{database}:jobs:{lane}")
        await queue.aclose()
        await redis.aclose()


def play_messages(
    mongodb_uri: str, redis_url: str, database: str, act: Callable[[MessagesWorld], Awaitable[None]]
) -> None:
    """Run a coroutine function in a world of its own."""

    async def main() -> None:
        async with open_messages_world(mongodb_uri, redis_url, database) as world:
            await act(world)

    asyncio.run(main())
