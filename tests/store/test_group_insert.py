"""Grouped inserts are single inserts to whoever makes them."""

from __future__ import annotations

import asyncio

import pytest
from pymongo import AsyncMongoClient, monitoring
from pymongo.errors import DuplicateKeyError, PyMongoError

from store.connections import open_mongodb
from store.group_insert import MAX_GROUP, GroupInsert


class Counted(monitoring.CommandListener):
    """Counts inserts."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if event.command_name == "insert":
            self.sizes.append(len(event.command["documents"]))

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        pass

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        pass


def test_what_comes_during_a_call_is_the_next_call(mongodb_uri: str, database_name: str):
    async def main() -> None:
        async with open_mongodb(mongodb_uri, 30_000) as client:
            collection = client[database_name]["things"]
            group = GroupInsert(collection)
            await asyncio.gather(*(group.insert({"_id": number}) for number in range(200)))
            assert await collection.count_documents({}) == 200
            tries = [group.insert({"_id": number}) for number in range(190, 210)]
            results = await asyncio.gather(*tries, return_exceptions=True)
            assert [isinstance(each, DuplicateKeyError) for each in results] == [True] * 10 + [False] * 10
            assert await collection.count_documents({}) == 210
            # Somebody who goes away leaves the others in peace.
            gone = asyncio.create_task(group.insert({"_id": "gone"}))
            stays = asyncio.create_task(group.insert({"_id": "stays"}))
            await asyncio.sleep(0)
            gone.cancel()
            await stays
            assert await collection.count_documents({"_id": {"$in": ["gone", "stays"]}}) == 2

    asyncio.run(main())


def test_calls_are_few_and_bounded(mongodb_uri: str, database_name: str):
    async def main() -> None:
        counted = Counted()
        async with AsyncMongoClient[dict[str, object]](mongodb_uri, event_listeners=[counted]) as client:
            group = GroupInsert(client[database_name]["things"])
            await asyncio.gather(*(group.insert({"_id": number}) for number in range(300)))
        assert sum(counted.sizes) == 300
        assert max(counted.sizes) <= MAX_GROUP
        assert len(counted.sizes) <= 1 + -(-300 // MAX_GROUP)

    asyncio.run(main())


def test_a_failed_call_is_everybodys_failure_and_the_next_one_works(mongodb_uri: str, database_name: str):
    async def main() -> None:
        async with open_mongodb(mongodb_uri, 30_000) as client:
            group = GroupInsert(client[database_name]["things"])
            too_large = {"_id": 2, "text": "x" * 17_000_000}
            tries = [group.insert({"_id": 1}), group.insert(too_large)]
            results = await asyncio.gather(*tries, return_exceptions=True)
            assert isinstance(results[1], PyMongoError)
            await group.insert({"_id": 3})
            with pytest.raises(DuplicateKeyError):
                await group.insert({"_id": 3})

    asyncio.run(main())
