"""Live events between processes: delivery, bounds, gaps, and a Redis that is started again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis

from notifications.live import (
    BROADCAST,
    CHANNEL,
    MAX_EVENT_BYTES,
    MAX_TOPICS,
    Closed,
    Listener,
    ListenerClosedError,
    LiveEvent,
    LiveHub,
    account_topic,
    publish,
    publish_to,
    session_ended_topic,
)
from store.connections import open_redis
from tests.conftest import RunningEngines, run_engines


@asynccontextmanager
async def hub_of(redis: Redis) -> AsyncIterator[LiveHub]:
    """Run a hub until it is connected, and end it afterwards."""
    hub = LiveHub(redis)
    task = asyncio.create_task(hub.run())
    try:
        await until(lambda: hub.is_connected)
        yield hub
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - polls another thread or process
            await asyncio.sleep(0.01)


async def next_of(listener: Listener) -> LiveEvent:
    async with asyncio.timeout(10):
        return await anext(listener)


def with_hubs(url: str, scenario: Callable[[Redis, LiveHub, LiveHub], Awaitable[None]]) -> None:
    """Play a scenario between two hubs, as of two processes."""

    async def play() -> None:
        redis, other = open_redis(url, 5000), open_redis(url, 5000)
        try:
            async with hub_of(redis) as one, hub_of(other) as two:
                await scenario(redis, one, two)
        finally:
            await redis.aclose()
            await other.aclose()

    asyncio.run(play())


def test_every_process_hears_an_event_once_for_its_topics(redis_url: str) -> None:
    async def scenario(redis: Redis, one: LiveHub, two: LiveHub) -> None:
        mine, yours = account_topic("lin-1"), account_topic("chen-1")
        async with one.listen([mine, yours]) as both, two.listen([yours]) as single:
            await publish(redis, mine, b"first")
            await publish_to(redis, [mine, yours, account_topic("nobody")], b"second")
            assert await next_of(both) == LiveEvent(mine, b"first")
            assert await next_of(both) == LiveEvent(mine, b"second")
            assert await next_of(single) == LiveEvent(yours, b"second")
            await publish(redis, yours, b"third")
            assert await next_of(both) == await next_of(single) == LiveEvent(yours, b"third")
        assert one._topics == {}
        assert two._topics == {}

    with_hubs(redis_url, scenario)


def test_what_is_not_an_event_is_ignored(redis_url: str) -> None:
    async def scenario(redis: Redis, one: LiveHub, two: LiveHub) -> None:
        async with one.listen(["ignored"]) as events:
            for body in (b"", b"nonsense", b"\x92\x01\x02", b"\x00" * 2_000_000):
                await redis.publish(CHANNEL, body)
            await publish(redis, "ignored", b"good")
            assert await next_of(events) == LiveEvent("ignored", b"good")

    with_hubs(redis_url, scenario)


def test_events_topics_and_queues_are_bounded() -> None:
    async def play() -> None:
        redis = Redis(port=1)
        for topics, body in (
            ([], b""),
            (["t"] * (MAX_TOPICS + 1), b""),
            (["t"], b"x" * (MAX_EVENT_BYTES + 1)),
        ):
            with pytest.raises(ValueError, match="an event has"):
                await publish_to(redis, topics, body)
        for topic in ("", "t" * 201):
            with pytest.raises(ValueError, match="a topic has"):
                await publish(redis, topic, b"")
        for size in (0, 1001):
            with pytest.raises(ValueError, match="a queue holds"):
                async with LiveHub(redis).listen([BROADCAST], size):
                    pass

    asyncio.run(play())


def test_a_full_queue_closes_its_listener_only() -> None:
    async def play() -> None:
        hub = LiveHub(Redis(port=1))
        async with hub.listen(["t"], 2) as slow, hub.listen(["t"], 3) as patient:
            for number in range(3):
                hub.dispatch(["t"], b"%d" % number)
            with pytest.raises(ListenerClosedError) as closed:
                await next_of(slow)
            assert closed.value.reason is Closed.SLOW
            assert [(await next_of(patient)).body for _ in range(3)] == [b"0", b"1", b"2"]

    asyncio.run(play())


def test_the_end_of_a_session_is_told_to_who_comes_a_moment_late() -> None:
    async def play() -> None:
        hub = LiveHub(Redis(port=1))
        heard: list[LiveEvent] = []
        topic = session_ended_topic("s-1")
        with hub.watch(topic, heard.append):
            hub.dispatch([topic], b"")
            assert len(heard) == 1
        with hub.watch(topic, heard.append), hub.watch(session_ended_topic("s-2"), heard.append):
            assert len(heard) == 2
        hub.dispatch([topic], b"")
        assert len(heard) == 2

    asyncio.run(play())


def test_stopping_closes_the_listeners(redis_url: str) -> None:
    async def play() -> None:
        redis = open_redis(redis_url, 5000)
        async with contextlib.AsyncExitStack() as stack:
            async with hub_of(redis) as hub:
                events = await stack.enter_async_context(hub.listen(["t"]))
            with pytest.raises(ListenerClosedError) as closed:
                await next_of(events)
            assert closed.value.reason is Closed.STOPPED
            assert not hub.is_connected
        await redis.aclose()

    asyncio.run(play())


@pytest.fixture
def redis_alone(tmp_path: Path) -> Iterator[RunningEngines]:
    with ExitStack() as stack:
        yield run_engines(tmp_path / "alone", stack, mongodb=False)


def test_a_redis_that_is_killed_leaves_a_gap_and_events_flow_again(redis_alone: RunningEngines) -> None:
    async def scenario(redis: Redis, one: LiveHub, two: LiveHub) -> None:
        gaps: list[float] = []
        async with one.listen(["t"]) as events:
            with one.watch_gaps(lambda: gaps.append(time.monotonic())):
                pid = (await redis.info("server"))["process_id"]
                os.kill(pid, signal.SIGKILL)
                with pytest.raises(ListenerClosedError) as closed:
                    async with asyncio.timeout(30):
                        await anext(events)
                assert closed.value.reason is Closed.GAP
                assert gaps
        await until(lambda: one.is_connected and two.is_connected)
        async with one.listen(["t"]) as events, two.listen(["t"]) as others:
            await publish(redis, "t", b"again")
            assert (await next_of(events)).body == (await next_of(others)).body == b"again"

    with_hubs(redis_alone.redis_url, scenario)
