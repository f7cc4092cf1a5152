"""The catalogue in MongoDB: items, guides, legal bases, departments, divisions, its published state, views.

Items carry beside their own fields `hash` (content), `feed` (which upstream owns them), `load` (the load that
last wrote them), `state`, `withdrawn_at` and `withdrawn_by`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time
from enum import StrEnum
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from bson.codec_options import CodecOptions
from msgspec import Struct
from pymongo import ASCENDING, ReplaceOne, UpdateOne
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError
from redis.asyncio import Redis

from domain.catalogue import Department, Division, Guide, LegalBasis, ServiceItem
from domain.errors import DomainError
from store import snapshots
from store.catalogue_imports import ImportStore

Document = dict[str, Any]
CHANNEL = "mintong:catalogue"
_STATE_ID = "catalogue"
_DUPLICATE_KEY = 11000
_KEY_BATCH = 64  # the embedded engine answers `$in` in quadratic time: 64 keys a call are fastest
_WRITE_BATCH = 1000
_KNOWN_FIELDS = ("version", "hash", "feed", "state", "withdrawn_by", "withdrawn_at", "theme_codes")
_VIEW_DAYS_KEPT = 90
_MAX_WITHDRAWN = 100_000  # ids in the state document, which MongoDB bounds at 16 MB

_Record = TypeVar("_Record", Department, Division)
_Value = TypeVar("_Value")


class ItemState(StrEnum):
    """Whether an item is offered."""

    IN_USE = "IN_USE"
    WITHDRAWN = "WITHDRAWN"


class WithdrawnBy(StrEnum):
    """Who withdrew an item: what a feed withdrew comes back with it, what an operator withdrew does not."""

    OPERATOR = "OPERATOR"
    FEED = "FEED"


class UnknownItemsError(DomainError):
    """None of the ids names an item."""

    code = "UNKNOWN_ITEMS"


class TooManyWithdrawnError(DomainError):
    """More items were withdrawn since the last publication than readers can be told: publish first."""

    code = "TOO_MANY_WITHDRAWN"


class VersionConflictError(DomainError):
    """Somebody else has published a version that is as new."""

    code = "VERSION_CONFLICT"


class KnownItem(Struct, frozen=True):
    """What an upsert must know of an item that is already stored."""

    id: str
    version: int
    hash: str
    feed: str
    state: ItemState
    withdrawn_by: WithdrawnBy | None
    withdrawn_at: datetime | None
    theme_codes: tuple[str, ...]


class UpsertResult(Struct, frozen=True):
    """What became of a batch; `foreign` are the ids that belong to another feed and were left alone."""

    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    stale: int = 0
    foreign: tuple[str, ...] = ()


class CatalogueState(Struct, frozen=True):
    """What readers need to know: the published version and what changed since.

    `version` 0: nothing is published. `revision` grows with every change that a reader must see.
    `withdrawn`: items of that version that an operator has withdrawn since. `changes` counts the changes of
    stored content that a publication must bring, `published_changes` how many of them are published.
    """

    version: int = 0
    revision: int = 0
    published_at: datetime | None = None
    item_count: int = 0
    withdrawn: frozenset[str] = frozenset()
    changes: int = 0
    published_changes: int = 0

    @property
    def pending(self) -> bool:
        """Tell whether stored content waits for the next publication."""
        return self.changes > self.published_changes


def content_hash(value: Struct) -> str:
    """Hash the content of a frozen struct: 32 hex digits, the same for the same content."""
    return blake2b(msgspec.msgpack.encode(value), digest_size=16).hexdigest()


def _chunks(values: Iterable[_Value], size: int) -> Iterator[list[_Value]]:
    iterator = iter(values)
    while chunk := list(islice(iterator, size)):
        yield chunk


def _document(item: ServiceItem, digest: str, *, feed: str, load: str) -> Document:
    document: Document = msgspec.to_builtins(item, builtin_types=(datetime, date))
    document["_id"] = document.pop("id")
    if item.effective_on is not None:
        document["effective_on"] = datetime.combine(item.effective_on, time(), UTC)
    document.update(hash=digest, feed=feed, load=load, state="IN_USE")
    return document


def _item(document: Document) -> ServiceItem:
    document["id"] = document["_id"]
    if document["effective_on"] is not None:
        document["effective_on"] = document["effective_on"].date()
    return msgspec.convert(document, ServiceItem, strict=False)


def _known(document: Document) -> KnownItem:
    withdrawn_by = document.get("withdrawn_by")
    return KnownItem(
        document["_id"],
        document["version"],
        document["hash"],
        document["feed"],
        ItemState(document["state"]),
        WithdrawnBy(withdrawn_by) if withdrawn_by else None,
        document.get("withdrawn_at"),
        tuple(document["theme_codes"]),
    )


async def _insert_new(collection: AsyncCollection[Document], documents: list[Document]) -> set[str]:
    """Insert; give the ids that somebody else had inserted in the meantime."""
    lost: set[str] = set()
    for chunk in _chunks(documents, _WRITE_BATCH):
        try:
            await collection.insert_many(chunk, ordered=False)
        except BulkWriteError as error:
            failures = error.details["writeErrors"]
            if any(failure["code"] != _DUPLICATE_KEY for failure in failures):
                raise
            lost.update(chunk[failure["index"]]["_id"] for failure in failures)
    return lost


class _Plan:
    """Sorts a batch into what to insert, what to replace and what to leave."""

    def __init__(self, feed: str, load: str) -> None:
        self.feed = feed
        self.load = load
        self.inserts: list[Document] = []
        self.replaces: list[tuple[Document, KnownItem]] = []
        self.unchanged = 0
        self.stale = 0
        self.foreign: list[str] = []

    def add(self, item: ServiceItem, known: KnownItem | None) -> None:
        digest = content_hash(item)
        if known is None:
            self.inserts.append(_document(item, digest, feed=self.feed, load=self.load))
        elif known.feed != self.feed:
            self.foreign.append(item.id)
        elif item.version < known.version:
            self.stale += 1
        elif digest == known.hash and known.withdrawn_by is not WithdrawnBy.FEED:
            self.unchanged += 1
        else:
            self.replaces.append((_document(item, digest, feed=self.feed, load=self.load), known))


class CatalogueStore:
    """Reads and writes the catalogue's collections, on MongoDB and on the embedded engine alike."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        options: CodecOptions[Document] = CodecOptions(tz_aware=True, tzinfo=UTC)
        self._database = database.with_options(codec_options=options)
        self._items = self._database["service_items"]
        self._guides = self._database["item_guides"]
        self._legal_bases = self._database["legal_bases"]
        self._departments = self._database["departments"]
        self._divisions = self._database["divisions"]
        self._state = self._database["catalogue_state"]
        self._views = self._database["item_views"]
        self.imports = ImportStore(self._database)

    async def ensure_indexes(self) -> None:
        """Create the indexes that the catalogue's queries need; cheap when they exist."""
        await self._views.create_index(
            [("day", ASCENDING)], name="day", expireAfterSeconds=_VIEW_DAYS_KEPT * 86_400
        )

    # Items

    async def find_known(self, ids: Iterable[str]) -> dict[str, KnownItem]:
        """Fetch what an upsert must know of those ids that are stored."""
        known: dict[str, KnownItem] = {}
        for chunk in _chunks(ids, _KEY_BATCH):
            for document in await self._items.find({"_id": {"$in": chunk}}, _KNOWN_FIELDS).to_list():
                known[document["_id"]] = _known(document)
        return known

    async def iterate_known(self) -> AsyncIterator[KnownItem]:
        """Stream what an upsert must know of all items, in no order; for many ids faster."""
        async with self._items.find({}, _KNOWN_FIELDS, batch_size=5_000) as cursor:
            async for document in cursor:
                yield _known(document)

    async def upsert_items(
        self,
        batch: Sequence[ServiceItem],
        *,
        feed: str,
        load: str = "",
        known: Mapping[str, KnownItem] | None = None,
    ) -> UpsertResult:
        """Write the items that are new or changed; ids within a batch are distinct.

        An older version never overwrites a newer one, an item of another feed is left alone, and an unchanged
        item is not touched. `known` spares the look-up when the caller has what `find_known` gives; it may be
        out of date: every write is conditional and is decided anew when it was.
        """
        known = await self.find_known(item.id for item in batch) if known is None else known
        plan = _Plan(feed, load)
        for item in batch:
            plan.add(item, known.get(item.id))
        lost = await _insert_new(self._items, plan.inserts)
        inserted = len(plan.inserts) - len(lost)
        overtaken = await self._replace(plan.replaces)
        updated = len(plan.replaces) - len(overtaken)
        result = UpsertResult(inserted, updated, plan.unchanged, plan.stale, tuple(plan.foreign))
        if not (again := lost | overtaken):
            return result
        rest = await self.upsert_items([item for item in batch if item.id in again], feed=feed, load=load)
        return UpsertResult(
            result.inserted + rest.inserted,
            result.updated + rest.updated,
            result.unchanged + rest.unchanged,
            result.stale + rest.stale,
            result.foreign + rest.foreign,
        )

    async def _replace(self, pairs: list[tuple[Document, KnownItem]]) -> set[str]:
        """Replace conditionally; give the ids that had changed in the meantime."""
        overtaken: set[str] = set()
        for chunk in _chunks(pairs, _WRITE_BATCH):
            requests = []
            for document, known in chunk:
                if known.withdrawn_by is WithdrawnBy.OPERATOR:
                    document.update(
                        state="WITHDRAWN",
                        withdrawn_at=known.withdrawn_at,
                        withdrawn_by=known.withdrawn_by.value,
                    )
                condition = {"_id": known.id, "hash": known.hash, "state": known.state.value}
                requests.append(ReplaceOne(condition, document))
            result = await self._items.bulk_write(requests, ordered=False)
            if result.matched_count != len(chunk):
                stored = await self.find_known(document["_id"] for document, _ in chunk)
                overtaken.update(
                    known.id for document, known in chunk if stored[known.id].hash != document["hash"]
                )
        return overtaken

    async def list_items(self, ids: Iterable[str]) -> list[ServiceItem]:
        """Fetch items by id, withdrawn ones too, in no order; unknown ids are left out."""
        items: list[ServiceItem] = []
        for chunk in _chunks(ids, _KEY_BATCH):
            items.extend(map(_item, await self._items.find({"_id": {"$in": chunk}}).to_list()))
        return items

    async def count_items(self, feed: str | None = None) -> int:
        """Count the items in use, of one feed or of all."""
        condition = {"state": "IN_USE"} if feed is None else {"feed": feed, "state": "IN_USE"}
        return await self._items.count_documents(condition)

    async def estimate_items(self) -> int:
        """Estimate the number of items, withdrawn ones included, without looking at any."""
        return await self._items.estimated_document_count()

    async def has_items(self, feed: str) -> bool:
        """Tell whether a feed has any item, withdrawn ones included."""
        return await self._items.find_one({"feed": feed}, ("_id",)) is not None

    async def iterate_items(self) -> AsyncIterator[ServiceItem]:
        """Stream the items in use, in no order: the embedded engine would sort all of them in memory."""
        async with self._items.find({"state": "IN_USE"}, batch_size=2_000) as cursor:
            async for document in cursor:
                yield _item(document)

    async def iterate_ids(self, feed: str) -> AsyncIterator[str]:
        """Stream the ids of a feed's items in use, in no order."""
        cursor = self._items.find({"feed": feed, "state": "IN_USE"}, ("_id",), batch_size=10_000)
        async with cursor:
            async for document in cursor:
                yield document["_id"]

    @staticmethod
    async def _by_id(collection: AsyncCollection[Document], condition: Document) -> AsyncIterator[Document]:
        async with collection.find(condition, sort=[("_id", ASCENDING)], batch_size=2_000) as cursor:
            async for document in cursor:
                yield document

    async def withdraw(
        self, ids: Collection[str], *, now: datetime, by: WithdrawnBy = WithdrawnBy.OPERATOR
    ) -> int:
        """Withdraw items in use and tell how many there were.

        By an operator: readers see it at once (`withdrawn` in the state); by a feed: once published.
        Raises: UnknownItemsError when an operator names no stored item; TooManyWithdrawnError.
        """
        known = await self.find_known(dict.fromkeys(ids))
        if by is WithdrawnBy.OPERATOR:
            if ids and not known:
                raise UnknownItemsError(count=len(ids))
            # An operator's word outlives the feed's: what the feed had withdrawn must not come back with it.
            withdrawn = [id_ for id_, item in known.items() if item.withdrawn_by is not by]
            if len((await self.get_state()).withdrawn) + len(withdrawn) > _MAX_WITHDRAWN:
                raise TooManyWithdrawnError(limit=_MAX_WITHDRAWN)
        else:
            withdrawn = [id_ for id_, item in known.items() if item.state is ItemState.IN_USE]
        change = {"$set": {"state": "WITHDRAWN", "withdrawn_at": now, "withdrawn_by": by.value}}
        count = 0
        for chunk in _chunks(withdrawn, _WRITE_BATCH):
            requests = [UpdateOne({"_id": id_, "withdrawn_by": {"$ne": by.value}}, change) for id_ in chunk]
            count += (await self._items.bulk_write(requests, ordered=False)).modified_count
        if by is WithdrawnBy.OPERATOR and withdrawn:
            await self._change_state({"$addToSet": {"withdrawn": {"$each": withdrawn}}})
        elif withdrawn:
            await self.mark_pending()
        return count

    async def restore(self, ids: Collection[str]) -> int:
        """Offer withdrawn items again and tell how many there were.

        Items that the published version holds reappear at once, others with the next publication.
        Raises: UnknownItemsError when no id names a stored item.
        """
        known = await self.find_known(dict.fromkeys(ids))
        if ids and not known:
            raise UnknownItemsError(count=len(ids))
        withdrawn = [id_ for id_, item in known.items() if item.state is ItemState.WITHDRAWN]
        change = {"$set": {"state": "IN_USE"}, "$unset": {"withdrawn_at": "", "withdrawn_by": ""}}
        count = 0
        for chunk in _chunks(withdrawn, _WRITE_BATCH):
            requests = [UpdateOne({"_id": id_, "state": "WITHDRAWN"}, change) for id_ in chunk]
            count += (await self._items.bulk_write(requests, ordered=False)).modified_count
        if withdrawn:
            hidden = (await self.get_state()).withdrawn
            await self._change_state({"$pull": {"withdrawn": {"$in": withdrawn}}})
            if not hidden.issuperset(withdrawn):
                await self.mark_pending()
        return count

    # What items share

    async def add_guides(self, batch: Mapping[str, Guide]) -> int:
        """Store guides under the hash of their content and tell how many were new."""
        return await self._add(
            self._guides, {key: msgspec.to_builtins(guide) for key, guide in batch.items()}
        )

    async def add_legal_bases(self, batch: Iterable[LegalBasis]) -> int:
        """Store cited articles under their id, which depends on their content; tell how many were new."""
        documents = {}
        for basis in batch:
            documents[basis.id] = document = msgspec.to_builtins(basis)
            del document["id"]
        return await self._add(self._legal_bases, documents)

    @staticmethod
    async def _add(collection: AsyncCollection[Document], documents: Mapping[str, Document]) -> int:
        """Insert what is missing; content under the hash of itself never changes."""
        missing: list[Document] = []
        for chunk in _chunks(documents, _KEY_BATCH):
            found = await collection.find({"_id": {"$in": chunk}}, ("_id",)).to_list()
            stored = {document["_id"] for document in found}
            missing.extend({"_id": key, **documents[key]} for key in chunk if key not in stored)
        return len(missing) - len(await _insert_new(collection, missing))

    async def upsert_departments(self, batch: Iterable[Department]) -> UpsertResult:
        """Store departments under their id."""
        return await self._upsert(self._departments, {department.id: department for department in batch})

    async def upsert_divisions(self, batch: Iterable[Division]) -> UpsertResult:
        """Store divisions under their code."""
        return await self._upsert(self._divisions, {division.code: division for division in batch})

    @staticmethod
    async def _upsert(collection: AsyncCollection[Document], batch: Mapping[str, _Record]) -> UpsertResult:
        new: list[Document] = []
        changed: list[ReplaceOne[Document]] = []
        for chunk in _chunks(batch, _KEY_BATCH):
            found = await collection.find({"_id": {"$in": chunk}}).to_list()
            stored = {document["_id"]: document for document in found}
            for key in chunk:
                document = {"_id": key, **msgspec.to_builtins(batch[key])}
                for name in ("id", "code"):
                    if document.get(name) == key:
                        del document[name]
                if key not in stored:
                    new.append(document)
                elif stored[key] != document:
                    changed.append(ReplaceOne({"_id": key}, document))
        inserted = len(new) - len(await _insert_new(collection, new))
        for requests in _chunks(changed, _WRITE_BATCH):
            await collection.bulk_write(requests, ordered=False)
        return UpsertResult(inserted, len(changed), len(batch) - inserted - len(changed))

    async def iterate_guides(self) -> AsyncIterator[tuple[str, Guide]]:
        """Stream (guide id, guide), ordered by id."""
        async for document in self._by_id(self._guides, {}):
            yield document["_id"], msgspec.convert(document, Guide, strict=False)

    async def iterate_legal_bases(self) -> AsyncIterator[LegalBasis]:
        """Stream the cited articles, ordered by id."""
        async for document in self._by_id(self._legal_bases, {}):
            yield msgspec.convert({"id": document["_id"], **document}, LegalBasis, strict=False)

    async def list_departments(self) -> list[Department]:
        """List all departments, ordered by id."""
        documents = [document async for document in self._by_id(self._departments, {})]
        return [msgspec.convert({"id": each["_id"], **each}, Department, strict=False) for each in documents]

    async def list_divisions(self) -> list[Division]:
        """List all divisions, ordered by code."""
        documents = [document async for document in self._by_id(self._divisions, {})]
        return [msgspec.convert({"code": each["_id"], **each}, Division, strict=False) for each in documents]

    # The published state

    async def get_state(self) -> CatalogueState:
        """Read what is published and what changed since; the empty state before the first publication."""
        document = await self._state.find_one({"_id": _STATE_ID})
        return CatalogueState() if document is None else msgspec.convert(document, CatalogueState)

    async def _change_state(self, change: Document) -> None:
        await self._state.update_one({"_id": _STATE_ID}, {**change, "$inc": {"revision": 1}}, upsert=True)

    async def mark_pending(self) -> None:
        """Note that stored content waits for publication; readers are not concerned, the revision stays."""
        await self._state.update_one({"_id": _STATE_ID}, {"$inc": {"changes": 1}}, upsert=True)

    async def touch(self) -> int:
        """Raise the revision, because readers must see a change beside the items, and give the new one."""
        await self._change_state({})
        return (await self.get_state()).revision

    async def set_published(
        self,
        version: int,
        item_count: int,
        now: datetime,
        *,
        read_from: datetime | None = None,
        changes: int | None = None,
    ) -> CatalogueState:
        """Make a version the published one.

        `read_from`: when its builder began to read; what an operator withdrew later stays hidden.
        `changes`: those counted when it began; None means all.
        Raises: VersionConflictError when a version as new was published in the meantime.
        """
        await self._state.update_one({"_id": _STATE_ID}, {"$setOnInsert": {"revision": 0}}, upsert=True)
        while True:
            state = await self.get_state()
            if version <= state.version:
                raise VersionConflictError(version=version, published=state.version)
            late: list[str] = []
            if read_from is not None:
                known = (await self.find_known(state.withdrawn)).values()
                late = [item.id for item in known if item.withdrawn_at and item.withdrawn_at >= read_from]
            change = {
                "version": version,
                "published_at": now,
                "item_count": item_count,
                "withdrawn": late,
                "revision": state.revision + 1,
                "published_changes": state.changes if changes is None else changes,
            }
            # Before the first change that readers see the document may lack a revision.
            revision = state.revision or {"$in": [0, None]}
            unchanged = {"_id": _STATE_ID, "revision": revision}
            if (await self._state.update_one(unchanged, {"$set": change})).matched_count:
                return await self.get_state()

    async def save_snapshot(self, version: int, directory: Path) -> None:
        """Keep a built snapshot directory for other machines; only the newest two versions are kept."""
        await snapshots.save(self._database, version, directory)

    async def open_snapshot(self, version: int, directory: Path) -> None:
        """Bring a saved snapshot into `directory`, which appears complete or not at all.

        Raises: snapshots.SnapshotMissingError.
        """
        await snapshots.load(self._database, version, directory)

    # Views

    async def add_views(self, day: date, counts: Mapping[str, int]) -> None:
        """Add views of items on a day (UTC); kept for 90 days."""
        instant = datetime.combine(day, time(), UTC)
        for chunk in _chunks(counts.items(), _WRITE_BATCH):
            requests = [
                UpdateOne(
                    {"_id": f"{day:%Y%m%d}:{item_id}"},
                    {"$inc": {"views": count}, "$setOnInsert": {"item": item_id, "day": instant}},
                    upsert=True,
                )
                for item_id, count in chunk
            ]
            await self._views.bulk_write(requests, ordered=False)

    async def top_views(self, since_day: date, limit: int) -> list[tuple[str, int]]:
        """List (item id, views since that day), most viewed first, ties by id."""
        pipeline: list[Mapping[str, Any]] = [
            {"$match": {"day": {"$gte": datetime.combine(since_day, time(), UTC)}}},
            {"$group": {"_id": "$item", "views": {"$sum": "$views"}}},
            {"$sort": {"views": -1, "_id": 1}},
            {"$limit": limit},
        ]
        rows = await (await self._views.aggregate(pipeline)).to_list()
        return [(row["_id"], int(row["views"])) for row in rows]


async def announce(redis: Redis, revision: int) -> None:
    """Tell API processes about a new revision; only a hint, since they poll as well."""
    await redis.publish(CHANNEL, str(revision))
