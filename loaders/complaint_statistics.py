"""Figures about complaints for readers: which sums answer a question, put together row by row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from functools import cached_property
from typing import Final

from msgspec import Struct

from domain.complaint_statistics import (
    EVERY_CLASS,
    EVERY_KIND,
    EVERYWHERE,
    InvalidStatisticsError,
    Month,
    Tally,
    division_scope,
    months_between,
    sum_key,
    tally_by_month,
    unit_scope,
)
from domain.complaints import Kind
from loaders.units import Units
from store.complaint_statistics import StatisticsStore

MAX_ROWS: Final = 200
_Place = tuple[str, str, str]
"""Scope, classes and kind of sums."""
Divisions = Callable[[str | None], Sequence[str]]
"""Gives the codes of the divisions right below one, or of the highest."""


class By(StrEnum):
    """What a row stands for."""

    MONTH = "MONTH"
    KIND = "KIND"
    CLASS = "CLASS"
    DIVISION = "DIVISION"
    UNIT = "UNIT"


class Question(Struct, frozen=True):
    """Which complaints are meant; parts that are None do not restrict. `class_code`: a class or a group."""

    first: Month
    last: Month
    division_code: str | None = None
    unit_id: str | None = None
    class_code: str | None = None
    kind: Kind | None = None


class Figures:
    """The sums of some rounds, and what follows from them; hours are office hours."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self.received = tally.counts["received"]
        self.reopened = tally.counts["reopened"]
        self.answered = tally.counts["answered"]
        self.in_time = tally.counts["in_time"]
        self.rated = tally.counts["rated"]
        self.satisfied = tally.counts["satisfied"]
        self.refused = tally.counts["refused"]
        self.withdrawn = tally.counts["withdrawn"]
        self.merged = tally.counts["merged"]
        self.in_time_share = self.in_time / self.answered if self.answered else None
        self.satisfied_share = self.satisfied / self.rated if self.rated else None

    @property
    def median_hours(self) -> float | None:
        """Half of the answers came within this."""
        return self._tally.hours(0.5)

    @property
    def p90_hours(self) -> float | None:
        """Nine of ten answers came within this."""
        return self._tally.hours(0.9)


class Point(Struct, frozen=True):
    """One month of a chart."""

    month: str
    figures: Figures


class Row:
    """What a row stands for, `key`, and its figures; the points are made when asked for."""

    def __init__(self, key: str, tallies: Mapping[Month, Tally]) -> None:
        self.key = key
        self._tallies = tallies
        total = Tally()
        for tally in tallies.values():
            total.merge(tally)
        self.figures = Figures(total)
        self.is_empty = total.is_empty

    @cached_property
    def series(self) -> list[Point]:
        """The figures month by month, those without anything too."""
        return [Point(str(month), Figures(tally)) for month, tally in self._tallies.items()]


class Answer(Struct, frozen=True):
    """The figures of all complaints of a question together, and row by row."""

    total: Row
    rows: list[Row]


class ComplaintStatistics:
    """Answers questions from the sums of `store`: a row of a year is one document."""

    def __init__(self, store: StatisticsStore, units: Units) -> None:
        self.store = store
        self._units = units

    async def answer(self, question: Question, by: By, divisions: Divisions) -> Answer:
        """Put the figures together; rows without any complaint are left out, except for months and kinds.

        Raises: InvalidStatisticsError naming the argument; loaders.reference.ReferenceUnavailableError.
        """
        months = months_between(question.first, question.last)
        whole = self._place(question)
        named = self._rows(question, by, whole, divisions)
        years = range(question.first.year, question.last.year + 1)
        places = dict.fromkeys([whole, *named.values()])
        sums = await self.store.read(sum_key(*place, year) for place in places for year in years)

        def row(key: str, place: _Place, months: Sequence[Month]) -> Row:
            of_years = {year: sums.get(sum_key(*place, year), {}) for year in years}
            return Row(key, tally_by_month(of_years, months))

        if by is By.MONTH:
            rows = [row(str(month), whole, [month]) for month in months]
        else:
            rows = [row(key, place, months) for key, place in named.items()]
        kept = by in (By.MONTH, By.KIND)
        return Answer(row("", whole, months), [each for each in rows if kept or not each.is_empty])

    def _place(self, question: Question) -> _Place:
        if question.unit_id is not None and question.division_code is not None:
            raise InvalidStatisticsError(field="unitId")
        classes = question.class_code or EVERY_CLASS
        kind = question.kind.value if question.kind else EVERY_KIND
        if question.class_code is not None and self._units.classes.find(question.class_code) is None:
            raise InvalidStatisticsError(field="classCode")
        if question.unit_id is not None:
            return unit_scope(question.unit_id), classes, kind
        return division_scope(question.division_code or EVERYWHERE), classes, kind

    def _rows(self, question: Question, by: By, whole: _Place, divisions: Divisions) -> dict[str, _Place]:
        """Name the rows, and the place of each.

        Raises: InvalidStatisticsError where they cannot be named, or are too many.
        """
        rows: dict[str, _Place] = {}
        scope, classes, kind = whole
        if by is By.KIND:
            kinds = [question.kind] if question.kind else list(Kind)
            rows = {each.value: (scope, classes, each.value) for each in kinds}
        if by is By.CLASS:
            code = question.class_code
            known = self._units.classes
            within = known.groups if code is None else known.children(code)
            rows = {each.code: (scope, each.code, kind) for each in within}
            if code is not None and not within:
                rows[code] = (scope, code, kind)
        if by is By.DIVISION:
            if question.unit_id is not None:
                raise InvalidStatisticsError(field="by")
            rows = {code: (division_scope(code), classes, kind) for code in divisions(question.division_code)}
        if by is By.UNIT and question.unit_id is not None:
            rows[question.unit_id] = whole
        elif by is By.UNIT:
            if question.division_code is None:
                raise InvalidStatisticsError(field="divisionCode")
            units = self._units.tree.select(question.division_code)
            rows = {unit.id: (unit_scope(unit.id), classes, kind) for unit in units}
        if len(rows) > MAX_ROWS:
            raise InvalidStatisticsError(field="by")
        return rows
