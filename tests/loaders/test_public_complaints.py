"""Public complaints as a process serves them: files that follow the store, shared, started anew."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from pymongo.asynchronous.database import AsyncDatabase

from domain.complaint_publication import PublicComplaint, PublicState
from domain.complaints import Kind, Point
from loaders.catalogue_search import InvalidPageSizeError, TextTooLongError
from loaders.public_complaint_shelves import PublicFilter
from loaders.public_complaints import InvalidBoundsError, MapFilter, PublicComplaints
from store.connections import open_mongodb
from store.public_complaints import PublicComplaintStore

NOW = datetime(2026, 3, 20, 2, tzinfo=UTC)
DAY = timedelta(days=1)
FUJIAN = (Point(115, 23), Point(121, 29))
TEXTS = ("鼓楼区东街口路灯不亮", "夜间施工噪音扰民", "小区门口停车难", "WiFi 信号差", "路灯坏了三天")


def complaint(number: int, **changes: Any) -> PublicComplaint:
    """Make the complaint of a number: published so many days before `NOW`, every other text and kind."""
    made = PublicComplaint(
        id=f"complaint{number:07}",
        version=2,
        published_at=NOW - number * DAY,
        submitted_on=(NOW - number * DAY).date() - DAY,
        text=TEXTS[number % len(TEXTS)],
        kind=list(Kind)[number % 4],
        state=PublicState.RECEIVED,
        division_code="350102001" if number % 2 else "350200",
        class_code="0201" if number % 3 else None,
        point=Point(119.296, 26.087),
    )
    return replace(made, **changes)


class Library:
    """A store and processes that follow it, on one machine."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]], home: Path) -> None:
        self.store = PublicComplaintStore(database)
        self.home = home
        self.now = NOW + DAY
        self.processes: list[PublicComplaints] = []

    async def start(self) -> PublicComplaints:
        process = PublicComplaints(self.store, self.home, poll=timedelta(seconds=1), clock=lambda: self.now)
        self.processes.append(process)
        await process.open()
        await process.refresh()
        return process


@pytest.fixture
def library(mongodb_uri: str, database_name: str, tmp_path: Path) -> Callable[..., None]:
    def run(work: Callable[[Library], Awaitable[None]]) -> None:
        async def main() -> None:
            async with open_mongodb(mongodb_uri, 30_000) as mongodb:
                library = Library(mongodb[database_name], tmp_path / "public")
                await library.store.ensure_indexes()
                try:
                    await work(library)
                finally:
                    for process in library.processes:
                        process.close()

        asyncio.run(main())

    return run


def found(process: PublicComplaints, text: str = "", wanted: PublicFilter | None = None) -> list[int]:
    hits = process.search(text, wanted or PublicFilter(), 100)
    assert not hits.has_next
    return [int(each.id.removeprefix("complaint")) for _, each in hits.complaints]


def test_search_finds_what_is_there_newest_first(library: Callable[..., None]) -> None:
    async def work(library: Library) -> None:
        await library.store.load([complaint(number) for number in range(60)], now=NOW)
        process = await library.start()
        everything = list(range(60))
        assert found(process) == everything
        assert found(process, "路灯") == [n for n in everything if n % 5 in (0, 4)]
        assert found(process, "灯") == [n for n in everything if n % 5 in (0, 4)]
        assert found(process, " 路灯　东街口 ") == list(range(0, 60, 5))
        assert found(process, "东街口路灯不亮") == list(range(0, 60, 5))
        assert found(process, "wifi信号") == list(range(3, 60, 5))
        assert found(process, "路灯噪音") == []
        by = {
            PublicFilter(division_code="350100"): lambda n: n % 2 == 1,
            PublicFilter(division_code="350102001"): lambda n: n % 2 == 1,
            PublicFilter(division_code="350000"): lambda n: True,
            PublicFilter(class_code="02"): lambda n: n % 3 != 0,
            PublicFilter(class_code="0201", kind=Kind.HELP): lambda n: n % 3 != 0 and n % 4 == 3,
            PublicFilter(state=PublicState.CLOSED): lambda n: False,
            PublicFilter(first_day=date(2026, 3, 1)): lambda n: n <= 18,
            PublicFilter(last_day=date(2026, 3, 1)): lambda n: n >= 18,
            PublicFilter(first_day=date(2026, 2, 1), last_day=date(2026, 2, 3)): lambda n: 44 <= n <= 46,
        }
        for wanted, holds in by.items():
            assert found(process, "", wanted) == list(filter(holds, everything)), wanted

    library(work)


def test_words_of_letters_and_digits_are_found_by_any_part(library: Callable[..., None]) -> None:
    async def work(library: Library) -> None:
        texts = ["工单20260311778 未回复", "工单20260311787 未回复", "路由器ABC-1234x", "123 4567"]
        await library.store.load([complaint(n, text=text) for n, text in enumerate(texts)], now=NOW)
        process = await library.start()
        expected = {
            "20260311778": [0],
            "单20260311787": [1],
            "0311": [0, 1],
            "31177": [0],
            "311778": [0],
            "1234X": [2],
            "34567": [3],
            "20260311877": [],
            "12345": [3],
        }
        assert {text: found(process, text) for text in expected} == expected

    library(work)


