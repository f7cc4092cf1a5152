"""Memory of the engine's caches under a flood of distinct requests.

Run with `python -m bench.engine_flood [--requests N] [--megabytes M]`. Every request is really executed by
the engine and differs from all others: most ask a persisted document for entities that nobody asked for
before, every hundredth brings a document of its own (some of these thrice, so that they are compiled), every
hundredth a document with an error, and now and then a new snapshot is published. The table shows what the
caches say they hold and what the process really holds; the bounds are asserted.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import resource
import time
from pathlib import Path
from typing import Any

import msgspec
import strawberry

from engine.documents import Prepared
from engine.executor import Engine
from engine.fragments import FragmentCache
from engine.policy import CacheControl, CacheScope
from engine.responses import ResponseCache

PUBLIC = CacheControl(max_age=300, scope=CacheScope.PUBLIC, snapshot=True, vary_language=True)
ENTITY = CacheControl(max_age=300, scope=CacheScope.PUBLIC, snapshot=True, entity_key="id")
PERSISTED = "query Pinned($start: Int!) { items(start: $start) { id title summary } }"
PUBLISHED_EVERY = 1_000_000
ALLOCATOR = 1.25
"""What may lie unused between living objects, as a factor."""


class ItemView(msgspec.Struct, frozen=True):
    id: str
    title: str
    summary: str


@strawberry.type(directives=[ENTITY])
class Item:
    id: strawberry.ID
    title: str
    summary: str


@strawberry.type
class Query:
    @strawberry.field(directives=[PUBLIC])
    def items(self, start: int) -> list[Item]:
        return [
            ItemView(f"item:{start + n}", f"个体工商户设立登记（第{start + n}类）", "当场受理" * (start % 7))  # type: ignore[misc]
            for n in range(2)
        ]


class Flood:
    """One engine and the requests that come to it."""

    def __init__(self, megabytes: int) -> None:
        self.bound = megabytes * 1_000_000
        self.snapshot = 1
        self.responses, self.fragments = ResponseCache(self.bound), FragmentCache(self.bound)
        self.engine = Engine(
            strawberry.Schema(Query),
            max_document_bytes=self.bound,
            fragments=self.fragments,
            responses=self.responses,
            versions=lambda _: self.snapshot,
            language=lambda context: context["language"],
        )
        self.documents = self.engine.documents
        self.pinned = self.engine.persist("pinned", PERSISTED)

    async def run(self, start: int, stop: int) -> None:
        """Execute the requests of a range; no two of them are equal."""
        for n in range(start, stop):
            if n % PUBLISHED_EVERY == PUBLISHED_EVERY - 1:
                self.snapshot += 1
            if n % 100 == 50:
                await self._unique(n, times=3 if n % 1000 == 50 else 1)
            elif n % 100 == 99:
                await self._invalid(n)
            else:
                await self._execute(self.pinned, n)
            if n % 100 == 0:
                self.check()

    async def _execute(self, document: Prepared | str, n: int) -> None:
        result = await self.engine.execute(document, {"start": 2 * n}, None, {"language": "zh"})
        assert result.body.startswith(b'{"data":{"items":[{"id":"item:%d"' % (2 * n))

    async def _unique(self, n: int, times: int) -> None:
        text = f"query Own{n}($start: Int!) {{ items(start: $start) {{ id title a{n}: summary }} }}"
        for _ in range(times):
            await self._execute(text, n)

    async def _invalid(self, n: int) -> None:
        result = await self.engine.execute(f"{{ items(start: 1) {{ nothing{n} }} }}", None, None, {})
        assert (result.executed, len(result.errors)) == (False, 1)

    def check(self) -> None:
        """Assert every bound, and that the persisted document is where it was."""
        documents = self.documents
        assert self.responses.bytes <= self.bound
        assert self.fragments.bytes <= self.bound
        assert documents.bytes <= documents.max_bytes
        assert len(documents) <= documents.max_documents
        assert documents.find_pinned("pinned") is self.pinned
        assert documents.find(PERSISTED) is self.pinned


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def row(*cells: Any) -> None:
    formats = (">12,", ">11,", ">14.1f", ">14.1f", ">14.1f", ">10,", ">12.1f", ">9.1f")
    print("".join(format(cell, each) for cell, each in zip(cells, formats, strict=True)), flush=True)


async def measure(requests: int, megabytes: int) -> None:
    flood = Flood(megabytes)
    gc.collect()
    start_mb, started = resident_mb(), time.perf_counter()
    titles = ("requests", "documents", "documents MB", "responses MB", "fragments MB", "compiled")
    print(f"{titles[0]:>12}{titles[1]:>11}" + "".join(f"{each:>14}" for each in titles[2:5]), end="")
    print(f"{titles[5]:>10}{'process MB':>12}{'s':>9}", flush=True)
    highest = 0.0
    for tenth in range(10):
        await flood.run(requests * tenth // 10, requests * (tenth + 1) // 10)
        held = resident_mb() - start_mb
        highest = max(highest, held)
        row(
            requests * (tenth + 1) // 10,
            len(flood.documents),
            flood.documents.bytes / 1e6,
            flood.responses.bytes / 1e6,
            flood.fragments.bytes / 1e6,
            flood.engine.compiled,
            held,
            time.perf_counter() - started,
        )
    counted = flood.documents.bytes + flood.responses.bytes + flood.fragments.bytes
    print(f"three bounds of {megabytes} MB: counted {counted / 1e6:.0f} MB, in the process {highest:.0f} MB")
    assert highest <= 3 * megabytes * ALLOCATOR, "the process holds more than its caches may"
    assert flood.documents.find_pinned("pinned") is flood.pinned


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=10_000_000)
    parser.add_argument("--megabytes", type=int, default=64)
    options = parser.parse_args()
    asyncio.run(measure(options.requests, options.megabytes))


if __name__ == "__main__":
    main()
