"""Drafts of complaints: half-filled forms that survive a crash of the phone."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from domain import complaints as c
from domain.errors import DomainError

MAX_DRAFTS: Final = 10
DRAFT_LIFE: Final = timedelta(days=30)
"""A draft that nobody saves for so long is forgotten."""
_KEY: Final = re.compile(r"[A-Za-z0-9_-]{8,64}")


class DraftNotFoundError(DomainError):
    """The viewer has no draft of that id, or its time is over."""

    code = "DRAFT_NOT_FOUND"


class DraftChangedError(DomainError):
    """The draft was saved elsewhere meanwhile; `current` is its version, 0 when it is gone."""

    code = "DRAFT_CHANGED"


class TooManyDraftsError(DomainError):
    """There are `limit` drafts already."""

    code = "TOO_MANY_DRAFTS"


class DraftContent(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a form holds so far; None: not filled in."""

    kind: c.Kind | None = None
    text: Annotated[str, Meta(max_length=c.MAX_TEXT_CHARS)] | None = None
    division_code: Annotated[str, Meta(max_length=9)] | None = None
    class_code: Annotated[str, Meta(max_length=8)] | None = None
    contact: c.ContactWish | None = None
    is_public_wished: bool | None = None
    media: c.MediaIds = ()
    point: c.Point | None = None
    address: Annotated[str, Meta(max_length=200)] | None = None
    name: Annotated[str, Meta(max_length=40)] | None = None
    phone: Annotated[str, Meta(max_length=20)] | None = None


class Draft(Struct, frozen=True):
    """A saved draft; `key` is the client's name for it, unique among the drafts of its account."""

    key: str
    version: int
    saved_at: datetime
    content: DraftContent

    @property
    def expires_at(self) -> datetime:
        """Give when it is forgotten unless it is saved again, UTC."""
        return self.saved_at + DRAFT_LIFE


def check_draft(key: str, content: DraftContent) -> None:
    """Check that a draft is within bounds.

    Raises: domain.complaints.InvalidComplaintError naming the field.
    """
    if not _KEY.fullmatch(key):
        raise c.InvalidComplaintError(field="id")
    try:
        msgspec.convert(msgspec.to_builtins(content), DraftContent)
    except msgspec.ValidationError as error:
        field = str(error).rpartition("$.")[2].rstrip("`") or "input"
        raise c.InvalidComplaintError(field=field) from error
