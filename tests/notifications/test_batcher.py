"""Batches of jobs: everything is done once, bounded in size and number, failures reach who waits."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications.batcher import Batcher


@given(
    st.lists(st.lists(st.integers(0, 999).map(str), max_size=9), max_size=30),
    st.integers(1, 5),
    st.integers(1, 3),
)
def test_everything_is_done_once_within_the_bounds(
    jobs: list[list[str]], size: int, concurrency: int
) -> None:
    done: list[str] = []
    running = most = 0

    async def work(ids: list[str]) -> None:
        nonlocal running, most
        assert 0 < len(ids) <= size
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        done.extend(ids)

    async def main() -> None:
        batcher = Batcher(work, size=size, concurrency=concurrency)
        await asyncio.gather(*(batcher.add(job) for job in jobs))

    asyncio.run(main())
    assert sorted(done) == sorted(each for job in jobs for each in job)
    assert most <= concurrency


def test_a_failure_reaches_those_of_its_batch_only() -> None:
    async def work(ids: list[str]) -> None:
        if "bad" in ids:
            raise ValueError("bad")

    async def main() -> None:
        batcher = Batcher(work, size=2, concurrency=1)
        good, bad = asyncio.create_task(batcher.add(["a", "b"])), asyncio.create_task(batcher.add(["bad"]))
        await good
        with pytest.raises(ValueError, match="bad"):
            await bad
        await batcher.add(["c"])

    asyncio.run(main())
