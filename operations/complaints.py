"""Complaints: what the work on them needs, and who may look at which as what."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable
from datetime import datetime
from typing import Final

from msgspec import Struct

from domain import complaints as c
from domain.access import Role, Viewer, is_within
from domain.complaint_classes import ClassList
from domain.complaint_clock import Clock, clock_of
from domain.complaint_limits import LimitRule, LimitRules
from domain.complaint_standing import moves_of
from domain.complaints import Actor, ActorRole
from domain.units import UnitTree
from domain.working_days import WorkingCalendar
from store.access_log import AccessLog
from store.accounts import AccountStore
from store.complaint_joins import JoinStore
from store.complaint_numbers import ComplaintNumbers
from store.complaints import Complaint, ComplaintStore
from store.media import MediaStore
from store.secrets import SecretStore

HISTORY_SECRET: Final = "complaint-history"  # noqa: S105 — the name of one
_CODE_SECRET: Final = "complaint-code"  # noqa: S105
_CODE_CHARS: Final = 8


class Complaints(Struct, frozen=True):
    """What the work on complaints needs; `is_division` tells whether a code names a division."""

    store: ComplaintStore
    numbers: ComplaintNumbers
    joins: JoinStore
    secrets: SecretStore
    accounts: AccountStore
    access_log: AccessLog
    media: MediaStore
    units: Callable[[], UnitTree]
    read_classes: Callable[[], ClassList]
    limits: LimitRules
    calendar: WorkingCalendar
    is_division: Callable[[str], bool]
    submissions: str = "5 per 10 minute; 20 per 1 day"
    """How many complaints an account may submit, as `limits` writes it; several separated by semicolons."""

    @property
    def classes(self) -> ClassList:
        """The classes of complaints as they are now."""
        return self.read_classes()


def clock(complaints: Complaints, complaint: Complaint, *, now: datetime) -> Clock:
    """Work out a complaint's clock from its history."""
    return clock_of(moves_of(complaint.events), complaints.calendar, now=now)


async def code_of(complaints: Complaints, number: str) -> str:
    """Give the query code of a complaint, eight characters of base 32: whoever has both may follow it."""
    secret = await complaints.secrets.get(_CODE_SECRET)
    digest = hmac.new(secret, number.encode(), hashlib.sha256).digest()
    return base64.b32encode(digest).decode()[:_CODE_CHARS]


def limit_for(
    complaints: Complaints, kind: c.Kind, class_code: str | None, division_code: str, *, at: datetime
) -> LimitRule:
    """Find the limit of a complaint whose clock begins, or began, at an instant."""
    found = complaints.classes.find(class_code) if class_code else None
    is_convenience = found is not None and found.is_convenience
    return complaints.limits.limit_for(kind, class_code, is_convenience, division_code, at=at)


async def actors_of(complaints: Complaints, viewer: Viewer, complaint: Complaint) -> list[Actor]:
    """List as what a viewer may act on a complaint; who is none of these may not see it."""
    standing, actors = complaint.standing, []
    if complaint.owner is not None and await complaints.store.hide(viewer.account_id) == complaint.owner:
        actors.append(Actor(ActorRole.COMPLAINANT))
    if not viewer.acts_as(Role.DESK) or viewer.unit is None or viewer.division_code is None:
        return actors
    staff = {"account": viewer.account_id, "unit": viewer.unit}
    if complaints.units().is_centre(viewer.unit) and is_within(standing.division_code, viewer.division_code):
        actors.append(Actor(ActorRole.SEAT, **staff))
    if viewer.unit == standing.lead:
        actors.append(Actor(ActorRole.UNIT, **staff))
    is_above = viewer.unit == standing.escalated_to and viewer.unit != standing.lead
    if viewer.unit in standing.co_units or is_above:
        actors.append(Actor(ActorRole.CO_UNIT, **staff))
    return actors


async def look_up(complaints: Complaints, viewer: Viewer, number: str) -> tuple[Complaint, list[Actor]]:
    """Get a complaint that a viewer may see, and as what they may act on it.

    Raises: ComplaintNotFoundError, also for one that is not the viewer's to see.
    """
    complaint = await complaints.store.get(c.check_number(number))
    actors = await actors_of(complaints, viewer, complaint)
    if not actors:
        raise c.ComplaintNotFoundError(number=number[:20])
    return complaint, actors


async def follow(complaints: Complaints, number: str, code: str) -> Complaint:
    """Get a complaint by number and query code; whoever calls limits how often this may be tried.

    Raises: ComplaintNotFoundError, whatever is wrong.
    """
    checked = c.check_number(number)
    expected = await code_of(complaints, checked)
    if not hmac.compare_digest(expected.encode(), code.strip().upper().encode()):
        raise c.ComplaintNotFoundError(number=checked)
    return await complaints.store.get(checked)
