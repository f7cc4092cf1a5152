"""Attachments with their links, in batches."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct

from domain.media import Media, MediaKind
from store.media import MediaStore
from store.media_links import MediaLinks


class MediaView(Struct, frozen=True):
    """What a client sees of an attachment; links work until `expires_at`, instants are UTC."""

    id: str
    kind: MediaKind
    content_type: str
    size_bytes: int
    width: int | None
    height: int | None
    duration_s: float | None
    url: str
    thumbnail_url: str | None
    expires_at: datetime
    kept_until: datetime | None


async def view_media(links: MediaLinks, media: Sequence[Media], *, now: datetime) -> list[MediaView]:
    """Give attachments with fresh links."""
    views = []
    for each in media:
        made, cleaned = await links.make(each, now=now), each.cleaned
        views.append(
            MediaView(
                each.id,
                cleaned.kind,
                cleaned.content_type,
                each.size_bytes,
                cleaned.width,
                cleaned.height,
                cleaned.duration_s,
                made.url,
                made.thumbnail_url,
                made.expires_at,
                each.expires_at,
            )
        )
    return views


async def load_media(
    store: MediaStore, links: MediaLinks, numbers: Sequence[str], *, now: datetime
) -> list[list[MediaView]]:
    """Give the attachments of complaints in the order of their numbers, one query for every 64."""
    found = await store.list_for_complaints(numbers)
    return [await view_media(links, found.get(number, ()), now=now) for number in numbers]
