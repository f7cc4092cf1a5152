"""GraphQL types of the knowledge base."""

from __future__ import annotations

from datetime import date, datetime
from typing import cast

import strawberry
from strawberry.types import Info

from domain import knowledge as domain
from domain.ids import encode_node_id, raw_id_of
from domain.knowledge import GuideAction, GuideContent, GuideState
from loaders.knowledge import FoundGuide, PublishedGuide
from resolvers.catalogue_types import ServiceItem
from resolvers.context import Context
from resolvers.mutations import UserError
from resolvers.node import Node, PageInfo, describe_enum

describe_enum(
    GuideState,
    "Where a guide is in its life.",
    {
        "DRAFT": "Written; readers do not see it.",
        "PUBLISHED": "Readers see it.",
        "RETIRED": "Taken back.",
    },
)
describe_enum(
    GuideAction,
    "What was done with a guide.",
    {
        "CREATE": "Written as a draft.",
        "REVISE": "Written anew; readers see it once it is published.",
        "PUBLISH": "Shown to readers.",
        "CONFIRM": "Looked at again; it still holds.",
        "RETIRE": "Taken back.",
    },
)


@strawberry.type(description="An answer to a question that many people ask.")
class Guide(Node):
    """Shows a published guide."""

    key: str = strawberry.field(description="Its id in the knowledge base, at most 64 characters.")
    question: str = strawberry.field(description="The question, at most 200 characters.")
    answer: str = strawberry.field(description="The answer, at most 5,000 characters; lines are separated.")
    class_code: str | None = strawberry.field(
        description="Class of complaints, or group of classes, that it is about; null: none in particular."
    )
    division_code: str | None = strawberry.field(description="Division in which it holds; null: everywhere.")
    published_at: datetime = strawberry.field(description="When this content was published, UTC.")
    item_ids: strawberry.Private[tuple[str, ...]]

    @strawberry.field(
        description="Items of the catalogue that it is about, at most 20; those no longer offered are left "
        "out.",
        metadata={"list_size": 20},
    )
    def items(self, info: Info[Context, None]) -> list[ServiceItem]:
        """Find the items in the snapshot that the request has pinned."""
        snapshot = info.context.catalogue
        if snapshot is None:
            return []
        found = (snapshot.item(item_id) for item_id in self.item_ids)
        return [cast("ServiceItem", item) for item in found if item is not None]

    @classmethod
    def of(cls, guide: PublishedGuide) -> Guide:
        """Show a guide."""
        content = guide.content
        return cls(
            node_id=strawberry.ID(encode_node_id("Guide", guide.id)),
            key=guide.id,
            question=content.question,
            answer=content.answer,
            class_code=content.class_code,
            division_code=content.division_code,
            published_at=guide.published_at,
            item_ids=content.item_ids,
        )


@strawberry.type(description="A guide that a search has found.")
class GuideHit:
    """Shows a FoundGuide."""

    guide: Guide = strawberry.field(description="The guide.")
    score: float = strawberry.field(description="How well it fits; compares within one search only.")

    @classmethod
    def of(cls, found: FoundGuide) -> GuideHit:
        """Show a hit."""
        return cls(guide=Guide.of(found.guide), score=found.score)


@strawberry.type(description="What a guide says.")
class GuideText:
    """Shows a GuideContent."""

    question: str = strawberry.field(description="The question.")
    answer: str = strawberry.field(description="The answer.")
    class_code: str | None = strawberry.field(description="Class of complaints; null: none in particular.")
    division_code: str | None = strawberry.field(description="Where it holds; null: everywhere.")
    item_ids: list[strawberry.ID] = strawberry.field(description="Global ids of its items.")
    keywords: list[str] = strawberry.field(description="Other words that people use for it.")

    @classmethod
    def of(cls, content: GuideContent) -> GuideText:
        """Show a content."""
        return cls(
            question=content.question,
            answer=content.answer,
            class_code=content.class_code,
            division_code=content.division_code,
            item_ids=[strawberry.ID(encode_node_id("ServiceItem", each)) for each in content.item_ids],
            keywords=list(content.keywords),
        )


