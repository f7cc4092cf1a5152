"""The sums behind the statistics as a process holds them: followed, kept in a file, shared, started anew."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from pymongo.asynchronous.database import AsyncDatabase

from domain.complaint_statistics import Month, Round
from domain.complaints import Kind
from loaders.complaint_sums import ComplaintSums
from loaders.reference import ReferenceUnavailableError
from store.complaint_statistics import Entry, StatisticsStore
from store.complaint_sums import add, pack, unpack
from store.connections import open_mongodb

NOW = datetime(2026, 11, 22, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
EVERYTHING = "d:*|*|*|2026"
ROUND = Round(Month(2026, 1), Kind.HELP, "350102", "0201", "roads", is_first=True)


class Province:
    """A store in which complaints are counted, and processes that follow it, on one machine."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]], home: Path) -> None:
        self.store = StatisticsStore(database)
        self.home = home
        self.now = NOW

    async def count(self, number: str, *rounds: Round, before: tuple[Round, ...] = ()) -> None:
        batch = await self.store.begin(await self.store.batch(), [Entry(number, before, rounds)])
        assert batch is not None
        await self.store.apply(batch)
        await self.store.finish(batch)

    async def start(self) -> ComplaintSums:
        process = ComplaintSums(self.store, self.home, poll=MINUTE, clock=lambda: self.now)
        await process.open()
        return process


def received(process: ComplaintSums, key: str = EVERYTHING) -> int:
    return int(process.year(key)[0])


@pytest.fixture
def province(mongodb_uri: str, database_name: str, tmp_path: Path) -> Callable[..., None]:
    def run(work: Callable[[Province], Awaitable[None]]) -> None:
        async def main() -> None:
            async with open_mongodb(mongodb_uri, 30_000) as mongodb:
                province = Province(mongodb[database_name], tmp_path / "sums")
                await province.store.ensure_indexes()
                await work(province)

        asyncio.run(main())

    return run


def test_a_process_follows_what_is_counted(province: Callable[..., None]) -> None:
    async def work(province: Province) -> None:
        process = await province.start()
        with pytest.raises(ReferenceUnavailableError):
            _ = process.as_of
        with pytest.raises(ReferenceUnavailableError):
            process.year(EVERYTHING)
        assert await process.refresh() == 0
        assert (received(process), process.as_of) == (0, NOW)
        await province.count("1", ROUND)
        assert received(process) == 0
        province.now += MINUTE
        assert await process.refresh() == 30
        assert await process.refresh() == 0
        assert (received(process), process.as_of) == (1, NOW + MINUTE)
        moved = replace(ROUND, division_code="350200", unit=None)
        await province.count("1", moved, before=(ROUND,))
        await process.refresh()
        keys = ("d:350102|*|*|2026", "d:350200|0201|HELP|2026", "u:roads|02|*|2026", EVERYTHING)
        assert [received(process, key) for key in keys] == [0, 1, 0, 1]

    province(work)


def test_a_start_needs_no_store_and_processes_share_a_file(province: Callable[..., None]) -> None:
    async def work(province: Province) -> None:
        await province.count("1", ROUND)
        first = await province.start()
        await first.refresh()
        (file,) = province.home.iterdir()
        written = file.stat().st_ino
        await province.count("2", ROUND)
        province.now += MINUTE
        second = await province.start()
        assert (received(second), second.as_of) == (1, NOW), "from the file alone"
        await second.refresh()
        assert (received(second), second.as_of) == (2, NOW + MINUTE)
        assert file.stat().st_ino == written
        await province.count("3", ROUND)
        province.now += 10 * MINUTE
        await first.refresh()
        assert file.stat().st_ino != written, "ten minutes are over"
        await second.refresh()
        await province.count("4", ROUND)
        await second.refresh()
        third = await province.start()
        assert [received(each) for each in (first, second, third)] == [3, 4, 3]

    province(work)


def test_sums_that_were_counted_anew_are_taken_whole(province: Callable[..., None]) -> None:
    async def work(province: Province) -> None:
        await province.count("1", ROUND)
        process, other = await province.start(), await province.start()
        await process.refresh()
        await other.refresh()
        assert await province.store.begin_rebuild(await province.store.batch())
        await province.count("1", replace(ROUND, month=Month(2025, 1)))
        await process.refresh()
        assert (received(process), received(process, "d:*|*|*|2025")) == (1, 0)
        await province.store.finish_rebuild(await province.store.batch())
        for each in (process, other, await province.start()):
            await each.refresh()
            assert (received(each), received(each, "d:*|*|*|2025")) == (0, 1)

    province(work)


def test_a_store_that_was_put_back_is_read_whole(province: Callable[..., None]) -> None:
    async def work(province: Province) -> None:
        await province.count("1", ROUND)
        await province.count("2", ROUND)
        process = await province.start()
        await process.refresh()
        for name in ("complaint_sums", "complaint_folding", "complaint_ledger"):
            await province.store._sums.database[name].drop()
        await province.count("1", ROUND)
        await process.refresh()
        assert received(process) == 1

    province(work)


_counts = st.dictionaries(st.integers(0, 12 * 256 - 1), st.sampled_from([0, 1, 255, 256, 1 << 16, 1 << 40]))


@given(_counts, _counts)
def test_packed_counts_are_what_they_were(first: dict[int, int], more: dict[int, int]) -> None:
    packed = pack(first)
    assert unpack(packed) == {slot: count for slot, count in first.items() if count}
    both = {slot: first.get(slot, 0) + more.get(slot, 0) for slot in first.keys() | more.keys()}
    assert unpack(add(packed, more)) == unpack(pack(both))
    assert add(packed, {slot: -count for slot, count in first.items()}) == b""


def test_nothing_is_counted_below_nothing() -> None:
    with pytest.raises(OverflowError):
        add(pack({3: 1}), {3: -2})
