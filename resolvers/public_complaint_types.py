"""What everybody may see of complaints, in GraphQL: the types."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated

import strawberry

from domain import complaint_publication as domain
from domain import complaints as c
from domain.catalogue import division_code
from domain.complaint_publication import PublicState
from domain.coordinates import CoordinateSystem
from domain.errors import DomainError
from domain.ids import encode_node_id
from loaders.complaint_grid import Cell
from loaders.public_complaint_shelves import PublicFilter
from loaders.public_complaints import MapFilter
from loaders.units import Units
from resolvers import complaint_enums  # noqa: F401 — describes the enums
from resolvers.caching import PUBLIC_COMPLAINTS
from resolvers.node import Node, PageInfo, describe_enum
from resolvers.places import GeoPoint, GeoPointInput
from resolvers.units import ComplaintClass, Unit, show_unit


class InvalidClassCodeError(DomainError):
    """A text that can be the code of no class or group."""

    code = "INVALID_CLASS_CODE"


describe_enum(
    PublicState,
    "How far a complaint is, as the public is told.",
    {
        "RECEIVED": "With the 12345 centre.",
        "IN_PROGRESS": "With the unit in charge.",
        "ANSWERED": "The citizen has an answer.",
        "CLOSED": "Over.",
        "NOT_TAKEN": "Not for 12345.",
    },
    name="PublicComplaintState",
)


@strawberry.type(
    description="A complaint that was cleared for publication, without personal data. Its id leads to no "
    "number."
)
class PublicComplaint(Node):
    """Shows a domain PublicComplaint."""

    text: str = strawberry.field(description="The matter, reviewed; 〔…〕 stands for what was taken out.")
    kind: c.Kind = strawberry.field(description="What the citizen wanted.")
    state: PublicState = strawberry.field(description="How far it is.")
    submitted_on: date = strawberry.field(description="The day of submission, in Asia/Shanghai.")
    published_at: datetime = strawberry.field(description="When it was cleared first, UTC; orders lists.")
    division_code: str = strawberry.field(description="Code of its division, 6 or 9 digits.")
    complaint_class: ComplaintClass | None = strawberry.field(
        description="What it is about; null: not classified yet."
    )
    unit: Unit | None = strawberry.field(description="The unit in charge; null: none yet.")
    answer: str | None = strawberry.field(
        description="The answer, redacted; null: none yet, or not reviewed by the centre."
    )
    outcome: c.Outcome | None = strawberry.field(description="What became of it; null: no answer yet.")
    answered_on: date | None = strawberry.field(description="The day of the answer; null: none yet.")
    working_days: int | None = strawberry.field(
        description="Working days until the answer, as the clock counted them; null: none yet."
    )
    is_in_time: bool | None = strawberry.field(description="Whether the answer came in time; null: none yet.")
    place: strawberry.Private[c.Point | None]

    @strawberry.field(
        description="Where, to about a hundred metres; null: nowhere on a map.",
        directives=[PUBLIC_COMPLAINTS],
    )
    def point(
        self,
        system: Annotated[
            CoordinateSystem, strawberry.argument(description="In which system.")
        ] = CoordinateSystem.WGS84,
    ) -> GeoPoint | None:
        """Show the place in a system."""
        return None if self.place is None else GeoPoint.of(self.place, system)

    @classmethod
    def of(cls, shown: domain.PublicComplaint, units: Units) -> PublicComplaint:
        """Show a public complaint."""
        found = units.classes.find(shown.class_code) if shown.class_code else None
        return cls(
            node_id=strawberry.ID(encode_node_id("PublicComplaint", shown.id)),
            text=shown.text,
            kind=shown.kind,
            state=shown.state,
            submitted_on=shown.submitted_on,
            published_at=shown.published_at,
            division_code=shown.division_code,
            complaint_class=ComplaintClass.of(found) if found else None,
            unit=show_unit(units, shown.unit),
            answer=shown.answer,
            outcome=shown.outcome,
            answered_on=shown.answered_on,
            working_days=shown.working_days,
            is_in_time=shown.is_in_time,
            place=shown.point,
        )


@strawberry.type(description="One public complaint in a list.")
class PublicComplaintEdge:
    """One place in a PublicComplaintConnection."""

    cursor: str = strawberry.field(description="Hand it in as `after` to go on behind this one.")
    node: PublicComplaint = strawberry.field(description="The complaint.")


@strawberry.type(description="A page of public complaints, those published last first.")
class PublicComplaintConnection:
    """A page of public complaints."""

    edges: list[PublicComplaintEdge] = strawberry.field(description="The complaints of this page.")
    page_info: PageInfo = strawberry.field(description="Where this page lies.")


@strawberry.input(description="What public complaints must have; parts that are left out do not restrict.")
class PublicComplaintFilter:
    """Turned into a PublicFilter."""

    division_code: str | None = strawberry.field(
        default=None, description="In this division (6 or 9 digits; 12 accepted) or below it."
    )
    class_code: str | None = strawberry.field(
        default=None, description="Of this class (four digits) or of this group (two)."
    )
    kind: c.Kind | None = strawberry.field(default=None, description="Of this kind.")
    state: PublicState | None = strawberry.field(default=None, description="As far as this.")
    from_: date | None = strawberry.field(
        name="from", default=None, description="Submitted on this day or later, in Asia/Shanghai."
    )
    to: date | None = strawberry.field(default=None, description="Submitted on this day or earlier.")

    def read(self) -> PublicFilter:
        """Check the codes. Raises: InvalidDivisionCodeError, InvalidClassCodeError."""
        return PublicFilter(
            division_code=None if self.division_code is None else division_code(self.division_code),
            class_code=check_class_code(self.class_code),
            kind=self.kind,
            state=self.state,
            first_day=self.from_,
            last_day=self.to,
        )


@strawberry.input(description="A part of the map: two corners, of which each names its system.")
class MapBoundsInput:
    """Two corners."""

    south_west: GeoPointInput = strawberry.field(description="The lower left corner.")
    north_east: GeoPointInput = strawberry.field(description="The upper right corner.")


@strawberry.input(description="What complaints on the map must be; parts that are left out do not restrict.")
class ComplaintMapFilter:
    """Turned into a MapFilter."""

    group_code: str | None = strawberry.field(
        default=None, description="Of this group of classes: two digits."
    )
    kind: c.Kind | None = strawberry.field(default=None, description="Of this kind.")
    is_open: bool | None = strawberry.field(
        default=None, description="Without an answer yet (true), or with one (false)."
    )

    def read(self) -> MapFilter:
        """Check the code. Raises: InvalidClassCodeError."""
        code = check_class_code(self.group_code)
        if code is not None and len(code) != 2:
            raise InvalidClassCodeError(code=code, field="groupCode")
        return MapFilter(code, self.kind, self.is_open)


@strawberry.type(description="Public complaints close to one another, as one mark on the map.")
class ComplaintCluster:
    """Shows a Cell."""

    point: GeoPoint = strawberry.field(description="The middle of the cell that they lie in.")
    side: float = strawberry.field(description="Side of the cell, degrees (WGS-84).")
    count: int = strawberry.field(description="How many there are.")

    @classmethod
    def of(cls, cell: Cell, system: CoordinateSystem) -> ComplaintCluster:
        """Show a cell in a system."""
        return cls(point=GeoPoint.of(cell.point, system), side=cell.side, count=cell.count)


def check_class_code(code: str | None) -> str | None:
    """Give a class's or a group's code back. Raises: InvalidClassCodeError for what can be none."""
    if code is not None and not (len(code) in (2, 4) and code.isascii() and code.isdigit()):
        raise InvalidClassCodeError(code=code[:20], field="classCode")
    return code
