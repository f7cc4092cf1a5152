"""Putting together, from settings and open clients, what attachments need."""

from __future__ import annotations

import asyncio
from typing import Any

import structlog
from pymongo.asynchronous.database import AsyncDatabase

from domain.media import MediaLimits
from operations.account import Identity
from operations.media import Attachments, UploadLimits
from settings import Settings
from store.media import MediaStore
from store.media_links import MediaLinks
from store.media_process import Cleaner
from store.media_spool import remove_stale

log = structlog.get_logger(__name__)


async def open_attachments(
    settings: Settings, database: AsyncDatabase[dict[str, Any]], identity: Identity
) -> Attachments:
    """Put together what attachments need; what uploads of dead processes left on the disk is removed."""
    root = (settings.home / "uploads").expanduser().resolve()
    if stale := await asyncio.to_thread(remove_stale, root):
        log.info("media.stale_uploads_removed", count=stale)
    limits = MediaLimits(
        image_bytes=settings.media_image_bytes,
        audio_bytes=settings.media_audio_bytes,
        video_bytes=settings.media_video_bytes,
        image_pixels=settings.media_image_pixels,
        audio_s=settings.media_audio_s,
        video_s=settings.media_video_s,
        unattached=settings.media_unattached,
    )
    return Attachments(
        MediaStore(database),
        MediaLinks(identity.secrets, settings.media_url),
        Cleaner(limits, processes=settings.media_processes, waiting=settings.media_waiting),
        identity.gate,
        identity.secrets,
        root,
        UploadLimits(settings.media_account_limit, settings.media_address_limit),
    )
