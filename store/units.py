"""The units and the classes of complaints in MongoDB, and what became of complaints at each unit."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import msgspec
from pymongo.asynchronous.database import AsyncDatabase

from domain.complaint_classes import ClassList, ComplaintClass
from domain.units import Outcome, Unit, UnitTree
from store.reference import ReferenceStore

Document = dict[str, Any]
UNITS: Final = "units"
CLASSES: Final = "complaint_classes"
_MOST_OUTCOMES: Final = 200

_units = msgspec.json.Decoder(list[Unit])
_classes = msgspec.json.Decoder(list[ComplaintClass])


class UnitStore:
    """Reads and replaces units and classes as a whole; counts outcomes."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self.reference = ReferenceStore(database)
        self._outcomes = database["unit_outcomes"]

    async def load_units(self) -> tuple[int, UnitTree]:
        """Read all units and their revision; none before the first import."""
        stored = await self.reference.load(UNITS)
        return stored.revision, UnitTree(_units.decode(stored.content) if stored.content else ())

    async def replace_units(self, tree: UnitTree, *, expected: int, now: datetime) -> int:
        """Replace all units and give the new revision. Raises: store.reference.ListChangedError."""
        content = msgspec.json.encode(tree.all)
        return await self.reference.replace(UNITS, content, expected=expected, now=now)

    async def load_classes(self) -> tuple[int, ClassList | None]:
        """Read an operator's own classes and their revision; None where there are none."""
        stored = await self.reference.load(CLASSES)
        return stored.revision, ClassList(_classes.decode(stored.content)) if stored.content else None

    async def replace_classes(self, classes: ClassList, *, expected: int, now: datetime) -> int:
        """Replace all classes and give the new revision. Raises: store.reference.ListChangedError."""
        content = msgspec.json.encode(classes.all)
        return await self.reference.replace(CLASSES, content, expected=expected, now=now)

    async def record_outcome(
        self, unit_id: str, class_code: str, division_code: str, *, answered: bool
    ) -> None:
        """Count that a unit has answered a complaint of a class in a division, or has returned it."""
        field = "answered" if answered else "returned"
        key = f"{class_code}:{division_code}:{unit_id}"
        await self._outcomes.update_one({"_id": key}, {"$inc": {field: 1}}, upsert=True)

    async def list_outcomes(self, class_code: str, division_code: str) -> Mapping[str, Outcome]:
        """Read what became of a class's complaints in a division, by unit id; 200 units at most."""
        start = f"{class_code}:{division_code}:"
        found = await self._outcomes.find(
            {"_id": {"$gte": start, "$lt": start[:-1] + ";"}}, limit=_MOST_OUTCOMES
        ).to_list()
        return {
            each["_id"].removeprefix(start): Outcome(each.get("answered", 0), each.get("returned", 0))
            for each in found
        }
