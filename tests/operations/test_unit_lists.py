"""Units and classes on the real engines: replaced as a whole, followed by readers, counted outcomes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace
from redis.asyncio import Redis

from domain.complaint_classes import ClassList, ComplaintClass, UnknownClassError
from domain.complaint_statistics import Deltas, Month, Round, add_round
from domain.complaints import Kind
from domain.tables import InvalidTableError
from domain.units import Outcome, SuggestedFor, Unit, UnitKind, UnitTree
from feeds.demo.units import demo_units
from feeds.units_import import read_classes_file, read_units_file, write_classes_file, write_units_file
from loaders.complaint_classes import shipped_classes
from loaders.reference import Follower, ReferenceUnavailableError
from loaders.units import Units
from operations.units import UnitsReplaced, UnitsShrunkError, replace_classes, replace_units
from store.connections import open_mongodb, open_redis
from store.reference import ListChangedError
from store.units import UnitStore

NOW = datetime(2026, 11, 22, 4, tzinfo=UTC)
SMALL = UnitTree(Unit(f"u{number}", f"单位{number}", UnitKind.DEPARTMENT, "350100") for number in range(20))


@pytest.fixture
def play(mongodb_uri: str, redis_url: str, database_name: str) -> Callable[..., None]:
    def run(act: Callable[[UnitStore, Redis], Awaitable[None]]) -> None:
        async def main() -> None:
            async with open_mongodb(mongodb_uri, 30_000) as client, open_redis(redis_url, 5_000) as redis:
                await act(UnitStore(client[database_name]), redis)

        asyncio.run(main())

    return run


def test_the_demo_province_goes_in_and_comes_back(play: Callable[..., None]) -> None:
    async def act(store: UnitStore, redis: Redis) -> None:
        tree = demo_units(shipped_classes())
        done = await replace_units(store, redis, tree, now=NOW)
        assert done == UnitsReplaced(revision=1, added=len(tree), changed=0, closed=0, unchanged=0)
        revision, stored = await store.load_units()
        assert (revision, stored.all) == (1, tree.all)
        again = await replace_units(store, redis, demo_units(shipped_classes()), now=NOW)
        assert again == UnitsReplaced(1, 0, 0, 0, len(tree))

    play(act)


def test_the_demo_has_four_levels_and_somebody_for_every_class() -> None:
    classes = shipped_classes()
    tree = demo_units(classes)
    assert len(tree) > 1_300
    assert len({unit.level for unit in tree.all}) == 4
    assert len(tree.select(kind=UnitKind.CENTRE)) == 93
    for each in classes.all:
        if each.parent_code is None:
            continue
        best = tree.responsible(classes, each.code, "350102001")[0]
        expected = SuggestedFor.ENVIRONMENTAL_AUTHORITY if each.is_environmental else SuggestedFor.DUTY
        assert best.reason is expected, each
        assert each.is_environmental or each.code in {duty.class_prefix for duty in best.unit.duties}
    for unit in tree.all:
        assert unit.parent_id is None or tree.find(unit.parent_id) is not None
        steps = 0
        above: Unit | None = unit
        while above is not None:
            above = tree.next_level_up(above.id)
            steps += 1
        assert steps <= 6


def test_a_unit_that_the_table_lacks_is_closed(play: Callable[..., None]) -> None:
    async def act(store: UnitStore, redis: Redis) -> None:
        await replace_units(store, redis, SMALL, now=NOW)
        most = UnitTree(unit for unit in SMALL.all if unit.id != "u0")
        changed = UnitTree(replace(unit, name="新名") if unit.id == "u1" else unit for unit in most.all)
        assert await replace_units(store, redis, changed, now=NOW) == UnitsReplaced(2, 0, 1, 1, 18)
        _, tree = await store.load_units()
        assert tree.find("u0") == replace(SMALL.get("u0"), is_active=False)
        assert await replace_units(store, redis, changed, now=NOW) == UnitsReplaced(2, 0, 0, 0, 19)
        few = UnitTree(SMALL.all[:10])
        with pytest.raises(UnitsShrunkError) as refused:
            await replace_units(store, redis, few, now=NOW)
        assert refused.value.params == {"missing": 10, "units": 19}
        assert (await store.load_units())[0] == 2
        done = await replace_units(store, redis, few, now=NOW, force=True)
        assert (done.closed, done.added) == (10, 0)

    play(act)


def test_of_two_who_replace_at_once_one_is_refused(play: Callable[..., None]) -> None:
    async def act(store: UnitStore, redis: Redis) -> None:
        assert await store.replace_units(SMALL, expected=0, now=NOW) == 1
        for expected in (0, 2):
            with pytest.raises(ListChangedError):
                await store.replace_units(UnitTree([]), expected=expected, now=NOW)
        results = await asyncio.gather(
            *(store.replace_units(UnitTree(SMALL.all[:n]), expected=1, now=NOW) for n in (1, 2)),
            return_exceptions=True,
        )
        assert sorted(map(str, results))[0] == "2"
        assert sum(isinstance(each, ListChangedError) for each in results) == 1
        assert (await store.load_units())[0] == 2

    play(act)


def test_readers_follow_and_go_on_without_the_store(play: Callable[..., None]) -> None:
    async def act(store: UnitStore, redis: Redis) -> None:
        units = Units(store)
        follower = Follower(store.reference, redis, units.followed, poll=timedelta(minutes=5))
        with pytest.raises(ReferenceUnavailableError):
            _ = units.tree
        running = asyncio.create_task(follower.run())
        try:
            await _until(lambda: units.followed[0].revision == 0)
            await _until(lambda: units.followed[1].revision == 0)
            assert len(units.tree) == 0
            assert units.classes is shipped_classes()
            # Only the announcement can bring it within the poll's five minutes.
            await asyncio.sleep(0.3)
            await replace_units(store, redis, SMALL, now=NOW)
            await _until(lambda: len(units.tree) == len(SMALL))
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        assert not await follower.refresh()
        own = ClassList([ComplaintClass("01", None, "一", ""), ComplaintClass("0101", "01", "二", "")])
        assert await replace_classes(store, redis, own, now=NOW) == 1
        assert await replace_classes(store, redis, own, now=NOW) == 1
        assert await follower.refresh()
        assert units.classes.all == own.all

    play(act)


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - what is waited for says nothing
            await asyncio.sleep(0.02)


def test_past_outcomes_change_the_order(play: Callable[..., None]) -> None:
    async def act(store: UnitStore, redis: Redis) -> None:
        await replace_units(store, redis, demo_units(shipped_classes()), now=NOW)
        units = Units(store)
        await Follower(store.reference, redis, units.followed, poll=timedelta(minutes=5)).refresh()
        first = (await units.suggest("0203", "350102"))[0]
        assert first.unit.id == "350102-cgj"
        matter = Round(Month(2026, 3), Kind.COMPLAINT, "350102", "0203")
        sums: Deltas = {}
        for _ in range(8):
            add_round(sums, replace(matter, returned=("350102-cgj",)))
            add_round(sums, replace(matter, unit="350100-cgj", is_answered=True))
        add_round(sums, replace(matter, division_code="350103", returned=("350100-cgj",)))
        await store.statistics.replace_all(sums)
        assert await store.list_outcomes("0203", "350102") == {
            "350102-cgj": Outcome(0, 8),
            "350100-cgj": Outcome(8, 0),
        }
        assert [each.unit.id for each in await units.suggest("0203", "350102", 2)] == [
            "350100-cgj",
            "350102-cgj",
        ]
        assert (await units.suggest("0203", "350104"))[0].unit.id == "350104-cgj"
        with pytest.raises(UnknownClassError):
            await units.suggest("02", "350102")

    play(act)


def test_files_go_out_and_come_in_the_same(tmp_path: Path) -> None:
    tree, classes = demo_units(shipped_classes()), shipped_classes()
    file = tmp_path / "units.csv"
    with file.open("w", encoding="utf-8", newline="") as out:
        write_units_file(tree, out)
    assert read_units_file(file).all == tree.all
    file.write_bytes(file.read_bytes().decode().encode("gb18030"))
    assert read_units_file(file).all == tree.all
    with file.open("w", encoding="utf-8-sig", newline="") as out:
        write_classes_file(classes, out)
    assert read_classes_file(file).all == classes.all
    file.write_bytes(b"id,name,kind,division_code\nx,\xff\xff\xff,CENTRE,350100\n")
    with pytest.raises(InvalidTableError) as refused:
        read_units_file(file)
    assert refused.value.params == {"line": 2, "column": "*", "reason": "is neither UTF-8 nor GB 18030"}
