"""Cases of urban management in GraphQL: classes for everybody, the work for staff."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Annotated

import strawberry
from strawberry.permission import BasePermission
from strawberry.types import Info

from domain import city_cases as domain
from domain.access import ForbiddenError, Role, is_within
from domain.catalogue import division_code
from domain.city_cases import CityAction, CityState
from domain.city_classes import CityKind
from domain.coordinates import CoordinateSystem
from domain.ids import InvalidNodeIdError, decode_node_id, encode_node_id, raw_id_of
from loaders.catalogue_search import check_first
from loaders.reference import ReferenceUnavailableError
from operations import city_cases as operations
from operations.city_cases import CityCases, Step
from resolvers.access import PUBLIC_FIELD, allow, viewer_of
from resolvers.city_types import (
    CityCase,
    CityCaseConnection,
    CityCaseEdge,
    CityCaseInput,
    CityCasePayload,
    CityClass,
    DispatchCityCaseInput,
    ReportCityCaseInput,
    VerifyCityCaseInput,
)
from resolvers.context import Context
from resolvers.mutations import refusable
from resolvers.node import PageInfo
from resolvers.units import Unit, raw_unit_id

_STAFF: list[type[BasePermission]] = [allow(Role.DESK, Role.OPERATOR)]
_DESK: list[type[BasePermission]] = [allow(Role.DESK)]
_CURSOR = "CityCaseCursor"
_MOST_OVERDUE = 100
_System = Annotated[
    CoordinateSystem, strawberry.argument(description="The system in which points are shown.")
]


def cases_of(info: Info[Context, None]) -> CityCases:
    """Give what the work on cases needs. Raises: ReferenceUnavailableError where there is none."""
    cases = info.context.stores.city_cases
    if cases is None:
        raise ReferenceUnavailableError(list="city_classes")
    return cases


def _raw_id(id: str) -> str:
    return raw_id_of("CityCase", id[:200])


def _scope(info: Info[Context, None], division: str | None) -> str:
    """Give the division to list, the viewer's own where none is asked for.

    Raises: InvalidDivisionCodeError; ForbiddenError beyond the viewer's division.
    """
    viewer = viewer_of(info)
    own = viewer.division_code
    if division is None:
        if own is None:
            raise ForbiddenError
        return own
    code = division_code(division)
    if not viewer.acts_as(Role.OPERATOR) and (own is None or not is_within(code, own)):
        raise ForbiddenError
    return code


def _show(info: Info[Context, None], case: domain.CityCase, system: CoordinateSystem) -> CityCase:
    cases = cases_of(info)
    return CityCase.of(case, cases, system, info.context.now)


@strawberry.type
class CityQuery:
    """Urban management's part of the root of Query."""

    @strawberry.field(
        description="Kinds of components and events of urban management, at most 500.",
        metadata={**PUBLIC_FIELD, "list_size": 200},
    )
    def city_classes(
        self,
        info: Info[Context, None],
        kind: Annotated[CityKind | None, strawberry.argument(description="Of this kind; null: both.")] = None,
        group: Annotated[
            str | None, strawberry.argument(description="Of the group with this name; null: all.")
        ] = None,
    ) -> list[CityClass]:
        """List classes."""
        return [CityClass.of(each) for each in cases_of(info).classes().select(kind, group)[:500]]


@strawberry.type
class DeskCity:
    """Urban management's part of Desk."""

    @strawberry.field(
        description="Cases of one state, newest first: within a division, or those of the viewer's unit.",
        permission_classes=_STAFF,
    )
    async def city_cases(
        self,
        info: Info[Context, None],
        state: Annotated[CityState, strawberry.argument(description="Of this state.")],
        division: Annotated[
            str | None,
            strawberry.argument(description="Within this division; null: within the viewer's own."),
        ] = None,
        mine: Annotated[
            bool, strawberry.argument(description="Whether only those that the viewer's unit works on.")
        ] = False,
        first: Annotated[int, strawberry.argument(description="How many, 1 to 100.")] = 20,
        after: Annotated[
            str | None, strawberry.argument(description="Cursor of the last one seen; null: the first page.")
        ] = None,
        system: _System = CoordinateSystem.WGS84,
    ) -> CityCaseConnection:
        """Page through cases. Raises: ForbiddenError, InvalidPageSizeError, InvalidNodeIdError."""
        check_first(first)
        unit = viewer_of(info).unit if mine else None
        if mine and unit is None:
            raise ForbiddenError
        scope = None if mine else _scope(info, division)
        before = None
        if after is not None:
            found_type, before = decode_node_id(after[:200])
            if found_type != _CURSOR:
                raise InvalidNodeIdError(id=after[:80])
        store = cases_of(info).store
        found = await store.list_cases(state, first + 1, division=scope, unit=unit, before=before)
        edges = [
            CityCaseEdge(cursor=encode_node_id(_CURSOR, case.id), node=_show(info, case, system))
            for case in found[:first]
        ]
        page = PageInfo(
            has_next_page=len(found) > first,
            has_previous_page=after is not None,
            start_cursor=edges[0].cursor if edges else None,
            end_cursor=edges[-1].cursor if edges else None,
        )
        return CityCaseConnection(edges=edges, page_info=page)

    @strawberry.field(
        description="Cases whose unit should be done by now, the longest overdue first, at most 100.",
        permission_classes=_STAFF,
    )
    async def overdue_city_cases(
        self,
        info: Info[Context, None],
        division: Annotated[
            str | None,
            strawberry.argument(description="Within this division; null: within the viewer's own."),
        ] = None,
        first: Annotated[int, strawberry.argument(description="How many, 1 to 100.")] = 20,
        system: _System = CoordinateSystem.WGS84,
    ) -> list[CityCase]:
        """List overdue cases. Raises: ForbiddenError, InvalidPageSizeError."""
        check_first(first)
        scope = _scope(info, division)
        found = await cases_of(info).store.list_overdue(
            scope, min(first, _MOST_OVERDUE), now=info.context.now
        )
        return [_show(info, case, system) for case in found]

    @strawberry.field(
        description="One case; null, with CITY_CASE_NOT_FOUND, also beyond the viewer's scope.",
        permission_classes=_STAFF,
    )
    async def city_case(
        self,
        info: Info[Context, None],
        id: Annotated[strawberry.ID, strawberry.argument(description="Global id of the case.")],
        system: _System = CoordinateSystem.WGS84,
    ) -> CityCase | None:
        """Find a case. Raises: CityCaseNotFoundError."""
        case = await operations.get_case(cases_of(info), viewer_of(info), _raw_id(id))
        return _show(info, case, system)

    @strawberry.field(
        description="The unit that usually does the work for a class in a division; null: there is none.",
        permission_classes=_STAFF,
    )
    def suggest_city_unit(
        self,
        info: Info[Context, None],
        class_code: Annotated[str, strawberry.argument(description="Code of the class.")],
        division: Annotated[str, strawberry.argument(description="Code of the division, 6 or 9 digits.")],
    ) -> Unit | None:
        """Suggest. Raises: UnknownCityClassError, InvalidDivisionCodeError."""
        unit = operations.suggest_unit(cases_of(info), class_code, division_code(division))
        return None if unit is None else Unit.of(unit)


