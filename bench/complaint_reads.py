"""Reads of complaints as their number grows: public search, the map, a year's statistics.

    python -m bench.complaint_reads [--sizes 10000 1000000] [--calls N] [--parts public statistics]

Public complaints and sums are generated straight into the stores of one embedded engine, at 1,045 complaints
a day as a province has them; the process then follows the store as an API process does. A smaller store is
measured twice: as it is after the few days in which it fills at that rate, where most answers are short or
empty, and as it is where it has taken as many days as the largest to fill, which tells number from age.
Rounds are always of one year. Every probe is asked the same number of times in each store, with other
arguments each time. 99th percentiles may grow three times.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from pymongo.asynchronous.database import AsyncDatabase
from rich.console import Console
from rich.table import Table

from domain.complaint_publication import PublicComplaint, PublicState
from domain.complaint_statistics import Deltas, Month, Round, add_round
from domain.complaints import Kind, Outcome, Point
from feeds.demo.units import demo_units
from loaders.complaint_classes import shipped_classes
from loaders.complaint_statistics import By, ComplaintStatistics, Question
from loaders.complaint_sums import ComplaintSums
from loaders.public_complaint_shelves import PublicFilter
from loaders.public_complaints import MapFilter, PublicComplaints
from loaders.units import Units
from store.complaint_statistics import StatisticsStore
from store.connections import open_mongodb
from store.engines import EmbeddedEngines, HealthPolicy
from store.public_complaints import PublicComplaintStore
from store.units import UnitStore

T = TypeVar("T")
SEED = 20261122
SIZES = (10_000, 1_000_000)
PARTS = ("public", "statistics")
A_DAY = 1_045
END = datetime(2026, 11, 22, tzinfo=UTC)
BATCH = 1_000
# fmt: off
WORDS = (
    "噪音", "垃圾", "停车", "路灯", "水管", "爆裂", "夜间", "施工", "扰民", "小区",
    "物业", "电梯", "故障", "道路", "破损", "井盖", "缺失", "公交", "餐饮", "油烟",
    "污水", "异味", "占道", "经营", "广场舞", "充电桩", "学校", "门口", "拥堵", "医院",
    "排队", "社保", "查询", "退休金", "补贴", "未到账", "欠薪", "工地", "燃气", "停电",
    "网络", "信号", "树木", "倒伏", "流浪狗", "宠物", "垃圾桶", "消防",
)
# fmt: on
PLACES = ("东街口", "五一路", "鼓山", "仓山", "台江", "晋安", "马尾", "长乐", "福清", "闽侯", "上街", "金山")
COMMON = "希望"
"""A word that is in every text."""
FUJIAN = (Point(115.8, 23.5), Point(120.7, 28.3))


class Province:
    """Where complaints come from: counties with a centre each, their units and classes."""

    def __init__(self) -> None:
        self.classes = [each.code for each in shipped_classes().all if each.parent_code is not None][::3]
        self.units = demo_units(shipped_classes())
        codes = {unit.division_code for unit in self.units.all if len(unit.division_code) == 6}
        self.counties = sorted(code for code in codes if not code.endswith("00"))
        self.cities = sorted(code for code in codes if code.endswith("00") and not code.endswith("0000"))
        dice = random.Random(SEED)
        self.places = [(dice.uniform(116.5, 119.8), dice.uniform(24.3, 27.5)) for _ in self.counties]
        self.of_county = {code: [u.id for u in self.units.select(code)][:4] for code in self.counties}

    def complaint(self, number: int, a_day: float, dice: random.Random) -> PublicComplaint:
        """Make a public complaint, one of so many a day; the higher the number, the longer ago."""
        at = END - timedelta(days=number / a_day)
        county = dice.randrange(len(self.counties))
        x, y = self.places[county]
        return PublicComplaint(
            id=f"{number * 2654435761 % (1 << 32):08x}{number:08d}",
            version=5,
            published_at=at,
            submitted_on=at.date() - timedelta(days=1),
            text=f"{dice.choice(PLACES)}{dice.choice(PLACES)}附近{''.join(dice.choices(WORDS, k=14))}，"
            f"{COMMON}尽快处理。案{number:07d}",
            kind=dice.choice(list(Kind)),
            state=dice.choice(list(PublicState)),
            division_code=self.counties[county],
            class_code=dice.choice(self.classes),
            unit=dice.choice(self.of_county[self.counties[county]]),
            point=Point(round(dice.gauss(x, 0.05), 3), round(dice.gauss(y, 0.05), 3)),
            answer="您反映的问题已处理，感谢支持。",
            outcome=Outcome.FULL,
            answered_on=at.date(),
            working_days=dice.randrange(10),
            is_in_time=True,
        )

    def round(self, dice: random.Random) -> Round:
        """Make a round of 2026."""
        county = dice.choice(self.counties)
        return Round(
            month=Month(2026, dice.randint(1, 12)),
            kind=dice.choice(list(Kind)),
            division_code=county,
            class_code=dice.choice(self.classes),
            unit=dice.choice(self.of_county[county]),
            is_first=True,
            is_answered=dice.random() < 0.9,
            is_in_time=dice.random() < 0.9,
            is_rated=dice.random() < 0.5,
            is_satisfied=dice.random() < 0.5,
            minutes=int(dice.lognormvariate(6.5, 1)),
        )


@dataclass
class World:
    """What the probes ask: `size` complaints, so many `a_day`."""

    province: Province
    public: PublicComplaints
    figures: ComplaintStatistics
    size: int
    a_day: float
    ids: list[str] = field(default_factory=list)
    now: datetime = END


Probe = Callable[[World, random.Random], Awaitable[object]]


def searching(text: Callable[[World, random.Random], str], wanted: PublicFilter | None = None) -> Probe:
    async def probe(world: World, dice: random.Random) -> object:
        return world.public.search(text(world, dice), wanted or PublicFilter(), 20)

    return probe


async def search_in_division(world: World, dice: random.Random) -> object:
    province = world.province
    wanted = PublicFilter(
        division_code=dice.choice(province.counties), class_code=dice.choice(province.classes)
    )
    return world.public.search(dice.choice(WORDS), wanted, 20)


async def turn_pages(world: World, dice: random.Random) -> object:
    at = END - timedelta(days=dice.uniform(0, world.size / world.a_day))
    return world.public.search(dice.choice(WORDS), PublicFilter(), 20, int(at.timestamp() * 1000) << 20)


async def look_at_one(world: World, dice: random.Random) -> object:
    found = await world.public.find(dice.choice(world.ids))
    assert found is not None
    return found


def mapping(zoom: int, side: float) -> Probe:
    async def probe(world: World, dice: random.Random) -> object:
        x, y = dice.choice(world.province.places)
        kind = dice.choice([None, *Kind])
        corners = (Point(x - side, y - side), Point(x + side, y + side)) if side else FUJIAN
        return world.public.clusters(*corners, zoom, MapFilter(kind=kind))

    return probe


def counting(by: By) -> Probe:
    async def probe(world: World, dice: random.Random) -> object:
        province = world.province
        code = dice.choice(province.counties if by is By.UNIT else [None, *province.cities])
        question = Question(Month(2026, 1), Month(2026, 12), division_code=code)
        below = [each for each in province.counties if code is None or each[:4] == code[:4]]
        children = province.cities if code is None else below
        answer = world.figures.answer(question, by, lambda _: children)
        return [(row.figures.median_hours, row.series) for row in (answer.total, *answer.rows)]

    return probe


async def search_as_people_do(world: World, dice: random.Random) -> object:
    """Any of the searches below, each as often as the others."""
    return await PROBES[dice.choice([name for name in PROBES if name.startswith("search: ")])](world, dice)


PROBES: dict[str, Probe] = {
    "public search, all below mixed": search_as_people_do,
    "search: no text": searching(lambda world, dice: ""),
    "search: a word in every text": searching(lambda world, dice: COMMON),
    "search: a common word": searching(lambda world, dice: dice.choice(WORDS)),
    "search: two words": searching(lambda world, dice: " ".join(dice.sample(WORDS, 2))),
    "search: a word of one text": searching(lambda world, dice: f"案{dice.randrange(world.size):07d}"),
    "search: no such word": searching(lambda world, dice: "魑魅魍魉"),
    "search: a word, kind and state": searching(
        lambda world, dice: dice.choice(WORDS), PublicFilter(kind=Kind.HELP, state=PublicState.CLOSED)
    ),
    "search: a word in a county, of a class": search_in_division,
    "search: a page far down": turn_pages,
    "one public complaint": look_at_one,
    "map: the province": mapping(6, 0),
    "map: a city": mapping(10, 0.4),
    "map: a district": mapping(13, 0.1),
    "a year by month": counting(By.MONTH),
    "a year by kind": counting(By.KIND),
    "a year by class": counting(By.CLASS),
    "a year by division": counting(By.DIVISION),
    "a year by unit of a county": counting(By.UNIT),
}
"""What is measured, by name."""


async def fill(world: World, parts: list[str], console: Console) -> None:
    """Bring complaints and sums in."""
    begun = time.perf_counter()
    said = [title(world.size, world.a_day)]
    if "public" in parts:
        await publish(world)
        held = sum(part.nbytes for part in world.public.grid.parts.values()) / 1e6
        said.append(f"loaded and followed in {time.perf_counter() - begun:.0f} s, the map has {held:.0f} MB")
    if "statistics" in parts:
        deltas: Deltas = {}
        for each in rounds(world.province, world.size):
            add_round(deltas, each)
        await world.figures.sums.store.replace_all(deltas)
        begun_reading = time.perf_counter()
        count = await world.figures.sums.refresh()
        took = time.perf_counter() - begun_reading
        said.append(f"{count:,} sums, {world.figures.sums.held / 1e6:.0f} MB, read in {took:.1f} s")
    console.print("; ".join(said))


def title(size: int, a_day: float) -> str:
    """Name a store."""
    return f"{size:,} / {size / a_day:.0f} d"


async def publish(world: World) -> None:
    """Load public complaints into the store and let the process follow."""
    for first in range(0, world.size, BATCH):
        dice = random.Random(SEED + first)
        numbers = range(first, min(first + BATCH, world.size))
        made = [world.province.complaint(number, world.a_day, dice) for number in numbers]
        world.ids += [each.id for each in made[::50]]
        world.now += timedelta(hours=1)  # followers read the changes of a span of time
        await world.public.store.load(made, now=world.now)
    world.now += timedelta(hours=1)
    count = await world.public.refresh()
    assert count == world.size, (count, world.size)


def rounds(province: Province, count: int) -> Iterator[Round]:
    dice = random.Random(SEED)
    return (province.round(dice) for _ in range(count))


async def measure(
    world: T, probes: Mapping[str, Callable[[T, random.Random], Awaitable[object]]], calls: int
) -> dict[str, tuple[float, float]]:
    """Ask every probe; give the median and the 99th percentile in milliseconds.

    The best of three counts for the same arguments, so that what else the machine does stays outside.
    """
    found = {}
    gc.collect()
    gc.freeze()  # as an API process does
    for name, probe in probes.items():
        dice = random.Random(SEED)
        for _ in range(10):
            await probe(world, dice)
        times = []
        for _ in range(calls):
            state, best = dice.getstate(), float("inf")
            for _ in range(3):
                dice.setstate(state)
                begun = time.perf_counter()
                await probe(world, dice)
                best = min(best, time.perf_counter() - begun)
            times.append(best * 1_000)
        found[name] = (statistics.median(times), statistics.quantiles(times, n=100)[98])
    return found


def stores_of(sizes: Iterable[int]) -> list[tuple[int, float]]:
    """List the stores to measure: how many complaints, and how many a day; the largest comes last."""
    *smaller, largest = sorted(sizes)
    aged = [(size, A_DAY * size / largest) for size in smaller]
    return [*((size, float(A_DAY)) for size in smaller), *aged, (largest, float(A_DAY))]


async def run(sizes: list[int], calls: int, parts: list[str]) -> None:
    console = Console(width=150)
    names = [name for name in PROBES if ("statistics" if name.startswith("a year") else "public") in parts]
    results: dict[str, dict[str, tuple[float, float]]] = {}
    policy = HealthPolicy(timeout_s=60, failures=5)
    with tempfile.TemporaryDirectory(prefix="mintong-bench-") as folder:
        home = Path(folder)
        async with (
            EmbeddedEngines(home / "engines", redis=False, policy=policy) as engines,
            open_mongodb(engines.mongodb_uri, 60_000, answer_timeout_ms=300_000) as mongodb,
        ):
            for number, (size, a_day) in enumerate(stores_of(sizes)):
                world = await make_world(mongodb[f"bench{number}"], home / str(number), size, a_day)
                await fill(world, parts, console)
                found = await measure(world, {name: PROBES[name] for name in names}, calls)
                results[title(size, a_day)] = found
                world.public.close()
    show(results, console, names)


async def make_world(database: AsyncDatabase[dict[str, Any]], home: Path, size: int, a_day: float) -> World:
    """Open what a process has open; nothing is in it yet."""
    units = Units(UnitStore(database))
    await units.store.replace_units(demo_units(shipped_classes()), expected=0, now=END)
    for each in units.followed:
        await each.refresh(1)
    store, statistics_store = PublicComplaintStore(database), StatisticsStore(database)
    await store.ensure_indexes()
    await statistics_store.ensure_indexes()
    poll = timedelta(seconds=5)
    public = PublicComplaints(store, home / "public", poll=poll, clock=lambda: world.now)
    sums = ComplaintSums(statistics_store, home / "sums", poll=poll)
    world = World(Province(), public, ComplaintStatistics(sums, units), size, a_day)
    await public.open()
    await sums.open()
    return world


def show(results: dict[str, dict[str, tuple[float, float]]], console: Console, probes: Iterable[str]) -> None:
    """Print the table of probes by store, and how many times the last one's p99 is that of each other."""
    *smaller, largest = results
    table = Table(
        "milliseconds",
        *(f"{store}\n{name}" for store in results for name in ("p50", "p99")),
        *(f"p99 × of\n{store}" for store in smaller),
    )
    for name in probes:
        shown = [f"{value:.2f}" for store in results for value in results[store][name]]
        ratios = [results[largest][name][1] / results[store][name][1] for store in smaller]
        table.add_row(name, *shown, *(f"{ratio:.1f}{'' if ratio <= 3 else ' !'}" for ratio in ratios))
    console.print(table)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--calls", type=int, default=400)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    arguments = parser.parse_args()
    asyncio.run(run(arguments.sizes, arguments.calls, arguments.parts))


if __name__ == "__main__":
    main()
