"""One small published province for all journeys of the session."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from journey_world import Journeys, build, serving, settings_for

from settings import Settings
from store.connections import open_mongodb


@dataclass(frozen=True)
class World:
    """Where the published province lies."""

    home: Path
    mongodb_uri: str
    redis_url: str
    database: str
    item_count: int

    def settings(self, **changes: Any) -> Settings:
        """Give settings of an API process that serves it."""
        return settings_for(self.home, self.mongodb_uri, self.redis_url, self.database, **changes)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory, mongodb_uri: str, redis_url: str) -> Iterator[World]:
    """The province, imported and published once."""
    home = tmp_path_factory.mktemp("journeys")
    database = f"test_{secrets.token_hex(8)}"
    yield World(home, mongodb_uri, redis_url, database, build(mongodb_uri, redis_url, database, home))

    async def drop() -> None:
        async with open_mongodb(mongodb_uri, 10_000) as client:
            await client.drop_database(database)

    asyncio.run(drop())


@pytest.fixture(scope="session")
def journeys(world: World) -> Iterator[Journeys]:
    """A server of the province and what it answered so far."""
    with serving(world.settings()) as client:
        yield Journeys(client)
