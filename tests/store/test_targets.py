"""The copy of the devices that broadcasts read: always like the devices, and mended where it is not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.devices import MAX_DEVICES, Device, DeviceLocale, Platform, PushChannel, Target
from domain.ids import SHARDS, shard_of
from store.connections import open_mongodb
from store.devices import DeviceStore
from store.targets import TargetStore

NOW = datetime(2026, 11, 22, 4, tzinfo=UTC)


def device(id_: str, account: str, token: str | None = None, seen_at: datetime = NOW) -> Device:
    return Device(
        id_,
        account,
        PushChannel.FCM,
        token or f"token-of-{id_}",
        Platform.ANDROID,
        "5.0",
        DeviceLocale.ZH,
        NOW,
        seen_at,
    )


Act = Callable[[Any, DeviceStore], Awaitable[None]]


@pytest.fixture
def play(mongodb_uri: str, database_name: str) -> Callable[[Act], None]:
    """A function that runs a coroutine function with a database and its devices."""

    def play(act: Act) -> None:
        async def main() -> None:
            async with open_mongodb(mongodb_uri, 20_000) as client:
                store = DeviceStore(client[database_name])
                await store.ensure_indexes()
                await act(client[database_name], store)

        asyncio.run(main())

    return play


async def all_targets(database: Any) -> list[Target]:
    targets = await TargetStore(database).list_in_shards(0, SHARDS)
    return sorted(targets, key=lambda target: (target.id, target.account_id))


async def all_devices(database: Any) -> list[Target]:
    ids = [each["_id"] async for each in database["devices"].find({}, {"_id": 1})]
    found = await DeviceStore(database).list_by_id(ids)
    return [found[id].target for id in sorted(found)]


def test_targets_follow_their_devices(play: Callable[[Act], None]) -> None:
    async def act(database: Any, store: DeviceStore) -> None:
        await store.upsert(device("d1", "ann"))
        await store.upsert(device("d2", "ann"))
        await store.upsert(device("d2", "bob", "newer"))
        await store.upsert(device("d3", "eve", "token-of-d1"))
        assert [(each.id, each.account_id, each.token) for each in await all_targets(database)] == [
            ("d2", "bob", "newer"),
            ("d3", "eve", "token-of-d1"),
        ]
        shard = shard_of("bob")
        [found] = await store.list_targets({"bob", "eve"}, shard, shard + 1)
        assert found == device("d2", "bob", "newer").target
        assert await store.list_targets({"somebody"}, 0, SHARDS) == []
        # A dead token that was refreshed meanwhile stays.
        assert await store.remove_tokens(["d2"], "UNREGISTERED", tokens={"d2": "older"}) == 0
        assert await store.remove_tokens(["d3"], "UNREGISTERED", tokens={"d3": "token-of-d1"}) == 1
        assert [each.id for each in await all_targets(database)] == ["d2"]
        for number in range(MAX_DEVICES + 2):
            await store.upsert(device(f"e{number:02}", "bob", seen_at=NOW + timedelta(minutes=1 + number)))
        assert len(await all_targets(database)) == MAX_DEVICES
        assert await all_targets(database) == await all_devices(database)
        assert await store.remove("bob", "e05")
        assert await store.remove_stale(now=NOW + timedelta(days=270, minutes=5)) == 2
        assert await all_targets(database) == await all_devices(database)
        assert await store.erase_account("bob", now=NOW) == MAX_DEVICES - 3
        assert await all_targets(database) == []

    play(act)


def test_a_crash_in_between_is_mended(play: Callable[[Act], None]) -> None:
    async def act(database: Any, store: DeviceStore) -> None:
        await store.load([device(f"d{number}", f"account-{number}") for number in range(50)])
        await store.load([device(f"e{number}", f"account-{number}") for number in range(5)])
        assert await all_targets(database) == await all_devices(database)
        targets = TargetStore(database)
        await database["devices"].delete_one({"_id": "d1"})
        await database["devices"].update_one({"_id": "d2"}, {"$set": {"token": "newer"}})
        await targets.remove([device("d3", "account-3").target])
        await targets.put(device("d4", "somebody-else").target)
        repaired = [await store.repair_targets(first, first + 512) for first in range(0, SHARDS, 512)]
        # one gone, one changed (a wrong and a missing one), one missing, one too many
        assert sum(repaired) == 5
        assert await all_targets(database) == await all_devices(database)
        assert len(await all_targets(database)) == 54
        assert await store.repair_targets(0, SHARDS) == 0

    play(act)


def test_people_who_register_one_device_at_once_leave_one_target(play: Callable[[Act], None]) -> None:
    async def act(database: Any, store: DeviceStore) -> None:
        for turn in range(3):
            ways = [device("d1", f"a{number}", f"t{turn}{number % 2}") for number in range(4)]
            results = await asyncio.gather(*map(store.upsert, ways), return_exceptions=True)
            assert [result for result in results if isinstance(result, BaseException)] == []
            assert await all_targets(database) == await all_devices(database)
            assert len(await all_targets(database)) == 1

    play(act)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["register", "remove", "dead", "erase"]),
            st.sampled_from("1234"),
            st.sampled_from("ab"),
            st.sampled_from("xyz"),
        ),
        max_size=10,
    )
)
def test_whatever_is_done_targets_are_like_devices(
    play: Callable[[Act], None], steps: list[tuple[str, str, str, str]]
) -> None:
    async def act(database: Any, store: DeviceStore) -> None:
        for account in "ab":
            await store.erase_account(account, now=NOW)
        for step, id_, account, token in steps:
            if step == "register":
                await store.upsert(device(id_, account, token))
            elif step == "remove":
                await store.remove(account, id_)
            elif step == "dead":
                await store.remove_tokens([id_], "UNREGISTERED", tokens={id_: token})
            else:
                await store.erase_account(account, now=NOW)
            assert await all_targets(database) == await all_devices(database)

    play(act)
