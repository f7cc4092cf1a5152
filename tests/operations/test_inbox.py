"""Quiet hours, digests, expiry and retention by a clock that the test moves; what citizens do to inboxes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from messages_world import AIR, NOW, PROGRESS, MessagesWorld, play_messages

from domain.devices import PushChannel
from domain.message_texts import BusArriving, Hazard, PublicWarning, WarningColour
from domain.messages import InvalidTopicError, MessageNotFoundError, MessageState, TopicKind
from domain.preferences import (
    SHANGHAI,
    Digest,
    DigestNotPossibleError,
    InvalidQuietHoursError,
    KindChange,
    MessageKind,
    NotificationWay,
    PreferencesConflictError,
    QuietHours,
)
from operations import inbox as operations
from operations.inbox import TooManyMessagesError, UnknownTopicError, entries_after
from operations.messages import broadcast, get_progress, send_message
from operations.preferences import update_preferences
from store.inbox import place_at

NIGHT = QuietHours(22 * 60 + 30, 7 * 60)
SECOND = timedelta(seconds=1)
Play = Callable[[Callable[[MessagesWorld], Awaitable[None]]], None]


def local(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=SHANGHAI).astimezone(NOW.tzinfo)


@pytest.fixture
def play(mongodb_uri: str, redis_url: str, database_name: str) -> Play:
    """A function that runs a coroutine function in a world of its own."""
    return lambda act: play_messages(mongodb_uri, redis_url, database_name, act)


async def states(world: MessagesWorld, message_id: str) -> dict[str, int]:
    messages = world.messages
    progress = await get_progress(messages.outbox, messages.deliveries, message_id, messages.channels)
    counts = {name: getattr(progress.devices, name) for name in progress.devices.__struct_fields__}
    return {name: count for name, count in counts.items() if count}


def test_quiet_hours_hold_until_their_end_and_urgent_warnings_pass(play: Play) -> None:
    async def act(world: MessagesWorld) -> None:
        await world.device("ann")
        await update_preferences(
            world.messages.preferences, "ann", [], NIGHT, expected_version=0, now=world.now
        )
        world.now = local("2026-11-22 23:10")
        outbox = world.messages.outbox
        quiet = await send_message(outbox, "ann", PROGRESS, "k1", now=world.now)
        await world.run(quiet)
        assert world.told() == []
        assert await states(world, quiet.id) == {"held": 1}
        # It is in the inbox all the same.
        assert len(await world.messages.inbox.list_newest("ann", 9)) == 1
        typhoon = PublicWarning("w1", Hazard.TYPHOON, WarningColour.RED, "福州市", "福建省气象台")
        await world.messages.subscriptions.subscribe("ann", "division:350100")
        urgent = await broadcast(outbox, ["division:350100"], typhoon, "w1", now=world.now)
        await world.run(urgent)
        assert [channel for channel, _ in world.told()] == ["fcm"]
        bus = await send_message(outbox, "ann", BusArriving("r", "1路", "s", "东街口", 3), "b", now=world.now)
        await world.run(bus)
        for instant in ("2026-11-23 00:00", "2026-11-23 06:59:59"):
            world.now = local(instant)
            await world.run()
            assert world.told() == []
        assert await states(world, quiet.id) == {"held": 1}
        world.now = local("2026-11-23 07:00")
        await world.worker.sweeper.sweep()  # finds what was held, by its own clock
        await world.run()
        assert world.told() == [("fcm", "您的一项办件有新进展，请打开闽政通查看。")]
        assert await states(world, quiet.id) == {"sent": 1}
        # A bus of the night before is worthless.
        assert await states(world, bus.id) == {"expired": 1}
        world.now += timedelta(days=1)
        await world.run()
        assert world.told() == []

    play(act)


def test_digests_are_one_push_with_a_count_on_the_ways_that_want_it(play: Play) -> None:
    async def act(world: MessagesWorld) -> None:
        await world.device("ann")
        await world.device("ann", PushChannel.WECHAT)
        await world.device("bob")
        for account in ("ann", "bob"):
            await world.messages.subscriptions.subscribe(account, "division:350100")
        daily = KindChange(MessageKind.AIR_QUALITY, {NotificationWay.WECHAT: False}, Digest.DAILY)
        await update_preferences(
            world.messages.preferences, "ann", [daily], expected_version=0, now=world.now
        )
        outbox = world.messages.outbox
        sent = []
        for number in range(3):
            message = await broadcast(outbox, ["division:350100"], AIR, f"air{number}", now=world.now)
            for _ in range(2):  # every job may run twice
                await world.run(message)
            sent.append(message)
            world.now += timedelta(hours=1)
        # Bob is told at once, Ann counts.
        assert [channel for channel, _ in world.told()] == ["fcm"] * 3
        assert await states(world, sent[0].id) == {"sent": 1, "dropped": 2}
        assert len(await world.messages.inbox.list_newest("ann", 9)) == 3
        assert [len(each["messages"]) for each in await world.digests.export_account("ann")] == [3]
        world.now = local("2026-11-23 08:59:59")
        await world.run()
        assert world.told() == []
        world.now = local("2026-11-23 09:00") + 30 * SECOND
        for _ in range(2):
            await world.run()
        assert world.told() == [("fcm", "您有 3 条新消息，请打开闽政通查看。")]
        # The digest has no row of its own.
        assert len(await world.messages.inbox.list_newest("ann", 9)) == 3
        assert await world.digests.export_account("ann") == []
        world.now += timedelta(days=8)
        await world.run()
        assert world.told() == []
        # The digest can be forgotten although no inbox names it.
        assert await world.database["messages"].count_documents({"audience.account": "ann"}) == 1
        await world.messages.own.erase_account("ann", now=world.now)
        assert await world.database["messages"].count_documents({"audience.account": "ann"}) == 0
        assert await world.messages.inbox.list_newest("ann", 9) == []

    play(act)


def test_a_refused_way_is_never_used_and_preferences_count_when_it_is_sent(play: Play) -> None:
    async def act(world: MessagesWorld) -> None:
        await world.device("ann")
        await world.device("ann", PushChannel.WECHAT)
        store, outbox = world.messages.preferences, world.messages.outbox
        refused = KindChange(MessageKind.APPLICATION_PROGRESS, {NotificationWay.PUSH: False})
        await update_preferences(store, "ann", [refused], NIGHT, expected_version=0, now=world.now)
        first = await send_message(outbox, "ann", PROGRESS, "k1", now=world.now)
        await world.run(first)
        assert [channel for channel, _ in world.told()] == ["wechat"]
        assert await states(world, first.id) == {"sent": 1, "dropped": 1}
        # Held by night, refused before the morning.
        world.now = local("2026-11-22 23:00")
        second = await send_message(outbox, "ann", PROGRESS, "k2", now=world.now)
        await world.run(second)
        wechat = KindChange(MessageKind.APPLICATION_PROGRESS, {NotificationWay.WECHAT: False})
        await update_preferences(store, "ann", [wechat], expected_version=1, now=world.now)
        world.now = local("2026-11-23 07:00")
        await world.run()
        assert world.told() == []
        assert await states(world, second.id) == {"dropped": 2}

    play(act)


def test_a_change_from_an_old_version_changes_nothing(play: Play) -> None:
    async def act(world: MessagesWorld) -> None:
        store = world.messages.preferences
        saved = await update_preferences(store, "ann", [], NIGHT, expected_version=0, now=NOW)
        assert (saved.version, saved.quiet_hours, saved.updated_at) == (1, NIGHT, NOW)
        bus = KindChange(MessageKind.BUS_ARRIVING, {}, Digest.DAILY)
        with pytest.raises(PreferencesConflictError) as refused:
            await update_preferences(store, "ann", [], None, expected_version=0, now=NOW)
        assert refused.value.params["current"] == 1
        with pytest.raises(DigestNotPossibleError):
            await update_preferences(store, "ann", [bus], None, expected_version=1, now=NOW)
        with pytest.raises(InvalidQuietHoursError):
            await update_preferences(store, "ann", [], QuietHours(5, 5), expected_version=1, now=NOW)
        assert await store.get("ann") == saved
        gone = await update_preferences(store, "ann", [], None, expected_version=1, now=NOW)
        assert (gone.version, gone.quiet_hours) == (2, None)

    play(act)


async def tell(world: MessagesWorld, account: str, count: int) -> list[str]:
    ids = []
    for number in range(count):
        message = await send_message(
            world.messages.outbox, account, PROGRESS, f"{account}{number}{world.now}", now=world.now
        )
        await world.worker.fan_out.run([message.id])
        ids.append(message.id)
        world.now += SECOND
    return ids


def test_what_is_not_ones_own_is_not_found_and_nothing_changes(play: Play) -> None:
    async def act(world: MessagesWorld) -> None:
        messages = world.messages
        own, others = await tell(world, "ann", 2), await tell(world, "bob", 1)

        async def rows() -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = await world.database["inbox"].find({}).to_list()
            return found

        before = await rows()
        for ids in ([*own, others[0]], [*own, "01ARZ3NDEKTSV4RRFFQ69G5FAV"]):
            for work in (
                operations.mark_read(messages, "ann", ids, now=world.now),
                operations.archive(messages, "ann", ids, archived=True, now=world.now),
                operations.delete(messages, "ann", ids),
            ):
                with pytest.raises(MessageNotFoundError) as refused:
                    await work
                assert refused.value.params == {"field": "ids", "id": ids[-1]}
        with pytest.raises(MessageNotFoundError):
            await operations.get_entry(messages, "ann", others[0])
        for ids in ([], [f"m{number}" for number in range(101)]):
            with pytest.raises(TooManyMessagesError):
                await operations.mark_read(messages, "ann", ids, now=world.now)
        assert await rows() == before
        assert (await messages.outbox.messages.get(own[0])).state is MessageState.SENT

    play(act)


def test_a_deleted_private_message_is_gone_and_a_broadcast_stays_for_others(play: Play) -> None:
    async def act(world: MessagesWorld) -> None:
        messages = world.messages
        await world.device("ann")
        for account in ("ann", "bob"):
            await messages.subscriptions.subscribe(account, "station:1")
        [private] = await tell(world, "ann", 1)
        public = await broadcast(messages.outbox, ["station:1"], AIR, "air", now=world.now)
        await world.worker.fan_out.run([public.id])
        assert await operations.delete(messages, "ann", [private, public.id]) == 2
        assert await messages.inbox.list_newest("ann", 9) == []
        assert [row.message for row in await messages.inbox.list_newest("bob", 9)] == [public.id]
        assert set(await messages.outbox.messages.list_by_ids([private, public.id])) == {public.id}
        assert await world.database["deliveries"].count_documents({"message": private}) == 0
        await world.run()
        assert [body for _, body in world.told()] == ["福州空气质量指数 212，重度污染。"]

    play(act)


def test_somebody_who_was_away_is_told_everything_since_then(play: Play) -> None:
    async def act(world: MessagesWorld) -> None:
        ids = await tell(world, "ann", 250)
        await tell(world, "bob", 1)
        rows = await world.messages.inbox.list_newest("ann", 250)
        cursor = next(row.place for row in rows if row.message == ids[200])
        found = [entry async for entry in entries_after(world.messages, "ann", cursor)]
        told = [entry.row.message for entry in found]
        # Two minutes before the cursor are told again: a row may be seen later than one behind it.
        assert told == ids[80:]
        everything = [each async for each in entries_after(world.messages, "ann", place_at(NOW))]
        assert [entry.row.message for entry in everything] == ids
        assert all(entry.message.payload == PROGRESS for entry in everything)

    play(act)


def test_old_messages_leave_the_inbox_by_the_clock(play: Play) -> None:
    async def act(world: MessagesWorld) -> None:
        old = await tell(world, "ann", 3)
        world.now = NOW + timedelta(days=200)
        new = await tell(world, "ann", 2)
        assert await world.worker.retention.go_on() == 0
        world.now = NOW + timedelta(days=366)
        assert await world.worker.retention.go_on() == len(old)
        assert await world.worker.retention.go_on() == 0
        assert [row.message for row in await world.messages.inbox.list_newest("ann", 9)] == new[::-1]

    play(act)


def test_topics_must_exist_and_have_an_end(play: Play) -> None:
    async def act(world: MessagesWorld) -> None:
        messages = world.messages

        def is_known(kind: TopicKind, id: str) -> bool:
            return id != "999999"

        async def subscribe(kind: TopicKind, id: str) -> list[str]:
            return await operations.subscribe(messages, "ann", kind, id, is_known=is_known)

        for _ in range(2):
            assert await subscribe(TopicKind.DIVISION, "350100") == ["division:350100"]
        assert await subscribe(TopicKind.STATION, "1071") == ["division:350100", "station:1071"]
        with pytest.raises(UnknownTopicError):
            await subscribe(TopicKind.DIVISION, "999999")
        for id in ("", "x" * 65, "a b", "鼓楼"):
            with pytest.raises(InvalidTopicError):
                await subscribe(TopicKind.STOP, id)
            with pytest.raises(InvalidTopicError):
                await operations.unsubscribe(messages, "ann", TopicKind.STOP, id)
        assert await operations.unsubscribe(messages, "ann", TopicKind.STOP, "1") == [
            "division:350100",
            "station:1071",
        ]
        assert await operations.unsubscribe(messages, "ann", TopicKind.STATION, "1071") == ["division:350100"]
        assert await messages.subscriptions.list_topics("bob") == []

    play(act)
