"""Drafts of complaints in GraphQL."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import strawberry
from strawberry.permission import BasePermission
from strawberry.types import Info

from domain import complaints as c
from domain.access import SIGNED_IN
from domain.complaint_drafts import Draft, DraftContent
from domain.coordinates import CoordinateSystem
from operations import complaint_drafts as operations
from resolvers import complaint_enums  # noqa: F401 — describes the enums
from resolvers.access import allow, viewer_of
from resolvers.context import Context
from resolvers.mutations import UserError, refusable
from resolvers.places import GeoPoint, GeoPointInput
from store.complaint_drafts import ComplaintDraftStore

_SIGNED_IN: list[type[BasePermission]] = [allow(*SIGNED_IN)]


@strawberry.type(description="A half-filled form; what is null was not filled in.")
class ComplaintDraft:
    """Shows a Draft."""

    id: strawberry.ID = strawberry.field(description="The id that the client gave it.")
    version: int = strawberry.field(description="Counts the saves; hand it in as `expectedVersion`.")
    saved_at: datetime = strawberry.field(description="When it was saved last, UTC.")
    expires_at: datetime = strawberry.field(
        description="When it is forgotten, UTC: 30 days after the last save."
    )
    kind: c.Kind | None = strawberry.field(description="What the citizen wants.")
    text: str | None = strawberry.field(description="The matter, at most 2,000 characters.")
    division_code: str | None = strawberry.field(description="Code of the division.")
    class_code: str | None = strawberry.field(description="Code of the class.")
    contact: c.ContactWish | None = strawberry.field(description="How they want to be reached.")
    is_public_wished: bool | None = strawberry.field(description="Whether the public list may show it.")
    media_ids: list[strawberry.ID] = strawberry.field(
        description="Uploads, at most 9; those that still wait are `viewer.unattachedMedia`."
    )
    address: str | None = strawberry.field(description="Where, in words.")
    name: str | None = strawberry.field(description="The citizen's name.")
    phone: str | None = strawberry.field(description="The citizen's phone.")
    place: strawberry.Private[c.Point | None]

    @strawberry.field(description="Where.")
    def point(
        self,
        system: Annotated[
            CoordinateSystem, strawberry.argument(description="In which system.")
        ] = CoordinateSystem.WGS84,
    ) -> GeoPoint | None:
        """Show the place."""
        return None if self.place is None else GeoPoint.of(self.place, system)

    @classmethod
    def of(cls, draft: Draft) -> ComplaintDraft:
        """Show a draft."""
        content = draft.content
        return cls(
            id=strawberry.ID(draft.key),
            version=draft.version,
            saved_at=draft.saved_at,
            expires_at=draft.expires_at,
            kind=content.kind,
            text=content.text,
            division_code=content.division_code,
            class_code=content.class_code,
            contact=content.contact,
            is_public_wished=content.is_public_wished,
            media_ids=[strawberry.ID(media_id) for media_id in content.media],
            address=content.address,
            name=content.name,
            phone=content.phone,
            place=content.point,
        )


@strawberry.input(description="A half-filled form, whole: what is left out is not filled in.")
class SaveComplaintDraftInput:
    """Of saveComplaintDraft."""

    id: strawberry.ID = strawberry.field(
        description="Made by the client for each form, 8 to 64 of A–Z, a–z, 0–9, - and _; a UUID will do."
    )
    expected_version: int = strawberry.field(
        default=0, description="The version that was seen last; 0 for a form that was never saved."
    )
    kind: c.Kind | None = strawberry.field(default=None, description="What the citizen wants.")
    text: str | None = strawberry.field(default=None, description="The matter, at most 2,000 characters.")
    division_code: str | None = strawberry.field(default=None, description="Code of the division.")
    class_code: str | None = strawberry.field(default=None, description="Code of the class.")
    contact: c.ContactWish | None = strawberry.field(default=None, description="How to be reached.")
    is_public_wished: bool | None = strawberry.field(
        default=None, description="Whether the public list may show it."
    )
    media_ids: list[strawberry.ID] = strawberry.field(
        default_factory=list, description="Uploads, at most 9; a draft does not keep them any longer."
    )
    point: GeoPointInput | None = strawberry.field(default=None, description="Where.")
    address: str | None = strawberry.field(
        default=None, description="Where, in words, at most 200 characters."
    )
    name: str | None = strawberry.field(default=None, description="At most 40 characters.")
    phone: str | None = strawberry.field(default=None, description="At most 20 characters.")

    def read(self) -> DraftContent:
        """Give the content. Raises: InvalidComplaintError naming the field."""
        return DraftContent(
            kind=self.kind,
            text=self.text,
            division_code=self.division_code,
            class_code=self.class_code,
            contact=self.contact,
            is_public_wished=self.is_public_wished,
            media=media_ids(self.media_ids),
            point=None if self.point is None else self.point.read(),
            address=self.address,
            name=self.name,
            phone=self.phone,
        )


@strawberry.input(description="Which draft.")
class DeleteComplaintDraftInput:
    """Of deleteComplaintDraft."""

    id: strawberry.ID = strawberry.field(description="The id that the client gave it.")


@strawberry.type(description="Result of saveComplaintDraft.")
class ComplaintDraftPayload:
    """The draft, or why not."""

    draft: ComplaintDraft | None = strawberry.field(
        description="The draft as it is now, also where the save was refused; null when there is none."
    )
    user_errors: list[UserError] = strawberry.field(description="Why it was refused.")


@strawberry.type(description="Result of deleteComplaintDraft.")
class DeleteComplaintDraftPayload:
    """The id of what is gone, or why not."""

    id: strawberry.ID | None = strawberry.field(description="The draft that is gone; null when refused.")
    user_errors: list[UserError] = strawberry.field(description="Why it was refused.")


def media_ids(ids: list[strawberry.ID]) -> tuple[str, ...]:
    """Give the raw ids of uploads.

    Raises: InvalidComplaintError naming the field.
    """
    if len(ids) > c.MAX_MEDIA or len(set(ids)) != len(ids) or not all(1 <= len(each) <= 64 for each in ids):
        raise c.InvalidComplaintError(field="mediaIds")
    return tuple(str(each) for each in ids)


def drafts_of(context: Context) -> ComplaintDraftStore:
    """Give the drafts. Raises: RuntimeError where this process keeps none."""
    drafts = context.stores.complaint_drafts
    if drafts is None:
        raise RuntimeError("this process keeps no drafts of complaints")
    return drafts


@strawberry.type
class ViewerComplaintDrafts:
    """The drafts' part of Viewer."""

    @strawberry.field(
        description="The viewer's drafts of complaints, at most 10, the last saved first.",
        permission_classes=_SIGNED_IN,
        metadata={"list_size": 10},
    )
    async def complaint_drafts(self, info: Info[Context, None]) -> list[ComplaintDraft]:
        """List the drafts."""
        account, now = viewer_of(info).account_id, info.context.now
        return [
            ComplaintDraft.of(each) for each in await drafts_of(info.context).list_newest(account, now=now)
        ]

    @strawberry.field(
        description="One of the viewer's drafts; null, with DRAFT_NOT_FOUND, when there is none.",
        permission_classes=_SIGNED_IN,
    )
    async def complaint_draft(
        self,
        info: Info[Context, None],
        id: Annotated[strawberry.ID, strawberry.argument(description="The id that the client gave it.")],
    ) -> ComplaintDraft | None:
        """Get a draft. Raises: DraftNotFoundError."""
        account, now = viewer_of(info).account_id, info.context.now
        return ComplaintDraft.of(
            await operations.get_draft(drafts_of(info.context), account, id[:64], now=now)
        )


