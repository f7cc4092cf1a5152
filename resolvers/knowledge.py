"""The knowledge base in GraphQL: public search, and what staff of the centres write."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import date
from typing import Annotated

import strawberry
from strawberry.permission import BasePermission
from strawberry.types import Info

from domain import knowledge as domain
from domain.access import ForbiddenError, Role
from domain.catalogue import division_code
from domain.ids import InvalidNodeIdError, decode_node_id, encode_node_id, raw_id_of
from domain.knowledge import GuideAction, GuideState
from loaders.catalogue_search import InvalidPageSizeError, check_first, check_text
from loaders.knowledge import MAX_FOUND, Knowledge
from loaders.reference import ReferenceUnavailableError
from operations import knowledge as operations
from operations.knowledge import Editor, Step
from resolvers.access import PUBLIC_FIELD, allow, viewer_of
from resolvers.context import Context
from resolvers.knowledge_types import (
    ConfirmGuideInput,
    CreateGuideInput,
    DeskGuide,
    DeskGuideConnection,
    DeskGuideEdge,
    Guide,
    GuideHit,
    GuideInput,
    GuidePayload,
    GuideVersion,
    ReviseGuideInput,
)
from resolvers.mutations import refusable
from resolvers.node import PageInfo
from resolvers.units import units_of

_STAFF: list[type[BasePermission]] = [allow(Role.DESK, Role.OPERATOR)]
_CURSOR = "GuideCursor"
_DUE_CURSOR = "DueGuideCursor"


def knowledge_of(info: Info[Context, None]) -> Knowledge:
    """Give the knowledge base of this process. Raises: ReferenceUnavailableError where it has none."""
    knowledge = info.context.stores.knowledge
    if knowledge is None:
        raise ReferenceUnavailableError(list="guides")
    return knowledge


def _editor(info: Info[Context, None]) -> Editor:
    """Give who writes: staff of a centre, or an operator. Raises: ForbiddenError for other staff."""
    viewer = viewer_of(info)
    if viewer.acts_as(Role.OPERATOR):
        return Editor(viewer.account_id, viewer.unit)
    if not units_of(info).tree.is_centre(viewer.unit):
        raise ForbiddenError
    return Editor(viewer.account_id, viewer.unit, viewer.division_code)


def _raw_id(id: str) -> str:
    return raw_id_of("Guide", id[:200])


@strawberry.type
class KnowledgeQuery:
    """The knowledge base's part of the root of Query."""

    @strawberry.field(
        description="Guides that may answer a question at once, the best first; empty when no word fits.",
        metadata={**PUBLIC_FIELD, "cost": 10},
    )
    def search_guides(
        self,
        info: Info[Context, None],
        text: Annotated[str, strawberry.argument(description="The question, at most 300 characters.")],
        division: Annotated[
            str | None,
            strawberry.argument(
                description="The citizen's division: guides that hold there. Null: guides of every division."
            ),
        ] = None,
        first: Annotated[int, strawberry.argument(description="How many, 1 to 20.")] = 5,
    ) -> list[GuideHit]:
        """Search. Raises: TextTooLongError, InvalidPageSizeError, InvalidDivisionCodeError."""
        check_text(text)
        if not 1 <= first <= MAX_FOUND:
            raise InvalidPageSizeError(first=first, maximum=MAX_FOUND)
        code = None if division is None else division_code(division)
        return [GuideHit.of(found) for found in knowledge_of(info).search(text, code, first)]

    @strawberry.field(
        description="One published guide; null when there is none, or no longer.", metadata=PUBLIC_FIELD
    )
    def guide(
        self,
        info: Info[Context, None],
        id: Annotated[strawberry.ID, strawberry.argument(description="Global id of the guide, or its key.")],
    ) -> Guide | None:
        """Find a guide."""
        found = knowledge_of(info).index.find(_raw_id(id))
        return None if found is None else Guide.of(found)


def _read_cursor(kind: str, after: str | None) -> str | None:
    if after is None:
        return None
    found, raw = decode_node_id(after[:400])
    if found != kind:
        raise InvalidNodeIdError(id=after[:80])
    return raw


def _page(
    found: list[domain.Guide], first: int, after: str | None, cursors: list[str]
) -> DeskGuideConnection:
    edges = [
        DeskGuideEdge(cursor=cursor, node=DeskGuide.of(guide))
        for guide, cursor in zip(found[:first], cursors, strict=False)
    ]
    return DeskGuideConnection(
        edges=edges,
        page_info=PageInfo(
            has_next_page=len(found) > first,
            has_previous_page=after is not None,
            start_cursor=edges[0].cursor if edges else None,
            end_cursor=edges[-1].cursor if edges else None,
        ),
    )


_First = Annotated[int, strawberry.argument(description="How many, 1 to 100.")]
_After = Annotated[
    str | None, strawberry.argument(description="Cursor of the last one seen; null: the first page.")
]
_Id = Annotated[strawberry.ID, strawberry.argument(description="Global id of the guide.")]


