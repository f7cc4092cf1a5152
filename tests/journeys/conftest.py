"""One small published province for all journeys of the session."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator

import pytest
from journey_world import Journeys, World, build, serving

from store.connections import open_mongodb


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory, mongodb_uri: str, redis_url: str) -> Iterator[World]:
    """The province, imported and published once."""
    home = tmp_path_factory.mktemp("journeys")
    database = f"test_{secrets.token_hex(8)}"
    world = World(home, mongodb_uri, redis_url, database)
    build(world)
    yield world

    async def drop() -> None:
        async with open_mongodb(mongodb_uri, 60_000) as client:
            await client.drop_database(database)

    asyncio.run(drop())


@pytest.fixture(scope="session")
def servers(world: World) -> Iterator[dict[str, Journeys]]:
    """Servers with and without the engine, both open before the first view is counted."""
    with (
        serving(world.settings(compiled_execution=True)) as compiled,
        serving(world.settings(compiled_execution=False)) as plain,
    ):
        yield {"compiled": Journeys(compiled), "plain": Journeys(plain)}


@pytest.fixture(params=["compiled", "plain"])
def journeys(servers: dict[str, Journeys], request: pytest.FixtureRequest) -> Journeys:
    """One of the servers and what it answered so far."""
    return servers[request.param]
