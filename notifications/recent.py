"""Messages that were read a moment ago: one that goes to thousands of connected clients is read once."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Final

from domain.messages import Message
from store.messages import MessageStore

_MOST: Final = 256


class RecentMessages:
    """Gives messages as they were when they were read first; what they say never changes. Bounded."""

    def __init__(self, store: MessageStore) -> None:
        self._store = store
        self._known: OrderedDict[str, Message] = OrderedDict()
        self._reading: dict[str, asyncio.Task[Message | None]] = {}

    async def find(self, message_id: str) -> Message | None:
        """Give a message; None when there is none of that id."""
        known = self._known.get(message_id)
        if known is not None:
            self._known.move_to_end(message_id)
            return known
        task = self._reading.get(message_id)
        if task is None:
            task = asyncio.create_task(self._read(message_id))
            self._reading[message_id] = task
            task.add_done_callback(_retrieve)
        # Whoever asked first may leave while the others still wait.
        return await asyncio.shield(task)

    async def _read(self, message_id: str) -> Message | None:
        try:
            message = (await self._store.list_by_ids([message_id])).get(message_id)
        finally:
            del self._reading[message_id]
        if message is not None and message.audience.account is None:
            self._known[message_id] = message
            if len(self._known) > _MOST:
                self._known.popitem(last=False)
        return message


def _retrieve(task: asyncio.Task[Message | None]) -> None:
    """Look at the outcome, for the case that everybody who waited for it has left."""
    if not task.cancelled():
        task.exception()
