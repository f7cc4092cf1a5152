"""Messages as text messages, through the real pipeline to a gateway that makes mistakes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from account_world import some_phone
from messages_world import AIR, PROGRESS, MessagesWorld, open_messages_world
from sms_gateway import RESET, Gateway, open_gateway
from structlog.testing import capture_logs

from domain.devices import DeviceLocale, sms_target
from domain.message_texts import Hazard, Language, PublicWarning, WarningColour
from domain.messages import Message
from domain.preferences import SHANGHAI, Digest, KindChange, MessageKind, NotificationWay, QuietHours
from notifications import fanout
from notifications.channels.log import AllowListChannel
from notifications.channels.opening import ChannelsConfig, open_channels
from notifications.channels.sms import DevelopmentSms, SmsGatewayConfig, open_sms
from notifications.channels.sms_messages import SmsMessageChannel
from operations.messages import broadcast, replay_dead_letters, send_message
from operations.preferences import KEEP, Keep, update_preferences
from store.accounts import AccountStore
from store.connections import open_mongodb, open_redis
from store.deliveries import NOBODY
from store.encryption import FieldCipher, local_kms
from store.sms_days import SmsDayStore

TEXT = "【闽政通】办件进度：您的一项办件有新进展，请打开闽政通查看。"
TOPIC = "division:350100"
TYPHOON = PublicWarning("w1", Hazard.TYPHOON, WarningColour.RED, "福州市", "福建省气象台")
SOON = timedelta(seconds=2)


class SmsWorld:
    """The messages' world with the channel for text messages and accounts that have phones."""

    def __init__(self, messages: MessagesWorld, accounts: AccountStore, gateway: Gateway) -> None:
        self.messages = messages
        self.accounts = accounts
        self.gateway = gateway
        self.days = SmsDayStore(messages.database)

    async def citizen(self, *kinds: MessageKind, **more: Any) -> tuple[str, str]:
        """Make an account that allows text messages for these kinds; give its id and its phone."""
        phone = some_phone()
        account = (await self.accounts.find_or_create_by_phone(phone, now=self.messages.now)).id
        if kinds:
            await self.allow(account, *kinds, **more)
        return account, phone

    async def allow(
        self,
        account: str,
        *kinds: MessageKind,
        given: bool = True,
        digest: Digest | None = None,
        language: Language = Language.ZH,
        quiet_hours: QuietHours | Keep = KEEP,
    ) -> None:
        store = self.messages.messages.preferences
        await update_preferences(
            store,
            account,
            [KindChange(kind, {NotificationWay.SMS: given}, digest) for kind in kinds],
            quiet_hours,
            expected_version=(await store.get(account)).version,
            language=language,
            now=self.messages.now,
        )

    async def tell(self, account: str, key: str, **more: Any) -> Message:
        """Send a private message and do what is due."""
        world = self.messages
        message = await send_message(world.messages.outbox, account, PROGRESS, key, now=world.now, **more)
        await world.run(message)
        return message

    async def broadcast(self, payload: Any, key: str, **more: Any) -> Message:
        world = self.messages
        message = await broadcast(world.messages.outbox, [TOPIC], payload, key, now=world.now, **more)
        await world.run(message)
        return message

    async def later(self, after: timedelta) -> None:
        self.messages.now += after
        await self.messages.worker.sweeper.sweep()
        await self.messages.run()

    async def states(self, message: Message) -> list[tuple[list[str], str, dict[str, str]]]:
        """Give the devices, states and reasons of a message's deliveries by text message."""
        found = self.messages.database["deliveries"].find({"message": message.id, "channel": "sms"})
        return [(each["devices"], each["states"], each.get("reasons", {})) async for each in found]


Play = Callable[[Callable[[SmsWorld], Awaitable[None]]], None]


@pytest.fixture
def play(mongodb_uri: str, redis_url: str, database_name: str, tmp_path: Path) -> Play:
    """A function that runs a coroutine function in a world of its own."""

    @asynccontextmanager
    async def open_world() -> AsyncIterator[SmsWorld]:
        async with (
            open_messages_world(mongodb_uri, redis_url, database_name) as world,
            open_mongodb(mongodb_uri, 20_000) as client,
            aclosing(
                FieldCipher(client, database_name, local_kms(tmp_path / "personal.key", may_create=True))
            ) as cipher,
            open_gateway() as gateway,
            open_redis(redis_url, 5_000) as redis,
            open_sms(SmsGatewayConfig(gateway.url, "key"), redis, production=True) as sms,
        ):
            accounts = AccountStore(world.database, cipher)
            await accounts.ensure_indexes()
            world.channels["sms"] = SmsMessageChannel(sms, accounts, SmsDayStore(world.database), daily=3)
            yield SmsWorld(world, accounts, gateway)

    def run(act: Callable[[SmsWorld], Awaitable[None]]) -> None:
        async def main() -> None:
            async with open_world() as world:
                await act(world)

        asyncio.run(main())

    return run


