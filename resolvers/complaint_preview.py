"""What a citizen is told before they submit a matter, in GraphQL."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated

import strawberry
from strawberry.permission import BasePermission
from strawberry.types import Info

from domain import complaints as c
from domain.access import SIGNED_IN
from domain.complaint_publication import PublicState
from loaders.reference import ReferenceUnavailableError
from operations import complaint_preview as operations
from operations.complaint_duplicates import find
from operations.complaint_joins import token_for
from operations.complaint_preview import Sketch
from resolvers import complaint_enums  # noqa: F401 — describes the enums
from resolvers.access import allow, viewer_of
from resolvers.complaint_types import complaints_of
from resolvers.context import Context
from resolvers.knowledge import knowledge_of
from resolvers.knowledge_types import GuideHit
from resolvers.places import GeoPointInput
from resolvers.units import ComplaintClass, Unit, UnitSuggestion, units_of

_SIGNED_IN: list[type[BasePermission]] = [allow(*SIGNED_IN)]
_MAX_GUIDES = 3
_OWN_LOOKED_AT = 100


@strawberry.input(description="A matter that somebody is about to bring before 12345.")
class ComplaintPreviewInput:
    """Of complaintPreview."""

    kind: c.Kind = strawberry.field(description="What the citizen wants.")
    text: str = strawberry.field(description="The matter, 1 to 2,000 characters.")
    division_code: str = strawberry.field(description="Where it belongs: code of a division, 6 or 9 digits.")
    class_code: str | None = strawberry.field(default=None, description="Four digits of a class; null: open.")
    point: GeoPointInput | None = strawberry.field(
        default=None, description="Where; null: nowhere on a map, so that nothing nearby is found."
    )

    def read(self) -> Sketch:
        """Give the sketch. Raises: InvalidComplaintError naming the field."""
        return Sketch(
            self.kind,
            self.text,
            self.division_code[:12],
            self.class_code,
            None if self.point is None else self.point.read(),
        )


@strawberry.type(description="A complaint nearby that may be about the same matter.")
class LikelyDuplicate:
    """Shows a Likely."""

    number: str = strawberry.field(
        description="Its number, for `joinComplaint` or, of one's own, to look at."
    )
    is_own: bool = strawberry.field(description="Whether the viewer has brought it themselves.")
    join_token: str | None = strawberry.field(
        description="Lets the viewer join it within a day; null for their own."
    )
    score: float = strawberry.field(description="How likely, 0.5 to 1.")
    complaint_class: ComplaintClass | None = strawberry.field(description="Its class; null: none yet.")
    distance_m: int = strawberry.field(description="How far away, metres, to the nearest 50.")
    submitted_on: date = strawberry.field(description="The day of its submission in Asia/Shanghai.")
    is_in_progress: bool = strawberry.field(description="Whether a unit has it already.")
    joined_count: int = strawberry.field(description="How many citizens have joined it.")
    text: str | None = strawberry.field(
        description="Its text without personal data; null unless it was cleared for the public list."
    )


@strawberry.type(description="What a matter would meet if it were submitted now.")
class ComplaintPreview:
    """Shows a Preview."""

    suggested_classes: list[ComplaintClass] = strawberry.field(
        description="Classes that the text may be about, at most 3, the likeliest first."
    )
    centre: Unit = strawberry.field(description="The centre that would receive it.")
    likely_units: list[UnitSuggestion] = strawberry.field(
        description="The units that would answer it, at most 3, the likeliest first; empty while neither "
        "class nor text says what it is about."
    )
    guides: list[GuideHit] = strawberry.field(
        description="Guides that may answer it at once, at most 3, the best first."
    )
    likely_duplicates: list[LikelyDuplicate] = strawberry.field(
        description="Complaints within a kilometre that may be about the same matter, at most 5, the "
        "likeliest first; empty without a point."
    )
    due_at: datetime | None = strawberry.field(
        description="By when it would have to be answered, UTC; a seat may change kind and class."
    )
    due_is_provisional: bool = strawberry.field(
        description="Whether `dueAt` may still change, because a year's calendar is not published yet."
    )
    limit_days: int = strawberry.field(description="Working days that it may take.")
    is_convenience: bool = strawberry.field(
        description="Whether the class that was named is on the list of convenience services."
    )


@strawberry.type
class ComplaintPreviewQuery:
    """The preview's part of the root of Query."""

    @strawberry.field(
        description="What a matter would meet if it were submitted now; nothing is kept. Null, with "
        "INVALID_COMPLAINT, when something is wrong.",
        permission_classes=_SIGNED_IN,
        metadata={"cost": 50},
    )
    async def complaint_preview(
        self,
        info: Info[Context, None],
        input: Annotated[ComplaintPreviewInput, strawberry.argument(description="The matter.")],
    ) -> ComplaintPreview | None:
        """Look ahead. Raises: InvalidComplaintError, UnknownClassError."""
        context, complaints = info.context, complaints_of(info.context)
        sketch = input.read()
        found = operations.preview(complaints, sketch, now=context.now)
        if found.class_code is not None:
            past = await units_of(info).store.list_outcomes(found.class_code, sketch.division_code)
            found = operations.preview(complaints, sketch, past, now=context.now)
        return ComplaintPreview(
            suggested_classes=[ComplaintClass.of(each) for each in found.classes],
            centre=Unit.of(found.centre),
            likely_units=[UnitSuggestion.of(each) for each in found.units],
            guides=_guides(info, sketch),
            likely_duplicates=await _duplicates(info, sketch, found.class_code),
            due_at=found.clock.due_at,
            due_is_provisional=found.clock.is_provisional,
            limit_days=found.clock.limit_days,
            is_convenience=found.is_convenience,
        )


def _guides(info: Info[Context, None], sketch: Sketch) -> list[GuideHit]:
    """Find guides; a knowledge base that is still loading keeps nobody from complaining."""
    try:
        found = knowledge_of(info).search(sketch.text, sketch.division_code, _MAX_GUIDES)
    except ReferenceUnavailableError:
        return []
    return [GuideHit.of(each) for each in found]


async def _duplicates(
    info: Info[Context, None], sketch: Sketch, class_code: str | None
) -> list[LikelyDuplicate]:
    context, viewer, complaints = info.context, viewer_of(info), complaints_of(info.context)
    publisher = context.stores.publisher
    if publisher is None or sketch.point is None:
        return []
    likely = await find(
        complaints,
        publisher,
        sketch.point,
        sketch.division_code,
        class_code,
        sketch.text,
        now=context.now,
    )
    owner = await complaints.store.hide(viewer.account_id)
    own = {row.number for row in await complaints.store.list_own(owner, _OWN_LOOKED_AT)} if likely else set()
    shown = []
    for each in likely:
        code = each.class_code
        class_ = complaints.classes.find(code) if code else None
        is_own = each.number in own
        shown.append(
            LikelyDuplicate(
                number=each.number,
                is_own=is_own,
                join_token=None
                if is_own
                else await token_for(complaints, viewer, each.number, now=context.now),
                score=each.score,
                complaint_class=None if class_ is None else ComplaintClass.of(class_),
                distance_m=each.distance_m,
                submitted_on=each.submitted_on,
                is_in_progress=each.state is PublicState.IN_PROGRESS,
                joined_count=each.joined,
                text=each.text,
            )
        )
    return shown
