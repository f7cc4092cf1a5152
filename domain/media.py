"""Photos, recordings and short videos that citizens attach: what is taken and how much, what is kept."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from msgspec import Struct

from domain.errors import DomainError

UNATTACHED_LIFE: Final = timedelta(hours=24)
"""So long an upload waits for the complaint that it belongs to."""
RESERVED_LIFE: Final = timedelta(hours=1)
"""After this long a complaint that was to have an attachment exists, or never will."""
LINK_LIFE: Final = timedelta(minutes=10)
"""A link for reading works for at least this long, and for less than a minute more."""
MAX_ATTACHED: Final = 9
"""Attachments of one complaint; what WeChat's chooser of pictures gives at once."""
THUMBNAIL_PX: Final = 320
"""Longer side of a thumbnail."""
HEAD_BYTES: Final = 4_096
"""How much of a file `sniff` needs to see."""


class MediaTooLargeError(DomainError):
    """A file is larger, longer or has more pixels than is taken; `limit` says how much is."""

    code = "MEDIA_TOO_LARGE"


class MediaTypeError(DomainError):
    """The content is of no type that is taken, whatever its name says."""

    code = "MEDIA_TYPE"


class MediaDamagedError(DomainError):
    """The content cannot be decoded to its end."""

    code = "MEDIA_DAMAGED"


class MediaNotFoundError(DomainError):
    """There is no such upload of this owner that is free; `field` names the input field."""

    code = "MEDIA_NOT_FOUND"


class TooManyMediaError(DomainError):
    """There are as many attachments as there may be."""

    code = "TOO_MANY_MEDIA"


class MediaLinkError(DomainError):
    """A link for reading was changed, or has run out."""

    code = "MEDIA_LINK"


class MediaBusyError(DomainError):
    """So many uploads are being worked on that another one would have to wait for too long."""

    code = "MEDIA_BUSY"


class InvalidUploadTokenError(DomainError):
    """A token that this system did not give out with an anonymous upload."""

    code = "INVALID_UPLOAD_TOKEN"


class MediaKind(StrEnum):
    """What a citizen attaches."""

    IMAGE = "IMAGE"
    AUDIO = "AUDIO"
    VIDEO = "VIDEO"


class MediaFormat(StrEnum):
    """The file formats that are taken, as their first bytes tell."""

    JPEG = "JPEG"
    PNG = "PNG"
    WEBP = "WEBP"
    GIF = "GIF"
    HEIC = "HEIC"
    MP3 = "MP3"
    AAC = "AAC"
    AMR = "AMR"
    WAV = "WAV"
    OGG = "OGG"
    M4A = "M4A"
    MP4 = "MP4"
    """MP4, QuickTime and 3GP; holds video, or sound only."""


def account_owner(account_id: str) -> str:
    """Give the owner that an account is for its uploads."""
    return f"account:{account_id}"


class MediaVariant(StrEnum):
    """What of an attachment is read."""

    ORIGINAL = "original"
    """The cleaned file; what the citizen sent is not kept."""
    THUMBNAIL = "thumbnail"


INLINE_TYPES: Final = {
    "image/jpeg": "jpg",
    "image/webp": "webp",
    "audio/mp4": "m4a",
    "video/mp4": "mp4",
}
"""The content types that cleaning makes and their file names' endings; nothing else is ever shown inline."""


class MediaLimits(Struct, frozen=True):
    """How much is taken. Bytes are those that the citizen sends."""

    image_bytes: int = 20_000_000
    audio_bytes: int = 10_000_000
    video_bytes: int = 50_000_000
    image_pixels: int = 40_000_000
    video_pixels: int = 9_000_000
    """Pixels of one frame: 4K and a little."""
    audio_s: float = 300.0
    video_s: float = 60.0
    unattached: int = 9
    """Uploads of one owner that wait for their complaint."""

    @property
    def most_bytes(self) -> int:
        """Give how much the largest file may have."""
        return max(self.image_bytes, self.audio_bytes, self.video_bytes)

    def bytes_of(self, kind: MediaKind) -> int:
        """Give how many bytes a file of a kind may have."""
        return {
            MediaKind.IMAGE: self.image_bytes,
            MediaKind.AUDIO: self.audio_bytes,
            MediaKind.VIDEO: self.video_bytes,
        }[kind]


class Cleaned(Struct, frozen=True):
    """What cleaning has made of an upload. Pixels as they are shown; `duration_s` in seconds.

    `has_thumbnail` is False for sound.
    """

    kind: MediaKind
    content_type: str
    width: int | None = None
    height: int | None = None
    duration_s: float | None = None
    has_thumbnail: bool = False


