"""Fan one broadcast out to many subscribers: inbox rows, deliveries, and every push handed to the channel.

    python -m bench.fanout [--subscribers N]

The rate counts from the moment the message is queued until every push has been handed over and its result is
written. Raw inserts of the same inbox rows into another collection of the same engine in the same run, before
and after, tell how fast the engine is here: with the inbox's own index, and without any. The worker's memory
is that of a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import structlog
from rich.console import Console
from rich.table import Table

from domain.ids import new_id, shard_of
from domain.message_texts import AirLevel, AirQuality
from domain.messages import Audience, MessageState, new_message
from notifications.channels.base import Outcome, Push, Receipt
from notifications.outbox import Outbox
from notifications.queue import JobQueue
from notifications.worker import WorkerConfig, run
from store.connections import open_mongodb
from store.deliveries import DeliveryStore
from store.engines import EmbeddedEngines
from store.inbox import InboxStore
from store.messages import MessageStore
from store.subscriptions import SubscriptionStore

TIMEOUT_MS = 120_000
TOPIC = "division:350100"
RAW = 100_000


class CountingChannel:
    """Takes every push at once."""

    name = "fcm"
    max_batch = 500

    def __init__(self) -> None:
        self.count = 0

    async def send(self, pushes: Sequence[Push], *, now: datetime) -> list[Receipt]:
        self.count += len(pushes)
        return [Receipt(push.device_id, Outcome.SENT, "SENT") for push in pushes]


def account(number: int) -> str:
    """Name a subscriber as accounts are named: 24 hex digits."""
    return f"{number * 2654435761 % 2**64:024x}"


async def work(uri: str, redis_url: str, message_id: str) -> None:
    """Be the worker: run until the message is out, then print what it took as JSON."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    stop, channel = asyncio.Event(), CountingChannel()
    config = WorkerConfig(uri, redis_url, "bench", engine_timeout_ms=TIMEOUT_MS)
    running = asyncio.create_task(run(config, {channel.name: channel}, stop))
    async with open_mongodb(uri, TIMEOUT_MS) as client:
        messages, deliveries = MessageStore(client["bench"]), DeliveryStore(client["bench"])
        while (message := await messages.get(message_id)).state is not MessageState.SENT:  # noqa: ASYNC110
            await asyncio.sleep(0.2)
        written = time.time()
        while (await deliveries.count(message_id, broadcast=True, channels=())).open:  # noqa: ASYNC110
            await asyncio.sleep(0.2)
        done = time.time()
        counts = await deliveries.count(message_id, broadcast=True, channels=())
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    stop.set()
    await running
    print(
        json.dumps(
            {
                "recipients": message.recipients,
                "sent": counts.sent,
                "handed": channel.count,
                "written": written,
                "done": done,
                "peak_mb": peak_mb,
            }
        )
    )


async def seed(uri: str, subscribers: int) -> None:
    """Write the subscriptions, and a device for each subscriber."""
    now = datetime.now(UTC)
    async with open_mongodb(uri, TIMEOUT_MS) as client:
        database = client["bench"]
        subscriptions = SubscriptionStore(database)
        await subscriptions.ensure_indexes()
        await subscriptions.load(TOPIC, map(account, range(subscribers)))
        # The index that a broadcast uses; the others would only make the seeding take minutes longer.
        await database["devices"].create_index([("shard", 1)], name="shard")
        documents = (
            {
                "_id": f"device-{number:016d}",
                "account_id": account(number),
                "shard": shard_of(account(number)),
                "channel": "fcm",
                "token": f"{number:0150d}",
                "platform": "ANDROID",
                "app_version": "5.2.1",
                "locale": "zh",
                "registered_at": now,
                "seen_at": now,
            }
            for number in range(subscribers)
        )
        while batch := list(islice(documents, 2000)):
            await database["devices"].insert_many(batch, ordered=False)


async def raw_inserts(uri: str, count: int, *, indexed: bool) -> float:
    """Insert inbox rows into a new collection with the inbox's index or none; give rows a second."""
    message = new_id(datetime.now(UTC))
    rows = [
        {
            "_id": f"{account(number)}:{message}",
            "account": account(number),
            "message": message,
            "kind": "AIR_QUALITY",
            "position": message,
        }
        for number in range(count)
    ]
    async with open_mongodb(uri, TIMEOUT_MS) as client:
        collection = client["bench"][f"raw_{message}"]  # not dropped: the engine takes a minute for that
        if indexed:
            await collection.create_index([("account", 1), ("position", 1)])
        begun = time.perf_counter()
        for start in range(0, count, 1000):
            await collection.insert_many(rows[start : start + 1000], ordered=False)
        elapsed = time.perf_counter() - begun
    return count / elapsed


