"""Preferences, digests and the reading side of inboxes, on the real engine."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from domain.ids import InvalidNodeIdError, floor_id, new_id, time_of
from domain.preferences import (
    Consent,
    Digest,
    MessageKind,
    NotificationWay,
    Preferences,
    PreferencesConflictError,
    QuietHours,
)
from store.connections import open_mongodb
from store.digests import Counted, DigestStore
from store.inbox import InboxStore, Place, place_at
from store.preferences import PreferenceStore

NOW = datetime(2026, 11, 22, 4, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
WANTED = Preferences(
    consents={MessageKind.AIR_QUALITY: {NotificationWay.SMS: Consent(True, NOW)}},
    digests={MessageKind.AUTHORITY: Digest.WEEKLY},
    quiet_hours=QuietHours(1350, 420),
    updated_at=NOW,
)


@pytest.fixture
def play(mongodb_uri: str, database_name: str) -> Callable[[Callable[[Any], Awaitable[None]]], None]:
    """A function that runs a coroutine function with a database of its own."""

    def play(act: Callable[[Any], Awaitable[None]]) -> None:
        async def main() -> None:
            async with open_mongodb(mongodb_uri, 20_000) as client:
                await act(client[database_name])

        asyncio.run(main())

    return play


def test_preferences_are_written_over_the_version_that_was_read(play: Callable[..., None]) -> None:
    async def act(database: Any) -> None:
        store = PreferenceStore(database)
        assert await store.get("ann") == Preferences()
        first = await store.save("ann", WANTED, expected=0)
        assert first == replace(WANTED, version=1)
        assert await store.get("ann") == first
        for stale in (0, 2, 7):
            with pytest.raises(PreferencesConflictError) as refused:
                await store.save("ann", Preferences(), expected=stale)
            assert refused.value.params == {"field": "expectedVersion", "current": 1}
        assert await store.get("ann") == first
        second = await store.save("ann", replace(first, quiet_hours=None), expected=1)
        assert (second.version, (await store.get("ann")).quiet_hours) == (2, None)
        with pytest.raises(PreferencesConflictError) as refused:
            await store.save("bob", WANTED, expected=3)
        assert refused.value.params["current"] == 0

    play(act)


def test_of_two_writers_one_wins(play: Callable[..., None]) -> None:
    async def act(database: Any) -> None:
        store = PreferenceStore(database)
        for expected in (0, 1):
            results = await asyncio.gather(
                *(store.save("ann", WANTED, expected=expected) for _ in range(5)), return_exceptions=True
            )
            refused = [each for each in results if isinstance(each, PreferencesConflictError)]
            assert len(refused) == 4
            assert (await store.get("ann")).version == expected + 1

    play(act)


def test_preferences_of_many_their_export_and_their_end(play: Callable[..., None]) -> None:
    async def act(database: Any) -> None:
        store = PreferenceStore(database)
        for number in range(0, 150, 2):
            await store.save(f"a{number}", WANTED, expected=0)
        found = await store.list_for_accounts([f"a{number}" for number in range(150)])
        assert set(found) == {f"a{number}" for number in range(0, 150, 2)}
        assert found["a4"] == replace(WANTED, version=1)
        assert await store.estimate() == 75
        exported = await store.export_account("a4")
        assert [each["_id"] for each in exported] == ["a4"]
        assert await store.erase_account("a4", now=NOW) == 1
        assert await store.erase_account("a4", now=NOW) == 0
        assert await store.get("a4") == Preferences()

    play(act)


def test_digests_count_each_message_once(play: Callable[..., None]) -> None:
    async def act(database: Any) -> None:
        store = DigestStore(database)
        await store.ensure_indexes()
        push, wechat = NotificationWay.PUSH, NotificationWay.WECHAT
        for _ in range(2):
            await store.add(
                [
                    Counted("ann", "m1", push, NOW),
                    Counted("ann", "m2", wechat, NOW),
                    Counted("ann", "m3", push, NOW + MINUTE),
                    Counted("bob", "m1", push, NOW),
                ]
            )
        assert await store.list_due(10, now=NOW - MINUTE) == []
        due = {each.account: each for each in await store.list_due(10, now=NOW)}
        assert set(due) == {"ann", "bob"}
        assert (set(due["ann"].messages), due["ann"].ways) == ({"m1", "m2"}, frozenset({push, wechat}))
        assert due["ann"].due_at == NOW
        await store.remove([due["ann"].id])
        assert [each.account for each in await store.list_due(10, now=NOW)] == ["bob"]
        assert [each["messages"] for each in await store.export_account("ann")] == [["m3"]]
        assert await store.erase_account("ann", now=NOW) == 1
        assert await store.export_account("ann") == []

    play(act)


async def fill(database: Any, count: int = 7) -> tuple[InboxStore, list[Place]]:
    """Give ann `count` rows, two of them at the same position, and bob one of the same messages."""
    inbox = InboxStore(database)
    await inbox.ensure_indexes()
    places = []
    for number in range(count):
        position = new_id(NOW + MINUTE * (number - number % 2))
        if number % 2:
            position = places[-1].position
        message = new_id(NOW + MINUTE * number)
        kind = "WARNING" if number % 3 == 0 else "AIR_QUALITY"
        await inbox.insert([("ann", message, kind)], position)
        places.append(Place(position, message))
    await inbox.insert([("bob", places[0].message, "WARNING")], places[0].position)
    return inbox, places


def test_pages_of_an_inbox_have_every_row_once(play: Callable[..., None]) -> None:
    async def act(database: Any) -> None:
        inbox, places = await fill(database)
        for size in (1, 2, 3, 7, 10):
            seen: list[Place] = []
            before: Place | None = None
            while rows := await inbox.list_newest("ann", size, before):
                assert len(rows) <= size
                seen += [row.place for row in rows]
                before = rows[-1].place
            assert seen == places[::-1]
            ahead: list[Place] = []
            after = place_at(NOW - MINUTE)
            while rows := await inbox.list_after("ann", size, after):
                ahead += [row.place for row in rows]
                after = rows[-1].place
            assert ahead == places
        warnings = await inbox.list_newest("ann", 10, kind="WARNING")
        assert [row.message for row in warnings] == [places[n].message for n in (6, 3, 0)]
        assert [row.place for row in await inbox.list_newest("bob", 10)] == [places[0]]
        assert [row.place for row in await inbox.list_after("ann", 10, place_at(NOW + 6 * MINUTE))] == [
            places[6]
        ]

    play(act)


def test_reading_archiving_and_deleting_touch_ones_own_rows_only(play: Callable[..., None]) -> None:
    async def act(database: Any) -> None:
        inbox, places = await fill(database)
        ids = [place.message for place in places]
        assert await inbox.count_unread("ann") == {"WARNING": 3, "AIR_QUALITY": 4}
        assert await inbox.mark_read("ann", ids[:2], now=NOW) == 2
        assert await inbox.mark_read("ann", ids[:2], now=NOW + MINUTE) == 0
        assert (await inbox.list_by_message("ann", ids[:1]))[ids[0]].read_at == NOW
        assert await inbox.archive("ann", [ids[2], ids[3]], now=NOW) == 2
        assert await inbox.count_unread("ann") == {"WARNING": 1, "AIR_QUALITY": 2}
        assert [row.message for row in await inbox.list_newest("ann", 9, archived=True)] == [ids[3], ids[2]]
        assert [row.message for row in await inbox.list_newest("ann", 9)] == [ids[n] for n in (6, 5, 4, 1, 0)]
        assert await inbox.restore("ann", [ids[2], ids[0]]) == 1
        # Up to a place, that place included, and not its neighbour of the same position.
        assert await inbox.mark_read_until("ann", places[4], now=NOW) == 3
        assert await inbox.count_unread("ann") == {"WARNING": 1, "AIR_QUALITY": 1}
        assert await inbox.delete("ann", [ids[0], "unknown"]) == 1
        assert await inbox.list_by_message("ann", [ids[0]]) == {}
        [row] = await inbox.list_newest("bob", 9)
        assert (row.message, row.read_at, row.archived_at) == (ids[0], None, None)

    play(act)


def test_old_rows_leave_and_others_stay(play: Callable[..., None]) -> None:
    async def act(database: Any) -> None:
        inbox, places = await fill(database)
        assert await inbox.delete_old(before=NOW + 4 * MINUTE) == 5
        assert [row.place for row in await inbox.list_newest("ann", 9)] == places[:3:-1]
        assert await inbox.delete_old(before=NOW + 4 * MINUTE) == 0

    play(act)


def test_ids_tell_their_time_and_nothing_else_does() -> None:
    made = new_id(NOW)
    assert time_of(made) == NOW
    assert floor_id(NOW) <= made < floor_id(NOW + timedelta(milliseconds=1))
    for text in ("", "x", "8" + "0" * 25, "U" * 26, "7" + "Z" * 25, made + "0", made.lower()):
        with pytest.raises(InvalidNodeIdError):
            time_of(text)


def test_what_an_earlier_version_has_written_is_upgraded_once(play: Callable[..., None]) -> None:
    async def act(database: Any) -> None:
        inbox, preferences = InboxStore(database), PreferenceStore(database)
        positions = [new_id(NOW + number * MINUTE) for number in range(3)]
        await database["inbox"].insert_many(
            [
                {
                    "_id": f"ann:m{number}",
                    "account": "ann",
                    "message": f"m{number}",
                    "kind": "SYSTEM",
                    "position": position,
                    **({"read_at": NOW} if number == 1 else {}),
                    **({"archived_at": NOW} if number == 2 else {}),
                }
                for number, position in enumerate(positions)
            ]
        )
        await inbox.insert([("ann", "m3", "SYSTEM")], new_id(NOW + 3 * MINUTE))
        await preferences.save("ann", WANTED, expected=0)
        await preferences.save("bob", Preferences(quiet_hours=QuietHours(1, 2)), expected=0)
        await preferences.save("eve", WANTED, expected=0)
        await database["preferences"].update_many({}, {"$unset": {"sms": "", "shard": ""}})
        await preferences.save("eve", WANTED, expected=1)
        assert await preferences.list_sms_targets(["ann", "bob"], "AIR_QUALITY") == []

        assert (await inbox.upgrade(), await preferences.upgrade()) == (3, 1)
        rows = await inbox.list_newest("ann", 9)
        assert [(row.message, row.position, row.read_at) for row in rows[1:]] == [
            ("m1", positions[1], NOW),
            ("m0", positions[0], None),
        ]
        [archived] = await inbox.list_newest("ann", 9, archived=True)
        assert (archived.message, archived.archived_at) == ("m2", NOW)
        assert await inbox.count_unread("ann") == {"SYSTEM": 2}
        [target] = await preferences.list_sms_targets(["ann", "bob"], "AIR_QUALITY")
        assert target.account_id == "ann"
        assert await preferences.get("ann") == replace(WANTED, version=1)
        before = [await database[name].find({}).sort("_id").to_list() for name in ("inbox", "preferences")]
        assert (await inbox.upgrade(), await preferences.upgrade()) == (0, 0)
        assert before == [
            await database[name].find({}).sort("_id").to_list() for name in ("inbox", "preferences")
        ]
        assert await inbox.delete_all("ann") == 4
        assert await database["inbox"].count_documents({}) == 0

    play(act)
