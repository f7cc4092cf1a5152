"""Open311 when things go wrong: no Redis, two at once, a process that died in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from complaints_world import COUNTY, ComplaintWorlds, World

from domain import complaints as c
from domain.open311 import ApiKey, InvalidApiKeyError, KeyScope, NewComment, NewRequest
from operations.complaint_publication import Publisher
from operations.open311 import Open311, PartnerFollower, admit, comment, post
from store.connections import open_redis
from store.gate import Gate
from store.open311_keys import Open311KeyStore
from store.open311_requests import Open311RequestStore, PartnerRequest
from store.public_complaints import PublicComplaintStore

NOW = datetime(2026, 11, 23, 2, tzinfo=UTC)
NEW = NewRequest(
    kind=c.Kind.HELP,
    service_code="0101",
    description="垃圾桶满溢",
    contact=c.ContactWish.ANONYMOUS,
    is_public_wished=True,
    division_code=COUNTY,
    address="东街口",
)


@pytest.fixture
def worlds(mongodb_uri: str, database_name: str, tmp_path: Path) -> ComplaintWorlds:
    return ComplaintWorlds(mongodb_uri, database_name, tmp_path)


@asynccontextmanager
async def open_partner(world: World, redis_url: str) -> AsyncIterator[tuple[Open311, ApiKey, str]]:
    own, database = world.complaints, world.database
    async with aclosing(open_redis(redis_url, 5_000)) as redis:
        open311 = Open311(
            complaints=own,
            publisher=Publisher(PublicComplaintStore(database), own.secrets, own.calendar),
            keys=Open311KeyStore(database),
            requests=Open311RequestStore(database, redis),
            gate=Gate(redis),
            address_limit="5 per 1 minute",
        )
        await open311.keys.ensure_indexes()
        await open311.requests.ensure_indexes()
        limits = {"per_minute": 5, "per_day": 5}
        key, text = await open311.keys.create("partner", "a@b.example", KeyScope.WRITE, **limits, now=NOW)
        yield open311, key, text


def test_without_redis_partners_are_served_and_repetitions_stay_one(worlds: ComplaintWorlds) -> None:
    async def work(world: World) -> None:
        async with open_partner(world, "redis://127.0.0.1:1/0") as (open311, key, text):
            for _ in range(7):
                assert await admit(open311, text, "10.0.0.1", writes=True) == key
            with pytest.raises(InvalidApiKeyError):
                await admit(open311, "wrong", "10.0.0.1", writes=False)
            posted = [await post(open311, key, NEW, None, None, now=NOW) for _ in range(2)]
            assert posted[0].id == posted[1].id
            assert await world.database["complaints"].count_documents({}) == 1

    worlds.run(work)


def test_the_same_content_later_is_another_request(worlds: ComplaintWorlds, redis_url: str) -> None:
    async def work(world: World) -> None:
        async with open_partner(world, redis_url) as (open311, key, _):
            posts = [post(open311, key, NEW, None, None, now=NOW) for _ in range(5)]
            at_once = await asyncio.gather(*posts)
            assert len({each.id for each in at_once}) == 1
            assert await world.database["complaints"].count_documents({}) == 1
            redis = open_redis(redis_url, 5_000)
            async with aclosing(redis):  # as time does
                async for name in redis.scan_iter("mintong:open311:recent:*"):
                    await redis.delete(name)
            later = await post(open311, key, NEW, None, None, now=NOW + timedelta(minutes=11))
            assert later.id != at_once[0].id
            event = at_once[0].complaint.events[0]
            assert event.actor == c.Actor(c.ActorRole.SEAT, account=f"open311:{key.id}")
            assert at_once[0].complaint.standing.channel is c.ComplaintChannel.OPEN311
            assert at_once[0].complaint.owner is None

    worlds.run(work)


def test_comments_at_once_are_one_and_different_ones_all_there(
    worlds: ComplaintWorlds, redis_url: str
) -> None:
    async def work(world: World) -> None:
        async with open_partner(world, redis_url) as (open311, key, _):
            posted = await post(open311, key, NEW, None, None, now=NOW)
            same = [comment(open311, key, NewComment(posted.id, "还是满的", "u1"), now=NOW) for _ in range(3)]
            assert len(set(await asyncio.gather(*same))) == 1
            await comment(open311, key, NewComment(posted.id, "第二条", "u2"), now=NOW)
            after = NOW + timedelta(days=1)
            again = await comment(open311, key, NewComment(posted.id, "第二条", "u2"), now=after)
            assert again == f"{posted.id}_2"
            complaint = await world.get(posted.complaint.number)
            assert [event.action for event in complaint.events] == ["SUBMIT", "SUPPLEMENT", "SUPPLEMENT"]

    worlds.run(work)


def test_the_worker_notes_what_a_process_that_died_has_not(worlds: ComplaintWorlds, redis_url: str) -> None:
    async def work(world: World) -> None:
        async with open_partner(world, redis_url) as (open311, key, _):
            posted = await post(open311, key, NEW, None, None, now=NOW)
            await world.database["open311_requests"].delete_many({})
            follow = PartnerFollower(open311.requests, open311.publisher)

            async def texts() -> dict[int, dict[str, str]]:
                return {}

            for complaint in (posted.complaint, posted.complaint, await world.submit()):
                await follow(complaint, texts, now=NOW)
            found = await world.database["open311_requests"].find({}).to_list()
            assert found == [{"_id": posted.id, "number": posted.complaint.number, "key": key.id}]
            own = await open311.requests.list_by_ids(key.id, [posted.id])
            assert own == {posted.id: PartnerRequest(posted.id, posted.complaint.number)}
            assert await open311.requests.list_by_ids("another", [posted.id]) == {}

    worlds.run(work)