@strawberry.type
class ComplaintDraftsMutation:
    """The drafts' part of Mutation."""

    @strawberry.mutation(
        description="Save a form as far as it is filled in, from the version that was seen; the same save "
        "again is no error. At most 10 drafts. DRAFT_CHANGED: it was saved elsewhere meanwhile.",
        permission_classes=_SIGNED_IN,
    )
    async def save_complaint_draft(
        self,
        info: Info[Context, None],
        input: Annotated[SaveComplaintDraftInput, strawberry.argument(description="The form.")],
    ) -> ComplaintDraftPayload:
        """Run `save_draft`."""
        context, account = info.context, viewer_of(info).account_id
        drafts, key = drafts_of(context), str(input.id)

        async def save() -> Draft:
            return await operations.save_draft(
                drafts,
                account,
                key,
                input.read(),
                expected_version=max(input.expected_version, 0),
                now=context.now,
            )

        saved, errors = await refusable(save(), context.word)
        draft = saved if saved is not None else await drafts.find(account, key[:64], now=context.now)
        return ComplaintDraftPayload(
            draft=None if draft is None else ComplaintDraft.of(draft), user_errors=errors
        )

    @strawberry.mutation(description="Delete one of the viewer's drafts.", permission_classes=_SIGNED_IN)
    async def delete_complaint_draft(
        self,
        info: Info[Context, None],
        input: Annotated[DeleteComplaintDraftInput, strawberry.argument(description="Which.")],
    ) -> DeleteComplaintDraftPayload:
        """Run `delete_draft`."""
        context, account = info.context, viewer_of(info).account_id
        work = operations.delete_draft(drafts_of(context), account, input.id[:64])
        _, errors = await refusable(work, context.word)
        return DeleteComplaintDraftPayload(id=None if errors else input.id, user_errors=errors)
