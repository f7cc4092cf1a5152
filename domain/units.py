"""The units that answer complaints: a tree on four levels, their duties, and who is responsible for what.

A duty is a prefix of a class code within a division: `03@350102` is all about the environment in 鼓楼区.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final

from msgspec import Struct

from domain.access import is_within
from domain.catalogue import Level, level_of_division, parent_division_code
from domain.complaint_classes import ClassList
from domain.errors import DomainError

MAX_SUGGESTED: Final = 10
EXPERIENCED_FROM: Final = 3
"""So many answers make a unit without the duty a candidate."""
_PER_PREFIX_STEP: Final = 10.0  # the whole class above its group above everything
_PER_LEVEL: Final = 3.0  # each level further up
_EXPERIENCE: Final = 12.0  # half of it at most, either way


class UnitKind(StrEnum):
    """What a unit is."""

    CENTRE = "CENTRE"
    """A 12345 centre; its staff are seats."""
    DEPARTMENT = "DEPARTMENT"
    GOVERNMENT = "GOVERNMENT"
    ENTERPRISE = "ENTERPRISE"
    """A company that supplies water, power, gas, buses and the like."""


class SuggestedFor(StrEnum):
    """Why a unit is suggested."""

    ENVIRONMENTAL_AUTHORITY = "ENVIRONMENTAL_AUTHORITY"
    DUTY = "DUTY"
    EXPERIENCE = "EXPERIENCE"
    """It has answered such complaints before, without having the duty."""
    GOVERNMENT = "GOVERNMENT"
    """Nobody has the duty, so the government of the division is asked."""


class UnknownUnitError(DomainError):
    """An id that names no unit in use."""

    code = "UNKNOWN_UNIT"


class Duty(Struct, frozen=True):
    """Classes by the prefix of their code (empty: all), within a division and all below it."""

    class_prefix: str
    division_code: str


class Unit(Struct, frozen=True):
    """One unit; `hours` are for people, `parent_id` is the unit above it in its own line."""

    id: str
    name: str
    kind: UnitKind
    division_code: str
    name_en: str | None = None
    parent_id: str | None = None
    hours: str = ""
    phone: str = ""
    is_environmental: bool = False
    is_active: bool = True
    duties: tuple[Duty, ...] = ()

    @property
    def level(self) -> Level:
        """The level of government, which its division says."""
        return level_of_division(self.division_code)


class Outcome(Struct, frozen=True):
    """What became of past complaints of one class and division at one unit."""

    answered: int = 0
    returned: int = 0


class Suggestion(Struct, frozen=True):
    """A unit that may be responsible; the higher the score, the likelier."""

    unit: Unit
    reason: SuggestedFor
    score: float


def lineage(division_code: str) -> list[str]:
    """List a division's code and those above it, nearest first."""
    found = [division_code]
    while (parent := parent_division_code(found[-1])) is not None:
        found.append(parent)
    return found


def experience(outcome: Outcome) -> float:
    """Weigh past outcomes, -6 to 6: more answers never lower it, more returns never raise it."""
    total = outcome.answered + outcome.returned
    return _EXPERIENCE / 2 * (outcome.answered - outcome.returned) / (total + 4)


