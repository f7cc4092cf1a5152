"""Fan one broadcast out to many subscribers: inbox rows, deliveries, and every push handed to the channel.

    python -m bench.fanout [--subscribers N]

The rate counts from the moment the message is queued until every push has been handed over and its result
is written. Raw inserts into other collections of the same engine in the same run, before and after, tell how
fast the engine is here: a row for each recipient with the inbox's index by owner and without any, and the
rows that a large broadcast really writes, one for each bucket of accounts. The worker's memory is that of a
process of its own. Then inboxes are read that hold 200 such broadcasts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import resource
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from domain.devices import Device, DeviceLocale, Platform, PushChannel
from domain.ids import BUCKETS, bucket_of, new_id
from domain.message_texts import AirLevel, AirQuality
from domain.messages import Audience, Message, MessageState, new_message
from notifications.channels.base import Outcome, Push, Receipt
from notifications.outbox import Outbox
from notifications.queue import JobQueue
from notifications.worker import WorkerConfig, run
from store.connections import open_mongodb
from store.deliveries import DeliveryStore
from store.devices import DeviceStore
from store.engines import EmbeddedEngines
from store.inbox import InboxStore
from store.messages import MessageStore
from store.subscriptions import SubscriptionStore
from store.targets import TargetStore

TIMEOUT_MS = 120_000
TOPIC = "division:350100"
RAW = 100_000
READ_BUCKETS = 64


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
                "peak_mb": peak_memory_mb(),
            }
        )
    )


def peak_memory_mb() -> float:
    """Give the most memory this process ever had; `getrusage` would tell that of whoever started it, too."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


async def seed(uri: str, subscribers: int) -> None:
    """Write the subscriptions, and a device for each subscriber."""
    now = datetime.now(UTC)
    async with open_mongodb(uri, TIMEOUT_MS) as client:
        database = client["bench"]
        subscriptions = SubscriptionStore(database)
        await subscriptions.ensure_indexes()
        await subscriptions.load(TOPIC, map(account, range(subscribers)))
        # Those that a worker's retention uses; the others would only make the seeding take minutes longer.
        for name in ("shard", "seen_at"):
            await database["devices"].create_index([(name, 1)], name=name)
        await TargetStore(database).ensure_indexes()
        await DeviceStore(database).load(device(number, now) for number in range(subscribers))


def device(number: int, now: datetime) -> Device:
    """Make the device of a subscriber, with a token as long as FCM's."""
    return Device(
        f"device-{number:016d}",
        account(number),
        PushChannel.FCM,
        f"{number:0150d}",
        Platform.ANDROID,
        "5.2.1",
        DeviceLocale.ZH,
        now,
        now,
    )


async def raw_inserts(uri: str, count: int, *, indexed: bool) -> float:
    """Insert a row for each recipient into a new collection, with the index by owner or none; rows/s."""
    message = new_id(datetime.now(UTC))
    rows = [
        {
            "_id": f"{account(number)}:{message}",
            "owner": account(number),
            "accounts": [account(number)],
            "kind": "AIR_QUALITY",
            "place": f"{message}.{message}",
        }
        for number in range(count)
    ]
    async with open_mongodb(uri, TIMEOUT_MS) as client:
        collection = client["bench"][f"raw_{message}"]  # not dropped: the engine takes a minute for that
        if indexed:
            await collection.create_index([("owner", 1), ("place", 1)])
        begun = time.perf_counter()
        for start in range(0, count, 1000):
            await collection.insert_many(rows[start : start + 1000], ordered=False)
        elapsed = time.perf_counter() - begun
    return count / elapsed


async def raw_buckets(uri: str, subscribers: int) -> float:
    """Insert the rows of a broadcast into another inbox and nothing else; recipients a second."""
    accounts = [account(number) for number in range(subscribers)]
    async with open_mongodb(uri, TIMEOUT_MS) as client:
        inbox = InboxStore(client["raw"])
        await inbox.ensure_indexes()
        message = new_id(datetime.now(UTC))
        begun = time.perf_counter()
        await inbox.insert_together(accounts, message, "AIR_QUALITY", message)
        return subscribers / (time.perf_counter() - begun)


