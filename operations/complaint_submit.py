"""How a matter comes before the hotline: checked, numbered, sealed, written once."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final

import msgspec
from msgspec import Struct

from domain import complaints as c
from domain.access import Viewer
from domain.complaint_clock import clock_of
from domain.complaint_history import seal
from domain.complaint_standing import evolve, moves_of
from domain.complaint_steps import take
from domain.complaints import Actor, ActorRole
from domain.errors import DomainError
from domain.media import account_owner
from domain.preferences import SHANGHAI
from domain.redaction import redact
from operations.complaints import HISTORY_SECRET, Complaints, limit_for
from store.complaints import Complaint, NewComplaint

MIN_KEY_CHARS: Final = 8
MAX_KEY_CHARS: Final = 64
EXCERPT_CHARS: Final = 80
CELL_DEGREES: Final = 0.01
"""The side of a cell, about a kilometre: what is near lies in a cell or beside it."""
_REQUEST_SECRET: Final = "complaint-request"  # noqa: S105 — the name of one


class IdempotencyKeyReusedError(DomainError):
    """A key was used before for something else."""

    code = "IDEMPOTENCY_KEY_REUSED"


class Intake(Struct, frozen=True):
    """A matter as somebody brings it."""

    kind: c.Kind
    text: str
    division_code: str
    channel: c.ComplaintChannel
    contact: c.ContactWish
    class_code: str | None = None
    is_public_wished: bool = False
    media: tuple[str, ...] = ()
    point: c.Point | None = None
    address: str | None = None
    name: str | None = None
    phone: str | None = None


def cell_of(point: c.Point, *, east: int = 0, north: int = 0) -> int:
    """Give the cell of a place, or of one so many cells beside it."""
    column = int((point.longitude + 180) / CELL_DEGREES) + east
    row = int((point.latitude + 90) / CELL_DEGREES) + north
    return column * 100_000 + row


def coarse(point: c.Point) -> c.Point:
    """Give a place to about a hundred metres, as histories and the public have it."""
    return c.Point(round(point.longitude, 3), round(point.latitude, 3))


def excerpt_of(text: str) -> str:
    """Shorten a text for lists, without personal data and line breaks."""
    words = " ".join(redact(text).text.split())
    return words if len(words) <= EXCERPT_CHARS else words[: EXCERPT_CHARS - 1] + "…"


async def submit(
    complaints: Complaints,
    viewer: Viewer | None,
    actor: Actor,
    intake: Intake,
    key: str,
    *,
    now: datetime,
    admit: Callable[[bytes], Awaitable[None]] | None = None,
) -> Complaint:
    """Bring a matter before the hotline; the same `key` of the same viewer gives the same complaint.

    As COMPLAINANT it is the viewer's own; otherwise `actor` says who has taken it down. `admit` may still
    refuse what is in order, knowing the stored key.
    Raises: InvalidComplaintError, IdempotencyKeyReusedError, UnknownClassError, and what media refuse.
    """
    if not MIN_KEY_CHARS <= len(key) <= MAX_KEY_CHARS:
        raise c.InvalidComplaintError(field="idempotencyKey")
    account = viewer.account_id if viewer and actor.role is ActorRole.COMPLAINANT else None
    scope = viewer.account_id if viewer else actor.account or ""
    stored_key = hashlib.blake2b(f"{scope}\n{key}".encode(), digest_size=16).digest()
    request = await _request_digest(complaints, intake)
    if intake.media and (before := await complaints.store.find_by_key(stored_key)):
        return _same(before, request)
    step = await _submission(complaints, account, intake, now)
    event, texts = take(None, step, actor, now=now)
    if admit is not None:
        await admit(stored_key)
    number = await complaints.numbers.take(now.astimezone(SHANGHAI).date())
    if intake.media:
        await complaints.media.reserve(
            intake.media, account_owner(scope), number, now=now, exists=complaints.store.list_existing
        )
    digest, sealed_texts = await complaints.store.seal_texts(texts)
    event = seal(
        await complaints.secrets.get(HISTORY_SECRET),
        number,
        None,
        msgspec.structs.replace(event, digest=digest),
    )
    due_at = clock_of(moves_of([event]), complaints.calendar, now=now).due_at
    if due_at is None:
        raise RuntimeError("the clock of a new complaint stands")
    new = NewComplaint(
        number=number,
        key=stored_key,
        request=request,
        owner=await complaints.store.hide(account) if account else None,
        standing=evolve(None, event),
        event=event,
        texts=sealed_texts,
        excerpt=excerpt_of(intake.text),
        due_at=due_at,
        point=intake.point,
        cell=cell_of(intake.point) if intake.point else None,
        media=intake.media,
    )
    return _same(await complaints.store.insert(new), request)


def _same(complaint: Complaint, request: bytes) -> Complaint:
    if complaint.request != request:
        raise IdempotencyKeyReusedError(field="idempotencyKey")
    return complaint


async def _request_digest(complaints: Complaints, intake: Intake) -> bytes:
    secret = await complaints.secrets.get(_REQUEST_SECRET)
    return hashlib.blake2b(msgspec.json.encode(intake), key=secret, digest_size=16).digest()


async def _submission(complaints: Complaints, account: str | None, intake: Intake, now: datetime) -> c.Submit:
    if not complaints.is_division(intake.division_code):
        raise c.InvalidComplaintError(field="divisionCode")
    centre = complaints.units().centre(intake.division_code)
    if centre is None:
        raise c.InvalidComplaintError(field="divisionCode")
    if intake.class_code is not None:
        complaints.classes.get(intake.class_code)
    name, phone = await _contact(complaints, account, intake)
    limit = limit_for(complaints, intake.kind, intake.class_code, intake.division_code, at=now)
    return c.Submit(
        kind=intake.kind,
        channel=intake.channel,
        contact=intake.contact,
        division_code=intake.division_code,
        centre=centre.id,
        limit_days=limit.days,
        limit_rule=limit.id,
        text=intake.text.strip(),
        class_code=intake.class_code,
        is_public_wished=intake.is_public_wished,
        media=intake.media,
        point=intake.point and coarse(intake.point),
        address=intake.address or None,
        name=name,
        phone=phone,
    )


async def _contact(
    complaints: Complaints, account: str | None, intake: Intake
) -> tuple[str | None, str | None]:
    """Give the name and the phone that a complaint may carry, by the citizen's wish and no more."""
    if intake.contact is c.ContactWish.ANONYMOUS:
        return None, None
    phone, name = intake.phone, intake.name
    is_named = intake.contact is c.ContactWish.NAMED
    if account is not None and (phone is None or (is_named and name is None)):
        own = await complaints.accounts.get(account)
        phone, name = phone or own.phone, name or own.name
    if phone is None:
        raise c.InvalidComplaintError(field="phone")
    if not is_named:
        return None, phone
    if name is None:
        raise c.InvalidComplaintError(field="name")
    return name, phone
