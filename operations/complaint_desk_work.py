"""The work of staff on complaints: claims with a lease, steps that respect them, many dispatched at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from math import ceil

from msgspec import Struct
from msgspec.structs import replace

from domain import complaints as c
from domain.access import Viewer
from domain.complaint_desk import (
    LEASE,
    MAX_BULK,
    MAX_CLAIMS,
    ComplaintClaimedError,
    OwnComplaintError,
    TooManyClaimsError,
    is_claimed_by_other,
)
from domain.complaint_steps import action_of
from domain.complaints import Actor, ActorRole
from domain.errors import DomainError
from operations import complaint_steps as steps
from operations.complaints import Complaints, look_up
from store.complaints import Complaint

_BESIDE_THE_CLAIM = frozenset({"WRITE", "REVIEW", "CALL_BACK", "ADVISE"})
"""Steps that may be taken whoever has claimed the complaint, since they do not move it."""


class BulkItem(Struct, frozen=True):
    """One of several complaints; `version` is what was seen of it, None if that does not matter."""

    number: str
    version: int | None = None


class BulkResult(Struct, frozen=True):
    """What became of one of several complaints: it as it is now, or why nothing was done to it."""

    number: str
    complaint: Complaint | None
    refusal: DomainError | None = None


async def staff_look_up(complaints: Complaints, viewer: Viewer, number: str) -> tuple[Complaint, list[Actor]]:
    """Get a complaint that a member of staff may handle.

    Raises: ComplaintNotFoundError, OwnComplaintError.
    """
    complaint, actors = await look_up(complaints, viewer, number)
    if any(actor.role is ActorRole.COMPLAINANT for actor in actors):
        raise OwnComplaintError(number=complaint.number)
    return complaint, actors


async def claim(complaints: Complaints, viewer: Viewer, number: str, *, now: datetime) -> Complaint:
    """Claim a complaint for twenty minutes, or twenty more, so that no colleague begins with it, too.

    Raises: ComplaintNotFoundError, OwnComplaintError, ComplaintStepNotAllowedError where it is not the
    viewer's side that must act, ComplaintClaimedError, ComplaintChangedError, TooManyClaimsError.
    """
    complaint, actors = await staff_look_up(complaints, viewer, number)
    holder = complaint.standing.holder
    if holder is None or not _is_on_holders_side(complaint, actors):
        raise c.ComplaintStepNotAllowedError(
            state=complaint.standing.state.value, step="CLAIM", role=actors[0].role.value
        )
    _check_claim(complaint, viewer, now=now)
    queues = complaints.store.queues
    mine = await queues.list_claimed(viewer.account_id, MAX_CLAIMS, now=now)
    if len(mine) >= MAX_CLAIMS and complaint.number not in {each.number for each in mine}:
        raise TooManyClaimsError(limit=MAX_CLAIMS)
    until = now + LEASE
    if not await queues.claim(complaint.number, holder, viewer.account_id, until=until, now=now):
        fresh = await complaints.store.get(complaint.number)
        _check_claim(fresh, viewer, now=now)
        raise c.ComplaintChangedError(state=fresh.standing.state.value, version=fresh.standing.version)
    return replace(complaint, claimed_by=viewer.account_id, claimed_until=until)


async def release(complaints: Complaints, viewer: Viewer, number: str) -> Complaint:
    """Give up a claim of the viewer's own; without one nothing changes.

    Raises: ComplaintNotFoundError, OwnComplaintError.
    """
    complaint, _ = await staff_look_up(complaints, viewer, number)
    if await complaints.store.queues.release(complaint.number, viewer.account_id):
        return replace(complaint, claimed_by=None, claimed_until=None)
    return complaint


async def ready(
    complaints: Complaints,
    viewer: Viewer,
    number: str,
    action: str,
    *,
    now: datetime,
    version: int | None = None,
) -> int:
    """Give the version on which a member of staff may take a step now, which is the one that they have seen.

    Raises: ComplaintNotFoundError, OwnComplaintError, ComplaintChangedError, ComplaintClaimedError.
    """
    complaint, actors = await staff_look_up(complaints, viewer, number)
    standing = complaint.standing
    if version not in (None, standing.version):
        raise c.ComplaintChangedError(state=standing.state.value, version=standing.version)
    if action not in _BESIDE_THE_CLAIM and _is_on_holders_side(complaint, actors):
        _check_claim(complaint, viewer, now=now)
    return standing.version


async def take_step(
    complaints: Complaints,
    viewer: Viewer,
    number: str,
    step: c.AnyStep,
    *,
    now: datetime,
    version: int | None = None,
) -> Complaint:
    """Take a step as staff. Raises: the errors of `ready` and of `operations.complaint_steps.advance`."""
    seen = await ready(complaints, viewer, number, action_of(step), now=now, version=version)
    return await steps.advance(complaints, viewer, number, step, now=now, version=seen)


async def dispatch_many(
    complaints: Complaints,
    viewer: Viewer,
    items: Sequence[BulkItem],
    step: c.Dispatch,
    *,
    now: datetime,
) -> list[BulkResult]:
    """Dispatch up to fifty complaints, one after the other; what one is refused for stops no other.

    Raises: InvalidComplaintError naming `complaints` when they are none or too many.
    """

    async def dispatch(item: BulkItem) -> Complaint:
        return await take_step(complaints, viewer, item.number, step, now=now, version=item.version)

    return await _for_each(items, dispatch)


async def merge_many(
    complaints: Complaints, viewer: Viewer, items: Sequence[BulkItem], into: str, *, now: datetime
) -> list[BulkResult]:
    """Let up to fifty complaints go on as part of another one; what one is refused for stops no other.

    Raises: InvalidComplaintError naming `complaints` when they are none or too many.
    """

    async def merge(item: BulkItem) -> Complaint:
        seen = await ready(complaints, viewer, item.number, "MERGE", now=now, version=item.version)
        return await steps.merge(complaints, viewer, item.number, into, now=now, version=seen)

    return await _for_each(items, merge)


async def _for_each(
    items: Sequence[BulkItem], do: Callable[[BulkItem], Awaitable[Complaint]]
) -> list[BulkResult]:
    if not 1 <= len(items) <= MAX_BULK:
        raise c.InvalidComplaintError(field="complaints")
    results = []
    for item in items:
        try:
            results.append(BulkResult(item.number, await do(item)))
        except DomainError as error:
            results.append(BulkResult(item.number, None, error))
    return results


def _is_on_holders_side(complaint: Complaint, actors: Sequence[Actor]) -> bool:
    """Tell whether one of these acts for the unit that must act next."""
    if complaint.standing.holder is None:
        return False
    role = ActorRole.UNIT if complaint.standing.state in c.WITH_UNIT else ActorRole.SEAT
    return any(actor.role is role for actor in actors)


def _check_claim(complaint: Complaint, viewer: Viewer, *, now: datetime) -> None:
    by, until = complaint.claimed_by, complaint.claimed_until
    if until is not None and is_claimed_by_other(by, until, viewer.account_id, now=now):
        raise ComplaintClaimedError(seconds=ceil((until - now).total_seconds()))
