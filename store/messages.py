"""Messages in MongoDB: `messages`, one document each, private or broadcast, with its place in the fan-out.

Beside the message's own fields a document has `wake_at`: when the sweeper must look at it if nothing happened
until then. A message that is done has none. `composed` is the id again where the message is a campaign's,
`broadcast` where it is for topics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from pymongo import ASCENDING
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError, DuplicateKeyError

from domain.messages import (
    MAX_WINDOW,
    Message,
    MessageNotFoundError,
    MessageState,
    Step,
    StepNotAllowedError,
    next_state,
)
from store.inbox import KEPT as INBOX_KEPT
from store.keys import KEY_BATCH, LONG_AGO, WRITE_BATCH, chunks, duplicates

Document = dict[str, Any]
ANNOUNCED_WITHIN: Final = timedelta(seconds=30)
_DAY: Final = timedelta(days=1)
_FIRST_PAGE: Final = "~"  # sorts behind every id


class MessageStore:
    """Reads and writes `messages`; what it writes outlives inbox rows that are kept for `kept`."""

    def __init__(self, database: AsyncDatabase[Document], kept: timedelta = INBOX_KEPT) -> None:
        self._messages = database["messages"]
        self._kept = kept + MAX_WINDOW + _DAY

    @property
    def name(self) -> str:
        """Name the collection."""
        return "messages"

    async def ensure_indexes(self) -> None:
        """Make the indexes."""
        await self._messages.create_index([("dedupe_key", ASCENDING)], name="dedupe_key", unique=True)
        await self._messages.create_index([("wake_at", ASCENDING)], name="wake_at", sparse=True)
        await self._messages.create_index([("composed", ASCENDING)], name="composed", sparse=True)
        await self._messages.create_index([("broadcast", ASCENDING)], name="broadcast", sparse=True)
        await self._messages.create_index([("delete_at", ASCENDING)], name="delete", expireAfterSeconds=0)

    async def insert(self, message: Message) -> Message:
        """Insert a message, or give the one that has the same dedupe key."""
        try:
            await self._messages.insert_one(_document(message, self._kept))
        except DuplicateKeyError:
            found = await self._messages.find_one({"dedupe_key": message.dedupe_key})
            if found is None:
                raise
            return _message(found)
        return message

    async def insert_many(self, messages: Sequence[Message]) -> list[Message]:
        """Insert messages and give what is stored under their dedupe keys, in their order."""
        stored = {message.dedupe_key: message for message in reversed(messages)}
        for batch in chunks(stored.values(), WRITE_BATCH):
            try:
                documents = [_document(message, self._kept) for message in batch]
                await self._messages.insert_many(documents, ordered=False)
            except BulkWriteError as error:
                keys = [batch[index].dedupe_key for index in duplicates(error)]
                for some in chunks(keys, KEY_BATCH):
                    async for found in self._messages.find({"dedupe_key": {"$in": some}}):
                        message = _message(found)
                        stored[message.dedupe_key] = message
        return [stored[message.dedupe_key] for message in messages]

    async def get(self, message_id: str) -> Message:
        """Give a message.

        Raises: MessageNotFoundError.
        """
        found = await self._messages.find_one({"_id": message_id})
        if found is None:
            raise MessageNotFoundError(id=message_id[:80])
        return _message(found)

    async def list_by_ids(self, ids: Sequence[str]) -> dict[str, Message]:
        """Give the messages that exist among these ids, by id."""
        found: dict[str, Message] = {}
        for some in chunks(ids, KEY_BATCH):
            async for document in self._messages.find({"_id": {"$in": some}}):
                message = _message(document)
                found[message.id] = message
        return found

    async def list_campaigns(self, first: int, before: str | None = None) -> list[Message]:
        """List composed messages, newest first, older than the id `before`."""
        found = self._messages.find(
            {"composed": {"$gt": "", "$lt": before or _FIRST_PAGE}}, sort=[("composed", -1)], limit=first
        )
        return [_message(document) async for document in found]

    async def list_broadcasts(self, *, since: datetime) -> list[tuple[str, int]]:
        """List the ids of broadcasts whose fan-out began at an instant or later, and their splits."""
        query = {"broadcast": {"$gt": "0"}, "started_at": {"$gte": since}}
        found = self._messages.find(query, {"splits": 1})
        return [(document["_id"], document["splits"]) async for document in found]

    async def step(
        self, message_id: str, step: Step, change: Mapping[str, object] | None = None, *, now: datetime
    ) -> Message:
        """Take a step of the transition table, in one conditional write, and give the message after it.

        `change` are further fields to set; a message that is to be sent is woken up at once.
        Raises: MessageNotFoundError, StepNotAllowedError.
        """
        message = await self.get(message_id)
        state = next_state(message.state, step)
        update: Document = {"$set": {**(change or {}), "state": state.value}}
        if state is MessageState.SENDING:
            # A draft may be old; what it says must outlive the rows that are written from now on.
            update["$set"] |= {"wake_at": now, "delete_at": now + self._kept}
        else:
            update["$unset"] = {"wake_at": ""}
        as_read = {"_id": message_id, "state": message.state.value}
        if not (await self._messages.update_one(as_read, update)).matched_count:
            raise StepNotAllowedError(state="CHANGED", step=step.value)
        return await self.get(message_id)

    async def begin(self, message_id: str, splits: int, *, now: datetime) -> Message:
        """Fix into how many parts a broadcast is split; whoever comes second gets what the first has fixed.

        Raises: MessageNotFoundError.
        """
        as_new = {"_id": message_id, "splits": 0}
        await self._messages.update_one(as_new, {"$set": {"splits": splits, "started_at": now}})
        return await self.get(message_id)

    async def advance(self, message: Message, recipients: int, wake_at: datetime) -> bool:
        """Note that one more part is written; False when somebody did already, or the state has changed."""
        as_read = {"_id": message.id, "state": MessageState.SENDING.value, "done": message.done}
        change = {
            "$set": {"done": message.done + 1, "wake_at": wake_at},
            "$inc": {"recipients": recipients},
        }
        return bool((await self._messages.update_one(as_read, change)).matched_count)

    async def finish(self, ids: Sequence[str], *, recipients: int | None = None) -> None:
        """Note that every recipient of these messages is written."""
        change: Document = {"$set": {"state": MessageState.SENT.value}, "$unset": {"wake_at": ""}}
        if recipients is not None:
            change["$set"]["recipients"] = recipients
        for some in chunks(ids, KEY_BATCH):
            as_read = {"_id": {"$in": some}, "state": MessageState.SENDING.value}
            await self._messages.update_many(as_read, change)

    async def take_awake(self, limit: int, *, now: datetime, again_at: datetime) -> list[str]:
        """List messages whose time to be looked at has come, and set the next time."""
        found = self._messages.find(
            {"wake_at": {"$gt": LONG_AGO, "$lte": now}}, {"_id": 1}, sort=[("wake_at", 1)], limit=limit
        )
        ids = [document["_id"] async for document in found]
        for some in chunks(ids, KEY_BATCH):
            as_read = {"_id": {"$in": some}, "state": MessageState.SENDING.value}
            await self._messages.update_many(as_read, {"$set": {"wake_at": again_at}})
        return ids

    async def sleep(self, message_id: str, until: datetime) -> None:
        """Look at a message again at an instant."""
        as_read = {"_id": message_id, "state": MessageState.SENDING.value}
        await self._messages.update_one(as_read, {"$set": {"wake_at": until}})


def _document(message: Message, kept: timedelta) -> Document:
    document: Document = msgspec.to_builtins(message, builtin_types=(datetime,))
    document["_id"] = document.pop("id")
    document["delete_at"] = message.created_at + kept
    if message.state is MessageState.SENDING:
        document["wake_at"] = message.created_at + ANNOUNCED_WITHIN
    if message.campaign is not None:
        document["composed"] = message.id
    if message.audience.account is None:
        document["broadcast"] = message.id
    return document


def _message(document: Document) -> Message:
    document["id"] = document.pop("_id")
    return msgspec.convert(document, Message)
