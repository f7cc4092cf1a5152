"""Figures about complaints in GraphQL: tables and series for charts."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, cast

import strawberry
from strawberry.types import Info

from domain.catalogue import division_code
from domain.complaint_statistics import InvalidStatisticsError, Month
from domain.complaints import Kind
from loaders.complaint_statistics import Answer, By, ComplaintStatistics, Point, Question, Row
from loaders.reference import ReferenceUnavailableError
from resolvers import complaint_enums  # noqa: F401 — describes the enums
from resolvers.caching import STATISTICS
from resolvers.context import Context
from resolvers.node import describe_enum
from resolvers.public_complaint_types import check_class_code
from resolvers.units import raw_unit_id, units_of

_MONTH = re.compile(r"(\d{4})-(\d{2})", re.ASCII)
_COST = 20

describe_enum(
    By,
    "What a row stands for.",
    {
        "MONTH": "A month.",
        "KIND": "A kind.",
        "CLASS": "A group of classes; with `classCode` of a group, its classes.",
        "DIVISION": "A division right below the one asked for.",
        "UNIT": "A unit of the division asked for.",
    },
    name="ComplaintStatisticsBy",
)


@strawberry.type(
    description="Figures of complaints. A round begins with the submission or with a reopening; it counts in "
    "the month in which it began, under the present kind and class."
)
class ComplaintFigures:
    """Shows Figures."""

    received: int = strawberry.field(description="Complaints that were submitted.")
    reopened: int = strawberry.field(description="Rounds that were begun by reopening.")
    answered: int = strawberry.field(description="Rounds whose answer has reached the citizen.")
    in_time: int = strawberry.field(description="Of these, those answered before they were due.")
    in_time_share: float | None = strawberry.field(
        description="inTime of answered, 0 to 1; null: none answered."
    )
    rated: int = strawberry.field(description="Rounds with a rating, or a call back that found an opinion.")
    satisfied: int = strawberry.field(
        description="Of these, those whose result was graded 3 or better, or satisfied by the call back."
    )
    satisfied_share: float | None = strawberry.field(
        description="satisfied of rated, 0 to 1; null: none rated."
    )
    refused: int = strawberry.field(description="Rounds that ended because 12345 is not for them.")
    withdrawn: int = strawberry.field(description="Rounds that the citizen took back.")
    merged: int = strawberry.field(description="Rounds that went on as part of another complaint.")
    median_hours: float | None = strawberry.field(
        description="Office hours within which half of the answers came, exact to 4.4%; null: none answered."
    )
    p90_hours: float | None = strawberry.field(
        description="Office hours within which nine of ten answers came, exact to 4.4%; null: none answered."
    )


@strawberry.type(description="One month of a chart.")
class ComplaintFiguresPoint:
    """Shows a Point."""

    month: str = strawberry.field(description="The month, YYYY-MM.")
    figures: ComplaintFigures = strawberry.field(description="Its figures.")


@strawberry.type(description="One row of a table.")
class ComplaintStatisticsRow:
    """Shows a Row."""

    key: str = strawberry.field(
        description="What it stands for: a month (YYYY-MM), a kind, a code of a class or a division, the key "
        "of a unit; empty for the total."
    )
    label: str = strawberry.field(description="The same for people, in Chinese.")
    figures: ComplaintFigures = strawberry.field(description="Its figures.")
    series: list[ComplaintFiguresPoint] = strawberry.field(
        description="Its figures month by month, for charts; at most 60.", metadata={"list_size": 12}
    )


@strawberry.type(description="Figures of complaints as a table.")
class ComplaintStatisticsTable:
    """Shows an Answer."""

    total: ComplaintStatisticsRow = strawberry.field(description="All that was asked for, together.")
    rows: list[ComplaintStatisticsRow] = strawberry.field(
        description="Row by row, at most 200; classes, divisions and units without complaints are left out.",
        metadata={"list_size": 20},
    )
    as_of: datetime = strawberry.field(
        description="When these figures were last compared with what is counted, which is seconds ago, or "
        "longer when the store is away."
    )


_KINDS = {Kind.CONSULT: "咨询", Kind.COMPLAINT: "投诉", Kind.SUGGESTION: "建议", Kind.HELP: "求助"}


def statistics_of(info: Info[Context, None]) -> ComplaintStatistics:
    """Give the statistics of this process. Raises: ReferenceUnavailableError where it has none."""
    statistics = info.context.stores.statistics
    if statistics is None:
        raise ReferenceUnavailableError(list="statistics")
    return statistics


def _month(text: str, field: str) -> Month:
    found = _MONTH.fullmatch(text[:20])
    if found is None:
        raise InvalidStatisticsError(field=field)
    return Month(int(found[1]), int(found[2]))


def _divisions(info: Info[Context, None], code: str | None) -> list[str]:
    """List the codes of the divisions right below one, by the catalogue."""
    snapshot = info.context.catalogue
    if snapshot is None:
        raise ReferenceUnavailableError(list="divisions")
    if code is None:
        return [each.code for each in snapshot.roots]
    found = snapshot.division(code)
    return [] if found is None else [each.code for each in found.children]


def _label(info: Info[Context, None], by: By, key: str) -> str:
    units, snapshot = units_of(info), info.context.catalogue
    if by is By.KIND:
        return _KINDS[Kind(key)]
    if by is By.CLASS and (of_class := units.classes.find(key)) is not None:
        return of_class.name
    if by is By.UNIT and (unit := units.tree.find(key)) is not None:
        return unit.name
    if by is By.DIVISION and snapshot is not None and (division := snapshot.division(key)) is not None:
        return division.name
    return key


class _LabelledRow:
    """A row and its label; its points are made when they are asked for."""

    def __init__(self, row: Row, label: str) -> None:
        self._row = row
        self.key, self.label, self.figures = row.key, label, row.figures

    @property
    def series(self) -> list[Point]:
        return self._row.series


def _show(info: Info[Context, None], answer: Answer, by: By) -> ComplaintStatisticsTable:
    rows = [_LabelledRow(row, _label(info, by, row.key)) for row in answer.rows]
    return ComplaintStatisticsTable(
        total=cast("ComplaintStatisticsRow", _LabelledRow(answer.total, "合计")),
        rows=cast("list[ComplaintStatisticsRow]", rows),
        as_of=answer.as_of,
    )


@strawberry.type
class ComplaintStatisticsQuery:
    """The statistics' part of the root of Query."""

    @strawberry.field(
        description="Figures of complaints by month, kind, class, division or unit, over at most 60 months.",
        directives=[STATISTICS],
        metadata={"cost": _COST},
    )
    async def complaint_statistics(
        self,
        info: Info[Context, None],
        from_: Annotated[str, strawberry.argument(name="from", description="First month, YYYY-MM.")],
        to: Annotated[str, strawberry.argument(description="Last month, YYYY-MM.")],
        by: Annotated[By, strawberry.argument(description="What a row stands for.")] = By.MONTH,
        division: Annotated[
            str | None,
            strawberry.argument(description="In this division or below it; null: everywhere."),
        ] = None,
        unit_id: Annotated[
            strawberry.ID | None,
            strawberry.argument(description="Of this unit, instead of a division; null: of every unit."),
        ] = None,
        class_code: Annotated[
            str | None,
            strawberry.argument(description="Of this class (four digits) or group (two); null: of all."),
        ] = None,
        kind: Annotated[
            Kind | None, strawberry.argument(description="Of this kind; null: of every kind.")
        ] = None,
    ) -> ComplaintStatisticsTable:
        """Put a table together. Raises: InvalidStatisticsError, InvalidClassCodeError."""
        question = Question(
            first=_month(from_, "from"),
            last=_month(to, "to"),
            division_code=None if division is None else division_code(division),
            unit_id=None if unit_id is None else raw_unit_id(unit_id),
            class_code=check_class_code(class_code),
            kind=kind,
        )
        answer = statistics_of(info).answer(question, by, lambda code: _divisions(info, code))
        return _show(info, answer, by)
