"""What a centre does beside the loop: take matters down, clear them for the public, trace one by law."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from msgspec import Struct

from domain import complaints as c
from domain.access import ForbiddenError, Role, Viewer, is_within
from domain.account import Account, short_text
from domain.complaint_desk import TAKEN_DOWN, NoAccountBehindError, NotAnonymousError
from domain.complaints import Actor, ActorRole
from domain.redaction import Redacted
from operations.complaint_desk_work import staff_look_up, take_step
from operations.complaint_duplicates import rank
from operations.complaint_publication import propose
from operations.complaint_submit import Intake, submit
from operations.complaints import Complaints, code_of
from store.complaints import Complaint, Summary

MAX_TRACE_REASON: Final = 200
MAX_SIMILAR: Final = 10
_TRACED: Final = ("name", "phone")


class TakenDown(Struct, frozen=True):
    """A complaint that a seat took down, and the query code to be read out to whoever brought it."""

    complaint: Complaint
    query_code: str


async def take_down(
    complaints: Complaints, viewer: Viewer, intake: Intake, key: str, *, now: datetime
) -> TakenDown:
    """Take a matter down that came by phone, by letter or in a chat; the same `key` gives the same one.

    Raises: ForbiddenError for all but seats, InvalidComplaintError, IdempotencyKeyReusedError,
    UnknownClassError, and what media refuse.
    """
    if not complaints.units().is_centre(viewer.unit) or viewer.division_code is None:
        raise ForbiddenError
    if intake.channel not in TAKEN_DOWN:
        raise c.InvalidComplaintError(field="channel")
    if not is_within(intake.division_code, viewer.division_code):
        raise c.InvalidComplaintError(field="divisionCode")
    seat = Actor(ActorRole.SEAT, account=viewer.account_id, unit=viewer.unit)
    complaint = await submit(complaints, viewer, seat, intake, key, now=now)
    return TakenDown(complaint, await code_of(complaints, complaint.number))


async def propose_publication(complaints: Complaints, viewer: Viewer, number: str) -> Redacted:
    """Propose the public text of a complaint to the centre's staff.

    Raises: ComplaintNotFoundError, OwnComplaintError, ForbiddenError for all but seats,
    InvalidComplaintError when its text is erased.
    """
    complaint, actors = await staff_look_up(complaints, viewer, number)
    if all(actor.role is not ActorRole.SEAT for actor in actors):
        raise ForbiddenError
    text = (await complaints.store.open_texts(complaint)).get(0, {}).get("text")
    if text is None:
        raise c.InvalidComplaintError(field="number")
    return propose(text)


async def review_publication(
    complaints: Complaints,
    viewer: Viewer,
    number: str,
    public_text: str | None,
    *,
    is_cleared: bool,
    now: datetime,
    version: int | None = None,
) -> Complaint:
    """Clear a complaint for the public list under a text (None: the proposed one), or withhold it.

    Raises: the errors of `propose_publication` and of `operations.complaint_desk_work.take_step`.
    """
    if is_cleared and public_text is None:
        public_text = (await propose_publication(complaints, viewer, number)).text
    step = c.Review(is_cleared=is_cleared, public_text=public_text if is_cleared else None)
    return await take_step(complaints, viewer, number, step, now=now, version=version)


async def find_similar(
    complaints: Complaints, viewer: Viewer, number: str, *, now: datetime
) -> list[tuple[float, float, Summary]]:
    """List the open complaints nearby that a seat could merge with one: score, metres, complaint; at most 10.

    Those within the viewer's division only.
    Raises: ComplaintNotFoundError, OwnComplaintError.
    """
    complaint, _ = await staff_look_up(complaints, viewer, number)
    standing, scope = complaint.standing, viewer.division_code or ""
    ranked = await rank(
        complaints,
        complaint.point,
        standing.division_code,
        standing.class_code,
        complaint.excerpt,
        now=now,
    )
    others = [
        row
        for row in ranked
        if row[2].number != complaint.number and is_within(row[2].standing.division_code, scope)
    ]
    return others[:MAX_SIMILAR]


async def trace(
    complaints: Complaints, viewer: Viewer, number: str, reason: str, *, now: datetime
) -> Account:
    """Give the account behind an anonymous complaint, after its owner's access log says who looked and why.

    The way in lets operators at L3 pass and nobody else; this holds it, too.
    Raises: ForbiddenError, ComplaintNotFoundError, TextTooLongError, NotAnonymousError, NoAccountBehindError.
    """
    if not viewer.acts_as(Role.OPERATOR):
        raise ForbiddenError
    why = short_text(reason, MAX_TRACE_REASON, "reason")
    complaint = await complaints.store.get(c.check_number(number))
    if complaint.standing.contact is not c.ContactWish.ANONYMOUS:
        raise NotAnonymousError(number=complaint.number)
    if complaint.owner is None:
        raise NoAccountBehindError(number=complaint.number)
    account_id = await complaints.store.reveal(complaint.owner)
    await complaints.access_log.record(account_id, viewer, Role.OPERATOR, _TRACED, why, now=now)
    return await complaints.accounts.get(account_id)
