"""Each change of a complaint is counted exactly once, however often and wherever counting is broken off."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from complaints_world import CITIZEN, CLERK, COUNTY, DAY, MATTER, NOW, SEAT, ComplaintWorlds, World
from msgspec.structs import replace

from domain import complaints as c
from domain.complaint_statistics import SLOTS, Deltas, deltas_of, merge_deltas, rounds_of
from domain.complaints import Kind
from domain.units import Outcome
from operations.complaint_statistics import Counting, count_marked, rebuild
from operations.complaint_steps import accept, advance
from store.complaint_statistics import Entry, StatisticsStore
from store.complaint_sums import unpack
from store.complaints import Complaint

HOUR = timedelta(hours=1)
ROOT = Path(__file__).parents[2]


@pytest.fixture
def worlds(mongodb_uri: str, database_name: str, tmp_path: Path) -> ComplaintWorlds:
    return ComplaintWorlds(mongodb_uri, database_name, tmp_path)


def counting_of(world: World) -> Counting:
    own = world.complaints
    return Counting(StatisticsStore(world.database), own.store, own.numbers, own.calendar)


async def mark(counting: Counting, complaint: Complaint) -> None:
    async def texts() -> dict[int, dict[str, str]]:
        return {}

    await counting(complaint, texts, now=complaint.standing.changed_at)


async def live(world: World, counting: Counting, number: str, dice: random.Random) -> None:
    """Take a complaint some way along its course, marking every step."""
    own, at = world.complaints, NOW + HOUR
    await mark(counting, await world.get(number))
    ways = [
        lambda: accept(own, SEAT, number, dice.choice(list(Kind)), dice.choice(["0201", "0301"]), now=at),
        lambda: advance(own, SEAT, number, c.Dispatch("water-gulou"), now=at),
        lambda: advance(own, CLERK, number, c.TakeUp(), now=at),
        lambda: advance(own, CLERK, number, c.Answer(outcome=c.Outcome.FULL, text="好"), now=at + DAY),
        lambda: advance(own, SEAT, number, c.PassCheck(), now=at + DAY + HOUR),
        lambda: advance(own, CITIZEN, number, c.Rate(speed=3, attitude=3, result=4), now=at + 2 * DAY),
    ]
    for step in ways[: dice.randint(0, len(ways))]:
        await mark(counting, await step())


async def from_scratch(world: World, numbers: list[str]) -> Deltas:
    total: Deltas = {}
    for complaint in await world.complaints.store.list_whole(numbers):
        merge_deltas(total, deltas_of((), rounds_of(complaint.events, world.complaints.calendar)))
    return without_nothing(total)


async def counted(world: World, store: StatisticsStore) -> Deltas:
    serving = (await store.batch()).serving
    return without_nothing({key: unpack(sums) async for key, sums in store.list_sums(serving, -1)})


def without_nothing(deltas: Deltas) -> Deltas:
    found = {key: {slot: n for slot, n in slots.items() if n} for key, slots in deltas.items()}
    return {key: slots for key, slots in found.items() if slots}


async def count_all(counting: Counting) -> None:
    while await count_marked(counting):
        continue


def test_sums_follow_complaints_step_by_step(worlds: ComplaintWorlds) -> None:
    async def work(world: World) -> None:
        counting = counting_of(world)
        first = await world.submit(matter=replace(MATTER, class_code="0201"))
        await mark(counting, first)
        assert await count_marked(counting) == 1
        assert await count_marked(counting) == 0
        read = await counted(world, counting.store)
        assert read[f"d:{COUNTY}|*|*|2026"] == read[f"d:{COUNTY}|0201|COMPLAINT|2026"] == {2 * SLOTS: 1}
        assert "d:110000|*|*|2026" not in read
        number = first.number
        await mark(counting, await accept(world.complaints, SEAT, number, Kind.HELP, "0301", now=NOW + HOUR))
        await count_all(counting)
        dispatched = await advance(world.complaints, SEAT, number, c.Dispatch("water-gulou"), now=NOW + HOUR)
        await mark(counting, dispatched)
        await mark(counting, dispatched)
        assert await count_marked(counting) == 1
        await mark(
            counting, await advance(world.complaints, CLERK, number, c.Return("不归我们"), now=NOW + HOUR)
        )
        await count_all(counting)
        assert await counted(world, counting.store) == await from_scratch(world, [number])
        outcomes = await counting.store.outcomes("0301", COUNTY)
        assert outcomes == {"water-gulou": Outcome(answered=0, returned=1)}
        assert await world.database["complaint_marks"].count_documents({}) == 0

    worlds.run(work)


def test_many_count_at_once_and_begin_anew_in_between(worlds: ComplaintWorlds) -> None:
    async def work(world: World) -> None:
        dice = random.Random(7)
        countings = [counting_of(world) for _ in range(4)]
        numbers = [(await world.submit()).number for _ in range(24)]

        async def count() -> None:
            for _ in range(60):
                await count_marked(dice.choice(countings))
                await asyncio.sleep(0)

        async def work_through(some: list[str]) -> None:
            for number in some:
                await live(world, countings[0], number, dice)

        await asyncio.gather(
            work_through(numbers[:12]), work_through(numbers[12:]), *(count() for _ in countings)
        )
        await rebuild(countings[1])
        await asyncio.gather(*map(count_all, countings))
        await count_all(countings[0])
        assert await counted(world, countings[0].store) == await from_scratch(world, numbers)
        batch = await countings[0].store.batch()
        assert (batch.serving, batch.generation, batch.is_done) == (2, 2, True)
        generations = await world.database["complaint_sums"].distinct("generation")
        assert generations == [2]

    worlds.run(work)


def test_sums_of_an_earlier_form_are_counted_anew(worlds: ComplaintWorlds) -> None:
    async def work(world: World) -> None:
        counting = counting_of(world)
        number = (await world.submit()).number
        key = f"1|d:{COUNTY}|*|*|2026"
        earlier = {"_id": key, "generation": 1, "batch": 0, "sums": {"03": {"received": 1}}}
        await world.database["complaint_sums"].insert_one(earlier)
        await mark(counting, await world.get(number))
        await count_all(counting)
        assert await world.database["complaint_sums"].find_one({"_id": key}) == earlier
        await rebuild(counting)
        assert await counted(world, counting.store) == await from_scratch(world, [number])
        assert await world.database["complaint_sums"].find_one({"_id": key}) is None

    worlds.run(work)


def test_a_batch_counts_once_however_late_it_is_applied_again(worlds: ComplaintWorlds) -> None:
    async def work(world: World) -> None:
        counting = counting_of(world)
        store = counting.store
        numbers = [(await world.submit()).number for _ in range(3)]
        batches = []
        for complaint in await world.complaints.store.list_whole(numbers):
            entry = Entry(complaint.number, (), rounds_of(complaint.events, counting.calendar))
            batch = await store.begin(await store.batch(), [entry])
            assert batch is not None
            assert await store.begin(await store.batch(), [entry]) is None
            await asyncio.gather(*(store.apply(batch) for _ in range(5)))
            await store.finish(batch)
            batches.append(batch)
        for batch in batches:
            await store.apply(batch)
            await store.finish(batch)
        assert await counted(world, store) == await from_scratch(world, numbers)
        assert (await store.batch()).number == 3

    worlds.run(work)


def test_workers_that_are_killed_count_nothing_twice_and_lose_nothing(
    worlds: ComplaintWorlds, mongodb_uri: str, database_name: str, tmp_path: Path
) -> None:
    async def start() -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(ROOT / "tests/operations/counting_worker.py"),
            mongodb_uri,
            database_name,
            str(tmp_path),
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        return process

    async def work(world: World) -> None:
        dice = random.Random(3)
        counting = counting_of(world)
        numbers = [(await world.submit()).number for _ in range(30)]
        for number in numbers:
            await live(world, counting, number, dice)
        broken_off = 0
        for _ in range(6):
            workers = await asyncio.gather(start(), start())
            again = [asyncio.create_task(live_on(world, counting, number)) for number in numbers[::5]]
            await asyncio.sleep(dice.uniform(0.005, 0.06))
            for worker in workers:
                worker.kill()
                await worker.wait()
            await asyncio.gather(*again)
            broken_off += not (await counting.store.batch()).is_done
        await count_all(counting)
        assert await counted(world, counting.store) == await from_scratch(world, numbers)
        assert broken_off > 0

    worlds.run(work)


async def live_on(world: World, counting: Counting, number: str) -> None:
    """Mark a complaint once more after a step that changes its figures, where it can be taken."""
    try:
        kind = random.choice(list(Kind))
        complaint = await accept(world.complaints, SEAT, number, kind, "0501", now=NOW + 3 * HOUR)
    except (c.ComplaintStepNotAllowedError, c.ComplaintChangedError):
        complaint = await world.get(number)
    await mark(counting, complaint)
