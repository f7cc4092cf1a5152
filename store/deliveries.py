"""Deliveries in MongoDB: `deliveries`, at most 500 devices of one message and channel in one document.

`_id` = `<message>:<channel>:<part>.<n>`, so that writing them again changes nothing. `states` has a letter
for each of `devices` (domain.messages.DeviceState); `attempts`, `due` and `reasons` are keyed by the device's
index and say more about those that were not simply sent. A delivery is marked in flight with its `claim`
(`<worker>/<number>`) before anything is sent. `uncertain` counts how often it was taken over from a dead
worker, `lost` how many answers of the provider were lost otherwise: only these pushes can have gone out
twice. `broadcast` is the message's id, where there are many deliveries of it. `wake_at`: when the sweeper
must look. Deliveries and dead letters are kept for `KEPT` after they were written.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

import msgspec
from msgspec import Struct, field
from pymongo import ASCENDING
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError, DuplicateKeyError

from domain.messages import Counts, DeviceState, count_states
from store.keys import KEY_BATCH, LONG_AGO, WRITE_BATCH, chunks, duplicates

Document = dict[str, Any]
KEPT: Final = timedelta(days=30)
SENT_WITHIN: Final = timedelta(seconds=30)
FLIGHT_CHECK: Final = timedelta(seconds=5)
MAX_CHUNKS_PER_PART: Final = 256
NOBODY: Final = "-"
"""Stands in a delivery for the device of an account that was deleted; no device has such an id."""
_CHUNKS_LOOKED_FOR: Final = 8


class ChunkState(StrEnum):
    """Whether a delivery waits, is being sent, or needs nothing more."""

    QUEUED = "QUEUED"
    IN_FLIGHT = "IN_FLIGHT"
    DONE = "DONE"


class Chunk(Struct):
    """One delivery; see above."""

    id: str
    message: str
    channel: str
    devices: list[str]
    states: str
    state: ChunkState = ChunkState.QUEUED
    claim: str | None = None
    attempts: dict[str, int] = field(default_factory=dict)
    due: dict[str, datetime] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    uncertain: int = 0
    lost: int = 0
    broadcast: str | None = None


class DeadLetter(Struct, frozen=True):
    """A push that failed for good. `id` = `<message>:<channel>:<device>`."""

    id: str
    chunk: str
    message: str
    channel: str
    device: str
    reason: str
    attempts: int
    failed_at: datetime


def chunk_id(message: str, channel: str, part: int, number: int) -> str:
    """Name a delivery."""
    return f"{message}:{channel}:{part}.{number}"


def part_of_chunk(id: str) -> int:
    """Give the part of the fan-out that a delivery belongs to."""
    return int(id.rpartition(":")[2].partition(".")[0])


class DeliveryStore:
    """Reads and writes `deliveries` and `dead_letters`."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._chunks = database["deliveries"]
        self._dead = database["dead_letters"]

    @property
    def name(self) -> str:
        """Name the collection."""
        return "deliveries"

    async def ensure_indexes(self) -> None:
        """Make the indexes."""
        await self._chunks.create_index([("wake_at", ASCENDING)], name="wake_at", sparse=True)
        await self._chunks.create_index([("broadcast", ASCENDING)], name="broadcast", sparse=True)
        await self._chunks.create_index([("written_at", ASCENDING)], name="written_at")
        for name in ("device", "failed_at", "message"):
            await self._dead.create_index([(name, ASCENDING)], name=name)

    # --- fan-out ------------------------------------------------------------------------------------------

    async def insert_first(self, new: Sequence[Chunk], *, now: datetime) -> None:
        """Insert the only deliveries of messages and channels; what is there already stays as it is."""
        for batch in chunks(new, WRITE_BATCH):
            try:
                await self._chunks.insert_many([_document(each, now) for each in batch], ordered=False)
            except BulkWriteError as error:
                duplicates(error)

    async def insert_part(
        self, message: str, channel: str, part: int, devices: Iterable[str], size: int, *, now: datetime
    ) -> list[str]:
        """Insert deliveries for the devices of one part of a broadcast and give the ids of all of the part.

        May be repeated, also by two workers at once and with other devices: a device that is in a delivery of
        this part already gets no second one.
        """
        wanted = list(dict.fromkeys(devices))
        ids: list[str] = []
        fresh = True  # only a repetition finds what was written before
        while wanted:
            if not fresh:
                ids, covered = await self._list_part(message, channel, part)
                wanted = [device for device in wanted if device not in covered]
                if not wanted:
                    break
            documents = [
                _document(_chunk(message, channel, part, len(ids) + number, some), now)
                for number, some in enumerate(chunks(wanted, size))
            ]
            try:
                # In order: a number is only taken when all before it are known.
                await self._chunks.insert_many(documents, ordered=True)
            except (BulkWriteError, DuplicateKeyError) as error:
                if isinstance(error, BulkWriteError):
                    duplicates(error)
                fresh = False
                continue
            ids += [document["_id"] for document in documents]
            break
        return ids

    async def _list_part(self, message: str, channel: str, part: int) -> tuple[list[str], set[str]]:
        ids: list[str] = []
        covered: set[str] = set()
        for first in range(0, MAX_CHUNKS_PER_PART, KEY_BATCH):
            some = [chunk_id(message, channel, part, first + number) for number in range(KEY_BATCH)]
            found = await self._chunks.find({"_id": {"$in": some}}, {"devices": 1}).to_list()
            ids += sorted((each["_id"] for each in found), key=some.index)
            covered.update(device for each in found for device in each["devices"])
            if len(found) < KEY_BATCH:
                break
        return ids, covered

    # --- delivery -----------------------------------------------------------------------------------------

    async def claim(self, ids: Sequence[str], claim: str, *, now: datetime) -> list[Chunk]:
        """Mark the waiting ones among these deliveries as in flight under this claim, and give those.

        `claim` must be a new one for every call: what somebody else holds is not given.
        """
        mine: list[Chunk] = []
        for some in chunks(dict.fromkeys(ids), KEY_BATCH):
            change = {"state": ChunkState.IN_FLIGHT.value, "claim": claim, "wake_at": now + FLIGHT_CHECK}
            taken = await self._chunks.update_many(
                {"_id": {"$in": some}, "state": ChunkState.QUEUED.value}, {"$set": change}
            )
            if taken.matched_count:
                found = self._chunks.find({"_id": {"$in": some}, "claim": claim})
                mine += [_read(document) async for document in found]
        return mine

    async def settle(self, done: Sequence[Chunk], claim: str, *, now: datetime) -> None:
        """Write what became of deliveries that were claimed, and release the claim.

        Deliveries with devices whose fate is open wait for the earliest of their times.
        """
        alike: dict[bytes, tuple[Document, list[str]]] = {}
        for chunk in done:
            change = _settled(chunk, now)
            key = msgspec.msgpack.encode(change)
            alike.setdefault(key, (change, []))[1].append(chunk.id)
        for change, ids in alike.values():
            for some in chunks(ids, KEY_BATCH):
                await self._chunks.update_many({"_id": {"$in": some}, "claim": claim}, change)

    async def put_back(self, ids: Sequence[str], claim: str, until: datetime) -> None:
        """Give claimed deliveries back unsent, to be looked at again at an instant."""
        change = {
            "$set": {"state": ChunkState.QUEUED.value, "wake_at": until},
            "$unset": {"claim": ""},
        }
        for some in chunks(ids, KEY_BATCH):
            await self._chunks.update_many({"_id": {"$in": some}, "claim": claim}, change)

    # --- sweeping -----------------------------------------------------------------------------------------

    async def list_awake(self, limit: int, *, now: datetime) -> list[Chunk]:
        """List deliveries whose time to be looked at has come, without their devices."""
        found = self._chunks.find(
            {"wake_at": {"$gt": LONG_AGO, "$lte": now}},
            {"message": 1, "channel": 1, "state": 1, "claim": 1, "broadcast": 1},
            sort=[("wake_at", 1)],
            limit=limit,
        )
        return [_read({**document, "devices": [], "states": ""}) async for document in found]

    async def sleep(self, ids: Sequence[str], until: datetime) -> None:
        """Look at deliveries again at an instant."""
        for some in chunks(ids, KEY_BATCH):
            open_ones = {"_id": {"$in": some}, "state": {"$ne": ChunkState.DONE.value}}
            await self._chunks.update_many(open_ones, {"$set": {"wake_at": until}})

    async def take_over(self, stuck: Sequence[Chunk], until: datetime) -> None:
        """Take deliveries over from dead workers; whether they were sent, nobody knows."""
        by_claim: dict[str, list[str]] = defaultdict(list)
        for chunk in stuck:
            by_claim[chunk.claim or ""].append(chunk.id)
        change = {
            "$set": {"state": ChunkState.QUEUED.value, "wake_at": until},
            "$unset": {"claim": ""},
            "$inc": {"uncertain": 1},
        }
        for claim, ids in by_claim.items():
            for some in chunks(ids, KEY_BATCH):
                await self._chunks.update_many({"_id": {"$in": some}, "claim": claim}, change)

    async def wake(self, message: str, *, now: datetime) -> None:
        """Let the sweeper look at all waiting deliveries of a broadcast now."""
        waiting = {"broadcast": message, "state": ChunkState.QUEUED.value}
        await self._chunks.update_many(waiting, {"$set": {"wake_at": now}})

    # --- watching -----------------------------------------------------------------------------------------

    async def count(self, message: str, *, broadcast: bool, channels: Iterable[str]) -> Counts:
        """Count the devices of a message by state."""
        ids = [chunk_id(message, channel, 0, 0) for channel in channels]
        query: Document = {"broadcast": message} if broadcast else {"_id": {"$in": ids}}
        letters: Counter[str] = Counter()
        async for document in self._chunks.find(query, {"states": 1}):
            letters.update(document["states"])
        return count_states(letters)

    async def list_chunks(self, ids: Sequence[str]) -> list[Chunk]:
        """Give the deliveries that exist among these ids."""
        return [
            _read(document)
            for some in chunks(ids, KEY_BATCH)
            async for document in self._chunks.find({"_id": {"$in": some}})
        ]

    # --- dead letters -------------------------------------------------------------------------------------

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        """Keep pushes that failed for good; the same one twice is one."""
        for letter in letters:
            document = msgspec.to_builtins(letter, builtin_types=(datetime,))
            document["_id"] = document.pop("id")
            await self._dead.replace_one({"_id": document["_id"]}, document, upsert=True)

    async def list_dead(self, first: int, after: str = "") -> list[DeadLetter]:
        """List dead letters, those of the oldest messages first, behind the id `after`."""
        found = self._dead.find({"_id": {"$gt": after}}, sort=[("_id", ASCENDING)], limit=first)
        return [msgspec.convert({**each, "id": each["_id"]}, DeadLetter) async for each in found]

    async def count_dead(self) -> int:
        """Estimate how many dead letters there are."""
        return int(await self._dead.estimated_document_count())

    async def replay(self, letter: DeadLetter, *, now: datetime) -> bool:
        """Let a dead letter be tried again from the start; False when its delivery is gone or busy."""
        found = await self._chunks.find_one({"_id": letter.chunk})
        if found is None or letter.device not in found["devices"]:
            await self._dead.delete_one({"_id": letter.id})
            return False
        index = found["devices"].index(letter.device)
        states = found["states"]
        change: Document = {
            "$set": {
                "state": ChunkState.QUEUED.value,
                "wake_at": now,
                "states": states[:index] + DeviceState.WAITING.value + states[index + 1 :],
            },
            "$unset": {f"attempts.{index}": "", f"due.{index}": "", f"reasons.{index}": ""},
        }
        as_read = {"_id": letter.chunk, "states": states, "state": {"$ne": ChunkState.IN_FLIGHT.value}}
        if not (await self._chunks.update_one(as_read, change)).matched_count:
            return False
        await self._dead.delete_one({"_id": letter.id})
        return True

    # --- forgetting ---------------------------------------------------------------------------------------

    async def forget_messages(self, messages: Sequence[str], channels: Sequence[str]) -> int:
        """Delete the deliveries and dead letters of private messages, and count them."""
        count = 0
        for some in chunks((chunk_id(each, name, 0, 0) for each in messages for name in channels), KEY_BATCH):
            count += (await self._chunks.delete_many({"_id": {"$in": some}})).deleted_count
        for some in chunks(messages, KEY_BATCH):
            count += (await self._dead.delete_many({"message": {"$in": some}})).deleted_count
        return count

    async def forget_devices(
        self, devices: Sequence[str], parts: Iterable[tuple[str, int]], channels: Sequence[str]
    ) -> int:
        """Take devices out of the deliveries of these parts (message, number) of broadcasts.

        Their places stay, for `states` goes by them. Gives how many dead letters of the devices are gone.
        """
        looked_for = [(message, name, part, 0) for message, part in parts for name in channels]
        while looked_for:
            further = []
            for some in chunks(looked_for, KEY_BATCH // _CHUNKS_LOOKED_FOR):
                ids = [
                    chunk_id(message, name, part, first + number)
                    for message, name, part, first in some
                    for number in range(_CHUNKS_LOOKED_FOR)
                ]
                found = self._chunks.find({"_id": {"$in": ids}}, {"devices": 1})
                there = {document["_id"]: document["devices"] async for document in found}
                for id, listed in there.items():
                    await self._blank(id, [device for device in devices if device in listed])
                further += [
                    (message, name, part, first + _CHUNKS_LOOKED_FOR)
                    for message, name, part, first in some
                    if chunk_id(message, name, part, first + _CHUNKS_LOOKED_FOR - 1) in there
                ]
            looked_for = further
        count = 0
        for keys in chunks(devices, KEY_BATCH):
            count += (await self._dead.delete_many({"device": {"$in": keys}})).deleted_count
        return count

    async def _blank(self, id: str, devices: Iterable[str]) -> None:
        for device in devices:
            await self._chunks.update_one({"_id": id, "devices": device}, {"$set": {"devices.$": NOBODY}})

    async def delete_old(self, *, before: datetime) -> int:
        """Delete the deliveries and dead letters that were written before an instant, and count them."""
        old = {"$gt": LONG_AGO, "$lt": before}
        deleted = await self._chunks.delete_many({"written_at": old})
        return deleted.deleted_count + (await self._dead.delete_many({"failed_at": old})).deleted_count


def _chunk(message: str, channel: str, part: int, number: int, devices: list[str]) -> Chunk:
    states = DeviceState.WAITING.value * len(devices)
    return Chunk(
        chunk_id(message, channel, part, number), message, channel, devices, states, broadcast=message
    )


def first_chunk(message: str, channel: str, devices: list[str]) -> Chunk:
    """Make the only delivery of a private message and a channel."""
    states = DeviceState.WAITING.value * len(devices)
    return Chunk(chunk_id(message, channel, 0, 0), message, channel, devices, states)


def _document(chunk: Chunk, now: datetime) -> Document:
    document: Document = {
        "_id": chunk.id,
        "message": chunk.message,
        "channel": chunk.channel,
        "devices": chunk.devices,
        "states": chunk.states,
        "state": ChunkState.QUEUED.value,
        "written_at": now,
        "wake_at": now + SENT_WITHIN,
    }
    if chunk.broadcast is not None:
        document["broadcast"] = chunk.broadcast
    return document


def _settled(chunk: Chunk, now: datetime) -> Document:
    change: Document = {"states": chunk.states}
    unset = {"claim": ""}
    for name in ("attempts", "due", "reasons", "lost"):
        value = getattr(chunk, name)
        if value:
            change[name] = value
        elif name in ("due", "reasons"):
            unset[name] = ""
    if _OPEN.isdisjoint(chunk.states):
        change["state"] = ChunkState.DONE.value
        unset["wake_at"] = ""
    else:
        change["state"] = ChunkState.QUEUED.value
        change["wake_at"] = min(chunk.due.values(), default=now)
    return {"$set": change, "$unset": unset}


_OPEN: Final = frozenset({DeviceState.WAITING.value, DeviceState.RETRY.value, DeviceState.HELD.value})


def _read(document: Document) -> Chunk:
    document["id"] = document.pop("_id")
    return msgspec.convert(document, Chunk)