def target(account: str) -> str:
    return sms_target(account, DeviceLocale.ZH).id


def test_who_allowed_it_for_the_kind_gets_the_public_text_once(play: Play) -> None:
    async def act(world: SmsWorld) -> None:
        ann, phone = await world.citizen(MessageKind.APPLICATION_PROGRESS)
        bob, _ = await world.citizen(MessageKind.AIR_QUALITY)
        eve, english = await world.citizen(MessageKind.APPLICATION_PROGRESS, language=Language.EN)
        nobody, _ = await world.citizen()
        structlog.reset_defaults()
        with capture_logs() as lines:
            sent = [await world.tell(account, f"k:{account}") for account in (ann, bob, eve, nobody)]
            for message in sent:  # every job may run twice
                await world.messages.run(message)
        assert world.gateway.texts() == [
            (phone, TEXT),
            (
                english,
                "[Mintong] Application update: One of your applications has news. Open the app to read it.",
            ),
        ]
        assert [each.body["language"] for each in world.gateway.asked] == ["zh", "en"]
        assert [await world.states(message) for message in sent] == [
            [([target(ann)], "S", {})],
            [],
            [([target(eve)], "S", {})],
            [],
        ]
        # The number is in no delivery, no dead letter and no line of the log.
        assert phone not in str(lines)
        for name in ("deliveries", "dead_letters", "messages", "inbox", "sms_days", "preferences"):
            documents = [each async for each in world.messages.database[name].find({})]
            assert phone not in str(documents), name

    play(act)


def test_a_refusal_counts_until_the_message_goes_out(play: Play) -> None:
    async def act(world: SmsWorld) -> None:
        night = QuietHours(22 * 60, 7 * 60)
        ann, phone = await world.citizen(MessageKind.APPLICATION_PROGRESS, quiet_hours=night)
        bob, _ = await world.citizen(MessageKind.APPLICATION_PROGRESS, quiet_hours=night)
        world.messages.now = datetime(2026, 11, 22, 23, tzinfo=SHANGHAI).astimezone(UTC)
        to_ann, to_bob = await world.tell(ann, "a"), await world.tell(bob, "b")
        assert world.gateway.asked == []
        await world.allow(bob, MessageKind.APPLICATION_PROGRESS, given=False)
        await world.later(timedelta(hours=8))
        assert world.gateway.texts() == [(phone, TEXT)]
        assert await world.states(to_ann) == [([target(ann)], "S", {})]
        assert await world.states(to_bob) == [([target(bob)], "O", {})]
        assert await world.days.export_account(bob) == []

    play(act)


def test_what_fails_is_tried_again_under_the_same_key(play: Play) -> None:
    async def act(world: SmsWorld) -> None:
        ann, phone = await world.citizen(MessageKind.APPLICATION_PROGRESS)
        world.gateway.plan = ["503 Busy", "429 Slow\r\nretry-after: 90", RESET, "401 No"]
        message = await world.tell(ann, "k")
        assert await world.states(message) == [([target(ann)], "R", {"0": "503"})]
        await world.later(SOON)
        assert await world.states(message) == [([target(ann)], "R", {"0": "429"})]
        await world.later(timedelta(seconds=89))
        assert len(world.gateway.asked) == 2
        await world.later(timedelta(seconds=11))
        assert await world.states(message) == [([target(ann)], "R", {"0": "ANSWER_LOST"})]
        assert (await world.messages.database["deliveries"].find_one({"message": message.id}))["lost"] == 1
        structlog.reset_defaults()
        with capture_logs() as lines:
            await world.later(timedelta(seconds=10))
        assert [(line["event"], line["reason"]) for line in lines if "reason" in line] == [
            ("sms_configuration", "401")
        ]
        await world.later(timedelta(seconds=299))
        assert len(world.gateway.asked) == 4
        await world.later(timedelta(seconds=40))
        assert world.gateway.texts() == [(phone, TEXT)] * 5
        # A gateway that keeps the contract has sent one message.
        assert len({each.key for each in world.gateway.asked}) == 1
        assert await world.states(message) == [([target(ann)], "S", {})]
        # All tries together are one message of the day.
        assert [each["count"] for each in await world.days.export_account(ann)] == [1]

    play(act)


