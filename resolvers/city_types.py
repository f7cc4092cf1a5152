"""GraphQL types of urban management."""

from __future__ import annotations

from datetime import datetime

import strawberry

from domain import city_cases as domain
from domain import city_classes as classes
from domain.city_cases import CityAction, CityRole, CityState
from domain.city_classes import CityKind, GridLevel, LimitUnit, cells_of, grid_level
from domain.coordinates import CoordinateSystem
from domain.ids import encode_node_id
from operations.city_cases import CityCases
from resolvers.mutations import UserError
from resolvers.node import Node, PageInfo, describe_enum
from resolvers.places import GeoPoint, GeoPointInput
from resolvers.units import Unit

describe_enum(
    CityKind,
    "Whether a case is about a thing or about something that happens.",
    {"COMPONENT": "A thing in public space (部件).", "EVENT": "Something that happens (事件)."},
)
describe_enum(
    LimitUnit,
    "How a promised time is counted.",
    {"HOUR": "Hours by the clock.", "DAY": "Working days; the day of the beginning is not counted."},
)
describe_enum(
    GridLevel,
    "The five levels of the grid.",
    {
        "CITY": "A city, 6 digits.",
        "DISTRICT": "A district or county, 6 digits.",
        "STREET": "A street or township, 9 digits.",
        "COMMUNITY": "A community or village, 12 digits.",
        "BUILDING": "A building or the smallest cell, 15 digits.",
    },
)
describe_enum(
    CityState,
    "Where a case is.",
    {
        "COLLECTED": "Reported (信息收集).",
        "FILED": "Filed (立案).",
        "DISPATCHED": "The unit works on it (派遣).",
        "HANDLED": "Done, as the unit says (处置).",
        "VERIFIED": "Somebody else has seen that it is done (核查).",
        "CLOSED": "Closed (结案).",
        "REJECTED": "Not filed (不予立案).",
    },
)
describe_enum(
    CityAction,
    "What was done with a case.",
    {
        "REPORT": "Reported.",
        "FILE": "Filed.",
        "REJECT": "Not filed.",
        "DISPATCH": "Dispatched to a unit.",
        "RETURN": "Sent back by the unit: not its own.",
        "HANDLE": "Done, as the unit says.",
        "VERIFY": "Seen that it is done.",
        "FAIL": "Seen that it is not done; the unit's time goes on.",
        "CLOSE": "Closed.",
    },
)
describe_enum(
    CityRole,
    "As what somebody acted on a case.",
    {
        "COLLECTOR": "Staff of the division who see and check.",
        "CENTRE": "Staff of the centre.",
        "UNIT": "Staff of the unit that does the work.",
    },
)


@strawberry.type(description="A kind of component or event.")
class CityClass:
    """Shows a domain CityClass."""

    code: str = strawberry.field(description="Its code in the table, at most five characters.")
    kind: CityKind = strawberry.field(description="Component or event.")
    group: str = strawberry.field(description="Name of its group, in Chinese.")
    name: str = strawberry.field(description="Its name, in Chinese.")
    is_certain: bool = strawberry.field(description="Whether the name is certainly the official one.")
    limit: int = strawberry.field(description="The promised time from dispatch on, in `limitUnit`.")
    limit_unit: LimitUnit = strawberry.field(description="Hours or working days.")

    @classmethod
    def of(cls, each: classes.CityClass) -> CityClass:
        """Show a class."""
        return cls(
            code=each.code,
            kind=each.kind,
            group=each.group,
            name=each.name,
            is_certain=each.is_certain,
            limit=each.limit,
            limit_unit=each.limit_unit,
        )


@strawberry.type(description="A cell of the grid.")
class GridCell:
    """A code and its level."""

    code: str = strawberry.field(description="6, 9, 12 or 15 digits, those of the cell around it first.")
    level: GridLevel = strawberry.field(description="City, district, street, community or building.")


@strawberry.type(description="One step of a case.")
class CityCaseEvent:
    """Shows a CityEvent; who it was is not shown, their unit is."""

    action: CityAction = strawberry.field(description="What was done.")
    state: CityState = strawberry.field(description="Where the case was afterwards.")
    at: datetime = strawberry.field(description="When, UTC.")
    role: CityRole = strawberry.field(description="As what.")
    by_unit: Unit | None = strawberry.field(description="Unit of whoever did it; null: no longer known.")
    unit: Unit | None = strawberry.field(description="To whom it was dispatched; null for other steps.")
    note: str | None = strawberry.field(description="What was written; null: nothing.")


