"""Running coroutines that seldom wait: to the end at once where they do not, in a task where they do.

A task, a timer and a watch over the client's connection each cost more than answering most requests does, and
are needed only by work that waits for something.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine, Generator
from functools import partial
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Resumed(Generic[T]):
    """The rest of a coroutine that was started by hand and gave `waiting`; to be awaited once."""

    __slots__ = ("_waiting", "_work")

    def __init__(self, work: Coroutine[Any, Any, T], waiting: Any) -> None:
        self._work = work
        self._waiting = waiting

    def __await__(self) -> Generator[Any, Any, T]:
        work, waiting = self._work, self._waiting
        while True:
            try:
                sent = yield waiting
            except BaseException as error:  # noqa: BLE001 - cancellation and the end of generators, too
                step = partial(work.throw, error)
            else:
                step = partial(work.send, sent)
            try:
                waiting = step()
            except StopIteration as done:
                result: T = done.value
                return result


class _Yield:
    """Gives control back once; a task goes on at its next turn."""

    def __await__(self) -> Generator[None, None, None]:
        yield


async def _awaiting(work: Awaitable[T]) -> T:
    return await work


async def within(awaitable: Awaitable[T], timeout_s: float) -> T:
    """Await work, at most for a time that begins when it first waits for something.

    May itself be started outside a task; what has to wait is then to be gone on with in one, as `Resumed`.
    Raises: TimeoutError.
    """
    work = _awaiting(awaitable)
    try:
        waiting = work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    try:
        if asyncio.current_task() is None:
            await _Yield()
    except BaseException:
        work.close()
        raise
    async with asyncio.timeout(timeout_s):
        return await Resumed(work, waiting)
