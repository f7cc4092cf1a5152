"""Attachments in GraphQL: what a complaint has, what the viewer has uploaded and not attached."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import strawberry
from strawberry.permission import BasePermission
from strawberry.types import Info

from domain.access import SIGNED_IN
from domain.media import MediaKind, account_owner
from engine.vetting import source_classes
from loaders import media as loaders
from loaders.media import MediaView
from operations import media as operations
from operations.media import Attachments
from resolvers.access import allow, public, viewer_of
from resolvers.context import Context
from resolvers.mutations import UserError, refusable
from resolvers.node import describe_enum

_SIGNED_IN: list[type[BasePermission]] = [allow(*SIGNED_IN)]

describe_enum(
    MediaKind,
    "What an attachment is.",
    {
        "IMAGE": "A photo: JPEG, or WebP where it is transparent.",
        "AUDIO": "A recording: AAC in MPEG-4.",
        "VIDEO": "A video: H.264 or HEVC with AAC in MP4.",
    },
)


@strawberry.type(
    name="Media",
    description="A photo, recording or video, without anything that tells where or by what it was made.",
)
class MediaType:
    """Shows an attachment to whoever may see what it belongs to."""

    is_type_of = source_classes(MediaView)
    id: strawberry.ID = strawberry.field(description="The id that `POST /media` gave.")
    kind: MediaKind = strawberry.field(description="What it is.")
    content_type: str = strawberry.field(description="Media type of the file behind `url`.")
    size_bytes: int = strawberry.field(description="Size of that file, bytes.")
    width: int | None = strawberry.field(description="Pixels, upright; null for recordings.")
    height: int | None = strawberry.field(description="Pixels, upright; null for recordings.")
    duration_s: float | None = strawberry.field(description="Length in seconds; null for photos.")
    url: str = strawberry.field(
        description="Link to the file, for whoever holds it; a path of this host unless configured otherwise."
    )
    thumbnail_url: str | None = strawberry.field(
        description="Link to a JPEG of at most 320 pixels; null for recordings."
    )
    expires_at: datetime = strawberry.field(
        description="When the links end, UTC, ten minutes from now; ask again for new ones."
    )
    kept_until: datetime | None = strawberry.field(
        description="Until when it waits to be attached, UTC; null once it is."
    )


@strawberry.input(description="Which upload.")
class DeleteMediaInput:
    """Of deleteMedia."""

    id: strawberry.ID = strawberry.field(description="The id that `POST /media` gave.")
    upload_token: str | None = strawberry.field(
        default=None,
        description="What came with the upload of somebody who is not signed in; null for one's own account.",
    )


@strawberry.type(description="Result of deleteMedia.")
class DeleteMediaPayload:
    """The id of what is gone, or why not."""

    id: strawberry.ID | None = strawberry.field(description="The upload that is gone; null when refused.")
    user_errors: list[UserError] = strawberry.field(description="Why it was refused.")


def attachments_of(info: Info[Context, None]) -> Attachments:
    """Give what attachments need. Raises: RuntimeError where this process keeps none."""
    attachments = info.context.stores.media
    if attachments is None:
        raise RuntimeError("this process keeps no attachments")
    return attachments


async def load_media(numbers: list[str], context: Context) -> list[list[MediaView]]:
    """Load the attachments of complaints by their numbers; who may see those is asked before."""
    attachments = context.stores.media
    if attachments is None:
        raise RuntimeError("this process keeps no attachments")
    return await loaders.load_media(attachments.store, attachments.links, numbers, now=context.now)


@strawberry.type
class ViewerMedia:
    """The attachments' part of Viewer."""

    @strawberry.field(
        description="What the viewer has uploaded and not attached, at most 9, the oldest first.",
        permission_classes=_SIGNED_IN,
    )
    async def unattached_media(self, info: Info[Context, None]) -> list[MediaType]:
        """List the uploads that wait."""
        attachments = attachments_of(info)
        waiting = await attachments.store.list_drafts(account_owner(viewer_of(info).account_id))
        return await loaders.view_media(  # type: ignore[return-value]
            attachments.links, waiting, now=info.context.now
        )


@strawberry.type
class MediaMutation:
    """The attachments' part of Mutation."""

    @strawberry.mutation(
        description="Delete an upload that is not attached: one's own, or the token's holder's.",
        permission_classes=[public()],
    )
    async def delete_media(
        self,
        info: Info[Context, None],
        input: Annotated[DeleteMediaInput, strawberry.argument(description="Which.")],
    ) -> DeleteMediaPayload:
        """Delete an upload."""
        context, attachments = info.context, attachments_of(info)

        async def delete() -> strawberry.ID:
            uploader = await operations.uploader_of(
                attachments, context.viewer if input.upload_token is None else None, input.upload_token
            )
            await operations.delete_upload(attachments, uploader, str(input.id), now=context.now)
            return input.id

        deleted, errors = await refusable(delete(), context.word)
        return DeleteMediaPayload(id=deleted, user_errors=errors)