def test_what_a_gateway_refuses_is_a_dead_letter_that_can_be_replayed(play: Play) -> None:
    async def act(world: SmsWorld) -> None:
        ann, phone = await world.citizen(MessageKind.APPLICATION_PROGRESS)
        world.gateway.plan = ["422 No such text"]
        message = await world.tell(ann, "k")
        assert await world.states(message) == [([target(ann)], "F", {"0": "422"})]
        await world.later(timedelta(days=1))
        assert len(world.gateway.asked) == 1
        store = world.messages.messages.deliveries
        assert [(each.device, each.reason) for each in await store.list_dead(9)] == [(target(ann), "422")]
        assert await replay_dead_letters(store, now=world.messages.now) == (1, 0)
        await world.later(SOON)
        assert world.gateway.texts() == [(phone, TEXT)] * 2
        assert await store.list_dead(9) == []

    play(act)


def test_nothing_is_sent_after_the_message_expired(play: Play) -> None:
    async def act(world: SmsWorld) -> None:
        ann, _ = await world.citizen(MessageKind.APPLICATION_PROGRESS)
        world.gateway.plan = ["503 Busy"]
        ends = world.messages.now + timedelta(minutes=1)
        message = await world.tell(ann, "k", expires_at=ends)
        await world.later(timedelta(minutes=2))
        assert len(world.gateway.asked) == 1
        assert await world.states(message) == [([target(ann)], "X", {})]

    play(act)


def test_a_day_has_a_limit_which_urgent_messages_pass(play: Play) -> None:
    async def act(world: SmsWorld) -> None:
        ann, _ = await world.citizen(MessageKind.APPLICATION_PROGRESS, MessageKind.WARNING)
        await world.messages.messages.subscriptions.subscribe(ann, TOPIC)
        world.messages.now = datetime(2026, 11, 22, 12, tzinfo=SHANGHAI).astimezone(UTC)
        sent = [await world.tell(ann, f"k{number}") for number in range(4)]
        assert [(await world.states(message))[0][1:] for message in sent] == [
            ("S", {}),
            ("S", {}),
            ("S", {}),
            ("O", {"0": "DAILY_LIMIT"}),
        ]
        assert len(world.gateway.asked) == 3
        assert await world.messages.messages.deliveries.list_dead(9) == []
        urgent = await world.broadcast(TYPHOON, "typhoon")
        assert (await world.states(urgent))[0][1] == "S"
        assert [each["count"] for each in await world.days.export_account(ann)] == [3]
        # A new day begins at midnight in Fujian; what was left out stays so.
        await world.later(timedelta(hours=11, minutes=59))
        assert (await world.states(await world.tell(ann, "k5")))[0][1] == "O"
        await world.later(timedelta(minutes=1))
        assert (await world.states(await world.tell(ann, "k6")))[0][1] == "S"
        assert len(world.gateway.asked) == 5
        await world.days.erase_account(ann, now=world.messages.now)
        assert await world.days.export_account(ann) == []

    play(act)


def test_many_messages_at_once_keep_to_the_limit(play: Play) -> None:
    async def act(world: SmsWorld) -> None:
        now = world.messages.now
        takes = [world.days.take("ann", f"m{number}", now.date(), 3, now=now) for number in range(12)]
        assert sorted(await asyncio.gather(*takes)) == [False] * 9 + [True] * 3
        assert not await world.days.take("bob", "m", now.date(), 0, now=now)

    play(act)


def test_a_digest_is_one_text_message(play: Play) -> None:
    async def act(world: SmsWorld) -> None:
        kinds = (MessageKind.APPLICATION_PROGRESS, MessageKind.AIR_QUALITY)
        ann, phone = await world.citizen(*kinds, digest=Digest.DAILY)
        bob, _ = await world.citizen(*kinds, digest=Digest.DAILY)
        world.messages.now = datetime(2026, 11, 22, 12, tzinfo=SHANGHAI).astimezone(UTC)
        for number in range(3):
            for account in (ann, bob):
                await world.tell(account, f"{account}:{number}")
        await world.allow(bob, *kinds, given=False)
        await world.later(timedelta(hours=21, minutes=1))
        assert world.gateway.texts() == [(phone, "【闽政通】消息摘要：您有 3 条新消息，请打开闽政通查看。")]

    play(act)


