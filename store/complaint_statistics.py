"""Sums of complaints in MongoDB, brought up to date by differences, each difference counted exactly once.

`complaint_sums`: the sums, `_id` = `<generation>|<key of domain.complaint_statistics>`, `slots` as
`store.complaint_sums` packs them. `complaint_ledger`:
what each complaint has been counted as. `complaint_marks`: complaints that have changed. `complaint_folding`:
one document, the batch that is being counted.

The batch is a journal of one entry. Who begins batch n writes all that it changes into the one document; a
batch can begin only when the one before is complete. Every document that a batch changes remembers the
batch's number, so anybody may apply the batch again, at the same time, or long after: whoever applies it
reads a document, adds to it, and writes on the condition that it is still of the batch that was read.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct
from pymongo import ASCENDING, InsertOne, UpdateOne
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError, DuplicateKeyError

from domain.complaint_statistics import (
    Deltas,
    Round,
    deltas_of,
    merge_deltas,
    outcomes_key,
    read_outcome,
)
from domain.units import Outcome
from store.complaint_sums import add, pack, unpack
from store.keys import KEY_BATCH, WRITE_BATCH, chunks, duplicates

Document = dict[str, Any]
_FOLDING: Final = "batch"


class Entry(Struct, frozen=True):
    """How one complaint's part in the sums changes."""

    number: str
    before: tuple[Round, ...]
    after: tuple[Round, ...]


class Batch(Struct, frozen=True):
    """Where counting stands.

    `generation` is being counted, `serving` is being read; while they differ, everything is counted anew, and
    `walked` is the number of the last complaint that was.
    """

    number: int = 0
    is_done: bool = True
    entries: tuple[Entry, ...] = ()
    generation: int = 1
    serving: int = 1
    walked: str = ""

    @property
    def is_rebuilding(self) -> bool:
        """Tell whether everything is being counted anew."""
        return self.generation != self.serving


class Counted(Struct, frozen=True):
    """How far the sums that are read go: all batches up to a number of a generation."""

    generation: int
    number: int