async def measure(subscribers: int) -> bool:
    """Run everything, print the table, and tell whether the bounds hold."""
    with tempfile.TemporaryDirectory(prefix="mintong-bench-") as folder:
        async with EmbeddedEngines(Path(folder)) as engines:
            uri, redis_url = engines.mongodb_uri, engines.redis_url
            begun = time.perf_counter()
            await seed(uri, subscribers)
            seeded_s = time.perf_counter() - begun
            raw = [
                await raw_inserts(uri, min(RAW, subscribers), indexed=indexed) for indexed in (True, False)
            ]
            async with open_mongodb(uri, TIMEOUT_MS) as client:
                database = client["bench"]
                for store in (MessageStore(database), InboxStore(database), DeliveryStore(database)):
                    await store.ensure_indexes()
                queue = JobQueue(redis_url)
                now = datetime.now(UTC)
                message = new_message(
                    new_id(now),
                    AirQuality("350100", "福州市", 212, AirLevel.HEAVY, "PM2.5"),
                    Audience.of_topics((TOPIC,)),
                    f"air:{now.isoformat()}",
                    now=now,
                    expires_at=now + timedelta(hours=2),
                )
                started = time.time()
                await Outbox(MessageStore(database), queue).write(message)
                result = await in_own_process(uri, redis_url, message.id)
                await queue.aclose()
            raw += [
                await raw_inserts(uri, min(RAW, subscribers), indexed=indexed) for indexed in (True, False)
            ]
    return show(subscribers, seeded_s, (raw[0] + raw[2]) / 2, (raw[1] + raw[3]) / 2, result, started)


async def in_own_process(uri: str, redis_url: str, message_id: str) -> dict[str, float]:
    """Run the worker in a process of its own and give what it printed."""
    options = ["--engine", uri, "--redis", redis_url, "--message", message_id]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.fanout", *options, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    if process.returncode:
        raise SystemExit(process.returncode)
    result: dict[str, float] = json.loads(output)
    return result


def show(
    subscribers: int,
    seeded_s: float,
    raw: float,
    bare: float,
    result: dict[str, float],
    started: float,
) -> bool:
    """Print the table and tell whether the bounds hold."""
    elapsed = result["done"] - started
    rate = subscribers / elapsed
    table = Table("", "", "bound")
    table.add_row("subscribers, one device each", f"{subscribers:,}", "")
    table.add_row("seeding, seconds", f"{seeded_s:.0f}", "")
    table.add_row("inbox rows written, seconds", f"{result['written'] - started:.1f}", "")
    table.add_row("all handed over, seconds (with the start of the worker)", f"{elapsed:.1f}", "")
    table.add_row("recipients a second", f"{rate:,.0f}", "≥ 5,000")
    table.add_row("raw insert_many of the rows, rows a second", f"{raw:,.0f}", "")
    table.add_row("share of the raw rate", f"{rate / raw:.2f}", "≥ 0.33")
    table.add_row("raw insert_many without index, rows a second", f"{bare:,.0f}", "")
    table.add_row("share of that", f"{rate / bare:.2f}", "")
    table.add_row("peak memory of the worker, MB", f"{result['peak_mb']:.0f}", "< 300")
    Console(width=100).print(table)
    exact = result["recipients"] == result["sent"] == result["handed"] == subscribers
    if not exact:
        print(f"not exact: {result}")
    return exact and rate >= 5_000 and rate >= raw / 3 and result["peak_mb"] < 300


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--subscribers", type=int, default=200_000, help="200,000 by default")
    parser.add_argument("--engine", help=argparse.SUPPRESS)
    parser.add_argument("--redis", help=argparse.SUPPRESS)
    parser.add_argument("--message", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.engine:
        asyncio.run(work(options.engine, options.redis, options.message))
    else:
        raise SystemExit(0 if asyncio.run(measure(options.subscribers)) else 1)


if __name__ == "__main__":
    main()
