"""Rows by bucket: for everybody in them the inbox is as if they had rows of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.ids import BUCKETS, SHARDS, bucket_of, new_id, shard_of
from store.connections import open_mongodb
from store.inbox import InboxRow, InboxStore, Place

NOW = datetime(2026, 11, 22, 4, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def neighbours(count: int) -> list[str]:
    """Give accounts of one bucket."""
    found: list[str] = []
    number = 0
    while len(found) < count:
        number += 1
        if bucket_of(f"{number:024x}") == 77:
            found.append(f"{number:024x}")
    return found


ANN, BOB, EVE = neighbours(3)


@pytest.fixture
def play(mongodb_uri: str, database_name: str) -> Callable[..., None]:
    """A function that runs a coroutine function with a database."""

    def play(act: Callable[..., Any]) -> None:
        async def main() -> None:
            async with open_mongodb(mongodb_uri, 20_000) as client:
                await act(client[database_name])

        asyncio.run(main())

    return play


def test_a_bucket_is_a_quarter_of_a_shard() -> None:
    accounts = [f"{number:024x}" for number in range(3_000)]
    assert all(bucket_of(each) * SHARDS // BUCKETS == shard_of(each) for each in accounts)
    assert {bucket_of(each) % 4 for each in accounts} == {0, 1, 2, 3}


def test_neighbours_share_a_row_and_nothing_else(play: Callable[..., None]) -> None:
    async def act(database: Any) -> None:
        inbox = InboxStore(database)
        await inbox.ensure_indexes()
        ids = [new_id(NOW + MINUTE * number) for number in range(4)]
        for message in ids[:3]:
            await inbox.insert_together([ANN, BOB], message, "WARNING", message)
        await inbox.insert([(ANN, ids[3], "SYSTEM")], ids[3])
        assert await database["inbox"].count_documents({}) == 4
        # Again, as after a crash, with somebody new and at another position: the row stays where it is.
        await inbox.insert_together([BOB, EVE], ids[0], "WARNING", new_id(NOW + MINUTE * 9))
        assert [row.message for row in await inbox.list_newest(EVE, 9)] == [ids[0]]
        assert (await inbox.list_newest(EVE, 9))[0].position == ids[0]
        assert await inbox.mark_read(ANN, ids[:2], now=NOW) == 2
        assert await inbox.archive(ANN, [ids[2]], now=NOW) == 1
        assert await inbox.count_unread(ANN) == {"SYSTEM": 1}
        assert await inbox.count_unread(BOB) == {"WARNING": 3}
        assert await inbox.delete(ANN, [ids[0], ids[3]]) == 2
        assert await inbox.list_all(ANN) == [
            InboxRow(ids[1], "WARNING", ids[1], NOW),
            InboxRow(ids[2], "WARNING", ids[2], None, NOW),
        ]
        assert await inbox.list_all(BOB) == [InboxRow(id, "WARNING", id) for id in ids[:3]]
        # What a neighbour can read has no trace of anybody else.
        [stored] = await database["inbox"].find({"_id": f"#{77:04x}:{ids[0]}"}).to_list()
        assert stored["accounts"] == [BOB, EVE]
        assert stored["read"] == {}
        assert await inbox.delete_all(ANN) == 2
        assert await inbox.delete_all(ANN) == 0
        rows = await database["inbox"].find({}).to_list()
        assert not any(ANN in str(row) for row in rows)
        assert [row.message for row in await inbox.list_newest(BOB, 9)] == ids[2::-1]
        assert await inbox.delete_old(before=NOW + MINUTE * 2) == 2
        assert [row.message for row in await inbox.list_newest(BOB, 9)] == [ids[2]]

    play(act)


class Model:
    """What the inbox of one account holds, the oldest first."""

    def __init__(self) -> None:
        self.rows: dict[str, InboxRow] = {}

    def listed(self, *, archived: bool) -> list[InboxRow]:
        rows = sorted(self.rows.values(), key=lambda row: (row.position, row.message), reverse=True)
        return [row for row in rows if (row.archived_at is not None) is archived]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["tell", "tell all", "read", "read until", "archive", "restore", "delete"]),
        st.sampled_from([ANN, BOB]),
        st.integers(0, 7),
    ),
    min_size=4,
    max_size=16,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_whatever_is_done_an_inbox_holds_what_a_plain_list_would(
    play: Callable[..., None], steps: list[tuple[str, str, int]]
) -> None:
    async def act(database: Any) -> None:
        inbox = InboxStore(database)
        await inbox.ensure_indexes()
        for account in (ANN, BOB):
            await inbox.delete_all(account)
        models = {ANN: Model(), BOB: Model()}
        made: list[str] = []
        for number, (step, account, choice) in enumerate(steps):
            at = NOW + MINUTE * number
            await do(inbox, models, made, step, account, choice, at)
        for account, model in models.items():
            for archived in (False, True):
                paged: list[InboxRow] = []
                before: Place | None = None
                while page := await inbox.list_newest(account, 2, before, archived=archived):
                    paged += page
                    before = page[-1].place
                assert paged == model.listed(archived=archived)
            unread = [row for row in model.listed(archived=False) if row.read_at is None]
            assert sum((await inbox.count_unread(account)).values()) == len(unread)
            everything = sorted(model.rows.values(), key=lambda row: (row.position, row.message))
            assert await inbox.list_all(account) == everything
            assert await inbox.list_by_message(account, made) == model.rows

    play(act)


async def do(
    inbox: InboxStore,
    models: dict[str, Model],
    made: list[str],
    step: str,
    account: str,
    choice: int,
    at: datetime,
) -> None:
    """Take a step in the store and in the model, and compare what they count."""
    model = models[account]
    if step.startswith("tell"):
        message = new_id(at)
        made.append(message)
        told = models if step == "tell all" else {account: model}
        if step == "tell all":
            await inbox.insert_together(told, message, "WARNING", message)
        else:
            await inbox.insert([(account, message, "WARNING")], message)
        for each in told.values():
            each.rows[message] = InboxRow(message, "WARNING", message)
        return
    if not made:
        return
    message = made[choice % len(made)]
    row = model.rows.get(message)
    if step == "read":
        count = await inbox.mark_read(account, [message], now=at)
        assert count == (row is not None and row.read_at is None)
        if count and row is not None:
            model.rows[message] = InboxRow(message, row.kind, row.position, at, row.archived_at)
    elif step == "read until":
        count = await inbox.mark_read_until(account, Place(message, message), now=at)
        older = [each for each in model.rows.values() if each.message <= message and each.read_at is None]
        assert count == len(older)
        for each in older:
            model.rows[each.message] = InboxRow(each.message, each.kind, each.position, at, each.archived_at)
    elif step == "archive":
        count = await inbox.archive(account, [message], now=at)
        assert count == (row is not None and row.archived_at is None)
        if count and row is not None:
            model.rows[message] = InboxRow(message, row.kind, row.position, row.read_at, at)
    elif step == "restore":
        count = await inbox.restore(account, [message])
        assert count == (row is not None and row.archived_at is not None)
        if count and row is not None:
            model.rows[message] = InboxRow(message, row.kind, row.position, row.read_at)
    else:
        assert await inbox.delete(account, [message]) == (model.rows.pop(message, None) is not None)
