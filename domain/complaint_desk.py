"""The desk's view of complaints: which queues a unit has, and what puts a complaint into them. Rules only."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, time, timedelta
from enum import StrEnum
from typing import Final

from msgspec import Struct

from domain import complaints as c
from domain.complaint_standing import Event, Standing
from domain.complaints import ActorRole, State
from domain.errors import DomainError
from domain.preferences import SHANGHAI
from domain.working_days import DAY, WorkingCalendar

LEASE: Final = timedelta(minutes=20)
"""So long a claim holds unless it is renewed."""
MAX_CLAIMS: Final = 50
MAX_BULK: Final = 50

CENTRE_STATES: Final = tuple(state for state in State if state not in c.ENDED | c.WITH_UNIT)
UNIT_STATES: Final = tuple(state for state in State if state in c.WITH_UNIT)
URGENT_STATES: Final = (State.SUBMITTED, State.ACCEPTED, State.DISPATCHED, State.HANDLING)
"""Where the clock runs against whoever holds the complaint."""
TAKEN_DOWN: Final = frozenset(
    {
        c.ComplaintChannel.HOTLINE,
        c.ComplaintChannel.LETTER,
        c.ComplaintChannel.SMS,
        c.ComplaintChannel.WECHAT,
        c.ComplaintChannel.QQ,
        c.ComplaintChannel.WEIBO,
    }
)
"""The channels from which a seat takes matters down; through the others citizens bring them themselves."""


class ComplaintClaimedError(DomainError):
    """A colleague works on the complaint, for `seconds` more at least."""

    code = "COMPLAINT_CLAIMED"


class TooManyClaimsError(DomainError):
    """One member of staff holds as many claims as one may."""

    code = "TOO_MANY_CLAIMS"


class OwnComplaintError(DomainError):
    """Staff do not handle what they brought before the hotline themselves."""

    code = "OWN_COMPLAINT"


class NoAccountBehindError(DomainError):
    """There is no account behind a complaint: it was taken down, or the account is deleted."""

    code = "NO_ACCOUNT_BEHIND"


class NotAnonymousError(DomainError):
    """A complaint that is not anonymous shows its contact to those who handle it; nobody traces it."""

    code = "COMPLAINT_NOT_ANONYMOUS"


class Queue(StrEnum):
    """A list of complaints at a desk."""

    MINE = "MINE"
    """Claimed by the viewer."""
    UNIT = "UNIT"
    """All that the unit holds."""
    DUE_SOON = "DUE_SOON"
    """Due by the end of the next working day, and not overdue."""
    OVERDUE = "OVERDUE"
    REOPENED = "REOPENED"
    ESCALATED = "ESCALATED"
    """Overdue further down, told to the unit."""
    TO_CHECK = "TO_CHECK"
    """Answers that wait for the centre's quality check."""
    TO_EXTEND = "TO_EXTEND"
    """Extensions that wait for the centre's decision."""
    TO_REVIEW = "TO_REVIEW"
    """To be cleared for the public list or withheld."""
    WRITTEN = "WRITTEN"
    """The citizen has written, also after the end, and nobody has done anything since."""


MARKED: Final = (Queue.REOPENED, Queue.ESCALATED, Queue.TO_EXTEND, Queue.TO_REVIEW, Queue.WRITTEN)
"""The queues that a complaint is in by a mark of its own, whoever holds it."""
_WAITING: Final = frozenset({State.ANSWERED, State.REPLIED, State.RATED})
_NOT_REVIEWED: Final = frozenset({State.SUBMITTED, State.WITHDRAWN, State.MERGED})
_NO_ANSWER: Final = frozenset({"ADVISE", "REVIEW"})


class Narrow(Struct, frozen=True):
    """What the complaints of a queue must be like besides; None narrows nothing.

    The prefixes are those of class codes and of division codes.
    """

    state: State | None = None
    kind: c.Kind | None = None
    class_prefix: str | None = None
    division_prefix: str | None = None

    def fits(self, standing: Standing) -> bool:
        """Tell whether a complaint is like that."""
        return (
            (self.state is None or standing.state is self.state)
            and (self.kind is None or standing.kind is self.kind)
            and (self.class_prefix is None or (standing.class_code or "").startswith(self.class_prefix))
            and (self.division_prefix is None or standing.division_code.startswith(self.division_prefix))
        )


class Place(Struct, frozen=True):
    """Where a complaint stands in a queue; `act_by` is None where queues go by number."""

    act_by: datetime | None
    number: str


def mark(queue: Queue, unit_id: str) -> str:
    """Name the mark of a complaint that is in a unit's queue."""
    return f"{queue}:{unit_id}"


def marks_of(standing: Standing, events: Sequence[Event]) -> list[str]:
    """List the marks of a complaint; a new one has none."""
    holder, marks = standing.holder, []
    if standing.reopened and holder is not None:
        marks.append(mark(Queue.REOPENED, holder))
    if standing.escalated_to is not None and standing.state not in c.ENDED | _WAITING:
        marks.append(mark(Queue.ESCALATED, standing.escalated_to))
    if standing.extension_days and standing.state is State.HANDLING:
        marks.append(mark(Queue.TO_EXTEND, standing.centre))
    is_to_review = standing.publication is c.Publication.TO_REVIEW and not standing.is_erased
    if is_to_review and standing.state not in _NOT_REVIEWED:
        marks.append(mark(Queue.TO_REVIEW, standing.centre))
    if _waits_for_an_answer(events):
        marks.append(mark(Queue.WRITTEN, _reader(standing)))
    return marks


def _waits_for_an_answer(events: Sequence[Event]) -> bool:
    """Tell whether the citizen has written since staff did anything that may count as an answer."""
    for event in reversed(events):
        if event.action == "ERASE":
            return False
        if event.actor.role is ActorRole.COMPLAINANT:
            if event.action in ("WRITE", "SUPPLEMENT"):
                return True
        elif event.actor.role is not ActorRole.SYSTEM and event.action not in _NO_ANSWER:
            return False
    return False


def _reader(standing: Standing) -> str:
    """Name the unit that reads what the citizen writes: who answered, once an answer is out."""
    if standing.state in c.ANSWER_OUT:
        return standing.lead or standing.centre
    return standing.holder or standing.centre


def is_claimed_by_other(
    claimed_by: str | None, claimed_until: datetime | None, account_id: str, *, now: datetime
) -> bool:
    """Tell whether a lease of somebody else's still holds."""
    return claimed_by not in (None, account_id) and claimed_until is not None and claimed_until > now


def end_of_soon(calendar: WorkingCalendar, *, now: datetime) -> datetime:
    """Give the end of the next working day, before which what is due is due soon."""
    tomorrow = now.astimezone(SHANGHAI).date() + DAY
    day = next(calendar.working_days_from(tomorrow))
    return datetime.combine(day + DAY, time(), SHANGHAI)
