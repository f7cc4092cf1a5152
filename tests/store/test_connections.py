"""Clients whose connection was lost under them."""

from __future__ import annotations

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
