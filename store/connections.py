"""Clients of MongoDB and Redis, set up alike everywhere. Whoever opens one closes it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from pymongo import AsyncMongoClient
from redis.asyncio import Connection, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError


class _Connection(Connection):
    """A connection that says so when it was lost, and whose users can be cancelled while they send.

    uvloop raises RuntimeError for a closed transport. redis-py sends within `asyncio.wait_for`, which up to
    Python 3.11 swallows a cancellation that comes as the sending ends: whoever was to stop went on.
    """

    async def send_packed_command(
        self, command: bytes | str | Iterable[bytes], check_health: bool = True
    ) -> None:
        if not self.is_connected:
            await self.connect_check_health(check_health=False)
        if check_health:
            await self.check_health()  # type: ignore[no-untyped-call]
        if isinstance(command, str):
            command = command.encode()
        writer = self._writer
        if writer is None:
            raise RedisConnectionError("The connection was closed before the command was sent")
        try:
            async with asyncio.timeout(self.socket_timeout or None):
                writer.writelines([command] if isinstance(command, bytes) else command)
                await writer.drain()
        except BaseException as error:
            await self.disconnect(nowait=True)
            if isinstance(error, TimeoutError):
                raise RedisTimeoutError("Timeout writing to socket") from None
            if isinstance(error, OSError | RuntimeError):
                raise RedisConnectionError(str(error)) from error
            raise


def open_mongodb(
    uri: str, timeout_ms: int, *, answer_timeout_ms: int | None = None
) -> AsyncMongoClient[dict[str, Any]]:
    """Open a MongoDB client; nothing is sent before the first command.

    `timeout_ms` bounds the choice of a server, connecting, and every single answer, not the lifetime of a
    cursor; `answer_timeout_ms` gives answers and connecting longer, for work in batches. Dates come back
    aware, in UTC.

    Raises: pymongo.errors.ConfigurationError or InvalidURI for an address it cannot read.
    """
    return AsyncMongoClient(
        uri,
        appname="mintong",
        tz_aware=True,
        uuidRepresentation="standard",
        serverSelectionTimeoutMS=timeout_ms,
        connectTimeoutMS=answer_timeout_ms or timeout_ms,  # also bounds the driver's own questions of health
        socketTimeoutMS=answer_timeout_ms or timeout_ms,
        waitQueueTimeoutMS=timeout_ms,
    )


def open_redis(url: str, timeout_ms: int, *, answer_timeout_ms: int | None = None) -> Redis:
    """Open a Redis client that answers bytes; nothing is sent before the first command.

    `timeout_ms` bounds connecting and every answer; `answer_timeout_ms` gives answers longer. A broken
    connection is tried once more, because the pool may hold connections from before the server's restart.

    Raises: ValueError for an address it cannot read.
    """
    return Redis.from_url(
        url,
        connection_class=_Connection,
        socket_timeout=(answer_timeout_ms or timeout_ms) / 1000,
        socket_connect_timeout=timeout_ms / 1000,
        health_check_interval=30,
        retry=Retry(ExponentialBackoff(cap=0.1, base=0.01), retries=1),
        client_name="mintong",
    )