@strawberry.type(description="A case of urban management.")
class CityCase(Node):
    """Shows a domain CityCase."""

    version: int = strawberry.field(description="Counts its steps; a step must name it.")
    state: CityState = strawberry.field(description="Where it is.")
    city_class: CityClass | None = strawberry.field(
        description="What it is about; null when the table has the class no longer."
    )
    division_code: str = strawberry.field(description="Code of its division, 6 or 9 digits.")
    grid: list[GridCell] = strawberry.field(
        description="Its cell and those around it, the smallest first; empty: not stated.",
        metadata={"list_size": 5},
    )
    description: str = strawberry.field(description="What was seen, at most 1,000 characters.")
    address: str | None = strawberry.field(description="Where; null: not stated.")
    point: GeoPoint | None = strawberry.field(description="Where on the map; null: not stated.")
    unit: Unit | None = strawberry.field(description="The unit that works on it; null: none yet.")
    due_at: datetime | None = strawberry.field(
        description="When the unit has to be done, UTC; null until it is dispatched."
    )
    is_overdue: bool = strawberry.field(description="Whether the unit was not done in time, or is not yet.")
    events: list[CityCaseEvent] = strawberry.field(
        description="Its steps, oldest first.", metadata={"list_size": 20}
    )

    @classmethod
    def of(cls, case: domain.CityCase, cases: CityCases, system: CoordinateSystem, now: datetime) -> CityCase:
        """Show a case, its point in a system."""
        tree = cases.units()

        def unit(unit_id: str | None) -> Unit | None:
            found = tree.find(unit_id) if unit_id else None
            return None if found is None else Unit.of(found)

        reported = case.reported
        known = cases.classes().find(reported.class_code)
        return cls(
            node_id=strawberry.ID(encode_node_id("CityCase", case.id)),
            version=case.version,
            state=case.state,
            city_class=CityClass.of(known) if known else None,
            division_code=reported.division_code,
            grid=[
                GridCell(code=code, level=grid_level(code))
                for code in (cells_of(reported.grid_code) if reported.grid_code else ())
            ],
            description=reported.description,
            address=reported.address or None,
            point=GeoPoint.of(reported.point, system) if reported.point else None,
            unit=unit(case.unit),
            due_at=case.due_at,
            is_overdue=case.is_overdue(now),
            events=[
                CityCaseEvent(
                    action=event.action,
                    state=event.state,
                    at=event.at,
                    role=event.role,
                    by_unit=unit(event.by_unit),
                    unit=unit(event.unit),
                    note=event.note or None,
                )
                for event in case.events
            ],
        )


@strawberry.type(description="One case in a list.")
class CityCaseEdge:
    """One place in a CityCaseConnection."""

    cursor: str = strawberry.field(description="Hand it in as `after` to go on behind this case.")
    node: CityCase = strawberry.field(description="The case.")


@strawberry.type(description="A page of cases, newest first.")
class CityCaseConnection:
    """A page of cases."""

    edges: list[CityCaseEdge] = strawberry.field(description="The cases of this page.")
    page_info: PageInfo = strawberry.field(description="Where this page lies.")


@strawberry.input(description="What was seen, and where.")
class ReportCityCaseInput:
    """Turned into a Reported."""

    class_code: str = strawberry.field(description="Code of the kind of component or event.")
    division_code: str = strawberry.field(description="Code of the division, 6 or 9 digits.")
    description: str = strawberry.field(description="What was seen, 1 to 1,000 characters.")
    idempotency_key: str = strawberry.field(
        description="1 to 64 characters; the same key gives the same case."
    )
    grid_code: str | None = strawberry.field(
        default=None, description="Cell of the grid, within the division; null: not known."
    )
    address: str = strawberry.field(default="", description="Where, at most 200 characters.")
    point: GeoPointInput | None = strawberry.field(default=None, description="Where on the map.")

    def read(self) -> domain.Reported:
        """Give what the operations take. Raises: InvalidComplaintError for a point off the map."""
        return domain.Reported(
            class_code=self.class_code,
            division_code=self.division_code,
            description=self.description,
            grid_code=self.grid_code,
            address=self.address,
            point=self.point.read() if self.point else None,
        )


@strawberry.input(description="A step with a case.")
class CityCaseInput:
    """For most steps."""

    id: strawberry.ID = strawberry.field(description="Global id of the case.")
    expected_version: int = strawberry.field(description="The version that was seen.")
    note: str = strawberry.field(default="", description="What to say about it, at most 500 characters.")


@strawberry.input(description="To whom a case is dispatched.")
class DispatchCityCaseInput(CityCaseInput):
    """For `dispatchCityCase`."""

    unit_id: strawberry.ID | None = strawberry.field(
        default=None, description="Global id of the unit, or its key; null: whoever usually does it."
    )


@strawberry.input(description="Whether a case is really done.")
class VerifyCityCaseInput(CityCaseInput):
    """For `verifyCityCase`."""

    is_done: bool = strawberry.field(description="Whether it is; if not, a note has to say what is missing.")


@strawberry.type(description="The case after a step.")
class CityCasePayload:
    """A case, or why nothing was changed."""

    city_case: CityCase | None = strawberry.field(description="The case; null when nothing was changed.")
    user_errors: list[UserError] = strawberry.field(description="Why nothing was changed.")
