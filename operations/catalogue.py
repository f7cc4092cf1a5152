"""What an operator can do to catalogue items: withdraw them at once, offer them again."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from redis.asyncio import Redis
from redis.exceptions import RedisError

from store.catalogue import CatalogueStore, announce


async def withdraw_items(store: CatalogueStore, redis: Redis, ids: Collection[str], *, now: datetime) -> int:
    """Withdraw items by id and tell how many were offered until now; readers see it within seconds.

    What an operator withdraws stays away, whatever a feed says, until it is restored.
    Raises: store.catalogue.UnknownItemsError, store.catalogue.TooManyWithdrawnError.
    """
    count = await store.withdraw(ids, now=now)
    await _tell(store, redis)
    return count


async def restore_items(store: CatalogueStore, redis: Redis, ids: Collection[str]) -> int:
    """Offer withdrawn items again and tell how many there were.

    Items of the published version reappear within seconds, others with the next publication.
    Raises: store.catalogue.UnknownItemsError.
    """
    count = await store.restore(ids)
    await _tell(store, redis)
    return count


async def _tell(store: CatalogueStore, redis: Redis) -> None:
    revision = (await store.get_state()).revision
    try:
        await announce(redis, revision)
    except RedisError:
        # The change is stored; readers poll the revision and need no hint.
        return
