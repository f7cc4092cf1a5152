"""What commands need from outside: settings that hold, engines that answer, and one way to report trouble."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase
from redis.asyncio import Redis
from rich.console import Console

from settings import Settings
from store.connections import open_mongodb, open_redis
from store.engines import join_or_start

T = TypeVar("T")

console = Console(stderr=True, highlight=False)
"""Progress, notices and errors; what a command is asked for goes to `output`."""
output = Console(highlight=False, soft_wrap=True)

_BATCH_TIMEOUT_MS = 60_000


class CommandError(Exception):
    """A command cannot do what it was asked; the text says why and what to do, in one line."""

    def __init__(self, message: str, *, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Resources:
    """Open clients of both engines; the timeouts suit long batches, not requests."""

    settings: Settings
    mongodb: AsyncMongoClient[dict[str, Any]]
    database: AsyncDatabase[dict[str, Any]]
    redis: Redis


def read_settings() -> Settings:
    """Read the settings from the environment.

    Raises: CommandError naming each setting that cannot be used.
    """
    try:
        return Settings()
    except ValidationError as error:
        faults = "; ".join(
            f"{variable_name(str(fault['loc'][0]))}: {fault['msg']}"
            for fault in error.errors(include_url=False, include_input=False)
        )
        raise CommandError(f"Settings cannot be used: {faults}", code=2) from None


def variable_name(field: str) -> str:
    """Return the environment variable of a setting, given its field or its variable."""
    known = {"mongodb_uri": "MONGODB_URI", "redis_url": "REDIS_URL"}
    if field.isupper():
        return field
    return known.get(field, f"MINTONG_{field.upper()}")


def engine_environment(settings: Settings, mongodb_uri: str, redis_url: str) -> dict[str, str]:
    """Return the environment of a process that uses these engines and the home of these settings."""
    home = str(settings.home.expanduser().resolve())
    return {**os.environ, "MONGODB_URI": mongodb_uri, "REDIS_URL": redis_url, "MINTONG_HOME": home}


@asynccontextmanager
async def open_addresses(settings: Settings) -> AsyncIterator[tuple[str, str]]:
    """Give the addresses of MongoDB and Redis: the configured ones, else the embedded engines of the home.

    Raises: EngineError when embedded engines can be neither joined nor started.
    """
    mongodb_uri, redis_url = settings.mongodb_uri, settings.redis_url
    if mongodb_uri and redis_url:
        yield mongodb_uri, redis_url
        return
    async with join_or_start(settings.home, mongodb=not mongodb_uri, redis=not redis_url) as running:
        yield mongodb_uri or running.mongodb_uri or "", redis_url or running.redis_url or ""


@asynccontextmanager
async def open_resources(settings: Settings) -> AsyncIterator[Resources]:
    """Open both engines for a command and close them after it."""
    async with AsyncExitStack() as stack:
        mongodb_uri, redis_url = await stack.enter_async_context(open_addresses(settings))
        timeout_ms = settings.engine_timeout_ms
        mongodb = open_mongodb(mongodb_uri, timeout_ms, answer_timeout_ms=_BATCH_TIMEOUT_MS)
        redis = open_redis(redis_url, timeout_ms, answer_timeout_ms=_BATCH_TIMEOUT_MS)
        await stack.enter_async_context(mongodb)
        await stack.enter_async_context(redis)
        yield Resources(settings, mongodb, mongodb[settings.database], redis)


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine; SIGTERM and SIGHUP cancel it as Ctrl-C does.

    Raises: KeyboardInterrupt when it was stopped by a signal.
    """

    async def main() -> T:
        task = asyncio.ensure_future(work)
        stopped = False

        def stop() -> None:
            # Only once: a second cancellation would break off the orderly stop that the first one began.
            nonlocal stopped
            if not stopped:
                stopped = True
                task.cancel()

        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, stop)
        try:
            return await task
        except asyncio.CancelledError:
            if stopped:
                raise KeyboardInterrupt from None
            raise

    return asyncio.run(main())