class UnitTree:
    """All units, immutable, in the order of their ids."""

    def __init__(self, units: Iterable[Unit]) -> None:
        self._by_id = {unit.id: unit for unit in sorted(units, key=lambda each: each.id)}
        self._centres: dict[str, Unit] = {}
        self._governments: dict[str, Unit] = {}
        self._environmental: dict[str, Unit] = {}
        self._duties: dict[str, list[tuple[str, Unit]]] = {}
        self._children: dict[str, list[Unit]] = {}
        self._divisions = frozenset(unit.division_code for unit in self._by_id.values() if unit.is_active)
        for unit in self._by_id.values():
            if unit.parent_id is not None:
                self._children.setdefault(unit.parent_id, []).append(unit)
            if not unit.is_active:
                continue
            if unit.kind is UnitKind.CENTRE:
                self._centres.setdefault(unit.division_code, unit)
            if unit.kind is UnitKind.GOVERNMENT:
                self._governments.setdefault(unit.division_code, unit)
            if unit.is_environmental:
                self._environmental.setdefault(unit.division_code, unit)
            for duty in unit.duties:
                self._duties.setdefault(duty.division_code, []).append((duty.class_prefix, unit))

    def __len__(self) -> int:
        return len(self._by_id)

    @property
    def all(self) -> tuple[Unit, ...]:
        """Every unit, those no longer active too."""
        return tuple(self._by_id.values())

    def find(self, unit_id: str) -> Unit | None:
        """Find a unit, active or not."""
        return self._by_id.get(unit_id)

    def get(self, unit_id: str) -> Unit:
        """Give an active unit. Raises: UnknownUnitError."""
        unit = self._by_id.get(unit_id)
        if unit is None or not unit.is_active:
            raise UnknownUnitError(id=unit_id[:64], field="unitId")
        return unit

    def children(self, unit_id: str) -> tuple[Unit, ...]:
        """List the units right below one."""
        return tuple(self._children.get(unit_id, ()))

    def is_centre(self, unit_id: str | None) -> bool:
        """Tell whether a unit is an active 12345 centre."""
        unit = self._by_id.get(unit_id or "")
        return unit is not None and unit.is_active and unit.kind is UnitKind.CENTRE

    def centre(self, division_code: str) -> Unit | None:
        """Find the centre of a division, or else the nearest above it."""
        return self._nearest(self._centres, division_code)

    def environmental_authority(self, division_code: str) -> Unit | None:
        """Find the environmental authority of a division, or else the nearest above it."""
        return self._nearest(self._environmental, division_code)

    @staticmethod
    def _nearest(by_division: Mapping[str, Unit], division_code: str) -> Unit | None:
        return next((by_division[code] for code in lineage(division_code) if code in by_division), None)

    def covers(self, division_code: str) -> bool:
        """Tell whether a division has an active unit of its own."""
        return division_code in self._divisions

    def select(
        self, division_code: str | None = None, kind: UnitKind | None = None, *, below: bool = False
    ) -> list[Unit]:
        """List the active units of a division, of a kind, ordered by id; `below`: of all divisions in it."""
        return [
            unit
            for unit in self._by_id.values()
            if unit.is_active
            and (kind is None or unit.kind is kind)
            and (
                division_code is None
                or unit.division_code == division_code
                or (below and is_within(unit.division_code, division_code))
            )
        ]

    def next_level_up(self, unit_id: str) -> Unit | None:
        """Find to whom a complaint is escalated that a unit leaves lying; None above the highest.

        That is the nearest active unit above it in its own line; then the centre of its division; above a
        centre, that of the division above.
        """
        unit = self._by_id.get(unit_id)
        if unit is None:
            return None
        seen = {unit_id}
        above = self._by_id.get(unit.parent_id or "")
        while above is not None and above.id not in seen:
            if above.is_active:
                return above
            seen.add(above.id)
            above = self._by_id.get(above.parent_id or "")
        division: str | None = unit.division_code
        if unit.kind is UnitKind.CENTRE:
            division = parent_division_code(unit.division_code)
        return None if division is None else self.centre(division)

    def responsible(
        self,
        classes: ClassList,
        class_code: str,
        division_code: str,
        outcomes: Mapping[str, Outcome] | None = None,
        first: int = 5,
    ) -> list[Suggestion]:
        """Rank the units that may answer for a class in a division; empty only without any government.

        The environmental authority comes first for its classes; else the longest prefix, then the nearest
        level, and past `outcomes` (by unit id, of this class and division) move a unit up or down.
        """
        past = outcomes or {}
        environmental = classes.is_environmental(class_code)
        found: dict[str, Suggestion] = {}

        def offer(unit: Unit, reason: SuggestedFor, score: float) -> None:
            known = found.get(unit.id)
            total = score + experience(past.get(unit.id, Outcome()))
            if known is None or total > known.score:
                found[unit.id] = Suggestion(unit, reason, round(total, 3))

        codes = lineage(division_code)
        for steps, code in enumerate(codes):
            for prefix, unit in self._duties.get(code, ()):
                if class_code.startswith(prefix):
                    score = _PER_PREFIX_STEP * len(prefix) / 2 - _PER_LEVEL * steps
                    offer(unit, SuggestedFor.DUTY, score)
        authority = self.environmental_authority(division_code) if environmental else None
        if authority is not None:
            # Above whatever duties, distance and experience can add up to.
            offer(authority, SuggestedFor.ENVIRONMENTAL_AUTHORITY, 4 * _PER_PREFIX_STEP)
        for unit_id, outcome in past.items():
            unit_by_past = self._by_id.get(unit_id)
            if unit_by_past is None or not unit_by_past.is_active or unit_id in found:
                continue
            if outcome.answered >= EXPERIENCED_FROM and unit_by_past.kind is not UnitKind.CENTRE:
                offer(unit_by_past, SuggestedFor.EXPERIENCE, 0.0)
        government = self._nearest(self._governments, division_code)
        if not found and government is not None:
            offer(government, SuggestedFor.GOVERNMENT, 0.0)
        ranked = sorted(found.values(), key=lambda each: (-each.score, each.unit.id))
        return ranked[: min(first, MAX_SUGGESTED)]
