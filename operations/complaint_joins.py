"""Joining a complaint about the same matter: whoever has joined is told of its progress.

Numbers can be counted up, so a number alone is not enough: whoever joins was shown the complaint as a likely
duplicate and has a token for it, which is theirs alone and holds for a day.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import datetime, timedelta
from typing import Final

from domain import complaints as c
from domain.access import Viewer
from domain.errors import DomainError
from operations.complaints import Complaints
from store.complaints import Complaint

MAX_JOINED: Final = 100
TOKEN_LIFE: Final = timedelta(days=1)
_SECRET: Final = "complaint-join"  # noqa: S105 — the name of one
_PROOF_BYTES: Final = 16


class CannotJoinError(DomainError):
    """The complaint is the viewer's own or has ended, or the token is not for this viewer and complaint."""

    code = "CANNOT_JOIN_COMPLAINT"


class TooManyJoinedError(DomainError):
    """The viewer has joined `limit` complaints already."""

    code = "TOO_MANY_JOINED"


async def token_for(complaints: Complaints, viewer: Viewer, number: str, *, now: datetime) -> str:
    """Make the token with which a viewer may join a complaint within a day."""
    return await _token(complaints, viewer, number, int((now + TOKEN_LIFE).timestamp()))


async def join(
    complaints: Complaints, viewer: Viewer, number: str, token: str, *, now: datetime
) -> Complaint:
    """Let a viewer join a complaint that they were shown; again is no error.

    Raises: ComplaintNotFoundError, CannotJoinError naming the field `token`, TooManyJoinedError.
    """
    checked = c.check_number(number)
    ends, _, _ = token.partition(".")
    until = int(ends) if ends.isascii() and ends.isdigit() and len(ends) <= 12 else 0
    expected = await _token(complaints, viewer, checked, until)
    if not hmac.compare_digest(expected.encode(), token.encode()) or until <= now.timestamp():
        raise CannotJoinError(field="token")
    complaint = await complaints.store.get(checked)
    owner = await complaints.store.hide(viewer.account_id)
    if complaint.owner == owner or complaint.standing.state in c.ENDED:
        raise CannotJoinError(field="number")
    joined = await complaints.joins.list_numbers(owner, MAX_JOINED)
    if checked not in joined:
        if len(joined) >= MAX_JOINED:
            raise TooManyJoinedError(limit=MAX_JOINED)
        await complaints.joins.add(checked, owner, now=now)
    return complaint


async def leave(complaints: Complaints, viewer: Viewer, number: str) -> None:
    """Let a viewer leave a complaint that they have joined. Raises: ComplaintNotFoundError."""
    checked = c.check_number(number)
    if not await complaints.joins.remove(checked, await complaints.store.hide(viewer.account_id)):
        raise c.ComplaintNotFoundError(number=checked)


async def _token(complaints: Complaints, viewer: Viewer, number: str, until: int) -> str:
    secret = await complaints.secrets.get(_SECRET)
    content = f"{until}\n{number}\n{viewer.account_id}".encode()
    proof = hmac.digest(secret, content, hashlib.sha256)[:_PROOF_BYTES]
    return f"{until}.{base64.urlsafe_b64encode(proof).decode().rstrip('=')}"
