"""Delivery: from a written delivery to the channel and back, with retries, expiry and dead letters.

A delivery is marked in flight before anything is sent, and what became of it is written in one update after.
Only what a worker had in flight when it was killed, and what a provider took without its answer arriving, can
go out twice; it carries the same collapse key then, so that the phone shows one.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol

import structlog
from msgspec import Struct
from pymongo.errors import PyMongoError

from domain.devices import Target
from domain.message_texts import Language, Text
from domain.messages import (
    MAX_ATTEMPTS,
    SEND,
    DeviceState,
    Message,
    MessageState,
    Verdict,
    VerdictKind,
    retry_delay_s,
)
from notifications.batcher import Batcher
from notifications.channels.base import Channel, Outcome, Push, Receipt
from notifications.devices import RecentDevices
from notifications.metrics import DEVICES, IN_FLIGHT, SEND_SECONDS
from store.deliveries import Chunk, DeadLetter, DeliveryStore, part_of_chunk
from store.devices import DeviceStore
from store.messages import MessageStore
from store.subscriptions import shards_of_part
from store.workers import WorkerStore

log = structlog.get_logger(__name__)

LOST_ANSWERS: Final = frozenset({"ANSWER_LOST", "CHANNEL_FAILED"})
"""Reasons of a receipt after which the provider may have taken the push all the same."""

_PRIVATE_BATCH: Final = 128
_BROADCAST_BATCH: Final = 2
_PAUSE: Final = timedelta(seconds=60)


class DecideChannels(Protocol):
    """Says for each device whether a push goes out now, later or not at all: preferences, quiet hours."""

    async def __call__(
        self, message: Message, channel: str, devices: Sequence[Target], *, now: datetime
    ) -> Sequence[Verdict]:
        """Give a verdict for each device, in their order."""


async def send_always(
    message: Message, channel: str, devices: Sequence[Target], *, now: datetime
) -> Sequence[Verdict]:
    """Send everything at once: for what citizens cannot choose."""
    return [SEND] * len(devices)


class _Flight(Struct):
    """One push of one delivery on its way."""

    chunk: Chunk
    index: int
    message: Message
    push: Push


class Delivery:
    """Sends deliveries through the channels of this process."""

    def __init__(
        self,
        messages: MessageStore,
        deliveries: DeliveryStore,
        devices: DeviceStore,
        recent: RecentDevices,
        workers: WorkerStore,
        channels: Mapping[str, Channel],
        clock: Callable[[], datetime],
        *,
        decide: DecideChannels = send_always,
        concurrency: int = 4,
    ) -> None:
        self._messages = messages
        self._deliveries = deliveries
        self._devices = devices
        self._recent = recent
        self._worker = workers.id
        self._channels = channels
        self._clock = clock
        self._decide = decide
        self._numbers = itertools.count(1)
        self._private = Batcher(self._work, size=_PRIVATE_BATCH, concurrency=concurrency)
        self._broadcast = Batcher(self._work, size=_BROADCAST_BATCH, concurrency=concurrency)
        self.claims: set[str] = set()
        """The claims that are being worked on; what else bears this worker's name was left behind."""

    async def deliver(self, ids: list[str]) -> None:
        """Send deliveries of private messages: many small ones together."""
        await self._private.add(ids)

    async def deliver_broadcast(self, ids: list[str]) -> None:
        """Send deliveries of broadcasts: few at a time, each of up to 500 devices."""
        await self._broadcast.add(ids)

    async def _work(self, ids: list[str]) -> None:
        claim = f"{self._worker}/{next(self._numbers)}"
        self.claims.add(claim)
        try:
            chunks = await self._deliveries.claim(ids, claim, now=self._clock())
            if chunks:
                await self._send_claimed(chunks, claim)
        finally:
            self.claims.discard(claim)

    async def _send_claimed(self, chunks: list[Chunk], claim: str) -> None:
        messages = await self._messages.list_by_ids(list({chunk.message for chunk in chunks}))
        now = self._clock()
        held = [
            chunk
            for chunk in chunks
            if chunk.channel not in self._channels
            or (chunk.message in messages and messages[chunk.message].state is MessageState.PAUSED)
        ]
        if held:
            await self._deliveries.put_back([chunk.id for chunk in held], claim, now + _PAUSE)
            away = {chunk.id for chunk in held}
            chunks = [chunk for chunk in chunks if chunk.id not in away]
        flights: list[_Flight] = []
        texts: dict[tuple[str, Language], Text] = {}
        due = {chunk.id: self._due(chunk, messages.get(chunk.message), now) for chunk in chunks}
        known = await self._known(chunks, due, messages)
        for chunk in chunks:
            if due[chunk.id]:
                message = messages[chunk.message]
                flights += await self._prepare(chunk, message, due[chunk.id], known, texts, now)
        receipts = await self._send(flights)
        letters, dead = self._judge(flights, receipts)
        await self._write(lambda: self._forget(dead))
        await self._write(lambda: self._deliveries.bury(letters))
        await self._write(lambda: self._deliveries.settle(chunks, claim, now=self._clock()))

    # --- before sending -----------------------------------------------------------------------------------

    async def _known(
        self, chunks: Sequence[Chunk], due: Mapping[str, Sequence[int]], messages: Mapping[str, Message]
    ) -> dict[str, Target]:
        """Fetch the devices whose turn it is, those of private messages together."""
        found: dict[str, Target] = {}
        private: dict[str, None] = {}
        for chunk in chunks:
            ids = [chunk.devices[index] for index in due[chunk.id]]
            if chunk.broadcast is None:
                private.update(dict.fromkeys(ids))
            elif ids:
                part = part_of_chunk(chunk.id)
                found |= await self._recent.get(ids, shards_of_part(part, messages[chunk.message].splits))
        return found | await self._recent.get(list(private))

    def _due(self, chunk: Chunk, message: Message | None, now: datetime) -> list[int]:
        """List the devices whose turn it is, by index; close all if nobody needs the message any more."""
        turn = [
            index
            for index, letter in enumerate(chunk.states)
            if letter == DeviceState.WAITING.value
            or (letter in "RH" and chunk.due.get(str(index), now) <= now)
        ]
        if message is None or message.state is MessageState.CANCELLED:
            self._close(chunk, DeviceState.CANCELLED)
            return []
        if message.state is MessageState.EXPIRED or message.is_expired(now):
            self._close(chunk, DeviceState.EXPIRED)
            return []
        return turn

    def _close(self, chunk: Chunk, state: DeviceState) -> None:
        for index, letter in enumerate(chunk.states):
            if letter in "QRH":
                _mark(chunk, index, state)

    async def _prepare(
        self,
        chunk: Chunk,
        message: Message,
        due: Sequence[int],
        known: Mapping[str, Target],
        texts: dict[tuple[str, Language], Text],
        now: datetime,
    ) -> list[_Flight]:
        """Ask the preferences and make the pushes of a delivery."""
        account = message.audience.account
        targets: list[tuple[int, Target]] = []
        for index in due:
            device = known.get(chunk.devices[index])
            if device is None or (account is not None and device.account_id != account):
                _mark(chunk, index, DeviceState.DEAD, "GONE")  # signed out, removed, or somebody else's now
            else:
                targets.append((index, device))
        verdicts = await self._decide(message, chunk.channel, [device for _, device in targets], now=now)
        flights: list[_Flight] = []
        data = {**message.payload.data(), "kind": message.kind, "message": message.id}
        for (index, device), verdict in zip(targets, verdicts, strict=True):
            if verdict.kind is VerdictKind.DROP:
                _mark(chunk, index, DeviceState.DROPPED)
            elif verdict.kind is VerdictKind.HOLD and verdict.until is not None:
                _mark(chunk, index, DeviceState.HELD)
                chunk.due[str(index)] = verdict.until
            else:
                push = _push(message, device, data, texts)
                flights.append(_Flight(chunk, index, message, push))
        return flights

    # --- sending ------------------------------------------------------------------------------------------

    async def _send(self, flights: Sequence[_Flight]) -> list[Receipt]:
        """Send pushes in as few calls as the channels allow; give receipts in the order of the pushes."""
        by_channel: dict[str, list[int]] = defaultdict(list)
        for number, flight in enumerate(flights):
            by_channel[flight.chunk.channel].append(number)
        receipts: dict[int, Receipt] = {}

        async def send(channel: Channel, numbers: Sequence[int]) -> None:
            answers = await self._call(channel, [flights[number].push for number in numbers])
            receipts.update(zip(numbers, answers, strict=True))

        calls = []
        for name, numbers in by_channel.items():
            channel = self._channels[name]
            for start in range(0, len(numbers), channel.max_batch):
                calls.append(send(channel, numbers[start : start + channel.max_batch]))
        await asyncio.gather(*calls)
        return [receipts[number] for number in range(len(flights))]

    async def _call(self, channel: Channel, pushes: Sequence[Push]) -> Sequence[Receipt]:
        begun = time.perf_counter()
        IN_FLIGHT.inc(len(pushes))
        try:
            return await channel.send(pushes, now=self._clock())
        except Exception as error:
            log.error("delivery.channel_failed", channel=channel.name, exc_info=error)
            return [Receipt(push.device_id, Outcome.RETRY, "CHANNEL_FAILED") for push in pushes]
        finally:
            IN_FLIGHT.dec(len(pushes))
            SEND_SECONDS.labels(channel.name).observe(time.perf_counter() - begun)

    # --- after sending ------------------------------------------------------------------------------------

    def _judge(
        self, flights: Sequence[_Flight], receipts: Sequence[Receipt]
    ) -> tuple[list[DeadLetter], dict[str, dict[str, str]]]:
        """Note what became of every push; give the dead letters, and the dead tokens by reason and device."""
        now = self._clock()
        letters: list[DeadLetter] = []
        dead: dict[str, dict[str, str]] = defaultdict(dict)
        for flight, receipt in zip(flights, receipts, strict=True):
            chunk, index = flight.chunk, flight.index
            attempts = chunk.attempts.get(str(index), 0) + 1
            state = self._state_after(flight, receipt, attempts, now)
            if state is DeviceState.SENT:
                _mark(chunk, index, state)
            else:
                _mark(chunk, index, state, receipt.reason)
                chunk.attempts[str(index)] = attempts
                chunk.lost += receipt.reason in LOST_ANSWERS
            if state is DeviceState.RETRY:
                delay_s = retry_delay_s(attempts, receipt.retry_after_s, random.random())  # noqa: S311
                chunk.due[str(index)] = now + timedelta(seconds=delay_s)
            elif state is DeviceState.DEAD:
                dead[receipt.reason][flight.push.device_id] = flight.push.token
            elif state is DeviceState.FAILED:
                letters.append(_dead_letter(flight, receipt.reason, attempts, now))
            DEVICES.labels(chunk.channel, state.name.lower()).inc()
        return letters, dead

    def _state_after(self, flight: _Flight, receipt: Receipt, attempts: int, now: datetime) -> DeviceState:
        if receipt.outcome is Outcome.SENT:
            return DeviceState.SENT
        if receipt.outcome is Outcome.DEAD_TOKEN:
            return DeviceState.DEAD
        if receipt.outcome is Outcome.LEFT_OUT:
            return DeviceState.DROPPED
        if receipt.reason == "EXPIRED" or flight.message.is_expired(now):
            return DeviceState.EXPIRED
        if receipt.outcome is Outcome.REFUSED or attempts >= MAX_ATTEMPTS:
            return DeviceState.FAILED
        return DeviceState.RETRY

    async def _forget(self, dead: Mapping[str, Mapping[str, str]]) -> None:
        for reason, tokens in dead.items():
            self._recent.forget(tokens)
            await self._devices.remove_tokens(list(tokens), reason, tokens=tokens)

    async def _write(self, work: Callable[[], Awaitable[object]]) -> None:
        """Write what must not be lost: while the store is away, try again; the pushes are out."""
        delay_s = 0.1
        while True:
            try:
                await work()
            except PyMongoError as error:
                log.warning("delivery.store_away", error=type(error).__name__)
                await asyncio.sleep(delay_s)
                delay_s = min(delay_s * 2, 2.0)
            else:
                return