class Media(Struct, frozen=True):
    """An attachment. `content` and `thumbnail` are SHA-256 of cleaned bytes, by which they are kept.

    `owner` is an opaque text; empty once it was forgotten. `complaint` is the number of the complaint that it
    belongs to; None while it waits, until `expires_at`. Instants are UTC.
    """

    id: str
    owner: str
    cleaned: Cleaned
    content: str
    size_bytes: int
    uploaded_at: datetime
    thumbnail: str | None = None
    complaint: str | None = None
    expires_at: datetime | None = None


_KIND: Final = {
    MediaFormat.JPEG: MediaKind.IMAGE,
    MediaFormat.PNG: MediaKind.IMAGE,
    MediaFormat.WEBP: MediaKind.IMAGE,
    MediaFormat.GIF: MediaKind.IMAGE,
    MediaFormat.HEIC: MediaKind.IMAGE,
    MediaFormat.MP3: MediaKind.AUDIO,
    MediaFormat.AAC: MediaKind.AUDIO,
    MediaFormat.AMR: MediaKind.AUDIO,
    MediaFormat.WAV: MediaKind.AUDIO,
    MediaFormat.OGG: MediaKind.AUDIO,
    MediaFormat.M4A: MediaKind.AUDIO,
    MediaFormat.MP4: MediaKind.VIDEO,
}
_SIGNATURES: Final = (
    (re.compile(rb"\xff\xd8\xff"), MediaFormat.JPEG),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), MediaFormat.PNG),
    (re.compile(rb"GIF8[79]a"), MediaFormat.GIF),
    (re.compile(rb"RIFF....WEBPVP8[ LX]", re.DOTALL), MediaFormat.WEBP),
    (re.compile(rb"RIFF....WAVE", re.DOTALL), MediaFormat.WAV),
    (re.compile(rb"OggS\x00"), MediaFormat.OGG),
    (re.compile(rb"#!AMR(-WB)?\n"), MediaFormat.AMR),
    (re.compile(rb"ID3[\x02-\x04][\x00-\xfe]"), MediaFormat.MP3),
    # A header of MPEG audio: layer III, a bit rate and a sampling rate that exist (ISO/IEC 11172-3, 2.4.1.3).
    (re.compile(rb"\xff[\xe2\xe3\xf2\xf3\xfa\xfb][\x10-\xeb]"), MediaFormat.MP3),
    (re.compile(rb"\xff[\xf0\xf1\xf8\xf9]"), MediaFormat.AAC),  # ADTS, ISO/IEC 14496-3, 1.A.2.2.1
)
_HEIC_BRANDS: Final = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"})
_OTHER_IMAGE_BRANDS: Final = frozenset({b"avif", b"avis", b"mif2", b"crx ", b"jxl "})
_VIDEO_BRANDS: Final = re.compile(rb"isom|iso[2-9]|mp4[12]|avc1|qt  |M4V[ HP]|MSNV|3g[gp][2-9a-z]|dash")
_QUICKTIME_ATOMS: Final = frozenset({b"moov", b"mdat", b"wide", b"free", b"skip"})


def sniff(head: bytes) -> MediaFormat | None:
    """Tell the format of a file by its first `HEAD_BYTES` bytes; None for whatever is not taken."""
    for signature, format_ in _SIGNATURES:
        if signature.match(head):
            return format_
    if len(head) < 12:
        return None
    if head[4:8] == b"ftyp":
        return _iso_format(head)
    return MediaFormat.MP4 if head[4:8] in _QUICKTIME_ATOMS else None


def kind_of(format_: MediaFormat) -> MediaKind:
    """Give the kind of a format by which its bytes are limited; MP4 may turn out to hold sound only."""
    return _KIND[format_]


def _iso_format(head: bytes) -> MediaFormat | None:
    """Tell what a file type box announces (ISO/IEC 14496-12, 4.3; brands of 23008-12 for HEIF)."""
    size = min(int.from_bytes(head[:4], "big"), len(head))
    brands = {head[8:12], *(head[at : at + 4] for at in range(16, size - 3, 4))}
    major = head[8:12]
    if major in _OTHER_IMAGE_BRANDS:
        return None
    if brands & _HEIC_BRANDS and (major in _HEIC_BRANDS or major in (b"mif1", b"msf1")):
        return MediaFormat.HEIC
    if major in (b"M4A ", b"M4B "):
        return MediaFormat.M4A
    return MediaFormat.MP4 if any(_VIDEO_BRANDS.match(brand) for brand in brands) else None


def shown_bytes(count: int) -> str:
    """Show a limit in bytes for people."""
    return f"{count / 1_000_000:g} MB"
