"""Submissions of complaints per second, over HTTP, beside bare inserts of the same engine, in one run.

    python -m bench.complaint_submit [--seconds S] [--rounds N]

One API process with everything that production has, its embedded engines, and wrk with 32 connections share
the machine; nothing is pinned. A bare insert is `insert_one` of a document as a complaint is stored, 32 at a
time from one process, once into a plain collection and once into one with the indexes of `complaints`.
Rounds are interleaved, figures are medians. Every submission is checked to be stored.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import uvloop
from pymongo import ASCENDING
from pymongo.asynchronous.collection import AsyncCollection

from bench.__main__ import describe_machine
from bench.api_process import free_port
from store.complaints import INDEXES
from store.connections import open_mongodb
from store.engines import EmbeddedEngines
from tests.faults.citizens import make_tokens
from tests.faults.processes import api_process, environment

LOAD: Final = Path(__file__).with_name("complaint_load.lua")
IN_FLIGHT: Final = 32
CITIZENS: Final = 500
DATABASE: Final = "mintong"
PLAIN, INDEXED, SUBMITTED = "bare insert", "bare insert, same indexes", "submitComplaint over HTTP"

Document = dict[str, Any]


async def insert_bare(collection: AsyncCollection[Document], pattern: Document, seconds: float) -> float:
    """Insert copies of a document for some seconds; give inserts a second."""
    until = time.perf_counter() + seconds
    count = 0

    async def insert() -> None:
        nonlocal count
        while time.perf_counter() < until:
            document = {**pattern, "_id": secrets.token_hex(7), "key": secrets.token_bytes(16)}
            await collection.insert_one(document)
            count += 1

    started = time.perf_counter()
    await asyncio.gather(*(insert() for _ in range(IN_FLIGHT)))
    return count / (time.perf_counter() - started)


def submit(wrk: str, url: str, tokens: Path, seconds: float, run: str) -> Document:
    """Submit complaints for some seconds; give what wrk saw."""
    command = [wrk, "-t1", f"-c{IN_FLIGHT}", f"-d{seconds:g}s", "-s", str(LOAD), url, "--", str(tokens), run]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    if done.stderr:
        raise SystemExit(f"a submission was refused: {done.stderr[:400]}")
    result: Document = json.loads(done.stdout.splitlines()[-1])
    return result


async def wait_ready(port: int) -> None:
    """Wait until the API has its units."""
    for _ in range(300):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.1)
            continue
        writer.close()
        await asyncio.sleep(2)
        return
    raise SystemExit("the API did not start")


async def measure(options: argparse.Namespace, home: Path) -> None:
    """Run the rounds and print the table."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise SystemExit("wrk is not installed")
    rates: dict[str, list[float]] = {PLAIN: [], INDEXED: [], SUBMITTED: []}
    p99: list[float] = []
    async with EmbeddedEngines(home / "engines") as engines:
        variables = environment(engines, home) | {
            "MINTONG_ENGINE_TIMEOUT_MS": "10000",
            "MINTONG_COMPLAINT_ACCOUNT_LIMIT": "1000000 per 1 day",
        }
        command = [sys.executable, "-m", "cli.main", "demo", "units"]
        await asyncio.to_thread(subprocess.run, command, env=variables, check=True, stdout=subprocess.DEVNULL)
        tokens = home / "tokens"
        tokens.write_text("\n".join(await make_tokens(engines.mongodb_uri, DATABASE, home, CITIZENS)))
        port = free_port()
        with api_process(variables, port, home / "api.log"):
            await wait_ready(port)
            async with open_mongodb(engines.mongodb_uri, 30_000) as client:
                database = client[DATABASE]
                url = f"http://127.0.0.1:{port}/graphql"
                await asyncio.to_thread(submit, wrk, url, tokens, 2, "warm-up")
                pattern = await database["complaints"].find_one()
                if pattern is None:
                    raise SystemExit("no complaint was stored")
                for name, keys in INDEXES.items():
                    fields = [(key, ASCENDING) for key in keys]
                    await database["indexed"].create_index(
                        fields, name=name, sparse=True, unique=name == "key"
                    )
                for turn in range(options.rounds):
                    rates[PLAIN].append(await insert_bare(database["plain"], pattern, options.seconds))
                    rates[INDEXED].append(await insert_bare(database["indexed"], pattern, options.seconds))
                    before = await database["complaints"].count_documents({})
                    seen = await asyncio.to_thread(submit, wrk, url, tokens, options.seconds, f"round-{turn}")
                    stored = await database["complaints"].count_documents({}) - before
                    # wrk goes away with requests in flight.
                    if seen["failed"] or not seen["requests"] <= stored <= seen["requests"] + IN_FLIGHT:
                        raise SystemExit(f"{stored} complaints were stored of {seen}")
                    rates[SUBMITTED].append(seen["requests"] / seen["micros"] * 1e6)
                    p99.append(seen["p99"] / 1000)
    floor = statistics.median(rates[PLAIN])
    print(f"\n{'':28} {'per second':>10} {'of the bare insert':>20}")
    for name, found in rates.items():
        print(f"{name:28} {statistics.median(found):10,.0f} {statistics.median(found) / floor:20.2f}")
    print(f"p99 of a submission {statistics.median(p99):.0f} ms")


def main() -> None:
    """Measure on engines of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(describe_machine())
    os.environ.setdefault("MINTONG_LOG_SAMPLE", "0")
    with tempfile.TemporaryDirectory(prefix="mintong-bench-") as home:
        uvloop.run(measure(options, Path(home)))


if __name__ == "__main__":
    main()