@strawberry.type(description="A guide as staff work on it.")
class DeskGuide(Node):
    """Shows a guide in any state."""

    key: str = strawberry.field(description="Its id in the knowledge base.")
    version: int = strawberry.field(description="Counts every change; a change must name it.")
    state: GuideState = strawberry.field(description="Where it is in its life.")
    text: GuideText = strawberry.field(description="What staff have written last.")
    published_text: GuideText | None = strawberry.field(
        description="What readers see; null: they see nothing."
    )
    has_unpublished: bool = strawberry.field(description="Whether readers do not see the newest text.")
    published_at: datetime | None = strawberry.field(
        description="When the text that readers see was published, UTC; null: they see nothing."
    )
    review_by: date | None = strawberry.field(
        description="The day by which somebody has to look whether it still holds; null: never."
    )
    updated_at: datetime = strawberry.field(description="When it was last changed, UTC.")

    @classmethod
    def of(cls, guide: domain.Guide) -> DeskGuide:
        """Show a guide to staff."""
        return cls(
            node_id=strawberry.ID(encode_node_id("Guide", guide.id)),
            key=guide.id,
            version=guide.version,
            state=guide.state,
            text=GuideText.of(guide.content),
            published_text=GuideText.of(guide.published) if guide.published else None,
            has_unpublished=guide.has_unpublished,
            published_at=guide.published_at,
            review_by=guide.review_by,
            updated_at=guide.updated_at,
        )


@strawberry.type(description="One guide in a list.")
class DeskGuideEdge:
    """One place in a DeskGuideConnection."""

    cursor: str = strawberry.field(description="Hand it in as `after` to go on behind this guide.")
    node: DeskGuide = strawberry.field(description="The guide.")


@strawberry.type(description="A page of guides.")
class DeskGuideConnection:
    """A page of guides."""

    edges: list[DeskGuideEdge] = strawberry.field(description="The guides of this page.")
    page_info: PageInfo = strawberry.field(description="Where this page lies.")


@strawberry.type(description="One entry in the history of a guide.")
class GuideVersion:
    """Shows a GuideChange; who it was is not shown, their unit is."""

    version: int = strawberry.field(description="The version that this change made.")
    action: GuideAction = strawberry.field(description="What was done.")
    at: datetime = strawberry.field(description="When, UTC.")
    unit: str | None = strawberry.field(description="Unit of whoever did it; null: an operator.")
    text: GuideText | None = strawberry.field(
        description="What was written; null when this change wrote nothing."
    )

    @classmethod
    def of(cls, change: domain.GuideChange) -> GuideVersion:
        """Show a change."""
        return cls(
            version=change.version,
            action=change.action,
            at=change.at,
            unit=change.unit,
            text=GuideText.of(change.content) if change.content else None,
        )


@strawberry.input(description="What a guide is to say.")
class GuideTextInput:
    """Turned into a GuideContent."""

    question: str = strawberry.field(description="The question, 1 to 200 characters.")
    answer: str = strawberry.field(description="The answer, 1 to 5,000 characters.")
    class_code: str | None = strawberry.field(
        default=None, description="Class of complaints, or group; null: none in particular."
    )
    division_code: str | None = strawberry.field(
        default=None, description="Where it holds; null: everywhere, for staff of the province only."
    )
    item_ids: list[strawberry.ID] = strawberry.field(
        default_factory=list, description="Ids of items of the catalogue, at most 20."
    )
    keywords: list[str] = strawberry.field(
        default_factory=list, description="Other words that people use for it, at most 30 of 40 characters."
    )

    def read(self) -> GuideContent:
        """Give what the operations take; lists are cut where one more is enough to be refused."""
        return GuideContent(
            self.question,
            self.answer,
            self.class_code,
            self.division_code,
            tuple(raw_id_of("ServiceItem", each[:200]) for each in self.item_ids[: domain.MAX_ITEMS + 1]),
            tuple(self.keywords[: domain.MAX_KEYWORDS + 1]),
        )


@strawberry.input(description="A new guide.")
class CreateGuideInput:
    """For `createGuide`."""

    text: GuideTextInput = strawberry.field(description="What it is to say.")
    idempotency_key: str = strawberry.field(
        description="1 to 64 characters; the same key gives the same guide."
    )
    review_by: date | None = strawberry.field(
        default=None, description="The day by which it has to be looked at again; null: never."
    )


@strawberry.input(description="A step with a guide.")
class GuideInput:
    """For steps without a text."""

    id: strawberry.ID = strawberry.field(description="Global id of the guide.")
    expected_version: int = strawberry.field(description="The version that was seen.")


@strawberry.input(description="A new text of a guide.")
class ReviseGuideInput(GuideInput):
    """For `reviseGuide`."""

    text: GuideTextInput = strawberry.field(description="What it is to say.")


@strawberry.input(description="That a guide was looked at again and holds.")
class ConfirmGuideInput(GuideInput):
    """For `confirmGuide`."""

    review_by: date = strawberry.field(description="The day by which it has to be looked at once more.")


@strawberry.type(description="The guide after a change.")
class GuidePayload:
    """A guide, or why nothing was changed."""

    guide: DeskGuide | None = strawberry.field(description="The guide; null when nothing was changed.")
    user_errors: list[UserError] = strawberry.field(description="Why nothing was changed.")