@strawberry.type
class DeskKnowledge:
    """The knowledge base's part of Desk; for staff of a centre and operators."""

    @strawberry.field(description="Guides of one state, ordered by key.", permission_classes=_STAFF)
    async def guides(
        self,
        info: Info[Context, None],
        state: Annotated[GuideState, strawberry.argument(description="Of this state.")] = GuideState.DRAFT,
        first: _First = 20,
        after: _After = None,
    ) -> DeskGuideConnection:
        """Page through guides. Raises: ForbiddenError, InvalidPageSizeError, InvalidNodeIdError."""
        _editor(info)
        check_first(first)
        start = _read_cursor(_CURSOR, after) or ""
        found = await knowledge_of(info).store.list_guides(state, first + 1, start)
        return _page(found, first, after, [encode_node_id(_CURSOR, guide.id) for guide in found])

    @strawberry.field(
        description="Published guides that somebody has to look at again, the longest overdue first.",
        permission_classes=_STAFF,
    )
    async def guides_due_for_review(
        self,
        info: Info[Context, None],
        until: Annotated[
            date | None, strawberry.argument(description="Due by this day; null: by today, in Fujian.")
        ] = None,
        first: _First = 20,
        after: _After = None,
    ) -> DeskGuideConnection:
        """Page through due guides. Raises: ForbiddenError, InvalidPageSizeError, InvalidNodeIdError."""
        _editor(info)
        check_first(first)
        day = until or operations.local_day(info.context.now)
        start = _read_due_cursor(after)
        found = await knowledge_of(info).store.list_due(day, first + 1, start)
        cursors = [encode_node_id(_DUE_CURSOR, f"{guide.review_by}|{guide.id}") for guide in found]
        return _page(found, first, after, cursors)

    @strawberry.field(
        description="One guide in any state; null, with GUIDE_NOT_FOUND, when there is none.",
        permission_classes=_STAFF,
    )
    async def guide(self, info: Info[Context, None], id: _Id) -> DeskGuide | None:
        """Find a guide. Raises: ForbiddenError, GuideNotFoundError."""
        _editor(info)
        return DeskGuide.of(await operations.get_guide(knowledge_of(info).store, _raw_id(id)))

    @strawberry.field(
        description="The latest 200 changes of a guide, oldest first; empty when there is none.",
        permission_classes=_STAFF,
        metadata={"list_size": 200},
    )
    async def guide_history(self, info: Info[Context, None], id: _Id) -> list[GuideVersion]:
        """List changes. Raises: ForbiddenError."""
        _editor(info)
        return [GuideVersion.of(each) for each in await knowledge_of(info).store.history(_raw_id(id))]


def _read_due_cursor(after: str | None) -> tuple[date, str] | None:
    raw = _read_cursor(_DUE_CURSOR, after)
    if raw is None:
        return None
    day, _, guide_id = raw.partition("|")
    try:
        return date.fromisoformat(day), guide_id
    except ValueError as error:
        raise InvalidNodeIdError(id=raw[:80]) from error


_Which = Annotated[GuideInput, strawberry.argument(description="Which, as it was seen.")]


@strawberry.type
class KnowledgeMutation:
    """The knowledge base's part of Mutation; for staff of a centre and operators."""

    @strawberry.mutation(description="Write the draft of a guide.", permission_classes=_STAFF)
    async def create_guide(
        self,
        info: Info[Context, None],
        input: Annotated[CreateGuideInput, strawberry.argument(description="What it says.")],
    ) -> GuidePayload:
        """Run `create_guide`. Raises: ForbiddenError."""
        work = operations.create_guide(
            knowledge_of(info).store,
            units_of(info).classes,
            _editor(info),
            input.text.read(),
            input.idempotency_key,
            now=info.context.now,
            review_by=input.review_by,
        )
        return await _payload(info, work)

    @strawberry.mutation(
        description="Write a guide anew; readers see the new text once it is published.",
        permission_classes=_STAFF,
    )
    async def revise_guide(
        self,
        info: Info[Context, None],
        input: Annotated[ReviseGuideInput, strawberry.argument(description="Which, and what it says.")],
    ) -> GuidePayload:
        """Run `change_guide`. Raises: ForbiddenError."""
        step = Step(_raw_id(input.id), GuideAction.REVISE, input.expected_version, input.text.read())
        return await _change(info, step)

    @strawberry.mutation(description="Show the newest text to readers.", permission_classes=_STAFF)
    async def publish_guide(self, info: Info[Context, None], input: _Which) -> GuidePayload:
        """Run `change_guide`. Raises: ForbiddenError."""
        return await _change(info, Step(_raw_id(input.id), GuideAction.PUBLISH, input.expected_version))

    @strawberry.mutation(
        description="Say that a published guide still holds, and when to look again.",
        permission_classes=_STAFF,
    )
    async def confirm_guide(
        self,
        info: Info[Context, None],
        input: Annotated[ConfirmGuideInput, strawberry.argument(description="Which, and until when.")],
    ) -> GuidePayload:
        """Run `change_guide`. Raises: ForbiddenError."""
        step = Step(_raw_id(input.id), GuideAction.CONFIRM, input.expected_version, review_by=input.review_by)
        return await _change(info, step)

    @strawberry.mutation(description="Take a guide back from readers.", permission_classes=_STAFF)
    async def retire_guide(self, info: Info[Context, None], input: _Which) -> GuidePayload:
        """Run `change_guide`. Raises: ForbiddenError."""
        return await _change(info, Step(_raw_id(input.id), GuideAction.RETIRE, input.expected_version))


async def _change(info: Info[Context, None], step: Step) -> GuidePayload:
    stores = info.context.stores
    work = operations.change_guide(
        knowledge_of(info).store,
        stores.identity.redis,
        units_of(info).classes,
        _editor(info),
        step,
        now=info.context.now,
    )
    return await _payload(info, work)


async def _payload(info: Info[Context, None], work: Awaitable[domain.Guide]) -> GuidePayload:
    guide, errors = await refusable(work, info.context.word)
    return GuidePayload(guide=DeskGuide.of(guide) if guide else None, user_errors=errors)
