"""Sums of complaints in MongoDB, brought up to date by differences, each difference counted exactly once.

`complaint_sums`: the sums, `_id` = `<generation>|<key of domain.complaint_statistics>`. `complaint_ledger`:
what each complaint has been counted as. `complaint_marks`: complaints that have changed. `complaint_folding`:
one document, the batch that is being counted.

The batch is a journal of one entry. Who begins batch n writes all that it changes into the one document; a
batch can begin only when the one before is complete. Every document that a batch changes remembers the
batch's number, so anybody may apply the batch again, at the same time, or long after.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct
from pymongo import ASCENDING, UpdateOne
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError, DuplicateKeyError

from domain.complaint_statistics import (
    Deltas,
    Round,
    deltas_of,
    merge_deltas,
    outcomes_key,
    read_outcomes,
)
from domain.units import Outcome
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


class StatisticsStore:
    """Reads and writes the sums of complaints."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._sums = database["complaint_sums"]
        self._ledger = database["complaint_ledger"]
        self._marks = database["complaint_marks"]
        self._folding = database["complaint_folding"]

    async def ensure_indexes(self) -> None:
        """Make the index."""
        await self._sums.create_index([("generation", ASCENDING)], name="generation")

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

    async def apply(self, batch: Batch) -> None:
        """Count a batch that was begun: as often as one likes, and whatever has happened since."""
        deltas: Deltas = {}
        for entry in batch.entries:
            merge_deltas(deltas, deltas_of(entry.before, entry.after))
        await _write_once(
            self._sums,
            batch.number,
            {
                f"{batch.generation}|{key}": {
                    "$inc": {f"sums.{path}": count for path, count in paths.items()},
                    "$set": {"generation": batch.generation},
                }
                for key, paths in deltas.items()
                if paths
            },
        )
        await _write_once(
            self._ledger,
            batch.number,
            {
                entry.number: {
                    "$set": {"rounds": msgspec.to_builtins(entry.after), "generation": batch.generation}
                }
                for entry in batch.entries
            },
        )

    async def read(self, keys: Iterable[str]) -> dict[str, Document]:
        """Read the sums under these keys; what was never counted is missing."""
        found = await self._folding.find_one({"_id": _FOLDING}, {"batch.serving": 1})
        serving = Batch().serving if found is None else found["batch"]["serving"]
        sums: dict[str, Document] = {}
        for some in chunks(dict.fromkeys(keys), KEY_BATCH):
            async for document in self._sums.find({"_id": {"$in": [f"{serving}|{key}" for key in some]}}):
                sums[document["_id"].partition("|")[2]] = document["sums"]
        return sums

    async def outcomes(self, class_code: str, division_code: str) -> dict[str, Outcome]:
        """Read what became of a class's complaints of this very division, by unit id."""
        key = outcomes_key(class_code, division_code)
        return read_outcomes((await self.read([key])).get(key, {}))

    async def replace_all(self, deltas: Mapping[str, Mapping[str, int]], generation: int = 1) -> None:
        """Put sums that were made elsewhere in the place of a generation's; nobody may count meanwhile."""
        await self._sums.delete_many({"generation": generation})
        documents = (
            {"_id": f"{generation}|{key}", "generation": generation, "batch": 0, "sums": _nested(paths)}
            for key, paths in deltas.items()
        )
        for some in chunks(documents, WRITE_BATCH):
            await self._sums.insert_many(some, ordered=False)


async def _write_once(
    collection: AsyncCollection[Document], number: int, updates: Mapping[str, Document]
) -> None:
    """Update documents, or make them, unless this batch or a later one has done so."""
    for some in chunks(updates.items(), WRITE_BATCH):
        writes = [
            UpdateOne(
                {"_id": key, "batch": {"$lt": number}},
                {**update, "$set": {**update["$set"], "batch": number}},
                upsert=True,
            )
            for key, update in some
        ]
        try:
            await collection.bulk_write(writes, ordered=False)
        except BulkWriteError as error:
            duplicates(error)  # these were written already


def _nested(paths: Mapping[str, int]) -> Document:
    nested: Document = {}
    for path, count in paths.items():
        *parents, name = path.split(".")
        into = nested
        for parent in parents:
            into = into.setdefault(parent, {})
        into[name] = count
    return nested
