"""The outbox: a message is written first; then a job that carries its id is queued."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from domain.messages import Message, MessageState
from notifications.queue import Job, JobQueue, Lane
from store.messages import MessageStore

IDS_PER_JOB: Final = 32


class Outbox:
    """Writes messages so that they are told, whatever dies meanwhile."""

    def __init__(self, messages: MessageStore, queue: JobQueue) -> None:
        self.messages = messages
        self._queue = queue

    async def write(self, message: Message) -> Message:
        """Write a message and announce it; what has the same dedupe key already is given instead."""
        stored = await self.messages.insert(message)
        if stored.id == message.id:
            await self.announce([stored])
        return stored

    async def write_many(self, messages: Sequence[Message]) -> list[Message]:
        """Write messages in few calls and announce the new ones; give what is stored, in their order."""
        stored = await self.messages.insert_many(messages)
        new = {message.id for message in messages}
        await self.announce([message for message in dict.fromkeys(stored) if message.id in new])
        return stored

    async def announce(self, messages: Sequence[Message]) -> None:
        """Queue the fan-out of messages that are to be sent; without Redis the sweeper does it."""
        due = [message for message in messages if message.state is MessageState.SENDING]
        for lane in Lane:
            ids = [message.id for message in due if lane_of(message) is lane]
            for start in range(0, len(ids), IDS_PER_JOB):
                if not await self._queue.put(Job.FAN_OUT, ids[start : start + IDS_PER_JOB], lane):
                    return


def lane_of(message: Message) -> Lane:
    """Choose the lane of a message: private and urgent ones overtake broadcasts."""
    return Lane.EXPRESS if message.urgent or message.audience.account is not None else Lane.BULK