async def read_inboxes(uri: str, subscribers: int) -> list[float]:
    """Fill the inboxes of some buckets with 199 broadcasts more and read pages; give milliseconds, sorted."""
    now = datetime.now(UTC)
    of_bucket: dict[int, list[str]] = defaultdict(list)
    for number in range(subscribers):
        if bucket_of(account(number)) % (BUCKETS // READ_BUCKETS) == 0:
            of_bucket[bucket_of(account(number))].append(account(number))
    some = [each for accounts in of_bucket.values() for each in accounts]
    async with open_mongodb(uri, TIMEOUT_MS) as client:
        inbox, messages = InboxStore(client["bench"]), MessageStore(client["bench"])
        older = [air(now - timedelta(hours=number)) for number in range(1, 200)]
        await messages.insert_many(older)
        for message in older:
            await inbox.insert_together(some, message.id, message.kind, message.id)
        took_ms = []
        for reader in random.Random(5).choices(some, k=400):
            begun = time.perf_counter()
            rows = await inbox.list_newest(reader, 21)
            found = await messages.list_by_ids([row.message for row in rows[:20]])
            took_ms.append((time.perf_counter() - begun) * 1000)
            if len(found) != 20 or sum((await inbox.count_unread(reader)).values()) != 200:
                raise SystemExit("an inbox does not hold what it should")
    return sorted(took_ms)


def air(now: datetime) -> Message:
    """Make a broadcast."""
    return new_message(
        new_id(now),
        AirQuality("350100", "福州市", 212, AirLevel.HEAVY, "PM2.5"),
        Audience.of_topics((TOPIC,)),
        f"air:{now.isoformat()}",
        now=now,
        expires_at=now + timedelta(hours=2),
    )


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
            buckets = await raw_buckets(uri, subscribers)
            async with open_mongodb(uri, TIMEOUT_MS) as client:
                database = client["bench"]
                for store in (MessageStore(database), InboxStore(database), DeliveryStore(database)):
                    await store.ensure_indexes()
                queue = JobQueue(redis_url)
                message = air(datetime.now(UTC))
                started = time.time()
                await Outbox(MessageStore(database), queue).write(message)
                result = await in_own_process(uri, redis_url, message.id)
                await queue.aclose()
            raw += [
                await raw_inserts(uri, min(RAW, subscribers), indexed=indexed) for indexed in (True, False)
            ]
            reads = await read_inboxes(uri, subscribers)
    figures = Figures(seeded_s, (raw[0] + raw[2]) / 2, (raw[1] + raw[3]) / 2, buckets, reads)
    return show(subscribers, figures, result, started)


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


class Figures(Struct):
    """What was measured beside the fan-out; rates a second."""

    seeded_s: float
    raw: float
    bare: float
    buckets: float
    reads_ms: list[float]


def show(subscribers: int, figures: Figures, result: dict[str, float], started: float) -> bool:
    """Print the table and tell whether the bounds hold."""
    elapsed = result["done"] - started
    rate = subscribers / elapsed
    raw, bare, reads = figures.raw, figures.bare, figures.reads_ms
    table = Table("", "", "bound")
    table.add_row("subscribers, one device each", f"{subscribers:,}", "")
    table.add_row("seeding, seconds", f"{figures.seeded_s:.0f}", "")
    table.add_row("inbox rows written, seconds", f"{result['written'] - started:.1f}", "")
    table.add_row("all handed over, seconds (with the start of the worker)", f"{elapsed:.1f}", "")
    table.add_row("recipients a second", f"{rate:,.0f}", "≥ 5,000")
    table.add_row("raw insert_many, a row for each recipient, rows a second", f"{raw:,.0f}", "")
    table.add_row("share of that", f"{rate / raw:.2f}", "≥ 0.33")
    table.add_row("the same without index, rows a second", f"{bare:,.0f}", "")
    table.add_row("share of that", f"{rate / bare:.2f}", "≥ 0.33")
    table.add_row("rows by bucket alone, recipients a second", f"{figures.buckets:,.0f}", "")
    table.add_row("peak memory of the worker, MB", f"{result['peak_mb']:.0f}", "< 300")
    p50, p99 = reads[len(reads) // 2], reads[len(reads) * 99 // 100]
    table.add_row("a page of an inbox with 200 broadcasts, p50 / p99 ms", f"{p50:.1f} / {p99:.1f}", "")
    Console(width=100).print(table)
    exact = result["recipients"] == result["sent"] == result["handed"] == subscribers
    if not exact:
        print(f"not exact: {result}")
    return exact and rate >= 5_000 and rate >= max(raw, bare) / 3 and result["peak_mb"] < 300


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
