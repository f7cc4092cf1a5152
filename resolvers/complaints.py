"""Complaints in GraphQL as citizens read and follow them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

import strawberry
from strawberry.permission import BasePermission
from strawberry.types import Info

from domain.access import SIGNED_IN, Assurance
from domain.complaints import ComplaintNotFoundError, check_number
from domain.ids import InvalidNodeIdError, decode_node_id, encode_node_id
from loaders.catalogue_search import check_first
from notifications.live import Closed, ListenerClosedError
from operations import complaint_views as views
from operations.complaint_care import live_topic
from operations.complaint_citizen import limit_following
from resolvers.access import allow, public, viewer_of
from resolvers.complaint_showing import connection, show_summary, show_view
from resolvers.complaint_types import Complaint, ComplaintConnection, complaints_of
from resolvers.context import Context
from store.complaints import Complaint as StoredComplaint

_CURSOR = "ComplaintCursor"
_SIGNED_IN: list[type[BasePermission]] = [allow(*SIGNED_IN)]
_Number = Annotated[str, strawberry.argument(description="Its number, with blanks or dashes or without.")]


@strawberry.type
class ViewerComplaints:
    """The complaints' part of Viewer."""

    @strawberry.field(
        description="The viewer's complaints, newest first, or those of others that they have joined.",
        permission_classes=_SIGNED_IN,
    )
    async def complaints(
        self,
        info: Info[Context, None],
        first: Annotated[int, strawberry.argument(description="How many, 1 to 100.")] = 20,
        after: Annotated[
            str | None, strawberry.argument(description="Cursor of the last one seen; null: the first page.")
        ] = None,
        joined: Annotated[
            bool, strawberry.argument(description="Those that the viewer has joined instead.")
        ] = False,
    ) -> ComplaintConnection:
        """Page through complaints. Raises: InvalidPageSizeError, InvalidNodeIdError."""
        check_first(first)
        before = None if after is None else _read_cursor(after)
        complaints = complaints_of(info.context)
        owner = await complaints.store.hide(viewer_of(info).account_id)
        if joined:
            numbers = await complaints.joins.list_numbers(owner, first + 1, before)
            found = await complaints.store.list_by_numbers(numbers[:first])
            rows = [found[number] for number in numbers[:first] if number in found]
            has_more = len(numbers) > first
        else:
            rows = await complaints.store.list_own(owner, first + 1, before)
            has_more = len(rows) > first
        edges = [
            (encode_node_id(_CURSOR, row.number), show_summary(info.context, row, is_joined=joined))
            for row in rows[:first]
        ]
        return connection(edges, has_more=has_more, is_later=after is not None)

    @strawberry.field(
        description="One complaint: the viewer's own, or one that they have joined; null, with "
        "COMPLAINT_NOT_FOUND, for every other. Staff find those of their work under `desk`.",
        permission_classes=_SIGNED_IN,
    )
    async def complaint(self, info: Info[Context, None], number: _Number) -> Complaint | None:
        """Look at a complaint. Raises: ComplaintNotFoundError."""
        context = info.context
        found = await views.look(complaints_of(context), viewer_of(info), number, now=context.now)
        return show_view(context, *found)


@strawberry.type
class ComplaintsQuery:
    """The complaints' part of the root of Query."""

    @strawberry.field(
        description="One complaint, for whoever has its number and query code: states, steps, times and the "
        "answer. Null, with COMPLAINT_NOT_FOUND, whatever is wrong. 30 tries in ten minutes.",
        permission_classes=[public()],
        metadata={"cost": 10},
    )
    async def complaint_by_code(
        self,
        info: Info[Context, None],
        number: _Number,
        code: Annotated[
            str, strawberry.argument(description="The query code, 8 letters and digits, in either case.")
        ],
    ) -> Complaint | None:
        """Follow a complaint. Raises: ComplaintNotFoundError, TooManyRequestsError."""
        context = info.context
        checked = check_number(number)
        await limit_following(context.stores.identity.gate, checked, context.client_address())
        found = await views.look_by_code(complaints_of(context), checked, code[:40], now=context.now)
        return show_view(context, *found)


@strawberry.type
class ComplaintsSubscription:
    """The complaints' part of Subscription."""

    @strawberry.subscription(
        description="A complaint of the viewer's, one that they have joined or, from assurance L2 on, one of "
        "their work, as it is after each thing that happens to it; several at once may come as one.",
        permission_classes=_SIGNED_IN,
    )
    async def complaint_changed(self, info: Info[Context, None], number: _Number) -> AsyncIterator[Complaint]:
        """Follow a complaint. Raises: ComplaintNotFoundError, ListenerClosedError."""
        context, viewer = info.context, viewer_of(info)
        complaints, checked = complaints_of(context), check_number(number)
        as_staff = viewer.level(context.now) >= Assurance.L2
        seen: int | None = None

        async def look() -> tuple[StoredComplaint, views.ComplaintView]:
            return await views.look(complaints, viewer, checked, now=context.now, as_staff=as_staff)

        while True:
            # Listen first, then read: nothing falls between the two.
            async with context.live.listen([live_topic(checked)]) as events:
                complaint, view = await look()
                if seen is not None and view.version > seen:
                    yield show_view(context, complaint, view)
                seen = view.version
                try:
                    async for _ in events:
                        complaint, view = await look()
                        if view.version > seen:
                            seen = view.version
                            yield show_view(context, complaint, view)
                except ListenerClosedError as closed:
                    if closed.reason is not Closed.GAP:
                        raise


def _read_cursor(cursor: str) -> str:
    kind, number = decode_node_id(cursor[:200])
    if kind != _CURSOR:
        raise InvalidNodeIdError(id=cursor[:80])
    try:
        return check_number(number)
    except ComplaintNotFoundError as error:
        raise InvalidNodeIdError(id=cursor[:80]) from error