@pytest.mark.parametrize("part", [2_000, 2], ids=["small", "large"])
def test_a_broadcast_reaches_those_who_allowed_it_among_its_subscribers(
    play: Play, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fanout, "RECIPIENTS_PER_PART", part)

    async def act(world: SmsWorld) -> None:
        wanted = [await world.citizen(MessageKind.AIR_QUALITY) for _ in range(8)]
        others = [await world.citizen(MessageKind.SYSTEM) for _ in range(4)]
        await world.citizen(MessageKind.AIR_QUALITY)  # who has not subscribed
        subscribers = [account for account, _ in wanted + others]
        subscribers += [f"plain-{number:03}" for number in range(60)]
        await world.messages.messages.subscriptions.load(TOPIC, subscribers)
        for _ in range(2):
            message = await world.broadcast(AIR, "air")
            await world.messages.database["messages"].update_one(
                {"_id": message.id}, {"$set": {"state": "SENDING", "done": 0}}
            )
        assert sorted(phone for phone, _ in world.gateway.texts()) == sorted(phone for _, phone in wanted)
        told = [device for devices, _, _ in await world.states(message) for device in devices]
        assert sorted(told) == sorted(target(account) for account, _ in wanted)
        # Whoever leaves takes their place in the deliveries along.
        account = wanted[0][0]
        await world.messages.messages.own.erase_account(account, now=world.messages.now)
        left = [device for devices, _, _ in await world.states(message) for device in devices]
        assert (target(account) in left, left.count(NOBODY)) == (False, 1)

    play(act)


def test_accounts_without_a_phone_or_gone_get_nothing(play: Play) -> None:
    async def act(world: SmsWorld) -> None:
        now = world.messages.now
        outside = (await world.accounts.find_or_create_external("issuer", "subject", now=now)).id
        await world.allow(outside, MessageKind.APPLICATION_PROGRESS)
        closed, _ = await world.citizen(MessageKind.APPLICATION_PROGRESS)
        gone, _ = await world.citizen(MessageKind.APPLICATION_PROGRESS)
        await world.accounts.close(closed, now=now)
        outbox = world.messages.messages.outbox
        sent = [await send_message(outbox, account, PROGRESS, account, now=now) for account in (closed, gone)]
        await world.messages.worker.fan_out.run([each.id for each in sent])
        await world.messages.messages.preferences.erase_account(gone, now=now)
        await world.later(timedelta(minutes=1))
        assert await world.states(await world.tell(outside, "k")) == [
            ([target(outside)], "D", {"0": "NO_PHONE"})
        ]
        assert [(await world.states(each))[0][1:] for each in sent] == [
            ("D", {"0": "NO_PHONE"}),
            ("O", {}),
        ]
        assert world.gateway.asked == []

    play(act)


def test_only_production_reaches_phones_that_nobody_listed(play: Play, redis_url: str) -> None:
    async def act(world: SmsWorld) -> None:
        (ann, _), (bob, phone) = [await world.citizen(MessageKind.APPLICATION_PROGRESS) for _ in range(2)]
        gateway = SmsGatewayConfig(world.gateway.url, "key")
        database = world.messages.database

        async def tell_both(config: ChannelsConfig, key: str) -> Sequence[str]:
            async with (
                open_redis(redis_url, 5_000) as redis,
                open_channels(config, database, redis, world.accounts) as channels,
            ):
                if "sms" not in channels:
                    return ["none"]
                world.messages.channels["sms"] = channels["sms"]
                for account in (ann, bob):
                    await world.tell(account, f"{key}:{account}")
                return [type(channels["sms"]).__name__]

        assert await tell_both(ChannelsConfig(production=True), "a") == ["none"]
        listed = ChannelsConfig(production=False, sms=gateway, allowed_devices=(target(bob),))
        assert await tell_both(listed, "b") == [AllowListChannel.__name__]
        assert world.gateway.texts() == [(phone, TEXT)]
        assert await tell_both(ChannelsConfig(production=False), "c") == [SmsMessageChannel.__name__]
        assert len(world.gateway.asked) == 1
        async with open_redis(redis_url, 5_000) as redis:
            shown = await DevelopmentSms(redis, production=False).list_sent()
        assert [each.text for each in shown if each.phone == phone] == [TEXT]
        assert await tell_both(ChannelsConfig(production=True, sms=gateway), "d") == [
            SmsMessageChannel.__name__
        ]
        assert len(world.gateway.asked) == 3

    logging.getLogger("httpx").setLevel(logging.WARNING)
    play(act)
