"""The units as a table: what an operator's file must hold, and writing one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from domain.tables import InvalidTableError, Row
from domain.units import Duty, Unit, UnitKind, UnitTree

REQUIRED: Final = ("id", "name", "kind", "division_code")
COLUMNS: Final = (
    "id",
    "name",
    "name_en",
    "kind",
    "division_code",
    "parent_id",
    "hours",
    "phone",
    "is_environmental",
    "is_active",
    "duties",
)
MAX_UNITS: Final = 20_000
MAX_DUTIES: Final = 300
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_PREFIX = re.compile(r"\*|\d{2}|\d{4}", re.ASCII)


def read_units(rows: Iterable[Row]) -> UnitTree:
    """Make a tree from the rows of a table with the columns `COLUMNS`; duties are `0302;03@350102;*`.

    Raises: domain.tables.InvalidTableError naming line, column and reason; nothing is half read.
    """
    units: dict[str, Unit] = {}
    at: dict[str, Row] = {}
    for row in rows:
        unit = _read_unit(row)
        if unit.id in units:
            raise row.wrong("id", f"{unit.id} is already in line {at[unit.id].line}")
        if len(units) == MAX_UNITS:
            raise row.wrong("id", f"more than {MAX_UNITS} units")
        units[unit.id], at[unit.id] = unit, row
    if not units:
        raise InvalidTableError(line=1, column="id", reason="the table is empty")
    _check_parents(units, at)
    _check_centres(units, at)
    return UnitTree(units.values())


def write_units(tree: UnitTree) -> Iterator[dict[str, str]]:
    """Yield the rows that `read_units` reads back to the same tree."""
    for unit in tree.all:
        yield {
            "id": unit.id,
            "name": unit.name,
            "name_en": unit.name_en or "",
            "kind": unit.kind.value,
            "division_code": unit.division_code,
            "parent_id": unit.parent_id or "",
            "hours": unit.hours,
            "phone": unit.phone,
            "is_environmental": "1" if unit.is_environmental else "0",
            "is_active": "1" if unit.is_active else "0",
            "duties": ";".join(_write_duty(duty, unit) for duty in unit.duties),
        }


def _write_duty(duty: Duty, unit: Unit) -> str:
    prefix = duty.class_prefix or "*"
    return prefix if duty.division_code == unit.division_code else f"{prefix}@{duty.division_code}"


def _read_unit(row: Row) -> Unit:
    unit_id = row.text("id", 64, required=True)
    if not _ID.fullmatch(unit_id):
        raise row.wrong("id", "has other characters than letters, digits, dot, dash and underscore")
    division = row.division("division_code")
    return Unit(
        id=unit_id,
        name=row.text("name", 100, required=True),
        name_en=row.text("name_en", 200) or None,
        kind=row.choice("kind", UnitKind),
        division_code=division,
        parent_id=row.text("parent_id", 64) or None,
        hours=row.text("hours", 200),
        phone=row.text("phone", 40),
        is_environmental=row.flag("is_environmental"),
        is_active=row.flag("is_active", default=True),
        duties=_read_duties(row, division),
    )


def _read_duties(row: Row, division: str) -> tuple[Duty, ...]:
    duties = []
    for part in row.parts("duties", 10_000):
        prefix, _, within = part.partition("@")
        if not _PREFIX.fullmatch(prefix):
            raise row.wrong("duties", f"{part[:20]} does not begin with 2 or 4 digits, or *")
        code = row.division("duties", within) if within else division
        duties.append(Duty("" if prefix == "*" else prefix, code))
    if len(duties) > MAX_DUTIES:
        raise row.wrong("duties", f"more than {MAX_DUTIES}")
    if len(set(duties)) < len(duties):
        raise row.wrong("duties", "the same twice")
    return tuple(duties)


def _check_parents(units: Mapping[str, Unit], at: Mapping[str, Row]) -> None:
    for unit in units.values():
        above, steps = unit.parent_id, 0
        if above is not None and above not in units:
            raise at[unit.id].wrong("parent_id", f"there is no unit {above}")
        while above is not None:
            steps += 1
            if above == unit.id or steps > len(units):
                raise at[unit.id].wrong("parent_id", "leads back to the unit itself")
            above = units[above].parent_id if above in units else None


def _check_centres(units: Mapping[str, Unit], at: Mapping[str, Row]) -> None:
    centres: dict[str, str] = {}
    for unit in units.values():
        if unit.kind is not UnitKind.CENTRE or not unit.is_active:
            continue
        other = centres.setdefault(unit.division_code, unit.id)
        if other != unit.id:
            raise at[unit.id].wrong("division_code", f"already has the centre {other}")
