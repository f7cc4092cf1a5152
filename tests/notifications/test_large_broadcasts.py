"""Large broadcasts: rows by bucket, devices by shard; how long things are kept; what a deletion leaves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from messages_world import AIR, NOW, PROGRESS, MessagesWorld, play_messages

from domain.devices import Device, DeviceLocale, Platform, PushChannel
from domain.messages import Message, MessageState
from notifications import fanout
from notifications.channels.base import Outcome, Push, Receipt
from operations import inbox as operations
from operations.messages import broadcast, send_message
from store.deliveries import KEPT, NOBODY, DeadLetter
from store.targets import TargetStore

SUBSCRIBERS = [f"account-{number:03}" for number in range(120)]
TOPIC = "division:350100"
Play = Callable[[Callable[[MessagesWorld], Awaitable[None]]], None]


@pytest.fixture
def play(mongodb_uri: str, redis_url: str, database_name: str, monkeypatch: pytest.MonkeyPatch) -> Play:
    """A function that runs a coroutine function in a world where 120 subscribers are many."""
    monkeypatch.setattr(fanout, "RECIPIENTS_PER_PART", 4)
    return lambda act: play_messages(mongodb_uri, redis_url, database_name, act)


def phone(account: str, number: int = 0) -> Device:
    id = f"phone-{number}-of-{account}"
    return Device(
        id, account, PushChannel.FCM, f"token-{id}", Platform.ANDROID, "5.0", DeviceLocale.ZH, NOW, NOW
    )


async def populate(world: MessagesWorld) -> None:
    await world.messages.subscriptions.load(TOPIC, SUBSCRIBERS)
    await world.devices.load([phone(account) for account in [*SUBSCRIBERS, "nobody-asked"]])


async def send(world: MessagesWorld, key: str = "air") -> Message:
    message = await broadcast(world.messages.outbox, [TOPIC], AIR, key, now=world.now)
    await world.worker.fan_out.run([message.id])
    return message


async def deliver(world: MessagesWorld) -> None:
    found = await world.database["deliveries"].find({"state": "QUEUED"}, {"_id": 1}).to_list()
    await world.worker.delivery.deliver_broadcast([each["_id"] for each in found])


def pushes(world: MessagesWorld) -> Counter[str]:
    return Counter(push.device_id for push in world.fcm.pushes)


def test_everybody_has_a_large_broadcast_once_whatever_is_repeated(play: Play) -> None:
    async def act(world: MessagesWorld) -> None:
        await populate(world)
        message = await send(world)
        done = await world.messages.outbox.messages.get(message.id)
        assert (done.state, done.recipients, done.splits) == (MessageState.SENT, 120, 32)
        rows = await world.database["inbox"].find({}).to_list()
        assert all(row["owner"].startswith("#") for row in rows)
        assert sorted(account for row in rows for account in row["accounts"]) == SUBSCRIBERS
        # As it is when the worker died after it wrote and before it said so; meanwhile somebody came.
        await world.messages.subscriptions.subscribe("late", TOPIC)
        await world.devices.upsert(phone("late"))
        change = {"$set": {"state": "SENDING", "done": 0, "recipients": 0, "wake_at": NOW}}
        await world.database["messages"].update_one({"_id": message.id}, change)
        await world.worker.fan_out.run([message.id])
        for _ in range(2):
            await deliver(world)
        assert pushes(world) == {phone(each).id: 1 for each in [*SUBSCRIBERS, "late"]}
        for account in (SUBSCRIBERS[0], SUBSCRIBERS[77], "late"):
            [entry] = await operations.with_messages(
                world.messages, await operations.list_inbox(world.messages, account, 20)
            )
            assert (entry.message.id, entry.row.read_at) == (message.id, None)
        assert await operations.list_inbox(world.messages, "nobody-asked", 20) == []

    play(act)


def test_private_messages_and_broadcasts_are_one_list(play: Play) -> None:
    async def act(world: MessagesWorld) -> None:
        await populate(world)
        told = []
        ann, bob = SUBSCRIBERS[:2]
        for number in range(6):
            world.now += timedelta(seconds=1)
            if number % 2:
                told.append((await send(world, f"air-{number}")).id)
            else:
                message = await send_message(
                    world.messages.outbox, ann, PROGRESS, f"k{number}", now=world.now
                )
                await world.worker.fan_out.run([message.id])
                told.append(message.id)
        for size in (1, 2, 4, 6):
            seen: list[str] = []
            before = None
            while rows := await operations.list_inbox(world.messages, ann, size, before):
                seen += [row.message for row in rows]
                before = rows[-1].place
            assert seen == told[::-1]
        assert await operations.mark_read(world.messages, ann, told[:2], now=world.now) == 2
        inbox = world.messages.inbox
        assert await inbox.count_unread(ann) == {"AIR_QUALITY": 2, "APPLICATION_PROGRESS": 2}
        assert await inbox.count_unread(bob) == {"AIR_QUALITY": 3}
        place = (await inbox.list_by_message(ann, told))[told[3]].place
        assert await operations.mark_all_read(world.messages, ann, place, now=world.now) == 2
        assert await inbox.count_unread(ann) == {"AIR_QUALITY": 1, "APPLICATION_PROGRESS": 1}
        assert await operations.delete(world.messages, ann, [told[5], told[4]]) == 2
        assert [row.message for row in await inbox.list_newest(ann, 9)] == told[3::-1]
        assert await inbox.count_unread(bob) == {"AIR_QUALITY": 3}
        world.now = NOW + timedelta(days=365, seconds=4)
        gone = await world.worker.retention.go_on()
        assert gone > 0
        assert [row.message for row in await inbox.list_newest(ann, 9)] == [told[3]]
        assert [row.message for row in await inbox.list_newest(bob, 9)] == [told[5], told[3]]

    play(act)


def test_what_waits_for_long_still_finds_its_devices_and_only_those(play: Play) -> None:
    class Answers:
        """Has no time for anybody at first."""

        def __init__(self, world: MessagesWorld) -> None:
            self.world = world
            self.is_busy = True

        async def __call__(self, pushes: list[Push], *, now: Any) -> list[Receipt]:
            if self.is_busy:
                return [Receipt(push.device_id, Outcome.RETRY, "UNAVAILABLE", 60.0) for push in pushes]
            self.world.fcm.pushes += pushes
            return [Receipt(push.device_id, Outcome.SENT, "SENT") for push in pushes]

    async def act(world: MessagesWorld) -> None:
        await populate(world)
        answers = Answers(world)
        world.fcm.send = answers  # type: ignore[method-assign,assignment]
        await send(world)
        await deliver(world)
        assert pushes(world) == {}
        moved, gone = phone(SUBSCRIBERS[0]), phone(SUBSCRIBERS[1])
        await world.devices.remove(gone.account_id, gone.id)
        refreshed = phone(SUBSCRIBERS[2])
        newer = Device(
            refreshed.id,
            refreshed.account_id,
            PushChannel.FCM,
            "newer",
            Platform.ANDROID,
            "5.0",
            DeviceLocale.EN,
            NOW,
            NOW,
        )
        await world.devices.upsert(newer)
        world.now += timedelta(minutes=2)
        answers.is_busy = False
        await deliver(world)
        sent = pushes(world)
        assert gone.id not in sent
        assert sent[moved.id] == sent[refreshed.id] == 1
        assert len(sent) == len(SUBSCRIBERS) - 1
        [push] = [push for push in world.fcm.pushes if push.device_id == refreshed.id]
        assert (push.token, push.title) == ("newer", "Air quality")

    play(act)


def test_deliveries_devices_and_dead_letters_have_an_end(play: Play) -> None:
    async def act(world: MessagesWorld) -> None:
        await populate(world)
        database = world.database
        old = await send(world, "old")
        await deliver(world)
        letter = DeadLetter(f"{old.id}:fcm:d", f"{old.id}:fcm:0.0", old.id, "fcm", "d", "INTERNAL", 12, NOW)
        await world.messages.deliveries.bury([letter])
        world.now = NOW + timedelta(days=20)
        new = await send(world, "new")
        written = await database["deliveries"].count_documents({"message": old.id})
        assert written > 0
        world.now = NOW + KEPT
        assert await world.worker.retention.go_on() == 0
        world.now += timedelta(seconds=1)
        assert await world.worker.retention.go_on() == written + 1
        assert await database["dead_letters"].count_documents({}) == 0
        assert await database["deliveries"].distinct("message") == [new.id]
        # The inbox goes by its own time.
        assert len(await world.messages.inbox.list_newest(SUBSCRIBERS[0], 9)) == 2
        world.now = NOW + timedelta(days=269)
        await world.devices.upsert(phone("somebody"))
        await database["devices"].update_one({"account_id": "somebody"}, {"$set": {"seen_at": world.now}})
        world.now = NOW + timedelta(days=270, seconds=1)
        await world.worker.retention.go_on()
        left = [each["account_id"] async for each in database["devices"].find({})]
        assert left == ["somebody"]
        targets = await TargetStore(database).list_in_shards(0, 4096)
        assert [target.account_id for target in targets] == ["somebody"]

    play(act)


def test_a_deleted_account_leaves_the_deliveries_of_every_broadcast(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def act(world: MessagesWorld) -> None:
        await populate(world)
        ann, bob = SUBSCRIBERS[:2]
        for number in range(1, 10):  # more deliveries in its part than are looked for at once
            await world.devices.upsert(phone(ann, number))
        with monkeypatch.context() as small:
            small.setattr(fanout, "CHUNK_DEVICES", 1)
            sent = await send(world, "sent")
        await deliver(world)
        world.now += timedelta(seconds=1)
        waits = await send(world, "waits")
        # A deleted broadcast has no row any more, its deliveries still have the devices.
        await operations.delete(world.messages, ann, [sent.id])
        dead = DeadLetter("x", "y", sent.id, "fcm", phone(ann).id, "INTERNAL", 12, NOW)
        await world.messages.deliveries.bury([dead])
        world.fcm.pushes.clear()

        async def documents(name: str) -> str:
            return str(await world.database[name].find({}).to_list())

        assert f"of-{ann}" in await documents("deliveries")
        assert await world.messages.own.erase_account(ann, now=NOW) == 2  # a row and a dead letter
        await world.devices.erase_account(ann, now=NOW)
        for name in ("deliveries", "dead_letters", "inbox", "devices", "device_targets"):
            assert ann not in await documents(name)
        counts = await world.messages.deliveries.count(sent.id, broadcast=True, channels=())
        assert counts.sent == len(SUBSCRIBERS) + 9
        blanked = await world.database["deliveries"].count_documents({"devices": NOBODY})
        assert blanked > 10
        await deliver(world)
        assert pushes(world) == {phone(each).id: 1 for each in SUBSCRIBERS if each != ann}
        assert (await world.messages.deliveries.count(waits.id, broadcast=True, channels=())).dead == 10
        assert [row.message for row in await world.messages.inbox.list_newest(bob, 9)] == [waits.id, sent.id]

    play(act)
