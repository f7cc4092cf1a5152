"""Cases of urban management in MongoDB: each one document with its events; the operator's own classes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from bson.codec_options import CodecOptions
from pymongo import ASCENDING, DESCENDING
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from domain.catalogue import Level, level_of_division
from domain.city_cases import CityCase, CityState
from domain.city_classes import CityClass, CityClassList
from store.reference import ReferenceStore

Document = dict[str, Any]
CITY_CLASSES: Final = "city_classes"
_classes = msgspec.json.Decoder(list[CityClass])
_SCOPES: Final = {Level.PROVINCE: "province", Level.CITY: "city", Level.COUNTY: "county"}


def _to_document(case: CityCase, key: str) -> Document:
    document: Document = msgspec.to_builtins(case, builtin_types=(datetime,))
    document["_id"] = document.pop("id")
    code = case.reported.division_code
    document.update(key=key, province=code[:2] + "0000", city=code[:4] + "00", county=code[:6])
    return document


def _case(document: Document) -> CityCase:
    document["id"] = document["_id"]
    return msgspec.convert(document, CityCase, strict=False)


def scope_of(division_code: str) -> Document:
    """Give the condition for cases within a division."""
    level = level_of_division(division_code)
    if level in _SCOPES:
        return {_SCOPES[level]: division_code}
    return {"county": division_code[:6], "reported.division_code": division_code}


class CityCaseStore:
    """Reads and writes cases; every write is conditional on the version that was read."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        options: CodecOptions[Document] = CodecOptions(tz_aware=True, tzinfo=UTC)
        self._cases = database.with_options(codec_options=options)["city_cases"]
        self.reference = ReferenceStore(database)

    async def ensure_indexes(self) -> None:
        """Create the indexes that the lists and repetitions need; cheap when they exist."""
        await self._cases.create_index([("key", ASCENDING)], name="key", unique=True)
        for field in ("province", "city", "county", "unit"):
            order = [(field, ASCENDING), ("state", ASCENDING), ("_id", DESCENDING)]
            await self._cases.create_index(order, name=field)
        await self._cases.create_index([("state", ASCENDING), ("due_at", ASCENDING)], name="due_at")

    async def insert(self, case: CityCase, key: str) -> bool:
        """Insert a case; tell whether nobody had used the key before."""
        try:
            await self._cases.insert_one(_to_document(case, key))
        except DuplicateKeyError:
            return False
        return True

    async def find_by_key(self, key: str) -> CityCase | None:
        """Find the case that a key made."""
        document = await self._cases.find_one({"key": key})
        return None if document is None else _case(document)

    async def find(self, case_id: str) -> CityCase | None:
        """Find a case."""
        document = await self._cases.find_one({"_id": case_id})
        return None if document is None else _case(document)

    async def advance(self, case: CityCase) -> bool:
        """Store a case whose last event is new; tell whether nobody was faster."""
        event = msgspec.to_builtins(case.events[-1], builtin_types=(datetime,))
        result = await self._cases.update_one(
            {"_id": case.id, "version": case.version - 1},
            {
                "$set": {
                    "state": case.state.value,
                    "version": case.version,
                    "unit": case.unit,
                    "due_at": case.due_at,
                },
                "$push": {"events": event},
            },
        )
        return bool(result.matched_count)

    async def list_cases(
        self,
        state: CityState,
        first: int,
        *,
        division: str | None = None,
        unit: str | None = None,
        before: str | None = None,
    ) -> list[CityCase]:
        """List cases of a state within a division, or of a unit, newest first, older than `before`.

        Raises: ValueError without division and unit: no index would serve it.
        """
        if division is None and unit is None:
            raise ValueError("a division or a unit is needed")
        condition: Document = {"unit": unit} if unit is not None else scope_of(division or "")
        condition["state"] = state.value
        if before is not None:
            condition["_id"] = {"$lt": before}
        cursor = self._cases.find(condition, sort=[("_id", DESCENDING)], limit=first)
        return [_case(document) async for document in cursor]

    async def list_overdue(self, division: str, first: int, *, now: datetime) -> list[CityCase]:
        """List the cases within a division whose unit should be done by now, the longest overdue first."""
        condition = {"state": CityState.DISPATCHED.value, "due_at": {"$lt": now}, **scope_of(division)}
        cursor = self._cases.find(condition, sort=[("due_at", ASCENDING)], limit=first)
        return [_case(document) async for document in cursor]

    async def load_classes(self) -> tuple[int, CityClassList | None]:
        """Read an operator's own classes and their revision; None where there are none."""
        stored = await self.reference.load(CITY_CLASSES)
        return stored.revision, CityClassList(_classes.decode(stored.content)) if stored.content else None

    async def replace_classes(self, classes: CityClassList, *, expected: int, now: datetime) -> int:
        """Replace all classes and give the new revision. Raises: store.reference.ListChangedError."""
        content = msgspec.json.encode(classes.select())
        return await self.reference.replace(CITY_CLASSES, content, expected=expected, now=now)
