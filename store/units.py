"""The units and the classes of complaints in MongoDB, and what became of complaints at each unit."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import msgspec
from pymongo.asynchronous.database import AsyncDatabase

from domain.complaint_classes import ClassList, ComplaintClass
from domain.units import Outcome, Unit, UnitTree
from store.complaint_statistics import StatisticsStore
from store.reference import ReferenceStore

Document = dict[str, Any]
UNITS: Final = "units"
CLASSES: Final = "complaint_classes"

_units = msgspec.json.Decoder(list[Unit])
_classes = msgspec.json.Decoder(list[ComplaintClass])


class UnitStore:
    """Reads and replaces units and classes as a whole; knows what became of complaints."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self.reference = ReferenceStore(database)
        self.statistics = StatisticsStore(database)

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

    async def list_outcomes(self, class_code: str, division_code: str) -> Mapping[str, Outcome]:
        """Read what became of a class's complaints of a division, by unit id, as they were counted."""
        return await self.statistics.outcomes(class_code, division_code)
