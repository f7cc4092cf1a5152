from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TypeVar

import pytest
from msgspec.structs import replace

from domain.catalogue import (
    Audience,
    DayKind,
    Department,
    Guide,
    HandlingForm,
    ItemType,
    LegalBasis,
    Level,
    Material,
    Place,
    ProjectType,
    ServiceItem,
    TimeLimit,
)
from store.catalogue import CatalogueState, CatalogueStore, UnknownItemsError, UpsertResult, content_hash
from store.connections import open_mongodb
from store.snapshots import SnapshotMissingError

T = TypeVar("T")
NOW = datetime(2026, 11, 22, 8, tzinfo=UTC)
FULL = ServiceItem(
    id="a",
    name="社会保障卡申领",
    category_code="02",
    division_code="350102",
    department_id="d",
    level=Level.COUNTY,
    type=ItemType.PUBLIC_SERVICE,
    guide_id="g",
    basic_code="b" * 12,
    audiences=(Audience.PERSON, Audience.COMPANY),
    theme_codes=("N085", "L035"),
    project_type=ProjectType.PROMISED,
    legal_limit=TimeLimit(20),
    promised_limit=TimeLimit(0, DayKind.CALENDAR, "当场"),
    online_depth=4,
    visits=0,
    charges_fee=False,
    handling_forms=(HandlingForm.WINDOW,),
    places=(Place("窗口", "甲路1号", "9:00-17:00", "0591-90000000"),),
    keywords=("社保卡",),
    version=3,
    effective_on=date(2024, 3, 1),
    updated_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
)


def _item(id_: str, **changes: object) -> ServiceItem:
    return replace(FULL, id=id_, **changes)


@pytest.fixture
def run(mongodb_uri: str, database_name: str) -> Callable[[Callable[[CatalogueStore], Awaitable[T]]], T]:
    def start(act: Callable[[CatalogueStore], Awaitable[T]]) -> T:
        async def main() -> T:
            async with open_mongodb(mongodb_uri, 30_000) as client:
                store = CatalogueStore(client[database_name])
                await store.ensure_indexes()
                return await act(store)

        return asyncio.run(main())

    return start


Run = Callable[[Callable[[CatalogueStore], Awaitable[None]]], None]


def test_items_come_back_as_they_were(run: Run) -> None:
    bare = ServiceItem("b", "名", "21", "350000", "d", Level.PROVINCE, ItemType.LICENCE, "g")

    async def act(store: CatalogueStore) -> None:
        assert await store.upsert_items([bare, FULL], feed="f", load="l") == UpsertResult(inserted=2)
        assert {item.id: item async for item in store.iterate_items()} == {"a": FULL, "b": bare}
        assert await store.list_items(["a", "none"]) == [FULL]
        assert await store.count_items() == await store.count_items("f") == 2
        assert await store.count_items("other") == 0
        assert {id_ async for id_ in store.iterate_ids("f")} == {"a", "b"}
        assert {known.id async for known in store.iterate_known()} == {"a", "b"}

    run(act)


def test_upserts_decide_by_content_version_and_feed(run: Run) -> None:
    async def act(store: CatalogueStore) -> None:
        await store.upsert_items([_item("a"), _item("b"), _item("c"), _item("d")], feed="f")
        batch = [_item("a"), _item("b", name="新"), _item("c", version=2, name="旧"), _item("e")]
        result = await store.upsert_items(batch, feed="f")
        assert result == UpsertResult(inserted=1, updated=1, unchanged=1, stale=1)
        assert await store.upsert_items([_item("d")], feed="g") == UpsertResult(foreign=("d",))
        names = {item.id: item.name async for item in store.iterate_items()}
        assert names == {"a": FULL.name, "b": "新", "c": FULL.name, "d": FULL.name, "e": FULL.name}

    run(act)


