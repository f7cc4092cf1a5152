"""Single inserts that come at the same moment, written in one call: what comes during a call is the next one.

Nobody waits who would not have waited anyway: the first insert goes out at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Final

from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import BulkWriteError, DuplicateKeyError

from store.keys import duplicates

Document = dict[str, Any]
MAX_GROUP: Final = 64


class GroupInsert:
    """Inserts documents into one collection, up to 64 in a call, one call at a time."""

    def __init__(self, collection: AsyncCollection[Document]) -> None:
        self._collection = collection
        self._waiting: deque[tuple[Document, asyncio.Future[None]]] = deque()
        self._writer: asyncio.Task[None] | None = None

    async def insert(self, document: Document) -> None:
        """Insert a document and return when it is written.

        Raises: DuplicateKeyError for this document alone; any other error of the call that it was part of,
        after which it may or may not be written.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((document, done))
        if self._writer is None:
            self._writer = asyncio.create_task(self._write())
        await done

    async def _write(self) -> None:
        try:
            while self._waiting:
                size = min(len(self._waiting), MAX_GROUP)
                group = [self._waiting.popleft() for _ in range(size)]
                await self._write_group(group)
        finally:
            self._writer = None
            for _, done in self._waiting:  # only when this task was cancelled
                done.cancel()
            self._waiting.clear()

    async def _write_group(self, group: list[tuple[Document, asyncio.Future[None]]]) -> None:
        refused: set[int] = set()
        failure: BaseException | None = None
        try:
            await self._collection.insert_many([document for document, _ in group], ordered=False)
        except BulkWriteError as error:
            try:
                refused = duplicates(error)
            except BulkWriteError as other:
                failure = other
        except Exception as error:  # noqa: BLE001 - handed to everybody whose document was in the call
            failure = error
        except asyncio.CancelledError as error:
            failure = error
            raise
        finally:
            for index, (_, done) in enumerate(group):
                if done.done():  # whoever waited for it has gone
                    continue
                if failure is not None:
                    done.set_exception(failure)
                elif index in refused:
                    done.set_exception(DuplicateKeyError("the key is taken", 11000))
                else:
                    done.set_result(None)
