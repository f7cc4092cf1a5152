"""The work of staff: `Desk` is composed here from the parts of every noun."""

from __future__ import annotations

import strawberry
from strawberry.types import Info

from domain.access import Role
from resolvers.access import allow, viewer_of
from resolvers.account import DeskCitizens
from resolvers.broadcasts import DeskMessages
from resolvers.city_cases import DeskCity
from resolvers.complaint_desk import DeskComplaints
from resolvers.context import Context
from resolvers.knowledge import DeskKnowledge


@strawberry.type
class DeskScope:
    """Where the viewer works."""

    @strawberry.field(
        description="The unit that the viewer works for; null for an operator without one.",
        permission_classes=[allow(Role.DESK, Role.OPERATOR)],
    )
    def unit(self, info: Info[Context, None]) -> str | None:
        """Give the unit of the viewer's scope."""
        return viewer_of(info).unit

    @strawberry.field(
        description="Code of the division within which the viewer works; null for an operator without one.",
        permission_classes=[allow(Role.DESK, Role.OPERATOR)],
    )
    def division_code(self, info: Info[Context, None]) -> str | None:
        """Give the division of the viewer's scope."""
        return viewer_of(info).division_code


@strawberry.type(description="The work of staff and operators.")
class Desk(DeskScope, DeskCitizens, DeskMessages, DeskKnowledge, DeskCity, DeskComplaints):
    """Composed from the parts of every noun."""


@strawberry.type
class DeskRootQuery:
    """The desk's part of the root of Query."""

    @strawberry.field(
        description="The work of staff; null, with the error FORBIDDEN, for everybody else.",
        permission_classes=[allow(Role.DESK, Role.OPERATOR)],
    )
    def desk(self) -> Desk | None:
        """Lead to the desk."""
        return Desk()
