"""Asking the house's schema with stores of one's own, as viewers of every kind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

from pymongo.asynchronous.database import AsyncDatabase
from redis.asyncio import Redis

from domain.access import Assurance, Role, Viewer
from feeds.demo.units import demo_units
from loaders.complaint_classes import shipped_classes
from loaders.reference import Follower
from loaders.units import Units
from operations.units import replace_units
from resolvers.context import Context, Stores, ViewCounter
from resolvers.schema import schema
from store.connections import open_mongodb, open_redis
from store.units import UnitStore

NOW = datetime(2026, 11, 22, 4, tzinfo=UTC)
FAR = NOW + timedelta(days=400)


def citizen(account: str = "someone") -> Viewer:
    return Viewer(account, "s", frozenset({Role.CITIZEN}), Assurance.L1, FAR)


def staff(unit: str, division: str, account: str = "clerk", level: Assurance = Assurance.L2) -> Viewer:
    return Viewer(account, "s", frozenset({Role.DESK}), level, FAR, unit=unit, division_code=division)


SEAT = staff("350100-12345", "350100", "seat")
CLERK = staff("350102-cgj", "350102", "clerk")
OPERATOR = Viewer("operator", "s", frozenset({Role.OPERATOR}), Assurance.L2, FAR)


class DeskWorld:
    """A database with the demo's units, and somebody who asks."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]], redis: Redis) -> None:
        self.database = database
        self.redis = redis
        self.now = NOW
        self.units = Units(UnitStore(database))
        self.more: dict[str, Any] = {}
        self.catalogue: Any = SimpleNamespace(item=lambda id: None)
        self.codes: list[str] = []

    async def load_units(self) -> None:
        await replace_units(self.units.store, self.redis, demo_units(shipped_classes()), now=NOW)
        await self.follow(*self.units.followed)

    async def follow(self, *lists: Any) -> None:
        await Follower(self.units.store.reference, self.redis, lists, poll=timedelta(hours=1)).refresh()

    async def ask(self, viewer: Viewer | None, document: str, **variables: Any) -> Any:
        """Give the data of an answer; the codes of its errors are in `codes`."""
        stores = Stores(**{"identity": None, "personal": (), "units": self.units, **self.more})
        context = Context(
            catalogue=self.catalogue,
            catalogue_freshness=lambda: None,
            views=cast("ViewCounter", None),
            language="zh",
            request_id="r",
            now=self.now,
            viewer=viewer,
            opened=stores,
        )
        result = await schema.execute(document, variable_values=variables, context_value=context)
        self.codes = [
            getattr(error.original_error, "code", str(error.message)) for error in result.errors or ()
        ]
        return result.data


@asynccontextmanager
async def open_desk_world(mongodb_uri: str, redis_url: str, database: str) -> AsyncIterator[DeskWorld]:
    async with open_mongodb(mongodb_uri, 30_000) as client, open_redis(redis_url, 5_000) as redis:
        world = DeskWorld(client[database], redis)
        await world.load_units()
        yield world


def play_desk(
    mongodb_uri: str, redis_url: str, database: str, act: Callable[[DeskWorld], Awaitable[None]]
) -> None:
    async def main() -> None:
        async with open_desk_world(mongodb_uri, redis_url, database) as world:
            await act(world)

    asyncio.run(main())
