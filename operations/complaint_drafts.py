"""Drafts of complaints: saved from the version that was seen, found again on another phone."""

from __future__ import annotations

from datetime import datetime

from domain.complaint_drafts import (
    MAX_DRAFTS,
    Draft,
    DraftChangedError,
    DraftContent,
    DraftNotFoundError,
    TooManyDraftsError,
    check_draft,
)
from domain.complaint_steps import to_millisecond
from store.complaint_drafts import ComplaintDraftStore


async def save_draft(
    drafts: ComplaintDraftStore,
    account_id: str,
    key: str,
    content: DraftContent,
    *,
    expected_version: int,
    now: datetime,
) -> Draft:
    """Save a draft whole; `expected_version` is what was seen, 0 for a new one.

    The same save again, after its answer was lost, gives what the first has written.
    Raises: InvalidComplaintError naming the field, DraftChangedError, TooManyDraftsError.
    """
    check_draft(key, content)
    draft = Draft(key, expected_version + 1, to_millisecond(now), content)
    if expected_version == 0:
        written = await drafts.insert(account_id, draft)
    else:
        written = await drafts.replace(account_id, draft)
    if not written:
        current = await drafts.find(account_id, key, now=now)
        if current is not None and (current.version, current.content) == (draft.version, content):
            return current
        raise DraftChangedError(current=current.version if current else 0)
    # Counted after writing: of drafts that are made at the same moment none is too many for all of them.
    if expected_version == 0 and await drafts.count(account_id, now=now) > MAX_DRAFTS:
        await drafts.delete(account_id, key)
        raise TooManyDraftsError(limit=MAX_DRAFTS)
    return draft


async def get_draft(drafts: ComplaintDraftStore, account_id: str, key: str, *, now: datetime) -> Draft:
    """Get a draft. Raises: DraftNotFoundError."""
    found = await drafts.find(account_id, key, now=now)
    if found is None:
        raise DraftNotFoundError
    return found


async def delete_draft(drafts: ComplaintDraftStore, account_id: str, key: str) -> None:
    """Delete a draft. Raises: DraftNotFoundError."""
    if not await drafts.delete(account_id, key):
        raise DraftNotFoundError
