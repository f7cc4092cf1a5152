"""The knowledge base in MongoDB: each guide one document with its own history."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

import msgspec
from bson.codec_options import CodecOptions
from msgspec import Struct
from pymongo import ASCENDING, ReplaceOne
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError, DuplicateKeyError

from domain.knowledge import Guide, GuideChange, GuideContent, GuideState
from store.reference import ReferenceStore

Document = dict[str, Any]
GUIDES: Final = "guides"
_HISTORY_KEPT: Final = 200
_KEY_BATCH: Final = 64
_WRITE_BATCH: Final = 500
_WITHOUT_HISTORY: Final = {"history": 0}
_DUPLICATE_KEY: Final = 11000


class ImportedGuides(Struct, frozen=True):
    """What became of a batch; `overtaken` are ids that somebody else wrote meanwhile."""

    added: int = 0
    changed: int = 0
    overtaken: tuple[str, ...] = ()


def _to_document(guide: Guide, history: Sequence[GuideChange]) -> Document:
    document: Document = msgspec.to_builtins(guide, builtin_types=(datetime, date))
    document["_id"] = document.pop("id")
    document["review_by"] = _midnight(guide.review_by)
    document["history"] = [msgspec.to_builtins(each, builtin_types=(datetime,)) for each in history]
    return document


def _midnight(day: date | None) -> datetime | None:
    return None if day is None else datetime.combine(day, time(), UTC)


def _guide(document: Document) -> Guide:
    document["id"] = document["_id"]
    review_by = document["review_by"]
    document["review_by"] = None if review_by is None else review_by.date()
    return msgspec.convert(document, Guide, strict=False)


class KnowledgeStore:
    """Reads and writes guides; every write is conditional on the version that was read."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        options: CodecOptions[Document] = CodecOptions(tz_aware=True, tzinfo=UTC)
        self._guides = database.with_options(codec_options=options)["knowledge_guides"]
        self.reference = ReferenceStore(database)

    async def ensure_indexes(self) -> None:
        """Create the indexes that the desk's lists need; cheap when they exist."""
        await self._guides.create_index([("state", ASCENDING), ("_id", ASCENDING)], name="state")
        await self._guides.create_index(
            [("state", ASCENDING), ("review_by", ASCENDING), ("_id", ASCENDING)], name="review_by"
        )

    async def insert(self, guide: Guide, change: GuideChange) -> bool:
        """Insert a guide; tell whether its id was still free."""
        try:
            await self._guides.insert_one(_to_document(guide, [change]))
        except DuplicateKeyError:
            return False
        return True

    async def replace(self, guide: Guide, change: GuideChange, *, expected: int) -> bool:
        """Replace a guide that still has the expected version; tell whether it had."""
        document = _to_document(guide, [])
        del document["_id"], document["history"]
        entry = msgspec.to_builtins(change, builtin_types=(datetime,))
        result = await self._guides.update_one(
            {"_id": guide.id, "version": expected},
            {"$set": document, "$push": {"history": {"$each": [entry], "$slice": -_HISTORY_KEPT}}},
        )
        return bool(result.matched_count)

    async def find(self, guide_id: str) -> Guide | None:
        """Find a guide in any state."""
        document = await self._guides.find_one({"_id": guide_id}, _WITHOUT_HISTORY)
        return None if document is None else _guide(document)

    async def find_many(self, ids: Sequence[str]) -> Mapping[str, Guide]:
        """Fetch those guides that are stored, by id."""
        found: dict[str, Guide] = {}
        for start in range(0, len(ids), _KEY_BATCH):
            condition = {"_id": {"$in": list(ids[start : start + _KEY_BATCH])}}
            for document in await self._guides.find(condition, _WITHOUT_HISTORY).to_list():
                found[document["_id"]] = _guide(document)
        return found

    async def history(self, guide_id: str) -> list[GuideChange]:
        """List the latest 200 changes of a guide, oldest first; empty when there is none."""
        document = await self._guides.find_one({"_id": guide_id}, {"history": 1})
        return [
            msgspec.convert(each, GuideChange, strict=False) for each in (document or {}).get("history", ())
        ]

    async def list_guides(self, state: GuideState, first: int, after: str = "") -> list[Guide]:
        """List guides of a state, ordered by id, behind the id `after`."""
        condition = {"state": state.value, "_id": {"$gt": after}}
        cursor = self._guides.find(condition, _WITHOUT_HISTORY, sort=[("_id", ASCENDING)], limit=first)
        return [_guide(document) async for document in cursor]

    async def list_due(self, until: date, first: int, after: tuple[date, str] | None = None) -> list[Guide]:
        """List published guides whose review is due by a day, the longest overdue first.

        `after`: review day and id of the last one seen.
        """
        # $lt: under a longer index the embedded engine leaves out what equals an upper bound of $lte.
        end = _midnight(until + timedelta(days=1))
        conditions: list[Document] = []
        if after is None:
            conditions.append({"review_by": {"$ne": None, "$lt": end}})
        else:
            day = _midnight(after[0])
            conditions.append({"review_by": day, "_id": {"$gt": after[1]}})
            conditions.append({"review_by": {"$gt": day, "$lt": end}})
        found: list[Guide] = []
        # One query for each part of the keyset: an $or would not use the index.
        for condition in conditions:
            if len(found) >= first:
                break
            cursor = self._guides.find(
                {"state": GuideState.PUBLISHED.value, **condition},
                _WITHOUT_HISTORY,
                sort=[("review_by", ASCENDING), ("_id", ASCENDING)],
                limit=first - len(found),
            )
            found += [_guide(document) async for document in cursor]
        return found

    async def published(self) -> AsyncIterator[tuple[str, GuideContent, datetime]]:
        """Stream what readers see: id, content and when it was published, in no order."""
        fields = ("published", "published_at")
        async with self._guides.find(
            {"state": GuideState.PUBLISHED.value}, fields, batch_size=2_000
        ) as cursor:
            async for document in cursor:
                content = msgspec.convert(document["published"], GuideContent, strict=False)
                yield document["_id"], content, document["published_at"]

    async def write_many(
        self, added: Sequence[tuple[Guide, GuideChange]], changed: Sequence[tuple[Guide, GuideChange]]
    ) -> ImportedGuides:
        """Insert guides, and replace others whose stored version is one below theirs."""
        inserted, lost = 0, []
        for start in range(0, len(added), _WRITE_BATCH):
            batch = [_to_document(guide, [change]) for guide, change in added[start : start + _WRITE_BATCH]]
            try:
                inserted += len((await self._guides.insert_many(batch, ordered=False)).inserted_ids)
            except BulkWriteError as error:
                failures = error.details["writeErrors"]
                if any(failure["code"] != _DUPLICATE_KEY for failure in failures):
                    raise
                lost += [batch[failure["index"]]["_id"] for failure in failures]
                inserted += len(batch) - len(failures)
        replaced = 0
        for start in range(0, len(changed), _KEY_BATCH):
            part = changed[start : start + _KEY_BATCH]
            histories = await self._histories([guide.id for guide, _ in part])
            requests = [
                ReplaceOne[Document](
                    {"_id": guide.id, "version": guide.version - 1},
                    _to_document(guide, [*histories.get(guide.id, []), change][-_HISTORY_KEPT:]),
                )
                for guide, change in part
            ]
            result = await self._guides.bulk_write(requests, ordered=False)
            replaced += result.matched_count
            if result.matched_count < len(part):
                stored = await self.find_many([guide.id for guide, _ in part])
                lost += [guide.id for guide, _ in part if stored[guide.id] != guide]
        return ImportedGuides(inserted, replaced, tuple(lost))

    async def _histories(self, ids: Sequence[str]) -> dict[str, list[GuideChange]]:
        found = await self._guides.find({"_id": {"$in": list(ids)}}, {"history": 1}).to_list()
        return {
            each["_id"]: [msgspec.convert(entry, GuideChange, strict=False) for entry in each["history"]]
            for each in found
        }
