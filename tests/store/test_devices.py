"""Devices: one token, one device; the newest stay; what is dead goes at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.devices import (
    MAX_DEVICE_AGE,
    MAX_DEVICES,
    Device,
    DeviceLocale,
    InvalidDeviceError,
    Platform,
    PushChannel,
    check_device,
    choose_channel,
)
from store.connections import open_mongodb
from store.devices import DeviceStore

NOW = datetime(2026, 11, 22, 4, tzinfo=UTC)


def device(id_: str, account: str = "a", token: str | None = None, **changes: Any) -> Device:
    made = Device(
        id=id_,
        account_id=account,
        channel=PushChannel.FCM,
        token=token or f"token-of-{id_}",
        platform=Platform.ANDROID,
        app_version="3.2.1",
        locale=DeviceLocale.ZH,
        registered_at=NOW,
        seen_at=NOW,
    )
    return msgspec.structs.replace(made, **changes)


def with_store(uri: str, name: str, work: Callable[[DeviceStore], Awaitable[None]]) -> None:
    async def main() -> None:
        async with open_mongodb(uri, 20_000) as client:
            store = DeviceStore(client[name])
            await store.ensure_indexes()
            await work(store)

    asyncio.run(main())


def test_a_device_is_kept_by_its_id_and_remembers_when_it_came(mongodb_uri: str, database_name: str) -> None:
    async def work(store: DeviceStore) -> None:
        first = await store.upsert(device("d1"))
        later = NOW + timedelta(days=3)
        changed = device("d1", token="new-token", app_version="3.3.0", registered_at=later, seen_at=later)
        second = await store.upsert(changed)
        assert first == device("d1")
        assert second == msgspec.structs.replace(changed, registered_at=NOW)
        assert await store.list_for_account("a") == [second]
        assert await store.find("d1") == second
        assert await store.find("d2") is None

    with_store(mongodb_uri, database_name, work)


def test_a_token_belongs_to_one_device(mongodb_uri: str, database_name: str) -> None:
    async def work(store: DeviceStore) -> None:
        await store.upsert(device("d1", "a", "shared"))
        await store.upsert(device("d2", "a"))
        moved = await store.upsert(device("d3", "b", "shared"))
        assert [one.id for one in await store.list_for_account("a")] == ["d2"]
        assert await store.list_for_account("b") == [moved]
        # The same text at another provider is another token.
        wechat = device("d4", "a", "shared", channel=PushChannel.WECHAT, platform=Platform.WECHAT)
        await store.upsert(wechat)
        assert await store.list_for_account("b") == [moved]

    with_store(mongodb_uri, database_name, work)


def test_a_device_that_changes_hands_leaves_its_account(mongodb_uri: str, database_name: str) -> None:
    async def work(store: DeviceStore) -> None:
        await store.upsert(device("d1", "a"))
        later = NOW + timedelta(hours=1)
        mine = await store.upsert(device("d1", "b", registered_at=later, seen_at=later))
        assert mine.registered_at == later
        assert await store.list_for_accounts(["a", "b"]) == {"b": [mine]}

    with_store(mongodb_uri, database_name, work)


def test_the_account_keeps_its_newest_devices(mongodb_uri: str, database_name: str) -> None:
    async def work(store: DeviceStore) -> None:
        for number in range(MAX_DEVICES + 3):
            await store.upsert(device(f"d{number:02}", seen_at=NOW + timedelta(minutes=number)))
        await store.upsert(device("other", "b"))
        kept = [one.id for one in await store.list_for_account("a")]
        assert kept == [f"d{number:02}" for number in range(MAX_DEVICES + 2, 2, -1)]
        # Whoever registers now is never the one to go, not even with a clock that is behind.
        await store.upsert(device("late", seen_at=NOW - timedelta(days=1)))
        kept = [one.id for one in await store.list_for_account("a")]
        assert kept == [f"d{number:02}" for number in range(MAX_DEVICES + 2, 3, -1)] + ["late"]
        assert [one.id for one in await store.list_for_account("b")] == ["other"]

    with_store(mongodb_uri, database_name, work)


def test_many_accounts_are_read_in_batches(mongodb_uri: str, database_name: str) -> None:
    async def work(store: DeviceStore) -> None:
        made = [await store.upsert(device(f"d{number:03}", f"a{number % 70:02}")) for number in range(140)]
        found = await store.list_for_accounts([f"a{number:02}" for number in range(75)])
        assert sorted(found) == [f"a{number:02}" for number in range(70)]
        assert sorted(one.id for ones in found.values() for one in ones) == [one.id for one in made]
        assert await store.list_for_accounts([]) == {}
        by_id = await store.list_by_id([one.id for one in made] + ["unknown"])
        assert by_id == {one.id: one for one in made}

    with_store(mongodb_uri, database_name, work)


def test_dead_tokens_go_unless_they_were_refreshed_meanwhile(mongodb_uri: str, database_name: str) -> None:
    async def work(store: DeviceStore) -> None:
        for id_ in ("d1", "d2", "d3"):
            await store.upsert(device(id_))
        await store.upsert(device("d2", token="refreshed"))
        dead = {"d1": "token-of-d1", "d2": "token-of-d2"}
        assert await store.remove_tokens(dead, "UNREGISTERED", tokens=dead) == 1
        assert sorted(one.id for one in await store.list_for_account("a")) == ["d2", "d3"]
        assert await store.remove_tokens(["d3", "unknown"], "40003") == 1
        assert await store.remove_tokens([], "40003") == 0
        assert [one.id for one in await store.list_for_account("a")] == ["d2"]

    with_store(mongodb_uri, database_name, work)


def test_only_the_owner_removes_a_device(mongodb_uri: str, database_name: str) -> None:
    async def work(store: DeviceStore) -> None:
        mine = await store.upsert(device("d1", "a"))
        assert await store.remove("b", "d1") is False
        assert await store.list_for_account("a") == [mine]
        assert await store.remove("a", "d1") is True
        assert await store.remove("a", "d1") is False
        assert await store.list_for_account("a") == []

    with_store(mongodb_uri, database_name, work)


def test_devices_not_seen_for_long_are_forgotten(mongodb_uri: str, database_name: str) -> None:
    async def work(store: DeviceStore) -> None:
        await store.upsert(device("old", seen_at=NOW))
        fresh = await store.upsert(device("new", seen_at=NOW + timedelta(seconds=1)))
        assert await store.remove_stale(now=NOW + MAX_DEVICE_AGE) == 0
        assert await store.remove_stale(now=NOW + MAX_DEVICE_AGE + timedelta(seconds=1)) == 1
        assert await store.list_for_account("a") == [fresh]

    with_store(mongodb_uri, database_name, work)


def test_registrations_at_the_same_moment_leave_one_owner(mongodb_uri: str, database_name: str) -> None:
    async def work(store: DeviceStore) -> None:
        ways = [device(f"d{number}", f"a{number}", "shared") for number in range(4)]
        results = await asyncio.gather(*map(store.upsert, ways), return_exceptions=True)
        assert [result for result in results if isinstance(result, BaseException)] == []
        owners = await store.list_for_accounts([one.account_id for one in ways])
        assert [one.token for ones in owners.values() for one in ones] == ["shared"]

    with_store(mongodb_uri, database_name, work)


def test_an_account_is_shown_and_erased_with_its_devices(mongodb_uri: str, database_name: str) -> None:
    async def work(store: DeviceStore) -> None:
        await store.upsert(device("d1", "a"))
        await store.upsert(device("d2", "b"))
        assert await store.export_account("a") == [
            {
                "id": "d1",
                "channel": "fcm",
                "platform": "ANDROID",
                "app_version": "3.2.1",
                "locale": "zh",
                "registered_at": NOW,
                "seen_at": NOW,
                "token": "token-of-d1",
            }
        ]
        assert await store.erase_account("a", now=NOW) == 1
        assert await store.export_account("a") == []
        assert [one.id for one in await store.list_for_account("b")] == ["d2"]

    with_store(mongodb_uri, database_name, work)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"id": "short"}, "deviceId"),
        ({"id": "x" * 65}, "deviceId"),
        ({"id": "sixteen chars 号!"}, "deviceId"),
        ({"token": ""}, "token"),
        ({"token": "x" * 4097}, "token"),
        ({"token": "with space"}, "token"),
        ({"app_version": ""}, "appVersion"),
        ({"app_version": "1" * 33}, "appVersion"),
        ({"app_version": "1.0\n"}, "appVersion"),
    ],
)
def test_what_no_device_has_is_refused(changes: dict[str, str], field: str) -> None:
    good = device("0123456789abcdef")
    check_device(good)
    with pytest.raises(InvalidDeviceError) as caught:
        check_device(msgspec.structs.replace(good, **changes))
    assert caught.value.params == {"field": field}


def test_the_platform_says_the_channel() -> None:
    assert {platform: choose_channel(platform) for platform in Platform} == {
        Platform.ANDROID: PushChannel.FCM,
        Platform.IOS: PushChannel.FCM,
        Platform.HARMONY: PushChannel.FCM,
        Platform.WECHAT: PushChannel.WECHAT,
    }


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.tuples(st.sampled_from("1234"), st.sampled_from("ab"), st.sampled_from("xyz")), max_size=8
    )
)
def test_whatever_is_registered_a_token_has_one_device(
    mongodb_uri: str, database_name: str, steps: list[tuple[str, str, str]]
) -> None:
    async def work(store: DeviceStore) -> None:
        for id_ in "1234":
            await store.remove_tokens([id_], "cleared")
        expected: dict[str, tuple[str, str]] = {}
        for id_, account, token in steps:
            await store.upsert(device(id_, account, token))
            expected = {key: value for key, value in expected.items() if value[1] != token}
            expected[id_] = (account, token)
        stored = {one.id: (one.account_id, one.token) for one in (await store.list_by_id("1234")).values()}
        assert stored == expected

    with_store(mongodb_uri, database_name, work)
