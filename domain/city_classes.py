"""The kinds of components (部件) and events (事件) of urban management, their promised times; grid cells.

The names follow GB/T 30428.2 and CJ/T 214 as far as they are known; a class whose official name is not
certain says so. The list is a table that an operator may replace.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, time, timedelta
from enum import StrEnum
from typing import Final

from msgspec import Struct

from domain.errors import DomainError
from domain.preferences import SHANGHAI
from domain.tables import InvalidTableError, Row
from domain.working_days import WorkingCalendar

COLUMNS: Final = ("code", "kind", "group", "name", "certain", "limit", "limit_unit", "complaint_class")
REQUIRED: Final = ("code", "kind", "group", "name", "limit", "limit_unit")
_CODE = re.compile(r"[A-Z]?\d{4}", re.ASCII)
_GRID = re.compile(r"\d{6}(\d{3}){0,3}", re.ASCII)
_DAY_ENDS: Final = time(23, 59, 59)


class UnknownCityClassError(DomainError):
    """A code that is no kind of component or event."""

    code = "UNKNOWN_CITY_CLASS"


class InvalidGridCodeError(DomainError):
    """A code that is no cell of the grid: 6, 9, 12 or 15 digits."""

    code = "INVALID_GRID_CODE"


class CityKind(StrEnum):
    """Whether a case is about a thing or about something that happens."""

    COMPONENT = "COMPONENT"
    EVENT = "EVENT"


class LimitUnit(StrEnum):
    """How a promised time is counted."""

    HOUR = "HOUR"
    """Hours by the clock, day and night."""
    DAY = "DAY"
    """Working days; the day of the beginning is not counted."""


class GridLevel(StrEnum):
    """The five levels of the grid."""

    CITY = "CITY"
    DISTRICT = "DISTRICT"
    STREET = "STREET"
    COMMUNITY = "COMMUNITY"
    BUILDING = "BUILDING"


class CityClass(Struct, frozen=True):
    """A kind of component or event; `limit` is the promised time from dispatch to the end of the work.

    `is_certain`: the name is the official one. `complaint_class`: who answers for that does the work.
    """

    code: str
    kind: CityKind
    group: str
    name: str
    limit: int
    limit_unit: LimitUnit
    is_certain: bool = True
    complaint_class: str = ""

    def due_at(self, start: datetime, calendar: WorkingCalendar) -> datetime:
        """Tell when the work has to be done that was dispatched at `start`; UTC in, the start's zone out."""
        if self.limit_unit is LimitUnit.HOUR:
            return start + timedelta(hours=self.limit)
        days = calendar.working_days_from(start.astimezone(SHANGHAI).date() + timedelta(days=1))
        last = next(day for number, day in enumerate(days, 1) if number == self.limit)
        return datetime.combine(last, _DAY_ENDS, SHANGHAI).astimezone(start.tzinfo)


class CityClassList:
    """All kinds of components and events, immutable, in the order of their codes."""

    def __init__(self, classes: Iterable[CityClass]) -> None:
        self._by_code = {each.code: each for each in sorted(classes, key=lambda each: each.code)}

    def __len__(self) -> int:
        return len(self._by_code)

    def select(self, kind: CityKind | None = None, group: str | None = None) -> list[CityClass]:
        """List the kinds of components, of events, of a group, or all."""
        return [
            each
            for each in self._by_code.values()
            if (kind is None or each.kind is kind) and (group is None or each.group == group)
        ]

    def find(self, code: str) -> CityClass | None:
        """Find a class."""
        return self._by_code.get(code)

    def get(self, code: str) -> CityClass:
        """Give a class. Raises: UnknownCityClassError."""
        found = self._by_code.get(code)
        if found is None:
            raise UnknownCityClassError(code=code[:20], field="classCode")
        return found


def read_city_classes(rows: Iterable[Row]) -> CityClassList:
    """Make a list from the rows of a table with the columns `COLUMNS`; nothing is half read.

    Raises: domain.tables.InvalidTableError naming line, column and reason.
    """
    classes: dict[str, CityClass] = {}
    for row in rows:
        code = row.text("code", 5, required=True)
        if not _CODE.fullmatch(code):
            raise row.wrong("code", "is not four digits, with a letter before them or without")
        if code in classes:
            raise row.wrong("code", f"{code} is already there")
        limit = row.number("limit", 1, 365)
        if limit is None:
            raise row.wrong("limit", "is empty")
        classes[code] = CityClass(
            code=code,
            kind=row.choice("kind", CityKind),
            group=row.text("group", 20, required=True),
            name=row.text("name", 40, required=True),
            limit=limit,
            limit_unit=row.choice("limit_unit", LimitUnit),
            is_certain=row.flag("certain", default=True),
            complaint_class=row.text("complaint_class", 4),
        )
    if not classes:
        raise InvalidTableError(line=1, column="code", reason="the table is empty")
    return CityClassList(classes.values())


def grid_level(code: str) -> GridLevel:
    """Tell the level of a cell by its code: 6 digits a city or district, then 9, 12 and 15.

    Raises: InvalidGridCodeError.
    """
    if not _GRID.fullmatch(code) or code.endswith("0000" if len(code) == 6 else "000"):
        raise InvalidGridCodeError(code=code[:20], field="gridCode")
    if len(code) == 6:
        return GridLevel.CITY if code.endswith("00") else GridLevel.DISTRICT
    return {9: GridLevel.STREET, 12: GridLevel.COMMUNITY, 15: GridLevel.BUILDING}[len(code)]


def cells_of(code: str) -> list[str]:
    """List a cell and those around it, the smallest first, up to the city. Raises: InvalidGridCodeError."""
    level = grid_level(code)
    cells = [code]
    while level is not GridLevel.CITY:
        code = code[:4] + "00" if level is GridLevel.DISTRICT else code[:-3]
        level = grid_level(code)
        cells.append(code)
    return cells


def division_of_cell(code: str) -> str:
    """Give the division (6 or 9 digits) in which a cell lies. Raises: InvalidGridCodeError."""
    grid_level(code)
    return code[:9]
