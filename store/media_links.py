"""Links for reading attachments: whoever holds one may read, for ten minutes, and nobody can make one up."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime
from typing import Final

from msgspec import Struct

from domain.media import LINK_LIFE, Media, MediaLinkError, MediaVariant
from store.secrets import SecretStore

_SECRET: Final = "media_links"  # noqa: S105 - its name, not itself
_STEP_S: Final = 60
"""Links made within a minute are the same, so that clients find what they have in their caches."""
_MOST_DIGITS: Final = 11


class Links(Struct, frozen=True):
    """The addresses of one attachment; `thumbnail_url` is None for sound. `expires_at` is UTC."""

    url: str
    thumbnail_url: str | None
    expires_at: datetime


class MediaLinks:
    """Makes and checks links; `prefix` stands before each of them, empty for paths of this host."""

    def __init__(self, secrets: SecretStore, prefix: str = "") -> None:
        self._secrets = secrets
        self._prefix = prefix.rstrip("/")

    async def make(self, media: Media, *, now: datetime) -> Links:
        """Make the links of an attachment."""
        key = await self._secrets.get(_SECRET)
        until = -int(-(now + LINK_LIFE).timestamp() // _STEP_S) * _STEP_S
        path = f"{self._prefix}/media/{media.id}"

        def link(variant: MediaVariant, ending: str = "") -> str:
            signature = _signature(key, media.id, variant, until)
            return f"{path}{ending}?until={until}&signature={signature}"

        thumbnail = link(MediaVariant.THUMBNAIL, "/thumbnail") if media.thumbnail else None
        return Links(link(MediaVariant.ORIGINAL), thumbnail, datetime.fromtimestamp(until, UTC))

    async def check(
        self, media_id: str, variant: MediaVariant, until: str, signature: str, *, now: datetime
    ) -> int:
        """Give the seconds that a link is still good for. Raises: MediaLinkError."""
        if not (until.isascii() and until.isdigit() and len(until) <= _MOST_DIGITS and signature.isascii()):
            raise MediaLinkError
        key = await self._secrets.get(_SECRET)
        left_s = int(until) - int(now.timestamp())
        genuine = hmac.compare_digest(signature, _signature(key, media_id, variant, int(until)))
        if not genuine or left_s <= 0:
            raise MediaLinkError
        return left_s


def _signature(key: bytes, media_id: str, variant: MediaVariant, until: int) -> str:
    digest = hmac.digest(key, f"{media_id}|{variant.value}|{until}".encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