class StatisticsStore:
    """Reads and writes the sums of complaints."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._sums = database["complaint_sums"]
        self._ledger = database["complaint_ledger"]
        self._marks = database["complaint_marks"]
        self._folding = database["complaint_folding"]

    async def ensure_indexes(self) -> None:
        """Make the index."""
        by_batch = [("generation", ASCENDING), ("batch", ASCENDING)]
        await self._sums.create_index(by_batch, name="generation_batch")

    async def mark(self, number: str, version: int) -> None:
        """Note that a complaint has changed; may be done again."""
        try:
            await self._marks.insert_one({"_id": f"{number}:{version}", "number": number})
        except DuplicateKeyError:
            return

    async def list_marks(self, first: int) -> dict[str, list[str]]:
        """List complaints that have changed, with their marks; at most `first` marks."""
        found: dict[str, list[str]] = {}
        async for mark in self._marks.find({}, limit=first):
            found.setdefault(mark["number"], []).append(mark["_id"])
        return found

    async def clear_marks(self, marks: Iterable[str]) -> None:
        """Take marks away whose complaints were read after the marks and are counted."""
        for some in chunks(marks, KEY_BATCH):
            await self._marks.delete_many({"_id": {"$in": some}})

    async def batch(self) -> Batch:
        """Read where counting stands."""
        found = await self._folding.find_one({"_id": _FOLDING})
        return Batch() if found is None else msgspec.convert(found["batch"], Batch)

    async def begin(self, last: Batch, entries: Sequence[Entry], walked: str | None = None) -> Batch | None:
        """Begin the batch after a complete one; None when somebody else has begun one."""
        if not last.is_done:
            return None
        batch = msgspec.structs.replace(
            last,
            number=last.number + 1,
            is_done=False,
            entries=tuple(entries),
            walked=last.walked if walked is None else walked,
        )
        return batch if await self._move(last, batch) else None

    async def finish(self, batch: Batch) -> Batch:
        """Note that a batch was applied; give it back as complete."""
        done = msgspec.structs.replace(batch, is_done=True, entries=())
        await self._move(batch, done)
        return done

    async def begin_rebuild(self, last: Batch) -> bool:
        """Begin to count everything anew; False when somebody else was quicker to do anything."""
        return last.is_done and await self._move(
            last,
            msgspec.structs.replace(last, number=last.number + 1, generation=last.generation + 1, walked=""),
        )

    async def finish_rebuild(self, last: Batch) -> None:
        """Serve what was counted anew; drop the sums of before."""
        served = msgspec.structs.replace(last, number=last.number + 1, serving=last.generation, walked="")
        if await self._move(last, served):
            await self._sums.delete_many({"generation": {"$lt": served.serving}})

    async def _move(self, last: Batch, batch: Batch) -> bool:
        document = {"batch": msgspec.to_builtins(batch)}
        as_read = {"_id": _FOLDING, "batch.number": last.number, "batch.is_done": last.is_done}
        if (await self._folding.update_one(as_read, {"$set": document})).matched_count:
            return True
        if last.number or not last.is_done:
            return False
        try:
            await self._folding.insert_one({"_id": _FOLDING, **document})
        except DuplicateKeyError:
            return False
        return True

    async def read_ledger(self, numbers: Iterable[str], generation: int) -> dict[str, tuple[Round, ...]]:
        """Read what complaints are counted as in a generation; those that are not counted are missing."""
        counted: dict[str, tuple[Round, ...]] = {}
        for some in chunks(numbers, KEY_BATCH):
            async for document in self._ledger.find({"_id": {"$in": some}}):
                if document["generation"] == generation:
                    counted[document["_id"]] = msgspec.convert(document["rounds"], tuple[Round, ...])
        return counted

    async def list_counted(self, numbers: Iterable[str]) -> set[str]:
        """Tell which of these numbers are complaints that were counted once."""
        counted: set[str] = set()
        for some in chunks(numbers, KEY_BATCH):
            counted.update(
                [each["_id"] async for each in self._ledger.find({"_id": {"$in": some}}, {"_id": 1})]
            )
        return counted

    async def apply(self, batch: Batch) -> None:
        """Count a batch that was begun: as often as one likes, and whatever has happened since."""
        deltas: Deltas = {}
        for entry in batch.entries:
            merge_deltas(deltas, deltas_of(entry.before, entry.after))
        added = ((f"{batch.generation}|{key}", slots) for key, slots in deltas.items() if any(slots.values()))
        for some in chunks(added, WRITE_BATCH):
            await self._add(batch, dict(some))
        for entries in chunks(batch.entries, WRITE_BATCH):
            await _write_all(self._ledger, [_note(batch, entry) for entry in entries])

    async def _add(self, batch: Batch, added: Mapping[str, Mapping[int, int]]) -> None:
        """Add to sums, unless this batch or a later one has done so."""
        found = {each["_id"]: each async for each in self._find(added)}
        writes: list[InsertOne[Document] | UpdateOne] = []
        for key, slots in added.items():
            known = found.get(key)
            if known is None:
                sums = {"slots": pack(slots), "generation": batch.generation, "batch": batch.number}
                writes.append(InsertOne({"_id": key, **sums}))
            elif known["batch"] < batch.number and "slots" in known:  # those of an earlier form are of no use
                sums = {"slots": add(known["slots"], slots), "batch": batch.number}
                writes.append(UpdateOne({"_id": key, "batch": known["batch"]}, {"$set": sums}))
        await _write_all(self._sums, writes)

    async def _find(self, ids: Iterable[str]) -> AsyncIterator[Document]:
        for some in chunks(ids, KEY_BATCH):
            async for document in self._sums.find({"_id": {"$in": some}}):
                yield document

    async def counted(self) -> Counted:
        """Tell how far the sums go that are being read."""
        wanted = {"batch.serving": 1, "batch.number": 1, "batch.is_done": 1}
        found = await self._folding.find_one({"_id": _FOLDING}, wanted)
        if found is None:
            return Counted(Batch().serving, Batch().number)
        batch = found["batch"]
        return Counted(batch["serving"], batch["number"] - (not batch["is_done"]))

    async def list_sums(self, generation: int, after: int) -> AsyncIterator[tuple[str, bytes]]:
        """Go through the sums that a batch after this one has changed: keys and packed slots."""
        changed = {"generation": generation, "batch": {"$gt": after}}
        async for document in self._sums.find(changed, {"slots": 1}):
            if "slots" in document:
                yield document["_id"].partition("|")[2], document["slots"]

    async def outcomes(self, class_code: str, division_code: str) -> dict[str, Outcome]:
        """Read what became of a class's complaints of this very division, by unit id."""
        first = f"{(await self.counted()).generation}|{outcomes_key(class_code, division_code)}"
        of_units = {"_id": {"$gte": first, "$lt": f"{first}\U0010ffff"}}
        return {
            document["_id"].removeprefix(first): read_outcome(unpack(document["slots"]))
            async for document in self._sums.find(of_units)
        }

    async def replace_all(self, deltas: Mapping[str, Mapping[int, int]], generation: int = 1) -> None:
        """Put sums that were made elsewhere in the place of a generation's; nobody may count meanwhile."""
        await self._sums.delete_many({"generation": generation})
        documents = (
            {"_id": f"{generation}|{key}", "generation": generation, "batch": 0, "slots": pack(slots)}
            for key, slots in deltas.items()
        )
        for some in chunks(documents, WRITE_BATCH):
            await self._sums.insert_many(some, ordered=False)


def _note(batch: Batch, entry: Entry) -> UpdateOne:
    """Note what a complaint is counted as, unless this batch or a later one has done so."""
    rounds = {"rounds": msgspec.to_builtins(entry.after), "generation": batch.generation}
    older = {"_id": entry.number, "batch": {"$lt": batch.number}}
    return UpdateOne(older, {"$set": {**rounds, "batch": batch.number}}, upsert=True)


async def _write_all(
    collection: AsyncCollection[Document], writes: Sequence[InsertOne[Document] | UpdateOne]
) -> None:
    """Write what others have not written already."""
    if not writes:
        return
    try:
        await collection.bulk_write(writes, ordered=False)
    except BulkWriteError as error:
        duplicates(error)