def test_pages_go_on_over_weeks_and_years_and_gaps(library: Callable[..., None]) -> None:
    async def work(library: Library) -> None:
        ages = [0, 3, 9, 14, 78, 79, 80, 85, 92, 93, 400, 401, 800, 801, 1_500]
        times = [NOW - age * DAY for age in ages]
        made = [
            complaint(n, published_at=at, submitted_on=(at - DAY).date(), text="路灯")
            for n, at in enumerate(times)
        ]
        await library.store.load(made, now=NOW)
        process = await library.start()
        everything = list(range(len(ages)))
        for first in (1, 2, 3, 7, 20):
            seen: list[int] = []
            before: int | None = None
            is_more = True
            while is_more:
                hits = process.search("路灯", PublicFilter(division_code="350000"), first, before)
                seen += [int(each.id.removeprefix("complaint")) for _, each in hits.complaints]
                before, is_more = hits.complaints[-1][0], hits.has_next
            assert seen == everything
        assert found(process, "", PublicFilter(first_day=date(2025, 1, 1))) == everything[:12]
        await library.store.remove(made[0].id, 3, made[0].published_at, now=NOW + DAY)
        await process.refresh()
        assert found(process) == everything[1:]

    library(work)


def test_pages_follow_one_another_without_gap_or_repetition(library: Callable[..., None]) -> None:
    async def work(library: Library) -> None:
        same_instant = [complaint(n, published_at=NOW) for n in range(25)]
        await library.store.load([*same_instant, *(complaint(n) for n in range(25, 70))], now=NOW)
        process = await library.start()
        seen: list[str] = []
        before: int | None = None
        while True:
            hits = process.search("", PublicFilter(), 7, before)
            assert len(hits.complaints) == 7 or not hits.has_next
            seen += [each.id for _, each in hits.complaints]
            if not hits.has_next:
                break
            before = hits.complaints[-1][0]
        assert len(seen) == len(set(seen)) == 70
        assert sorted(seen[:25]) == [complaint(n).id for n in range(25)]
        assert seen[25:] == [complaint(n).id for n in range(25, 70)]
        for first, error in ((0, InvalidPageSizeError), (101, InvalidPageSizeError)):
            with pytest.raises(error):
                process.search("", PublicFilter(), first)
        with pytest.raises(TextTooLongError):
            process.search("长" * 301, PublicFilter(), 1)

    library(work)


def test_changes_reach_the_search_and_the_map_and_what_is_gone_is_gone(library: Callable[..., None]) -> None:
    async def work(library: Library) -> None:
        await library.store.load([complaint(number) for number in range(10)], now=NOW)
        process = await library.start()
        assert [cell.count for cell in process.clusters(*FUJIAN, 5, MapFilter())] == [10]
        closed = complaint(3, version=3, state=PublicState.CLOSED, answer="信号已增强", text="基站")
        await library.store.put(closed, now=NOW + DAY)
        await library.store.remove(complaint(5).id, 3, complaint(5).published_at, now=NOW + DAY)
        library.now = NOW + DAY
        assert await process.refresh() == 2
        assert await process.refresh() == 0
        assert found(process) == [0, 1, 2, 3, 4, 6, 7, 8, 9]
        assert found(process, "增强") == [3]
        assert found(process, "wifi") == [8]
        assert found(process, "", PublicFilter(state=PublicState.CLOSED)) == [3]
        assert process.search("增强", PublicFilter(), 1).complaints[0][1] == closed
        assert [cell.count for cell in process.clusters(*FUJIAN, 5, MapFilter())] == [9]
        assert [cell.count for cell in process.clusters(*FUJIAN, 5, MapFilter(is_open=True))] == [8]
        assert [cell.count for cell in process.clusters(*FUJIAN, 5, MapFilter(kind=Kind.HELP))] == [2]
        assert await process.find(complaint(5).id) is None
        assert await process.find(closed.id) == closed

    library(work)


def test_processes_share_files_and_another_one_writes_on(library: Callable[..., None]) -> None:
    async def work(library: Library) -> None:
        await library.store.load([complaint(number) for number in range(5)], now=NOW)
        first = await library.start()
        second = await library.start()
        assert found(first) == found(second) == [0, 1, 2, 3, 4]
        await library.store.put(complaint(7), now=NOW + DAY)
        assert await second.refresh() == 1
        assert found(second) == [0, 1, 2, 3, 4], "only the other one writes"
        assert second.located == 6
        await first.refresh()
        await second.refresh()
        assert found(second) == [0, 1, 2, 3, 4, 7]
        await library.store.put(complaint(8), now=NOW + DAY)
        assert await second.refresh() == 1
        first.close()
        await second.refresh()
        assert found(second) == [0, 1, 2, 3, 4, 7, 8], "what it had read without writing it"
        third = await library.start()
        assert (found(third), third.located) == ([0, 1, 2, 3, 4, 7, 8], 7)

    library(work)


def test_a_start_needs_no_store(library: Callable[..., None]) -> None:
    async def work(library: Library) -> None:
        await library.store.load([complaint(number) for number in range(5)], now=NOW)
        (await library.start()).close()
        alone = PublicComplaints(library.store, library.home, poll=timedelta(seconds=1))
        library.processes.append(alone)
        await alone.open()
        assert (found(alone), alone.located) == ([0, 1, 2, 3, 4], 5)

    library(work)


def test_the_map_shows_what_lies_in_its_bounds(library: Callable[..., None]) -> None:
    async def work(library: Library) -> None:
        await library.store.load([complaint(1)], now=NOW)
        process = await library.start()
        near = (Point(119.25, 26.05), Point(119.35, 26.15))
        (cell,) = process.clusters(*near, 18, MapFilter(group="02"))
        assert (cell.point, cell.side, cell.count) == (Point(119.297, 26.087), 0.002, 1)
        with pytest.raises(InvalidBoundsError):
            process.clusters(*FUJIAN[::-1], 5, MapFilter())

    library(work)
