"""Digests: one push with a count instead of many; what is counted is in the inbox already."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from typing import Final

import structlog
from msgspec.structs import replace

from domain.devices import Target
from domain.ids import new_id
from domain.message_texts import DigestNotice
from domain.messages import Audience, Message, MessageState, new_message
from domain.preferences import NotificationWay
from notifications.queue import Job, JobQueue, Lane
from store.deliveries import Chunk, DeliveryStore, first_chunk
from store.devices import DeviceStore
from store.digests import DigestStore, DueDigest
from store.messages import MessageStore
from store.preferences import PreferenceStore

log = structlog.get_logger(__name__)

GRACE: Final = timedelta(seconds=30)
"""What was decided just before a digest was due is still being written down then."""
BATCH: Final = 500
LIFE: Final = timedelta(hours=20)
_PER_JOB: Final = 32


class Digests:
    """Writes the digests whose time has come, as messages with deliveries and without inbox rows."""

    def __init__(
        self,
        digests: DigestStore,
        messages: MessageStore,
        deliveries: DeliveryStore,
        devices: DeviceStore,
        preferences: PreferenceStore,
        queue: JobQueue,
        channels: Collection[str],
        clock: Callable[[], datetime],
    ) -> None:
        self._digests = digests
        self._messages = messages
        self._deliveries = deliveries
        self._devices = devices
        self._preferences = preferences
        self._queue = queue
        self._channels = frozenset(channels)
        self._clock = clock

    async def send_due(self) -> int:
        """Write all digests that are due, and count them; may run twice or in two workers at once."""
        count, now = 0, self._clock()
        while due := await self._digests.list_due(BATCH, now=now - GRACE):
            await self._write(due, now)
            await self._digests.remove([each.id for each in due])
            count += len(due)
        if count:
            log.info("digests.written", count=count)
        return count

    async def _write(self, due: Sequence[DueDigest], now: datetime) -> None:
        messages = await self._messages.insert_many([_message(each, now) for each in due])
        accounts = [each.account for each in due]
        devices = await self._devices.list_for_accounts(accounts)
        by_sms = await self._list_by_sms(due)
        new: list[Chunk] = []
        for account, message in zip(accounts, messages, strict=True):
            by_channel: dict[str, list[str]] = defaultdict(list)
            for target in (*(each.target for each in devices.get(account, ())), *by_sms.get(account, ())):
                if target.channel.value in self._channels:
                    by_channel[target.channel.value].append(target.id)
            new += [first_chunk(message.id, channel, ids) for channel, ids in by_channel.items()]
        await self._deliveries.insert_first(new, now=now)
        ids = [chunk.id for chunk in new]
        for start in range(0, len(ids), _PER_JOB):
            if not await self._queue.put(Job.DELIVER, ids[start : start + _PER_JOB], Lane.BULK):
                return  # the sweeper finds them

    async def _list_by_sms(self, due: Sequence[DueDigest]) -> dict[str, list[Target]]:
        """List where digests that are wanted by text message go, by account."""
        wanted = [each.account for each in due if NotificationWay.SMS in each.ways]
        return {each.account_id: [each] for each in await self._preferences.list_sms_targets(wanted)}


def _message(digest: DueDigest, now: datetime) -> Message:
    message = new_message(
        new_id(now),
        DigestNotice(len(digest.messages), tuple(sorted(way.value for way in digest.ways))),
        Audience.of_account(digest.account),
        f"digest:{digest.id}",
        now=now,
        expires_at=now + LIFE,
        collapse_key="digest",
    )
    # Nothing is left to fan out: its deliveries are written with it.
    return replace(message, state=MessageState.SENT)
