"""Complaints at the desk in GraphQL: queues, one complaint, who may answer it, the calendar."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final

import strawberry
from strawberry.permission import BasePermission
from strawberry.types import Info

from domain import complaints as c
from domain.access import Assurance, Role, prefix_of
from domain.catalogue import division_code
from domain.complaint_desk import Narrow, Place, Queue
from domain.ids import InvalidNodeIdError, decode_node_id, encode_node_id
from domain.working_days import CalendarNotPublishedError
from loaders.catalogue_search import check_first
from operations import complaint_desk as operations
from operations.complaint_desk import QueueRequest
from operations.complaint_desk_intake import find_similar, propose_publication
from operations.complaint_desk_work import staff_look_up
from operations.complaint_duplicates import rounded_m
from resolvers.access import allow, viewer_of
from resolvers.complaint_desk_inputs import ComplaintQueueFilter
from resolvers.complaint_desk_types import (
    ComplaintQueueConnection,
    ComplaintQueueCount,
    ComplaintQueueEdge,
    PublicationProposal,
    QueueOrder,
    SimilarComplaint,
    WorkingYear,
)
from resolvers.complaint_showing import show_complaint, show_summary
from resolvers.complaint_types import Complaint, complaints_of
from resolvers.context import Context
from resolvers.node import PageInfo
from resolvers.units import UnitSuggestion, raw_unit_id, units_of
from store.complaints import Summary

_STAFF: list[type[BasePermission]] = [allow(Role.DESK)]
_SURE_STAFF: list[type[BasePermission]] = [allow(Role.DESK, level=Assurance.L2)]
_CURSOR: Final = "ComplaintQueueCursor"
_NO_TIME: Final = "-"
_MAX_CURSOR_CHARS: Final = 200
_YEARS: Final = range(2000, 2101)
_Number = Annotated[str, strawberry.argument(description="Number of the complaint.")]
_UnitId = Annotated[
    strawberry.ID | None,
    strawberry.argument(
        description="Whose, by global id or key: the viewer's own unit or one below it, which for a centre "
        "are all units of the viewer's division; null: the viewer's own."
    ),
]


def _cursor(queue: Queue, order: QueueOrder, row: Summary) -> str:
    act_by = _NO_TIME if row.act_by is None else str(round(row.act_by.timestamp() * 1000))
    return encode_node_id(_CURSOR, f"{queue}:{order}:{act_by}:{row.number}")


def _place(text: str, queue: Queue, order: QueueOrder) -> Place:
    """Read a cursor of this queue in this order. Raises: InvalidNodeIdError for any other text."""
    kind, raw = decode_node_id(text[:_MAX_CURSOR_CHARS])
    parts = raw.split(":")
    if kind != _CURSOR or parts[:2] != [queue.value, order.value] or len(parts) != 4:
        raise InvalidNodeIdError(id=text[:80])
    _, _, act_by, number = parts
    if not (number.isascii() and number.isdigit()):
        raise InvalidNodeIdError(id=text[:80])
    try:
        instant = None if act_by == _NO_TIME else datetime.fromtimestamp(int(act_by) / 1000, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise InvalidNodeIdError(id=text[:80]) from error
    return Place(instant, number)


def _narrow(filter: ComplaintQueueFilter | None) -> Narrow:
    """Read a filter. Raises: InvalidDivisionCodeError, InvalidComplaintError naming the class code."""
    if filter is None:
        return Narrow()
    code = filter.class_code
    if code is not None and not (code.isascii() and code.isdigit() and len(code) in (2, 4)):
        raise c.InvalidComplaintError(field="classCode")
    division = filter.division_code
    return Narrow(
        state=filter.state,
        kind=filter.kind,
        class_prefix=code,
        division_prefix=None if division is None else prefix_of(division_code(division)),
    )


@strawberry.type
class DeskComplaints:
    """The complaints' part of Desk."""

    @strawberry.field(
        description="Complaints that wait for a unit, without personal data. A seat sees those within its "
        "division.",
        permission_classes=_STAFF,
        metadata={"cost": 20},
    )
    async def complaint_queue(
        self,
        info: Info[Context, None],
        queue: Annotated[Queue, strawberry.argument(description="Which.")],
        unit: _UnitId = None,
        filter: Annotated[
            ComplaintQueueFilter | None, strawberry.argument(description="Only these; null: all.")
        ] = None,
        order: Annotated[QueueOrder, strawberry.argument(description="In which order.")] = QueueOrder.ACT_BY,
        first: Annotated[int, strawberry.argument(description="How many, 1 to 100.")] = 20,
        after: Annotated[
            str | None,
            strawberry.argument(
                description="Cursor of the last one seen, of the same queue and order; null: the first page."
            ),
        ] = None,
    ) -> ComplaintQueueConnection:
        """Page through a queue. Raises: InvalidPageSizeError, InvalidNodeIdError, UnknownUnitError, …"""
        check_first(first)
        context, viewer = info.context, viewer_of(info)
        request = QueueRequest(
            queue,
            None if unit is None else raw_unit_id(unit),
            order is QueueOrder.NEWEST,
            _narrow(filter),
        )
        place = None if after is None else _place(after, queue, order)
        found = await operations.list_queue(
            complaints_of(context), viewer, request, first + 1, place, now=context.now
        )
        edges = [
            ComplaintQueueEdge.of(
                _cursor(queue, order, row), show_summary(context, row), row, viewer, context.now
            )
            for row in found[:first]
        ]
        page = PageInfo(
            has_next_page=len(found) > first,
            has_previous_page=after is not None,
            start_cursor=edges[0].cursor if edges else None,
            end_cursor=edges[-1].cursor if edges else None,
        )
        return ComplaintQueueConnection(edges=edges, page_info=page)

    @strawberry.field(
        description="How many complaints are in each queue of a unit.",
        permission_classes=_STAFF,
        metadata={"cost": 100, "list_size": 10},
    )
    async def complaint_queue_counts(
        self, info: Info[Context, None], unit: _UnitId = None
    ) -> list[ComplaintQueueCount]:
        """Count. Raises: UnknownUnitError, ForbiddenError."""
        context = info.context
        raw_unit = None if unit is None else raw_unit_id(unit)
        found = await operations.count_queues(
            complaints_of(context), viewer_of(info), raw_unit, now=context.now
        )
        return [ComplaintQueueCount.of(each) for each in found]

    @strawberry.field(
        description="One complaint of the viewer's work; null, with COMPLAINT_NOT_FOUND, for every other, "
        "and with OWN_COMPLAINT for one that they brought themselves.",
        permission_classes=_SURE_STAFF,
    )
    async def complaint(self, info: Info[Context, None], number: _Number) -> Complaint | None:
        """Find a complaint. Raises: ComplaintNotFoundError, OwnComplaintError."""
        found, actors = await staff_look_up(complaints_of(info.context), viewer_of(info), number)
        return await show_complaint(info.context, found, actors)

    @strawberry.field(
        description="The units that may answer a complaint, the likeliest first, by class, division and past "
        "outcomes; of one without a class by the class that its text suggests. Empty: nothing suggests any. "
        "Null as `complaint`.",
        permission_classes=_STAFF,
        metadata={"cost": 20},
    )
    async def suggest_units(
        self,
        info: Info[Context, None],
        number: _Number,
        first: Annotated[int, strawberry.argument(description="How many, 1 to 10.")] = 5,
    ) -> list[UnitSuggestion] | None:
        """Rank. Raises: ComplaintNotFoundError, OwnComplaintError, InvalidPageSizeError."""
        check_first(first)
        complaints, units = complaints_of(info.context), units_of(info)
        found, _ = await staff_look_up(complaints, viewer_of(info), number)
        code = found.standing.class_code
        if code is None or units.classes.find(code) is None:
            text = (await complaints.store.open_texts(found)).get(0, {}).get("text", found.excerpt)
            code = next(iter(units.classes.suggest(text, 1)), None)
        if code is None:
            return []
        ranked = await units.suggest(code, found.standing.division_code, first)
        return [UnitSuggestion.of(each) for each in ranked]

    @strawberry.field(
        description="Open complaints nearby, of the last 60 days, that may be about the same matter and may "
        "be merged: the likeliest first, at most 10; empty without a place. Null as `complaint`.",
        permission_classes=_STAFF,
        metadata={"cost": 100, "list_size": 10},
    )
    async def similar_complaints(
        self, info: Info[Context, None], number: _Number
    ) -> list[SimilarComplaint] | None:
        """Look nearby. Raises: ComplaintNotFoundError, OwnComplaintError."""
        context, viewer = info.context, viewer_of(info)
        found = await find_similar(complaints_of(context), viewer, number, now=context.now)
        return [
            SimilarComplaint(
                complaint=show_summary(context, row), score=score, distance_m=rounded_m(distance)
            )
            for score, distance, row in found
        ]

    @strawberry.field(
        description="What a complaint would say in the public list; null, with FORBIDDEN, for all but seats, "
        "and as `complaint`.",
        permission_classes=_SURE_STAFF,
    )
    async def propose_publication(
        self, info: Info[Context, None], number: _Number
    ) -> PublicationProposal | None:
        """Propose. Raises: the errors of `propose_publication`."""
        complaints = complaints_of(info.context)
        return PublicationProposal.of(await propose_publication(complaints, viewer_of(info), number))

    @strawberry.field(
        description="Which days of a year are worked; null, with INVALID_COMPLAINT, before 2000 or after "
        "2100.",
        permission_classes=[allow(Role.DESK, Role.OPERATOR)],
    )
    def working_calendar(
        self,
        info: Info[Context, None],
        year: Annotated[int, strawberry.argument(description="Which year, 2000 to 2100.")],
    ) -> WorkingYear | None:
        """Show the calendar. Raises: InvalidComplaintError."""
        if year not in _YEARS:
            raise c.InvalidComplaintError(field="year")
        context = info.context
        notice = context.word(CalendarNotPublishedError(year=year))
        return WorkingYear.of(complaints_of(context).calendar, year, notice)
