"""Figures about complaints for readers: which sums answer a question, put together row by row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Final

import numpy as np
from msgspec import Struct

from domain.complaint_statistics import (
    EVERY_CLASS,
    EVERY_KIND,
    EVERYWHERE,
    SLOTS,
    Counts,
    InvalidStatisticsError,
    Month,
    Tally,
    division_scope,
    months_between,
    sum_key,
    unit_scope,
)
from domain.complaints import Kind
from loaders.complaint_sums import ComplaintSums
from loaders.units import Units

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
    """What a row stands for, `key`, and its figures; the points are made when asked for.

    `counts`: a line of slots for each of the months.
    """

    def __init__(self, key: str, months: Sequence[Month], counts: Counts) -> None:
        self.key = key
        self._months = months
        self._counts = counts
        total = Tally(counts.sum(axis=0))
        self.figures = Figures(total)
        self.is_empty = total.is_empty

    @cached_property
    def series(self) -> list[Point]:
        """The figures month by month, those without anything too."""
        return [
            Point(str(month), Figures(Tally(slots)))
            for month, slots in zip(self._months, self._counts, strict=True)
        ]


class Answer(Struct, frozen=True):
    """The figures of all complaints of a question together, and row by row; `as_of`: of which instant."""

    total: Row
    rows: list[Row]
    as_of: datetime


class ComplaintStatistics:
    """Answers questions from the sums that this process has."""

    def __init__(self, sums: ComplaintSums, units: Units) -> None:
        self.sums = sums
        self._units = units

    def answer(self, question: Question, by: By, divisions: Divisions) -> Answer:
        """Put the figures together; rows without any complaint are left out, except for months and kinds.

        Raises: InvalidStatisticsError naming the argument; loaders.reference.ReferenceUnavailableError.
        """
        months = months_between(question.first, question.last)
        whole = self._place(question)
        named = self._rows(question, by, whole, divisions)
        as_of = self.sums.as_of
        counts = self._counts(whole, months)
        if by is By.MONTH:
            rows = [Row(str(each), [each], counts[at : at + 1]) for at, each in enumerate(months)]
        else:
            rows = [Row(key, months, self._counts(place, months)) for key, place in named.items()]
        kept = by in (By.MONTH, By.KIND)
        return Answer(Row("", months, counts), [each for each in rows if kept or not each.is_empty], as_of)

    def _counts(self, place: _Place, months: Sequence[Month]) -> Counts:
        """Give the counts of a place, a line of slots for each month."""
        years = range(months[0].year, months[-1].year + 1)
        whole = np.concatenate([self.sums.year(sum_key(*place, year)) for year in years])
        first = months[0].month - 1
        return whole.reshape(-1, SLOTS)[first : first + len(months)]

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
