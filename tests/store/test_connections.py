"""Clients whose connection was lost under them."""

from __future__ import annotations

import asyncio

import pytest
import uvloop

from store.connections import open_redis


def test_a_transport_closed_under_the_client_is_replaced(redis_url: str) -> None:
    async def main() -> bool:
        async with open_redis(redis_url, 5000) as redis:
            assert await redis.ping()
            connection = await redis.connection_pool.get_connection()
            connection._writer.transport.abort()
            await redis.connection_pool.release(connection)
            return bool(await redis.ping())

    assert uvloop.run(main()) is True


def test_a_cancellation_is_never_swallowed(redis_url: str) -> None:
    async def main() -> int:
        cancelled = 0
        for steps in range(100):  # turns of the loop, through connecting and sending until the answer
            async with open_redis(redis_url, 5000) as redis:
                asking = asyncio.create_task(redis.ping())
                for _ in range(steps):
                    await asyncio.sleep(0)
                if not asking.done():
                    cancelled += 1
                    asking.cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await asking
        return cancelled

    assert asyncio.run(main()) > 10
