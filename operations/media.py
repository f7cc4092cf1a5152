"""What happens to photos, recordings and videos: uploaded, cleaned, kept, deleted, forgotten in time."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from time import perf_counter
from typing import Final

import structlog
from msgspec import Struct

from domain.access import Viewer
from domain.account import TooManyRequestsError
from domain.ids import new_id
from domain.media import (
    InvalidUploadTokenError,
    Media,
    MediaBusyError,
    MediaFormat,
    MediaNotFoundError,
    MediaTooLargeError,
    TooManyMediaError,
    account_owner,
    kind_of,
    shown_bytes,
)
from operations.account import network_of
from store.gate import Gate, Window
from store.media import Exists, MediaStore
from store.media_links import MediaLinks
from store.media_process import Cleaner
from store.media_spool import Spool, digest_of
from store.secrets import SecretStore

log = structlog.get_logger(__name__)

_TOKEN_SECRET: Final = "media_upload_tokens"  # noqa: S105 - its name, not itself
_TOKEN_BYTES: Final = 16
_TOKEN_CHARS: Final = 43
_BUSY_S: Final = 10
_SWEPT: Final = 100


class UploadLimits(Struct, frozen=True):
    """How often somebody may upload, as `limits` writes it; several are separated by semicolons."""

    per_account: str = "60 per 1 hour; 300 per 1 day"
    per_address: str = "20 per 1 hour; 60 per 1 day"
    """Of people who are not signed in."""


class Attachments(Struct, frozen=True):
    """What attachments need. `spool_root` is a folder on this machine's disk."""

    store: MediaStore
    links: MediaLinks
    cleaner: Cleaner
    gate: Gate
    secrets: SecretStore
    spool_root: Path
    limits: UploadLimits = UploadLimits()


class Uploader(Struct, frozen=True):
    """Whose an upload is; `token` is what somebody who is not signed in needs to use it."""

    owner: str
    token: str | None = None


class Kept(Struct, frozen=True):
    """An upload that was kept, or was there already (`is_new` False); `cleaning_s` in seconds."""

    media: Media
    is_new: bool
    cleaning_s: float = 0.0


# --- whose ------------------------------------------------------------------------------------------------


async def uploader_of(attachments: Attachments, viewer: Viewer | None, token: str | None) -> Uploader:
    """Tell whose an upload is: the viewer's, or the token's holder's; without either a token is made.

    Raises: InvalidUploadTokenError.
    """
    if viewer is not None:
        return Uploader(account_owner(viewer.account_id))
    key = await attachments.secrets.get(_TOKEN_SECRET)
    if token is None:
        token = _token(key, secrets.token_bytes(_TOKEN_BYTES))
    owner = _owner_of_token(key, token)
    return Uploader(owner, token)


def _token(key: bytes, nonce: bytes) -> str:
    proof = hmac.digest(key, nonce, hashlib.sha256)[:_TOKEN_BYTES]
    return base64.urlsafe_b64encode(nonce + proof).rstrip(b"=").decode()


def _owner_of_token(key: bytes, token: str) -> str:
    try:
        nonce = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))[:_TOKEN_BYTES]
    except ValueError:
        raise InvalidUploadTokenError from None
    if len(token) != _TOKEN_CHARS or not hmac.compare_digest(token, _token(key, nonce)):
        raise InvalidUploadTokenError
    # The token itself is not kept: whoever reads the database cannot act for its holder.
    return f"anonymous:{hashlib.sha256(token.encode()).hexdigest()[:32]}"


# --- uploading --------------------------------------------------------------------------------------------


async def admit(attachments: Attachments, uploader: Uploader, address: str) -> None:
    """Let somebody begin an upload, or refuse before its body is read; counts the try.

    Raises: domain.account.TooManyRequestsError, MediaBusyError.
    """
    if attachments.cleaner.is_full:
        raise MediaBusyError(seconds=_BUSY_S)
    limits = attachments.limits
    if uploader.token is None:
        texts, key = limits.per_account, uploader.owner
    else:
        texts, key = limits.per_address, network_of(address)
    windows = [Window(text.strip(), f"media:{key}") for text in texts.split(";")]
    if wait_s := await attachments.gate.enter(windows):
        raise TooManyRequestsError(seconds=wait_s)


async def keep(
    attachments: Attachments, uploader: Uploader, spool: Spool, format_: MediaFormat, *, now: datetime
) -> Kept:
    """Clean what was received and keep it for 24 hours; what the owner has sent before is found again.

    The same is what has the same bytes as they were sent, so that a retry costs nothing.
    Raises: MediaTypeError, MediaDamagedError, MediaTooLargeError, MediaBusyError, TooManyMediaError.
    """
    store, cleaner = attachments.store, attachments.cleaner
    most = cleaner.limits.bytes_of(kind_of(format_))
    if spool.size > most:
        raise MediaTooLargeError(limit=shown_bytes(most))
    if known := await store.find_draft(uploader.owner, spool.digest, now=now):
        return Kept(known, is_new=False)
    limit = cleaner.limits.unattached
    if await store.count_drafts(uploader.owner) >= limit:
        raise TooManyMediaError(limit=limit)
    started = perf_counter()
    cleaned = await cleaner.clean(spool.source, format_, spool.target, spool.thumbnail)
    cleaning_s = perf_counter() - started
    media = Media(
        id=new_id(now),
        owner=uploader.owner,
        cleaned=cleaned,
        content=await asyncio.to_thread(digest_of, spool.target),
        size_bytes=await asyncio.to_thread(lambda: spool.target.stat().st_size),
        uploaded_at=now,
        thumbnail=await asyncio.to_thread(digest_of, spool.thumbnail) if cleaned.has_thumbnail else None,
    )
    stored = await store.add(media, spool.digest, spool, limit, now=now)
    return Kept(stored, is_new=True, cleaning_s=cleaning_s)


async def delete_upload(
    attachments: Attachments, uploader: Uploader, media_id: str, *, now: datetime
) -> None:
    """Delete an unattached upload of its owner. Raises: MediaNotFoundError."""
    if not await attachments.store.delete_draft(uploader.owner, media_id, now=now):
        raise MediaNotFoundError(field="id")


# --- the sweeper's part -----------------------------------------------------------------------------------


async def expire(store: MediaStore, *, now: datetime, exists: Exists | None = None) -> int:
    """Look at the uploads that are due, 100 at most, and count those that are gone.

    Unattached ones go after 24 hours. Reserved ones stay where their complaint exists (`exists` None: in the
    store), else become their owner's again.
    """
    exists = exists or store.list_existing
    due = await store.list_due(_SWEPT, now=now)
    reserved = [media for media in due if media.complaint is not None]
    there = await exists(_numbers(reserved)) if reserved else set()
    await store.confirm([media.id for media in reserved if media.complaint in there])
    released = await store.release([media.id for media in reserved if media.complaint not in there], now=now)
    count = 0
    for media in due:
        if media.complaint is None and await store.bury(media.id, now=now):
            count += 1
    if count or released:
        log.info("media.expired", count=count, released=released)
    return count


def _numbers(reserved: Sequence[Media]) -> list[str]:
    return sorted({media.complaint for media in reserved if media.complaint is not None})