_Input = Annotated[CityCaseInput, strawberry.argument(description="Which, as it was seen.")]


@strawberry.type
class CityMutation:
    """Urban management's part of Mutation; who may take which step is the transition table's."""

    @strawberry.mutation(description="Report what was seen (信息收集).", permission_classes=_DESK)
    async def report_city_case(
        self,
        info: Info[Context, None],
        input: Annotated[ReportCityCaseInput, strawberry.argument(description="What, and where.")],
    ) -> CityCasePayload:
        """Run `report_case`. Raises: ForbiddenError."""
        work = operations.report_case(
            cases_of(info), viewer_of(info), input.read(), input.idempotency_key, now=info.context.now
        )
        return await _payload(info, work)

    @strawberry.mutation(description="File a case (立案).", permission_classes=_DESK)
    async def file_city_case(self, info: Info[Context, None], input: _Input) -> CityCasePayload:
        """Take FILE."""
        return await _step(info, input, CityAction.FILE)

    @strawberry.mutation(description="Do not file a case; needs a note.", permission_classes=_DESK)
    async def reject_city_case(self, info: Info[Context, None], input: _Input) -> CityCasePayload:
        """Take REJECT."""
        return await _step(info, input, CityAction.REJECT)

    @strawberry.mutation(
        description="Dispatch a case (派遣); the promised time begins.", permission_classes=_DESK
    )
    async def dispatch_city_case(
        self,
        info: Info[Context, None],
        input: Annotated[DispatchCityCaseInput, strawberry.argument(description="Which, and to whom.")],
    ) -> CityCasePayload:
        """Take DISPATCH."""
        unit = None if input.unit_id is None else raw_unit_id(input.unit_id)
        return await _step(info, input, CityAction.DISPATCH, unit)

    @strawberry.mutation(
        description="Send a case back to the centre: not the unit's; needs a note.", permission_classes=_DESK
    )
    async def return_city_case(self, info: Info[Context, None], input: _Input) -> CityCasePayload:
        """Take RETURN."""
        return await _step(info, input, CityAction.RETURN)

    @strawberry.mutation(description="Say what was done (处置); needs a note.", permission_classes=_DESK)
    async def handle_city_case(self, info: Info[Context, None], input: _Input) -> CityCasePayload:
        """Take HANDLE."""
        return await _step(info, input, CityAction.HANDLE)

    @strawberry.mutation(
        description="Say whether it is really done (核查); the unit itself cannot.", permission_classes=_DESK
    )
    async def verify_city_case(
        self,
        info: Info[Context, None],
        input: Annotated[VerifyCityCaseInput, strawberry.argument(description="Which, and whether.")],
    ) -> CityCasePayload:
        """Take VERIFY or FAIL."""
        return await _step(info, input, CityAction.VERIFY if input.is_done else CityAction.FAIL)

    @strawberry.mutation(description="Close a verified case (结案).", permission_classes=_DESK)
    async def close_city_case(self, info: Info[Context, None], input: _Input) -> CityCasePayload:
        """Take CLOSE."""
        return await _step(info, input, CityAction.CLOSE)


async def _step(
    info: Info[Context, None], input: CityCaseInput, action: CityAction, unit: str | None = None
) -> CityCasePayload:
    step = Step(_raw_id(input.id), action, input.expected_version, input.note, unit)
    work = operations.take_step(cases_of(info), viewer_of(info), step, now=info.context.now)
    return await _payload(info, work)


async def _payload(info: Info[Context, None], work: Awaitable[domain.CityCase]) -> CityCasePayload:
    case, errors = await refusable(work, info.context.word)
    shown = _show(info, case, CoordinateSystem.WGS84) if case else None
    return CityCasePayload(city_case=shown, user_errors=errors)
