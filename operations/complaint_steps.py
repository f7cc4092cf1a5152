"""The one way in which a step of a complaint is taken, and what some steps need to be told."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from bson.binary import Binary
from msgspec.structs import replace

from domain import complaints as c
from domain.access import Viewer
from domain.complaint_care import act_by
from domain.complaint_clock import clock_of
from domain.complaint_history import seal
from domain.complaint_standing import evolve, moves_of
from domain.complaint_steps import TRANSITIONS, action_of, take
from domain.complaints import Actor, ActorRole
from domain.errors import DomainError
from domain.media import account_owner
from domain.units import UnitKind
from operations.complaints import HISTORY_SECRET, Complaints, clock, limit_for, look_up
from store.complaints import Complaint


class TransferTooFarError(DomainError):
    """A unit passes a matter on to those below it or beside it only; farther goes through the centre."""

    code = "TRANSFER_TOO_FAR"


class ExtensionTooLateError(DomainError):
    """An extension must be asked for before the complaint is due."""

    code = "EXTENSION_TOO_LATE"


async def advance(
    complaints: Complaints,
    viewer: Viewer,
    number: str,
    step: c.AnyStep,
    *,
    now: datetime,
    version: int | None = None,
) -> Complaint:
    """Take a step as whatever the viewer may take it; `version` is what they have seen, if it matters.

    Raises: ComplaintNotFoundError, ComplaintStepNotAllowedError, ComplaintChangedError, and those of `take`.
    """
    complaint, actors = await look_up(complaints, viewer, number)
    if version is not None and version != complaint.standing.version:
        raise _changed(complaint)
    actor = _choose(complaint, step, actors)
    _check(complaints, complaint, step, actor, now)
    return await act(complaints, complaint, step, actor, account=viewer.account_id, now=now)


def _choose(complaint: Complaint, step: c.AnyStep, actors: Sequence[Actor]) -> Actor:
    """Choose the role that may take a step; without one the first, for which the step is refused."""
    state, action = complaint.standing.state, action_of(step)
    return next((actor for actor in actors if (state, action, actor.role) in TRANSITIONS), actors[0])


async def act(
    complaints: Complaints,
    complaint: Complaint,
    step: c.AnyStep,
    actor: Actor,
    *,
    account: str = "",
    now: datetime,
) -> Complaint:
    """Take a step on a complaint as it was read, in one conditional write; `account` owns what it attaches.

    Raises: ComplaintStepNotAllowedError, ComplaintChangedError when somebody was quicker, those of `take`.
    """
    event, texts = take(complaint.standing, step, actor, now=now)
    sealed_texts: Binary | None = None
    if texts:
        digest, sealed_texts = await complaints.store.seal_texts(texts)
        event = replace(event, digest=digest)
    key = await complaints.secrets.get(HISTORY_SECRET)
    event = seal(key, complaint.number, complaint.events[-1], event)
    standing = evolve(complaint.standing, event)
    media = step.media if isinstance(step, c.Supplement) else ()
    if media:
        owner = account_owner(account)
        await complaints.media.reserve(media, owner, complaint.number, now=now)
    events = (*complaint.events, event)
    after = clock_of(moves_of(events), complaints.calendar, now=now)
    until = act_by(standing, after)
    written = await complaints.store.advance(
        complaint, event, standing, sealed_texts, media, due_at=after.due_at, act_by=until
    )
    if not written:
        await complaints.media.release(media, now=now)
        raise _changed(await complaints.store.get(complaint.number))
    texts_after = dict(complaint.sealed_texts)
    if sealed_texts is not None:
        texts_after[event.seq] = sealed_texts
    return replace(
        complaint,
        standing=standing,
        events=events,
        sealed_texts=texts_after,
        media=(*complaint.media, *media),
        due_at=after.due_at,
        act_by=until,
        **(
            {}
            if standing.holder == complaint.standing.holder
            else {"claimed_by": None, "claimed_until": None}
        ),
    )


def _changed(complaint: Complaint) -> c.ComplaintChangedError:
    standing = complaint.standing
    return c.ComplaintChangedError(state=standing.state.value, version=standing.version)


def _check(
    complaints: Complaints, complaint: Complaint, step: c.AnyStep, actor: Actor, now: datetime
) -> None:
    """Refuse what needs the tree of units or the clock to be judged.

    Raises: UnknownUnitError, TransferTooFarError, ExtensionTooLateError.
    """
    units = complaints.units()
    if isinstance(step, c.Dispatch):
        for unit_id in (step.lead, *step.co_units):
            if units.get(unit_id).kind is UnitKind.CENTRE:
                raise c.InvalidComplaintError(field="lead")
        if actor.role is ActorRole.UNIT and actor.unit is not None:
            _check_near(complaints, actor.unit, step.lead)
    if isinstance(step, c.RequestExtension) and clock(complaints, complaint, now=now).is_overdue(now):
        raise ExtensionTooLateError


def _check_near(complaints: Complaints, unit_id: str, to: str) -> None:
    units = complaints.units()
    parent = units.get(to).parent_id
    if parent != unit_id and (parent is None or parent != units.get(unit_id).parent_id):
        raise TransferTooFarError


async def accept(
    complaints: Complaints,
    viewer: Viewer,
    number: str,
    kind: c.Kind,
    class_code: str,
    *,
    now: datetime,
    version: int | None = None,
) -> Complaint:
    """Take a matter on under a kind and a class, or classify anew what was taken on already.

    The limit is that of the rules of the day on which the present clock began.
    Raises: UnknownClassError and those of `advance`.
    """
    found = complaints.classes.get(class_code)
    complaint, _ = await look_up(complaints, viewer, number)
    begun = next(e.at for e in reversed(complaint.events) if e.action in ("SUBMIT", "REOPEN"))
    limit = limit_for(complaints, kind, class_code, complaint.standing.division_code, at=begun)
    is_new = complaint.standing.state is c.State.SUBMITTED
    step = (c.Accept if is_new else c.Classify)(
        kind=kind,
        class_code=class_code,
        limit_days=limit.days,
        limit_rule=limit.id,
        is_convenience=found.is_convenience,
    )
    return await advance(complaints, viewer, number, step, now=now, version=version)


async def reopen(
    complaints: Complaints,
    viewer: Viewer,
    number: str,
    reason: str,
    *,
    now: datetime,
    version: int | None = None,
) -> Complaint:
    """Say that an answer does not settle the matter; a new limit begins.

    Raises: ReopenTooLateError, TooManyComplaintStepsError and those of `advance`.
    """
    complaint, _ = await look_up(complaints, viewer, number)
    standing = complaint.standing
    limit = limit_for(complaints, standing.kind, standing.class_code, standing.division_code, at=now)
    step = c.Reopen(reason=reason, limit_days=limit.days, limit_rule=limit.id)
    return await advance(complaints, viewer, number, step, now=now, version=version)


async def merge(
    complaints: Complaints,
    viewer: Viewer,
    number: str,
    into: str,
    *,
    now: datetime,
    version: int | None = None,
) -> Complaint:
    """Let a complaint go on as part of another one that is still open and that the viewer may see.

    Raises: ComplaintNotFoundError for either, InvalidComplaintError, and those of `advance`.
    """
    target, _ = await look_up(complaints, viewer, into)
    if target.number == c.check_number(number) or target.standing.state in c.ENDED:
        raise c.InvalidComplaintError(field="into")
    return await advance(complaints, viewer, number, c.Merge(into=target.number), now=now, version=version)
