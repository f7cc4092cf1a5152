"""What the public may see of a complaint that was cleared for publication: a pure function of its history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from enum import StrEnum
from typing import Final

from msgspec import Struct

from domain.complaint_clock import clock_of
from domain.complaint_standing import Event, Standing, moves_of
from domain.complaints import ANSWER_OUT, ActorRole, Kind, Outcome, Point, Publication, State
from domain.preferences import SHANGHAI
from domain.redaction import redact
from domain.working_days import WorkingCalendar

PLACE_DECIMALS: Final = 3
"""Places are shown to a thousandth of a degree, about a hundred metres."""
Texts = Mapping[int, Mapping[str, str]]


class PublicState(StrEnum):
    """How far a complaint is, as the public is told."""

    RECEIVED = "RECEIVED"
    IN_PROGRESS = "IN_PROGRESS"
    ANSWERED = "ANSWERED"
    CLOSED = "CLOSED"
    NOT_TAKEN = "NOT_TAKEN"
    """Refused, because it is somebody else's."""


_STATES: Final = {
    State.SUBMITTED: PublicState.RECEIVED,
    State.ACCEPTED: PublicState.RECEIVED,
    State.ASKED_BY_SEAT: PublicState.RECEIVED,
    State.DISPATCHED: PublicState.IN_PROGRESS,
    State.HANDLING: PublicState.IN_PROGRESS,
    State.ASKED_BY_UNIT: PublicState.IN_PROGRESS,
    State.ANSWERED: PublicState.IN_PROGRESS,
    State.REPLIED: PublicState.ANSWERED,
    State.RATED: PublicState.ANSWERED,
    State.CLOSED: PublicState.CLOSED,
    State.REFUSED: PublicState.NOT_TAKEN,
}
"""Complaints that were withdrawn or merged are not shown: the one is over, the other goes on elsewhere."""


class PublicComplaint(Struct, frozen=True, omit_defaults=True):
    """A complaint as everybody may see it; `id` leads nobody to its number.

    `published_at`: when it was first cleared, UTC. `unit`: the unit in charge. `point`: WGS-84, to a
    thousandth of a degree. `working_days`: counted by the clock until the answer.
    """

    id: str
    version: int
    published_at: datetime
    submitted_on: date
    text: str
    kind: Kind
    state: PublicState
    division_code: str
    class_code: str | None = None
    unit: str | None = None
    point: Point | None = None
    answer: str | None = None
    outcome: Outcome | None = None
    answered_on: date | None = None
    working_days: int | None = None
    is_in_time: bool | None = None


def public_state(state: State) -> PublicState:
    """Tell how far a complaint is in the public's words; one that is over otherwise counts as closed."""
    return _STATES.get(state, PublicState.CLOSED)


def first_cleared_at(events: Sequence[Event]) -> datetime | None:
    """Tell when a complaint was first cleared for publication; None when it never was."""
    return next((e.at for e in events if e.action == "REVIEW" and e.facts["is_cleared"]), None)


def publish(
    public_id: str,
    standing: Standing,
    events: Sequence[Event],
    texts: Texts,
    point: Point | None,
    calendar: WorkingCalendar,
) -> PublicComplaint | None:
    """Give what the public may see of a complaint now; None when it may see nothing.

    Texts that seats have read are redacted once more: `texts` are all that the complaint has, by event.
    """
    published_at, state = first_cleared_at(events), _STATES.get(standing.state)
    text = _cleared_text(events, texts)
    if (
        published_at is None
        or state is None
        or text is None
        or standing.publication is not Publication.CLEARED
        or standing.is_erased
    ):
        return None
    is_out = standing.state in ANSWER_OUT and standing.replied_at is not None
    clock = clock_of(moves_of(events), calendar, now=standing.changed_at) if is_out else None
    return PublicComplaint(
        id=public_id,
        version=standing.version,
        published_at=published_at,
        submitted_on=_day_of(standing.submitted_at),
        text=redact(text).text,
        kind=standing.kind,
        state=state,
        division_code=standing.division_code,
        class_code=standing.class_code,
        unit=standing.lead,
        point=None if point is None else coarse(point),
        answer=_answer(events, texts) if is_out else None,
        outcome=standing.outcome if is_out else None,
        answered_on=_day_of(standing.replied_at) if is_out and standing.replied_at else None,
        working_days=clock.used_days if clock else None,
        is_in_time=not clock.is_overdue(standing.changed_at) if clock else None,
    )


def coarse(point: Point) -> Point:
    """Round a place to what the public may know of it."""
    return Point(round(point.longitude, PLACE_DECIMALS), round(point.latitude, PLACE_DECIMALS))


def _cleared_text(events: Sequence[Event], texts: Texts) -> str | None:
    review = next((e for e in reversed(events) if e.action == "REVIEW"), None)
    return None if review is None else texts.get(review.seq, {}).get("public_text")


def _answer(events: Sequence[Event], texts: Texts) -> str | None:
    """Give the answer that is out, if somebody of the centre has read it.

    An answer that only the clock has let pass is shown once the complaint is reviewed again.
    """
    is_read = False
    for event in reversed(events):
        if event.action == "REOPEN":
            return None
        if event.actor.role is ActorRole.SEAT and event.action in ("REVIEW", "PASS_CHECK", "ANSWER_DIRECTLY"):
            is_read = True
        if event.action in ("ANSWER", "ANSWER_DIRECTLY"):
            text = texts.get(event.seq, {}).get("text")
            return redact(text).text if is_read and text else None
    return None


def _day_of(instant: datetime) -> date:
    return instant.astimezone(SHANGHAI).date()
