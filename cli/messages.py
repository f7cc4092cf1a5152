"""Messages from the command line: how far they are, what failed, and what to do about it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import msgspec
from rich.table import Table

from cli.resources import CommandError, console, open_addresses, output
from domain.devices import PushChannel
from domain.messages import Step
from notifications.outbox import Outbox
from notifications.queue import JobQueue, Lane
from operations.messages import cancel, get_progress, list_dead_letters, pause, replay_dead_letters, resume
from settings import Settings
from store.connections import open_mongodb
from store.deliveries import DeliveryStore
from store.inbox import InboxStore
from store.messages import MessageStore
from store.preferences import PreferenceStore

_ANSWER_TIMEOUT_MS = 60_000
_CHANNELS = tuple(channel.value for channel in PushChannel)


@asynccontextmanager
async def _open(settings: Settings) -> AsyncIterator[tuple[Outbox, DeliveryStore, JobQueue]]:
    async with open_addresses(settings) as (mongodb_uri, redis_url):
        queue = JobQueue(redis_url)
        try:
            async with open_mongodb(
                mongodb_uri, settings.engine_timeout_ms, answer_timeout_ms=_ANSWER_TIMEOUT_MS
            ) as mongodb:
                database = mongodb[settings.database]
                yield Outbox(MessageStore(database), queue), DeliveryStore(database), queue
        finally:
            await queue.aclose()


async def show_status(settings: Settings, message_id: str | None) -> None:
    """Show the queue, or how far one message has come."""
    async with _open(settings) as (outbox, deliveries, queue):
        table = Table.grid(padding=(0, 2))
        if message_id is None:
            for lane in Lane:
                waiting, taken = await queue.depth(lane)
                table.add_row(f"Jobs, {lane.value}", f"{waiting:,} waiting, {taken:,} taken")
            table.add_row("Dead letters", f"{await deliveries.count_dead():,}")
        else:
            progress = await get_progress(outbox, deliveries, message_id, _CHANNELS)
            table.add_row("State", progress.state.value)
            table.add_row("Recipients", f"{progress.recipients:,}")
            if progress.parts:
                table.add_row("Parts", f"{progress.parts_done:,} of {progress.parts:,}")
            for name, count in msgspec.structs.asdict(progress.devices).items():
                if count:
                    table.add_row(f"Devices, {name}", f"{count:,}")
        output.print(table)


async def show_dead(settings: Settings, first: int) -> None:
    """List pushes that failed for good, with reason."""
    async with _open(settings) as (_, deliveries, _queue):
        letters = await list_dead_letters(deliveries, first)
        table = Table("message", "channel", "device", "reason", "tries", "failed at (UTC)", box=None)
        for letter in letters:
            table.add_row(
                letter.message,
                letter.channel,
                letter.device,
                letter.reason,
                str(letter.attempts),
                f"{letter.failed_at:%Y-%m-%d %H:%M:%S}",
            )
        output.print(table)
        rest = await deliveries.count_dead() - len(letters)
        if rest > 0:
            output.print(f"… and {rest:,} more; --first N shows more.")


async def replay(settings: Settings, message_id: str | None) -> None:
    """Try failed pushes again, all or those of one message."""
    async with _open(settings) as (_, deliveries, _queue):
        done, left = await replay_dead_letters(deliveries, now=_now(), message_id=message_id)
        console.print(f"{done:,} pushes are tried again; {left:,} are being sent or their delivery is gone.")


async def upgrade(settings: Settings) -> None:
    """Bring inboxes and preferences that an earlier version has written to today's form."""
    async with (
        open_addresses(settings) as (mongodb_uri, _),
        open_mongodb(
            mongodb_uri, settings.engine_timeout_ms, answer_timeout_ms=_ANSWER_TIMEOUT_MS
        ) as mongodb,
    ):
        database = mongodb[settings.database]
        rows, preferences = await InboxStore(database).upgrade(), await PreferenceStore(database).upgrade()
        output.print(f"{rows:,} rows of inboxes and {preferences:,} preferences were upgraded.")


async def change(settings: Settings, message_id: str, step: Step) -> None:
    """Pause, resume or cancel a message."""
    async with _open(settings) as (outbox, deliveries, _queue):
        if step is Step.PAUSE:
            message = await pause(outbox, message_id, now=_now())
        elif step is Step.RESUME:
            message = await resume(outbox, deliveries, message_id, now=_now())
        elif step is Step.CANCEL:
            message = await cancel(outbox, deliveries, message_id, now=_now())
        else:
            raise CommandError(f"{step.value} is not done from here.")
        console.print(f"{message.id} is {message.state.value}.")


def _now() -> datetime:
    return datetime.now(UTC)