def _mark(chunk: Chunk, index: int, state: DeviceState, reason: str | None = None) -> None:
    key = str(index)
    chunk.states = chunk.states[:index] + state.value + chunk.states[index + 1 :]
    chunk.due.pop(key, None)
    chunk.reasons.pop(key, None)
    if reason is not None:
        chunk.reasons[key] = reason


def _push(
    message: Message, device: Target, data: Mapping[str, str], texts: dict[tuple[str, Language], Text]
) -> Push:
    language = Language(device.locale.value)
    text = texts.get((message.id, language))
    if text is None:
        text = texts[message.id, language] = message.payload.public(language)
    return Push(
        device_id=device.id,
        token=device.token,
        title=text.title,
        body=text.body,
        data=data,
        collapse_key=message.collapse_key,
        expires_at=message.expires_at,
        urgent=message.urgent,
        language=language,
    )


def _dead_letter(flight: _Flight, reason: str, attempts: int, now: datetime) -> DeadLetter:
    chunk, device = flight.chunk, flight.push.device_id
    return DeadLetter(
        id=f"{chunk.message}:{chunk.channel}:{device}",
        chunk=chunk.id,
        message=chunk.message,
        channel=chunk.channel,
        device=device,
        reason=reason,
        attempts=attempts,
        failed_at=now,
    )
