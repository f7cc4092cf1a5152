"""From a written message to the phone: fan-out, delivery, retries, sweeping, campaigns, on real engines."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from domain.devices import Device, DeviceLocale, Platform, PushChannel, Target
from domain.message_texts import AirLevel, AirQuality, ApplicationProgress, ApplicationStep, BusArriving
from domain.messages import (
    MAX_ATTEMPTS,
    Counts,
    Message,
    MessageState,
    SecondPersonNeededError,
    StepNotAllowedError,
    Verdict,
    VerdictKind,
)
from notifications.channels.base import Outcome, Push, Receipt
from notifications.delivery import DecideChannels, send_always
from notifications.outbox import Outbox
from notifications.queue import Job, JobQueue, Lane
from notifications.worker import Worker, WorkerConfig, ensure_indexes, make_worker, run
from operations.messages import (
    approve_campaign,
    broadcast,
    cancel,
    compose_campaign,
    get_progress,
    list_dead_letters,
    pause,
    reject_campaign,
    release_campaign,
    replay_dead_letters,
    resume,
    send_message,
)
from store.account_messages import AccountMessages
from store.connections import open_mongodb, open_redis
from store.deliveries import DeliveryStore, chunk_id
from store.devices import DeviceStore
from store.messages import MessageStore
from store.subscriptions import SubscriptionStore

NOW = datetime(2026, 11, 22, 4, tzinfo=UTC)
AIR = AirQuality("350100", "福州", 212, AirLevel.HEAVY)
PROGRESS = ApplicationProgress("a1", "社会保障卡申领", ApplicationStep.ACCEPTED)
SENT = (Outcome.SENT, "SENT", None)


class ScriptedChannel:
    """Answers as the test says, SENT where it says nothing, and remembers every push."""

    name = "fcm"
    max_batch = 500

    def __init__(self) -> None:
        self.pushes: list[Push] = []
        self.answers: dict[str, list[tuple[Outcome, str, float | None]]] = defaultdict(list)

    async def send(self, pushes: Sequence[Push], *, now: datetime) -> list[Receipt]:
        self.pushes += pushes
        receipts = []
        for push in pushes:
            planned = self.answers[push.device_id]
            outcome, reason, wait_s = planned.pop(0) if planned else SENT
            receipts.append(Receipt(push.device_id, outcome, reason, wait_s))
        return receipts

    @property
    def counts(self) -> Counter[str]:
        return Counter(push.device_id for push in self.pushes)


class World:
    """One database, one worker whose parts are run by hand, and a clock that the test moves."""

    def __init__(self, database: Any, redis: Any, queue: JobQueue, decide: DecideChannels) -> None:
        self.now = NOW
        self.database = database
        self.queue = queue
        self.channel = ScriptedChannel()
        self.worker: Worker = make_worker(
            database, redis, queue, {"fcm": self.channel}, clock=lambda: self.now, decide=decide
        )
        self.messages = MessageStore(database)
        self.deliveries = DeliveryStore(database)
        self.devices = DeviceStore(database)
        self.subscriptions = SubscriptionStore(database)
        self.outbox = Outbox(self.messages, queue)

    async def device(self, name: str, account: str) -> str:
        device_id = f"device-of-{name}".ljust(20, "_")
        token = f"token-{name}"
        await self.devices.upsert(
            Device(
                device_id,
                account,
                PushChannel.FCM,
                token,
                Platform.ANDROID,
                "5.0",
                DeviceLocale.ZH,
                self.now,
                self.now,
            )
        )
        return device_id

    async def fan_out(self, message: Message) -> None:
        await self.worker.fan_out.run([message.id])

    async def deliver(self) -> None:
        """Do what is due by hand, as the jobs would."""
        found = await self.database["deliveries"].find({"state": "QUEUED"}, {"_id": 1}).to_list()
        await self.worker.delivery.deliver([each["_id"] for each in found])

    async def chunk(self, message: Message) -> dict[str, Any]:
        found = await self.database["deliveries"].find_one({"message": message.id})
        assert found is not None
        return dict(found)

    async def counts(self, message: Message) -> Counts:
        return (await get_progress(self.outbox, self.deliveries, message.id, ["fcm", "wechat"])).devices


Play = Callable[[Callable[[World], Awaitable[None]]], None]


@pytest.fixture
def play(mongodb_uri: str, redis_url: str, database_name: str) -> Callable[..., None]:
    """A function that runs a coroutine function in a world of its own."""

    @asynccontextmanager
    async def world(url: str, decide: DecideChannels) -> AsyncIterator[World]:
        queue = JobQueue(url, timeout_s=0.5, prefix=f"{database_name}:jobs")
        redis = open_redis(redis_url, 2000)
        try:
            async with open_mongodb(mongodb_uri, 20_000) as client:
                await ensure_indexes(client[database_name])
                yield World(client[database_name], redis, queue, decide)
        finally:
            await queue.aclose()
            await redis.aclose()

    def play(
        act: Callable[[World], Awaitable[None]],
        *,
        queue_url: str = redis_url,
        decide: DecideChannels = send_always,
    ) -> None:
        async def main() -> None:
            async with world(queue_url, decide) as opened:
                await act(opened)

        asyncio.run(main())

    return play


def test_a_private_message_reaches_each_device_once(play: Callable[..., None]) -> None:
    async def act(world: World) -> None:
        phones = [await world.device("phone", "ann"), await world.device("tablet", "ann")]
        await world.device("other", "bob")
        message = await send_message(world.outbox, "ann", PROGRESS, "application:a1:1", now=NOW)
        again = await send_message(world.outbox, "ann", PROGRESS, "application:a1:1", now=NOW)
        assert again.id == message.id
        for _ in range(2):  # every job may run twice
            await world.fan_out(message)
            await world.deliver()
        assert world.channel.counts == dict.fromkeys(phones, 1)
        push = world.channel.pushes[0]
        assert (push.title, push.collapse_key, push.urgent) == ("办件进度", message.id, False)
        assert "社会保障卡" not in push.body
        assert push.data == {"application": "a1", "kind": "APPLICATION_PROGRESS", "message": message.id}
        rows = await world.database["inbox"].find({}).to_list()
        assert [(row["_id"], row["accounts"], row["kind"]) for row in rows] == [
            (f"ann:{message.id}", ["ann"], "APPLICATION_PROGRESS")
        ]
        assert (await world.messages.get(message.id)).state is MessageState.SENT
        assert await world.counts(message) == Counts(sent=2)

    play(act)


def test_a_citizen_of_several_topics_gets_a_broadcast_once(play: Callable[..., None]) -> None:
    async def act(world: World) -> None:
        for number in range(40):
            await world.device(f"d{number}", f"account-{number}")
        await world.subscriptions.load("division:350100", [f"account-{number}" for number in range(30)])
        await world.subscriptions.load("station:1", [f"account-{number}" for number in range(20, 40)])
        assert not await world.subscriptions.subscribe("account-3", "division:350100")
        assert await world.subscriptions.unsubscribe("account-3", "division:350100")
        assert not await world.subscriptions.unsubscribe("account-3", "division:350100")
        topics = ["division:350100", "station:1"]
        message = await broadcast(world.outbox, topics, AIR, "air:1", now=NOW)
        await world.fan_out(message)
        await world.deliver()
        assert len(world.channel.counts) == 39
        assert set(world.channel.counts.values()) == {1}
        assert await world.database["inbox"].count_documents({}) == 39
        done = await world.messages.get(message.id)
        assert (done.state, done.recipients, done.done) == (MessageState.SENT, 39, done.splits)

    play(act)


def test_a_part_that_is_written_again_adds_only_who_is_missing(play: Callable[..., None]) -> None:
    async def act(world: World) -> None:
        first = [f"d{number}" for number in range(7)]
        other = ["new", *first[1:], "late"]
        for _ in range(2):
            ids = await world.deliveries.insert_part("m", "fcm", 3, first, 3, now=NOW)
            assert ids == [chunk_id("m", "fcm", 3, number) for number in range(3)]
        ids, same = await asyncio.gather(
            world.deliveries.insert_part("m", "fcm", 3, other, 3, now=NOW),
            world.deliveries.insert_part("m", "fcm", 3, list(reversed(other)), 3, now=NOW),
        )
        chunks = await world.deliveries.list_chunks(list({*ids, *same}))
        devices = [device for chunk in chunks for device in chunk.devices]
        assert sorted(devices) == sorted({*first, *other})

    play(act)


def test_a_crash_in_the_middle_of_a_fan_out_loses_and_repeats_nothing(play: Callable[..., None]) -> None:
    async def act(world: World) -> None:
        for number in range(30):
            await world.device(f"d{number}", f"account-{number}")
        await world.subscriptions.load("stop:1", [f"account-{number}" for number in range(30)])
        message = await broadcast(world.outbox, ["stop:1"], AIR, "air:1", now=NOW)
        await world.fan_out(message)
        # As it is when the worker died after the deliveries and before the note that the part is done.
        change = {"$set": {"state": "SENDING", "done": 0, "recipients": 0, "wake_at": NOW}}
        await world.database["messages"].update_one({"_id": message.id}, change)
        await world.device("new", "account-1")
        await world.fan_out(message)
        await world.deliver()
        assert len(world.channel.counts) == 31
        assert set(world.channel.counts.values()) == {1}
        assert await world.database["inbox"].count_documents({}) == 30

    play(act)


def test_without_redis_the_sweeper_delivers(play: Callable[..., None]) -> None:
    async def act(world: World) -> None:
        device = await world.device("phone", "ann")
        await send_message(world.outbox, "ann", PROGRESS, "k", now=NOW)
        assert await world.worker.sweeper.sweep() == 0
        assert not world.channel.pushes
        world.now += timedelta(seconds=31)
        assert await world.worker.sweeper.sweep() == 1
        world.now += timedelta(seconds=31)
        assert await world.worker.sweeper.sweep() == 1
        assert world.channel.counts == {device: 1}
        assert await world.worker.sweeper.sweep() == 0

    play(act, queue_url="redis://127.0.0.1:1/0")


def test_one_device_is_tried_again_and_the_other_is_not(play: Callable[..., None]) -> None:
    async def act(world: World) -> None:
        good, bad = await world.device("good", "ann"), await world.device("bad", "ann")
        world.channel.answers[bad] = [(Outcome.RETRY, "UNAVAILABLE", 40.0), (Outcome.RETRY, "INTERNAL", None)]
        message = await send_message(world.outbox, "ann", PROGRESS, "k", now=NOW)
        await world.fan_out(message)
        await world.deliver()
        assert await world.counts(message) == Counts(sent=1, retry=1)
        await world.deliver()
        assert world.channel.counts == {good: 1, bad: 1}
        wake = (await world.chunk(message))["wake_at"] - NOW
        assert timedelta(seconds=40) <= wake <= timedelta(seconds=44)
        world.now += wake
        await world.deliver()
        assert world.channel.counts == {good: 1, bad: 2}
        world.now += timedelta(seconds=3)
        await world.deliver()
        assert world.channel.counts == {good: 1, bad: 3}
        assert await world.counts(message) == Counts(sent=2)
        assert "wake_at" not in await world.chunk(message)

    play(act)


def test_what_fails_for_good_is_kept_with_its_reason_and_can_be_replayed(play: Callable[..., None]) -> None:
    async def act(world: World) -> None:
        refused, tired = await world.device("refused", "ann"), await world.device("tired", "ann")
        world.channel.answers[refused] = [(Outcome.REFUSED, "INVALID_ARGUMENT", None)]
        world.channel.answers[tired] = [(Outcome.RETRY, "INTERNAL", None)] * MAX_ATTEMPTS
        message = await send_message(world.outbox, "ann", PROGRESS, "k", now=NOW)
        await world.fan_out(message)
        for _ in range(MAX_ATTEMPTS):
            await world.deliver()
            world.now += timedelta(hours=1)
        assert world.channel.counts == {refused: 1, tired: MAX_ATTEMPTS}
        letters = await list_dead_letters(world.deliveries, 10)
        assert {(each.device, each.reason, each.attempts) for each in letters} == {
            (refused, "INVALID_ARGUMENT", 1),
            (tired, "INTERNAL", MAX_ATTEMPTS),
        }
        assert await world.counts(message) == Counts(failed=2)
        assert await replay_dead_letters(world.deliveries, now=world.now, message_id="another") == (0, 0)
        assert await replay_dead_letters(world.deliveries, now=world.now) == (2, 0)
        await world.deliver()
        assert await world.counts(message) == Counts(sent=2)
        assert await list_dead_letters(world.deliveries, 10) == []

    play(act)


def test_dead_tokens_go_at_once_and_a_device_that_moved_hears_nothing(play: Callable[..., None]) -> None:
    async def act(world: World) -> None:
        dead, moved = await world.device("dead", "ann"), await world.device("moved", "ann")
        world.channel.answers[dead] = [(Outcome.DEAD_TOKEN, "UNREGISTERED", None)]
        message = await send_message(world.outbox, "ann", PROGRESS, "k", now=NOW)
        await world.fan_out(message)
        await world.device("moved", "bob")
        world.worker.fan_out._recent.forget([dead, moved])  # as after some seconds
        await world.deliver()
        assert world.channel.counts == {dead: 1}
        assert await world.devices.find(dead) is None
        assert await world.devices.find(moved) is not None
        assert await world.counts(message) == Counts(dead=2)
        assert sorted((await world.chunk(message))["reasons"].values()) == ["GONE", "UNREGISTERED"]

    play(act)


def test_what_nobody_needs_any_more_is_not_sent(play: Callable[..., None]) -> None:
    async def act(world: World) -> None:
        device = await world.device("phone", "ann")
        bus = BusArriving("r1", "1路", "s1", "东街口", 3)
        late = await send_message(world.outbox, "ann", bus, "late", now=NOW)
        never = await send_message(world.outbox, "ann", bus, "never", now=NOW)
        retried = await send_message(world.outbox, "ann", bus, "retried", now=NOW)
        world.channel.answers[device] = [(Outcome.RETRY, "UNAVAILABLE", 600.0)]
        await world.fan_out(retried)
        await world.deliver()
        await world.fan_out(late)
        world.now += timedelta(minutes=11)
        await world.fan_out(never)
        await world.deliver()
        assert len(world.channel.pushes) == 1
        assert await world.counts(late) == await world.counts(retried) == Counts(expired=1)
        assert (await world.messages.get(never.id)).state is MessageState.EXPIRED
        assert await world.counts(never) == Counts()

    play(act)


def test_preferences_hold_and_drop(play: Callable[..., None]) -> None:
    morning = NOW + timedelta(hours=3)

    async def decide(
        message: Message, channel: str, devices: Sequence[Target], *, now: datetime
    ) -> Sequence[Verdict]:
        assert channel == "fcm"
        kinds = {"ann": VerdictKind.HOLD if now < morning else VerdictKind.SEND, "bob": VerdictKind.DROP}
        return [Verdict(kinds[device.account_id], morning) for device in devices]

    async def act(world: World) -> None:
        held, dropped = await world.device("held", "ann"), await world.device("dropped", "bob")
        await world.subscriptions.load("stop:1", ["ann", "bob"])
        message = await broadcast(world.outbox, ["stop:1"], AIR, "k", now=NOW)
        await world.fan_out(message)
        await world.deliver()
        assert not world.channel.pushes
        assert await world.counts(message) == Counts(held=1, dropped=1)
        world.now = morning
        await world.deliver()
        assert world.channel.counts == {held: 1}
        assert dropped not in world.channel.counts
        assert await world.counts(message) == Counts(sent=1, dropped=1)

    play(act, decide=decide)


def test_the_sweeper_takes_over_from_the_dead_and_from_nobody_else(play: Callable[..., None]) -> None:
    async def act(world: World) -> None:
        device = await world.device("phone", "ann")
        message = await send_message(world.outbox, "ann", PROGRESS, "k", now=NOW)
        await world.fan_out(message)
        id_ = chunk_id(message.id, "fcm", 0, 0)
        alive = f"elsewhere:1:aa/{1}"
        await world.database["workers"].insert_one(
            {"_id": "elsewhere:1:aa", "alive_until": NOW + timedelta(minutes=5)}
        )
        assert len(await world.deliveries.claim([id_], alive, now=NOW)) == 1
        assert await world.deliveries.claim([id_], "another:2:bb/1", now=NOW) == []
        world.now += timedelta(minutes=1)
        await world.worker.sweeper.sweep()
        assert (await world.chunk(message))["state"] == "IN_FLIGHT"
        await world.deliver()
        assert not world.channel.pushes
        world.now += timedelta(minutes=5)
        await world.worker.sweeper.sweep()
        chunk = await world.chunk(message)
        assert (chunk["state"], chunk["uncertain"], "claim" in chunk) == ("QUEUED", 1, False)
        await world.deliver()
        assert world.channel.counts == {device: 1}

    play(act)


def test_a_campaign_needs_a_second_person(play: Callable[..., None]) -> None:
    async def act(world: World) -> None:
        await world.subscriptions.load("division:35", ["ann", "bob"])
        device = await world.device("phone", "ann")

        async def compose(key: str) -> Message:
            return await compose_campaign(
                world.outbox, world.subscriptions, ["division:35"], AIR, key, "clerk", now=NOW
            )

        draft = await compose("big")
        assert (draft.state, draft.campaign and draft.campaign.estimate) == (MessageState.DRAFT, 2)
        await world.fan_out(draft)
        waiting = await release_campaign(
            world.outbox, world.subscriptions, draft.id, now=NOW, four_eyes_from=2
        )
        assert waiting.state is MessageState.AWAITING_APPROVAL
        with pytest.raises(SecondPersonNeededError):
            await approve_campaign(world.outbox, draft.id, "clerk", now=NOW)
        assert (await world.messages.get(draft.id)).state is MessageState.AWAITING_APPROVAL
        assert (await reject_campaign(world.outbox, draft.id, now=NOW)).state is MessageState.DRAFT
        with pytest.raises(StepNotAllowedError):
            await approve_campaign(world.outbox, draft.id, "chief", now=NOW)
        await release_campaign(world.outbox, world.subscriptions, draft.id, now=NOW, four_eyes_from=2)
        assert not world.channel.pushes
        approved = await approve_campaign(world.outbox, draft.id, "chief", now=NOW)
        assert approved.campaign is not None
        assert (approved.state, approved.campaign.approved_by) == (MessageState.SENDING, "chief")
        await world.fan_out(approved)
        await world.deliver()
        assert world.channel.counts == {device: 1}
        small = await compose("small")
        released = await release_campaign(world.outbox, world.subscriptions, small.id, now=NOW)
        assert released.state is MessageState.SENDING
        listed = await world.messages.list_campaigns(10)
        assert {each.id for each in listed} == {draft.id, small.id}

    play(act)


def test_an_urgent_campaign_to_more_than_a_hundred_needs_a_second_person(play: Callable[..., None]) -> None:
    async def act(world: World) -> None:
        await world.subscriptions.load("division:35", [f"account-{number}" for number in range(100)])

        async def release(key: str, *, urgent: bool) -> Message:
            draft = await compose_campaign(
                world.outbox, world.subscriptions, ["division:35"], AIR, key, "clerk", now=NOW, urgent=urgent
            )
            return await release_campaign(world.outbox, world.subscriptions, draft.id, now=NOW)

        assert (await release("a hundred", urgent=True)).state is MessageState.SENDING
        await world.subscriptions.subscribe("one-more", "division:35")
        assert (await release("calm", urgent=False)).state is MessageState.SENDING
        loud = await release("loud", urgent=True)
        assert loud.state is MessageState.AWAITING_APPROVAL
        with pytest.raises(SecondPersonNeededError):
            await approve_campaign(world.outbox, loud.id, "clerk", now=NOW)
        assert await world.messages.get(loud.id) == loud
        approved = await approve_campaign(world.outbox, loud.id, "chief", now=NOW)
        assert (approved.state, approved.urgent) == (MessageState.SENDING, True)

    play(act)


def test_a_campaign_is_spread_paused_and_cancelled(play: Callable[..., None]) -> None:
    async def act(world: World) -> None:
        names = [f"account-{number}" for number in range(64)]
        for name in names:
            await world.device(name, name)
        await world.subscriptions.load("division:35", names)
        message = await compose_campaign(
            world.outbox, world.subscriptions, ["division:35"], AIR, "k", "clerk", now=NOW, window_s=3600
        )
        await release_campaign(world.outbox, world.subscriptions, message.id, now=NOW)
        await world.fan_out(message)
        begun = await world.messages.get(message.id)
        assert begun.splits == 64
        assert begun.done == 1
        world.now += timedelta(minutes=15)
        await world.fan_out(message)
        quarter = await world.messages.get(message.id)
        assert quarter.done == 17
        await pause(world.outbox, message.id, now=world.now)
        await world.fan_out(message)
        await world.deliver()
        assert not world.channel.pushes
        world.now += timedelta(hours=9)
        await resume(world.outbox, world.deliveries, message.id, now=world.now)
        await world.fan_out(message)
        await world.deliver()
        resumed = await world.messages.get(message.id)
        assert resumed.done in {18, 19}  # the next part, not nine hours' worth
        assert len(world.channel.counts) == resumed.recipients > 0
        world.now += timedelta(minutes=15)
        await world.fan_out(message)
        sent = len(world.channel.counts)
        await cancel(world.outbox, world.deliveries, message.id, now=world.now)
        await world.fan_out(message)
        await world.deliver()
        assert len(world.channel.counts) == sent
        progress = await get_progress(world.outbox, world.deliveries, message.id, ["fcm"])
        assert progress.state is MessageState.CANCELLED
        assert progress.devices.open == 0
        assert progress.devices.cancelled == progress.recipients - sent > 0
        with pytest.raises(StepNotAllowedError):
            await resume(world.outbox, world.deliveries, message.id, now=world.now)

    play(act)


def test_an_account_s_messages_are_exported_and_forgotten(play: Callable[..., None]) -> None:
    async def act(world: World) -> None:
        device = await world.device("phone", "ann")
        await world.device("tablet", "bob")
        await world.subscriptions.load("stop:1", ["ann", "bob"])
        world.channel.answers[device] = [(Outcome.REFUSED, "INVALID_ARGUMENT", None)]
        for name in ("ann", "bob"):
            await world.fan_out(await send_message(world.outbox, name, PROGRESS, name, now=NOW))
        await world.deliver()
        await world.fan_out(await broadcast(world.outbox, ["stop:1"], AIR, "all", now=NOW))
        await world.deliver()
        await send_message(world.outbox, "ann", PROGRESS, "waits", now=NOW)
        store = AccountMessages(world.database)
        exported = await store.export_account("ann")
        assert sorted(row["payload"]["kind"] for row in exported) == ["AIR_QUALITY", "APPLICATION_PROGRESS"]
        # two messages, a delivery, a dead letter, two rows
        assert await store.erase_account("ann", now=NOW) == 6
        assert await store.erase_account("ann", now=NOW) == 0
        left = [each["dedupe_key"] async for each in world.database["messages"].find({})]
        assert sorted(left) == ["all", "bob"]
        assert await world.database["dead_letters"].count_documents({}) == 0
        assert await world.database["deliveries"].count_documents({}) >= 2
        assert {row["owner"] async for row in world.database["inbox"].find({})} == {"bob"}

    play(act)


def test_the_worker_does_it_all_by_itself(
    play: Callable[..., None], mongodb_uri: str, redis_url: str, database_name: str
) -> None:
    async def act(world: World) -> None:
        device = await world.device("phone", "ann")
        await world.device("tablet", "bob")
        await world.subscriptions.load("stop:1", ["ann", "bob"])
        world.queue = JobQueue(redis_url)
        outbox = Outbox(world.messages, world.queue)
        await world.queue.put(Job.DELIVER, ["unknown:fcm:0.0"], Lane.EXPRESS)
        now = datetime.now(UTC)
        first = await send_message(outbox, "ann", PROGRESS, "one", now=now)
        second = await broadcast(outbox, ["stop:1"], AIR, "all", now=now)
        stop = asyncio.Event()
        config = WorkerConfig(mongodb_uri, redis_url, database_name, drain_s=5)
        running = asyncio.create_task(run(config, {"fcm": world.channel}, stop))
        async with asyncio.timeout(20):
            while len(world.channel.pushes) < 3 or (await world.counts(second)).open:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        stop.set()
        await running
        assert await world.counts(first) == Counts(sent=1)
        assert await world.counts(second) == Counts(sent=2)
        assert world.channel.counts[device] == 2
        assert [await world.queue.depth(lane) for lane in Lane] == [(0, 0), (0, 0)]
        assert await world.database["workers"].count_documents({}) == 0
        await world.queue.aclose()

    play(act)


def test_jobs_of_a_dead_worker_are_found_and_do_not_count_as_waiting(
    play: Callable[..., None], redis_url: str, database_name: str
) -> None:
    async def act(world: World) -> None:
        queue = world.queue
        assert await queue.depth(Lane.BULK) == (0, 0)
        await queue.put(Job.FAN_OUT, ["lost"], Lane.BULK)
        await queue.put(Job.FAN_OUT, ["next"], Lane.BULK)
        assert await queue.depth(Lane.BULK) == (2, 0)
        name = f"{database_name}:jobs:bulk"
        redis = open_redis(redis_url, 2000)
        await redis.xgroup_create(name, "workers", id="0")
        await redis.xreadgroup("workers", "dead", {name: ">"}, count=1)
        assert await queue.depth(Lane.BULK) == (1, 1)
        done: list[str] = []

        async def work(ids: list[str]) -> None:
            done.extend(ids)

        stop = asyncio.Event()
        handlers = {Job.FAN_OUT: work, Job.DELIVER: work}
        working = asyncio.create_task(queue.work(Lane.BULK, handlers, stop, concurrency=2))
        async with asyncio.timeout(10):
            while done != ["next"]:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        (entry,) = await redis.xpending_range(name, "workers", "-", "+", 10)
        # As after a minute: the entry of the dead has been idle for long.
        await redis.xclaim(name, "workers", "dead", 0, [entry["message_id"]], idle=120_000)
        await queue.nudge(Lane.BULK)
        async with asyncio.timeout(10):
            while await queue.depth(Lane.BULK) != (0, 0):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert done == ["next", "lost"]
        stop.set()
        await working
        await redis.aclose()

    play(act)
