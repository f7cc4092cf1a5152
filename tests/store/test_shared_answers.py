"""Answers shared through a real Redis, and nobody waiting for one that is away."""

from __future__ import annotations

import asyncio
import secrets

from redis.asyncio import Redis

from store.connections import open_redis
from store.shared_answers import SharedAnswers


def test_answers_live_for_their_time_and_within_their_namespace(redis_url: str) -> None:
    async def work() -> None:
        async with open_redis(redis_url, 5_000) as redis:
            space, key = secrets.token_hex(8), secrets.token_bytes(24)
            one, other = (SharedAnswers(lambda: redis, name) for name in (space, f"{space}x"))
            assert await one.get(key) is None
            await one.set(key, b"{}", 60)
            found = await SharedAnswers(lambda: redis, space).get(key)
            assert found is not None
            assert found[0] == b"{}"
            assert 58 < found[1] <= 60
            assert await other.get(key) is None
            await one.set(key, b"x" * 1_000_001, 60)
            assert (await one.get(key) or (b"", 0))[0] == b"{}"

    asyncio.run(work())


def test_a_redis_that_is_away_is_asked_again_after_five_seconds(redis_url: str) -> None:
    async def work() -> None:
        now, asked = [100.0], []
        key = secrets.token_bytes(24)
        gone, back = Redis.from_url("redis://127.0.0.1:1/0"), open_redis(redis_url, 5_000)

        def find() -> Redis | None:
            asked.append(now[0])
            return gone if now[0] < 103 else back

        answers = SharedAnswers(find, secrets.token_hex(8), clock=lambda: now[0])
        assert await answers.get(key) is None
        await answers.set(key, b"{}", 60)
        now[0] = 104.9
        assert await answers.get(key) is None
        assert asked == [100.0]
        now[0] = 105.0
        await answers.set(key, b"{}", 60)
        assert (await answers.get(key) or (b"", 0))[0] == b"{}"
        assert asked == [100.0, 105.0, 105.0]
        await gone.aclose()
        await back.aclose()

    asyncio.run(work())


def test_before_the_client_is_open_nothing_is_shared() -> None:
    answers = SharedAnswers(lambda: None, "x")
    asyncio.run(answers.set(b"k", b"{}", 60))
    assert asyncio.run(answers.get(b"k")) is None
