"""Many small jobs done as few large ones: what comes while a batch runs is the next batch."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence


class Batcher:
    """Runs `work` on batches of ids, at most `size` in one and at most `concurrency` at a time."""

    def __init__(self, work: Callable[[list[str]], Awaitable[None]], *, size: int, concurrency: int) -> None:
        self._work = work
        self._size = size
        self._free = concurrency
        self._waiting: deque[tuple[list[str], asyncio.Future[None]]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    async def add(self, ids: Sequence[str]) -> None:
        """Wait until the work on these ids is done.

        Raises: what the work raised on the batch that had them.
        """
        parts = [list(ids[start : start + self._size]) for start in range(0, len(ids), self._size)]
        futures = []
        for part in parts:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((part, future))
            futures.append(future)
        self._start()
        results = await asyncio.gather(*futures, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    def _start(self) -> None:
        while self._free and self._waiting:
            batch: list[str] = []
            futures: list[asyncio.Future[None]] = []
            while self._waiting and len(batch) + len(self._waiting[0][0]) <= self._size:
                ids, future = self._waiting.popleft()
                batch += ids
                futures.append(future)
            self._free -= 1
            task = asyncio.create_task(self._run(batch, futures))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _run(self, batch: list[str], futures: list[asyncio.Future[None]]) -> None:
        error: BaseException | None = None
        try:
            await self._work(batch)
        except Exception as raised:  # noqa: BLE001 - handed to everyone who waits for the batch
            error = raised
        except asyncio.CancelledError as cancelled:
            error = cancelled
            raise
        finally:
            self._free += 1
            for future in futures:
                if future.done():
                    continue
                if error is None:
                    future.set_result(None)
                else:
                    future.set_exception(error)
            self._start()