def test_outdated_knowledge_is_noticed_and_decided_anew(run: Run) -> None:
    async def act(store: CatalogueStore) -> None:
        await store.upsert_items([_item("a"), _item("b")], feed="f")
        old = await store.find_known(["a", "b"])
        await store.upsert_items([_item("a", version=9, name="更新")], feed="f")
        await store.withdraw(["b"], now=NOW)
        batch = [_item("a", version=4, name="迟到"), _item("b", name="改")]
        assert await store.upsert_items(batch, feed="f", known=old) == UpsertResult(updated=1, stale=1)
        assert await store.upsert_items([_item("a", version=9)], feed="f", known={}) == UpsertResult(
            updated=1
        )
        assert [item.id async for item in store.iterate_items()] == ["a"]
        assert [item.name for item in await store.list_items(["b"])] == ["改"]

    run(act)


def test_withdrawing_and_restoring_tell_readers(run: Run) -> None:
    async def act(store: CatalogueStore) -> None:
        await store.upsert_items([_item("a"), _item("b")], feed="f")
        assert await store.get_state() == CatalogueState()
        state = await store.set_published(1, 2, NOW)
        assert (state.version, state.revision, state.item_count, state.withdrawn) == (1, 1, 2, frozenset())
        assert await store.withdraw(["a", "none", "a"], now=NOW) == 1
        assert await store.withdraw(["a"], now=NOW) == 0
        state = await store.get_state()
        assert (state.revision, state.withdrawn) == (2, {"a"})
        with pytest.raises(UnknownItemsError):
            await store.withdraw(["none"], now=NOW)
        assert await store.restore(["a", "b"]) == 1
        state = await store.get_state()
        assert (state.revision, state.withdrawn, state.pending) == (3, frozenset(), False)
        assert await store.touch() == 4

    run(act)


def test_shared_records_are_stored_once(run: Run) -> None:
    guide = Guide(conditions="任何人", materials=(Material("居民身份证"),), legal_basis_ids=("l",))
    basis = LegalBasis("l", "社会保险法", "第五十八条")
    department = Department("d", "甲局", "350000")

    async def act(store: CatalogueStore) -> None:
        key = content_hash(guide)
        assert [await store.add_guides({key: guide}) for _ in range(2)] == [1, 0]
        assert [await store.add_legal_bases([basis]) for _ in range(2)] == [1, 0]
        assert await store.upsert_departments([department]) == UpsertResult(inserted=1)
        assert await store.upsert_departments([department]) == UpsertResult(unchanged=1)
        renamed = replace(department, name="乙局")
        assert await store.upsert_departments([renamed]) == UpsertResult(updated=1)
        assert [pair async for pair in store.iterate_guides()] == [(key, guide)]
        assert [each async for each in store.iterate_legal_bases()] == [basis]
        assert await store.list_departments() == [renamed]

    run(act)


def test_views_add_up_over_days(run: Run) -> None:
    async def act(store: CatalogueStore) -> None:
        await store.add_views(date(2026, 11, 20), {"a": 5, "b": 1})
        await store.add_views(date(2026, 11, 21), {"b": 2, "c": 3})
        await store.add_views(date(2026, 11, 21), {"b": 2})
        assert await store.top_views(date(2026, 11, 20), 2) == [("a", 5), ("b", 5)]
        assert await store.top_views(date(2026, 11, 21), 9) == [("b", 4), ("c", 3)]

    run(act)


def test_snapshot_archives_keep_the_newest_two(run: Run, tmp_path: Path) -> None:
    async def act(store: CatalogueStore) -> None:
        for version in (1, 2, 3, 3):
            source = tmp_path / f"v{version}"
            (source / "sub").mkdir(parents=True, exist_ok=True)
            (source / "sub" / "x.bin").write_bytes(bytes([version]) * 3_000_000)
            await store.save_snapshot(version, source)
        for version in (2, 3):
            await store.open_snapshot(version, tmp_path / "out" / f"v{version}")
            content = (tmp_path / "out" / f"v{version}" / "sub" / "x.bin").read_bytes()
            assert content == bytes([version]) * 3_000_000
        with pytest.raises(SnapshotMissingError):
            await store.open_snapshot(1, tmp_path / "out" / "v1")
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["v2", "v3"]

    run(act)
