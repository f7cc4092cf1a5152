"""Fan-out: from a message to inbox rows, deliveries and live events. Every part of it may run again."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

import orjson
import structlog
from msgspec import Struct
from msgspec.structs import replace
from redis.asyncio import Redis
from redis.exceptions import RedisError

from domain.devices import PushChannel, Target
from domain.ids import SHARDS, new_id
from domain.messages import CHUNK_DEVICES, Message, MessageState, Step, StepNotAllowedError, due_part
from notifications.devices import RecentDevices
from notifications.live import account_topic, publish_to
from notifications.metrics import FANOUT_SECONDS, RECIPIENTS
from notifications.outbox import lane_of
from notifications.queue import Job, JobQueue, Lane
from store.deliveries import Chunk, DeliveryStore, first_chunk
from store.devices import DeviceStore
from store.inbox import InboxStore
from store.messages import ANNOUNCED_WITHIN, MessageStore
from store.preferences import PreferenceStore
from store.subscriptions import SubscriptionStore, shards_of_part

log = structlog.get_logger(__name__)

RECIPIENTS_PER_PART: Final = 2_000
_TOGETHER_FROM: Final = 16
"""Parts from which on a broadcast is large: a bucket of accounts has a row then, not each account."""
_CHUNKS_PER_JOB: Final = 4
_PRIVATE_PER_JOB: Final = 32
_LIVE_TOPICS: Final = 1_000
_BUDGET_S: Final = 20.0
_JOBS_AHEAD: Final = 12
_FOLLOW_S: Final = 2.0
_SOON: Final = timedelta(seconds=1.5)


class _Part(Struct):
    """Who is in one part of a broadcast."""

    accounts: list[str]
    targets: list[Target]


class FanOut:
    """Writes who gets what. `channels` are the names of the channels that this installation has."""

    def __init__(
        self,
        messages: MessageStore,
        inbox: InboxStore,
        deliveries: DeliveryStore,
        subscriptions: SubscriptionStore,
        devices: DeviceStore,
        preferences: PreferenceStore,
        recent: RecentDevices,
        queue: JobQueue,
        redis: Redis,
        channels: Collection[str],
        clock: Callable[[], datetime],
    ) -> None:
        self._messages = messages
        self._inbox = inbox
        self._deliveries = deliveries
        self._subscriptions = subscriptions
        self._devices = devices
        self._preferences = preferences
        self._recent = recent
        self._queue = queue
        self._redis = redis
        self._channels = frozenset(channels)
        self._clock = clock

    async def run(self, ids: Sequence[str]) -> None:
        """Write the recipients of these messages, as far as that is still to be done."""
        found = await self._messages.list_by_ids(ids)
        due = [message for message in found.values() if message.state is MessageState.SENDING]
        now = self._clock()
        for message in due:
            if message.is_expired(now):
                await self._expire(message, now)
        live = [message for message in due if not message.is_expired(now)]
        private = [message for message in live if message.audience.account is not None]
        if private:
            await self._write_private(private)
        for message in live:
            if message.audience.account is None:
                await self._write_broadcast(message)

    async def _expire(self, message: Message, now: datetime) -> None:
        try:
            await self._messages.step(message.id, Step.EXPIRE, now=now)
        except StepNotAllowedError:
            log.info("fanout.overtaken", message=message.id)

    # --- private ------------------------------------------------------------------------------------------

    async def _write_private(self, messages: Sequence[Message]) -> None:
        begun, now = time.perf_counter(), self._clock()
        of_account = {message.id: message.audience.account or "" for message in messages}
        targets = await self._targets_of(list(of_account.values()))
        sms = await self._sms_of(messages)
        position = new_id(now)
        rows = [(of_account[message.id], message.id, message.kind) for message in messages]
        await self._inbox.insert(rows, position)
        new: list[Chunk] = []
        for message in messages:
            owned = targets[of_account[message.id]]
            by_channel = self._by_channel([*owned, sms[message.id]] if message.id in sms else owned)
            new += [first_chunk(message.id, channel, ids) for channel, ids in by_channel.items()]
        await self._deliveries.insert_first(new, now=now)
        await self._messages.finish([message.id for message in messages], recipients=1)
        self._recent.put([*(each for owned in targets.values() for each in owned), *sms.values()])
        await self._hand_over(Job.DELIVER, [chunk.id for chunk in new], Lane.EXPRESS, _PRIVATE_PER_JOB)
        await self._tell((account, message, position) for account, message, _ in rows)
        RECIPIENTS.inc(len(rows))
        FANOUT_SECONDS.observe(time.perf_counter() - begun)

    # --- broadcast ----------------------------------------------------------------------------------------

    async def _write_broadcast(self, message: Message) -> None:
        """Write part after part for some seconds, then let the other messages of the lane have their turn."""
        started = time.monotonic()
        if not message.splits:
            message = await self._messages.begin(message.id, await self._splits(message), now=self._clock())
        ahead: asyncio.Task[_Part] | None = None
        try:
            while message.done < message.splits:
                now, due = self._clock(), due_part(message, self._clock())
                if message.is_expired(now):
                    await self._expire(message, now)
                    return
                if due - now > _SOON:
                    await self._messages.sleep(message.id, due)
                    return
                await asyncio.sleep(max(0.0, (due - now).total_seconds()))
                if time.monotonic() - started > _BUDGET_S:
                    await self._queue.put(Job.FAN_OUT, [message.id], lane_of(message))
                    return
                part = await (ahead or self._read_part(message, message.done))
                ahead = asyncio.create_task(self._read_part(message, message.done + 1))
                await self._let_deliveries_follow(lane_of(message))
                if not await self._write_part(message, part):
                    return  # paused, cancelled, or another worker is at it
                recipients = message.recipients + len(part.accounts)
                message = replace(message, done=message.done + 1, recipients=recipients)
        finally:
            if ahead is not None:
                ahead.cancel()
                await asyncio.gather(ahead, return_exceptions=True)
        await self._messages.finish([message.id])
        log.info("fanout.done", message=message.id, recipients=message.recipients)

    async def _let_deliveries_follow(self, lane: Lane) -> None:
        """Wait while more is handed over than is soon sent, but not for long: the inboxes come first.

        What waits for long needs its devices read again and is taken for lost by the sweeper.
        """
        give_up_at = time.monotonic() + _FOLLOW_S
        while time.monotonic() < give_up_at:
            try:
                waiting, taken = await self._queue.depth(lane)
            except (RedisError, OSError):
                return
            if waiting + taken <= _JOBS_AHEAD or taken <= 1:  # one is this fan-out: nobody delivers
                return
            await asyncio.sleep(_FOLLOW_S / 40)

    async def _splits(self, message: Message) -> int:
        estimate = await self._subscriptions.estimate(message.audience.topics)
        splits = 1
        while splits < SHARDS and estimate > splits * RECIPIENTS_PER_PART:
            splits *= 2
        campaign = message.campaign
        if campaign is not None and campaign.window_s:
            # Spread evenly also where there are few: a part every five seconds, or one for each shard.
            while splits < SHARDS and splits * 5 < campaign.window_s and splits < estimate:
                splits *= 2
        return splits

    async def _read_part(self, message: Message, number: int) -> _Part:
        """Read who is in a part, and their devices; behind the last part there is nobody."""
        if number >= message.splits:
            return _Part([], [])
        first, end = shards_of_part(number, message.splits)
        accounts = await self._subscriptions.list_accounts(message.audience.topics, first, end)
        targets = await self._targets_of_part(accounts, first, end)
        if PushChannel.SMS.value in self._channels:
            targets += await self._preferences.list_sms_targets_in_shards(
                frozenset(accounts), message.kind, first, end
            )
        return _Part(accounts, targets)

    async def _write_part(self, message: Message, part: _Part) -> bool:
        """Write one part; False when the fan-out of this message is not ours to go on with."""
        begun, now, accounts = time.perf_counter(), self._clock(), part.accounts
        position = new_id(now)
        if message.splits >= _TOGETHER_FROM:
            await self._inbox.insert_together(accounts, message.id, message.kind, position)
        else:
            await self._inbox.insert(((account, message.id, message.kind) for account in accounts), position)
        ids: list[str] = []
        for channel, owned in self._by_channel(part.targets).items():
            ids += await self._deliveries.insert_part(
                message.id, channel, message.done, owned, CHUNK_DEVICES, now=now
            )
        if not await self._messages.advance(message, len(accounts), now + ANNOUNCED_WITHIN):
            return False
        self._recent.put(part.targets)
        await self._hand_over(Job.DELIVER_BROADCAST, ids, lane_of(message), _CHUNKS_PER_JOB)
        await self._tell_part(message, accounts, position)
        RECIPIENTS.inc(len(accounts))
        FANOUT_SECONDS.observe(time.perf_counter() - begun)
        return True

    async def _targets_of_part(self, accounts: list[str], first: int, end: int) -> list[Target]:
        """Fetch devices: of everybody in the shards where that is quicker than asking for each account."""
        if await self._recent.is_by_shards(len(accounts), first, end):
            return await self._devices.list_targets(frozenset(accounts), first, end)
        by_account = await self._targets_of(accounts)
        return [target for owned in by_account.values() for target in owned]

    async def _sms_of(self, messages: Sequence[Message]) -> dict[str, Target]:
        """Fetch where these private messages go as text messages, by message; most go nowhere."""
        found: dict[str, Target] = {}
        if PushChannel.SMS.value not in self._channels:
            return found
        for kind in {message.kind for message in messages}:
            of_kind = {each.id: each.audience.account or "" for each in messages if each.kind == kind}
            targets = await self._preferences.list_sms_targets(list(of_kind.values()), kind)
            by_account = {target.account_id: target for target in targets}
            found |= {id: by_account[account] for id, account in of_kind.items() if account in by_account}
        return found

    async def _targets_of(self, accounts: Sequence[str]) -> dict[str, list[Target]]:
        found = await self._devices.list_for_accounts(accounts)
        return {account: [each.target for each in found.get(account, ())] for account in accounts}

    # --- both ---------------------------------------------------------------------------------------------

    def _by_channel(self, targets: Iterable[Target]) -> dict[str, list[str]]:
        by_channel: dict[str, list[str]] = defaultdict(list)
        for target in targets:
            if target.channel.value in self._channels:
                by_channel[target.channel.value].append(target.id)
        return by_channel

    async def _hand_over(self, job: Job, ids: Sequence[str], lane: Lane, size: int) -> None:
        for start in range(0, len(ids), size):
            if not await self._queue.put(job, ids[start : start + size], lane):
                return

    async def _tell(self, rows: Iterable[tuple[str, str, str]]) -> None:
        """Tell whoever is connected that their inbox has a new row."""
        await self._publish(
            publish_to(self._redis, (account_topic(account),), _event(message, position))
            for account, message, position in rows
        )

    async def _tell_part(self, message: Message, accounts: Sequence[str], position: str) -> None:
        body = _event(message.id, position)
        topics = [account_topic(account) for account in accounts]
        await self._publish(
            publish_to(self._redis, topics[start : start + _LIVE_TOPICS], body)
            for start in range(0, len(topics), _LIVE_TOPICS)
        )

    async def _publish(self, events: Iterable[Awaitable[None]]) -> None:
        pending = list(events)
        results = await asyncio.gather(*pending, return_exceptions=True)
        failed = [result for result in results if isinstance(result, BaseException)]
        unexpected = [error for error in failed if not isinstance(error, RedisError | OSError)]
        if unexpected:
            raise unexpected[0]
        if failed:
            # Clients read on from their cursor when they connect again.
            log.info("fanout.live_lost", events=len(failed))


def _event(message: str, position: str) -> bytes:
    return orjson.dumps({"message": message, "position": position})
