"""GraphQL types of the desk's work on complaints: what staff read and what their mutations give back."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum

import strawberry

from domain import complaints as c
from domain.access import Viewer
from domain.complaint_desk import Queue
from domain.redaction import PersonalKind, Redacted
from domain.working_days import DAY, WorkingCalendar
from operations.complaint_desk import QueueCount
from resolvers.account_types import CitizenRecord
from resolvers.complaint_types import Complaint, ComplaintSummary
from resolvers.mutations import UserError
from resolvers.node import PageInfo, describe_enum
from store.complaints import Summary


class QueueOrder(StrEnum):
    """How a queue is sorted."""

    ACT_BY = "ACT_BY"
    NEWEST = "NEWEST"


describe_enum(
    QueueOrder,
    "How a queue is sorted.",
    {
        "ACT_BY": "What must be done first; of TO_REVIEW and WRITTEN, where nothing need be due, the oldest.",
        "NEWEST": "The newest complaint first.",
    },
    name="ComplaintQueueOrder",
)
describe_enum(
    Queue,
    "A list of complaints at a desk.",
    {
        "MINE": "Claimed by the viewer.",
        "UNIT": "All that the unit holds, because it must act next.",
        "DUE_SOON": "Due by the end of the next working day, and not overdue.",
        "OVERDUE": "Overdue.",
        "REOPENED": "Reopened, and not ended again.",
        "ESCALATED": "Overdue further down, and told to the unit.",
        "TO_CHECK": "Answers that wait for the centre's quality check.",
        "TO_EXTEND": "Extensions that wait for the centre's decision.",
        "TO_REVIEW": "To be cleared for the public list, or withheld.",
        "WRITTEN": "The citizen has written, perhaps after the end, and nobody has done anything since.",
    },
    name="ComplaintQueue",
)
describe_enum(
    PersonalKind,
    "What kind of personal data was found in a text.",
    {
        "EMAIL": "An e-mail address.",
        "RESIDENT_ID": "A resident id number.",
        "BANK_CARD": "The number of a bank card.",
        "PHONE": "A phone number.",
        "ACCOUNT": "A name or number of an account, a customer, a patient, a pupil or staff.",
        "PASSPORT": "The number of a passport or a travel permit.",
        "PLATE": "A number plate.",
        "BIRTH_DATE": "A date of birth.",
        "ADDRESS": "The part of an address from the building on.",
        "NAME": "A name.",
    },
)


@strawberry.type(description="A complaint in a queue.")
class ComplaintQueueEdge:
    """Shows a Summary and who works on it."""

    cursor: str = strawberry.field(description="Hand it in as `after` to go on behind this complaint.")
    node: ComplaintSummary = strawberry.field(description="The complaint, without personal data.")
    act_by: datetime | None = strawberry.field(
        description="By when its holder must have done something, UTC; null: nobody must any more."
    )
    is_overdue: bool = strawberry.field(
        description="Whether the citizen should have had an answer by now; a clock that stands is not late."
    )
    is_claimed_by_viewer: bool = strawberry.field(description="Whether the viewer's claim holds.")
    claimed_until: datetime | None = strawberry.field(
        description="Until when somebody's claim holds, UTC; null: nobody works on it."
    )

    @classmethod
    def of(
        cls, cursor: str, node: ComplaintSummary, summary: Summary, viewer: Viewer, now: datetime
    ) -> ComplaintQueueEdge:
        """Show a place in a queue."""
        until = summary.claimed_until
        holds = until is not None and until > now
        waits_for_answer = summary.standing.state not in c.ENDED | c.ANSWER_OUT
        return cls(
            cursor=cursor,
            node=node,
            act_by=summary.act_by,
            is_overdue=waits_for_answer and summary.due_at is not None and summary.due_at < now,
            is_claimed_by_viewer=holds and summary.claimed_by == viewer.account_id,
            claimed_until=until if holds else None,
        )


@strawberry.type(description="A page of a queue.")
class ComplaintQueueConnection:
    """Relay's connection."""

    edges: list[ComplaintQueueEdge] = strawberry.field(description="The complaints of this page.")
    page_info: PageInfo = strawberry.field(description="Where this page lies.")


@strawberry.type(description="How many complaints are in a queue.")
class ComplaintQueueCount:
    """Shows a QueueCount."""

    queue: Queue = strawberry.field(description="Which queue.")
    count: int = strawberry.field(description="How many, counted among 5,000 complaints at most.")
    is_more: bool = strawberry.field(description="Whether there may be more than were counted.")

    @classmethod
    def of(cls, found: QueueCount) -> ComplaintQueueCount:
        """Show a count."""
        return cls(queue=found.queue, count=found.count, is_more=found.is_more)


@strawberry.type(description="A complaint that may be about the same matter.")
class SimilarComplaint:
    """Shows a Likely to staff."""

    complaint: ComplaintSummary = strawberry.field(description="The complaint.")
    score: float = strawberry.field(description="How likely, 0.5 to 1: by class, distance, words and age.")
    distance_m: int = strawberry.field(description="How far away, in metres, rounded to 50.")


@strawberry.type(description="What a complaint would say in the public list.")
class PublicationProposal:
    """Shows a Redacted."""

    text: str = strawberry.field(description="The text without the personal data that was found.")
    found: list[PersonalKind] = strawberry.field(
        description="What was taken out, in the order of the text, at most 200; read the text for the rest."
    )

    @classmethod
    def of(cls, proposed: Redacted) -> PublicationProposal:
        """Show a proposal."""
        return cls(text=proposed.text, found=[each.kind for each in proposed.found[:200]])


@strawberry.type(description="Which days of a year are worked, by the State Council's calendar.")
class WorkingYear:
    """Shows one year of a WorkingCalendar."""

    year: int = strawberry.field(description="Which year.")
    is_published: bool = strawberry.field(
        description="Whether its notice is known; if not, due times within it are provisional."
    )
    notice: str | None = strawberry.field(
        description="What the operator has to do (CALENDAR_NOT_PUBLISHED); null: nothing."
    )
    days_off: list[date] = strawberry.field(description="Days from Monday to Friday that are off.")
    days_worked: list[date] = strawberry.field(description="Days of a weekend that are worked (调休).")
    working_days: list[int] = strawberry.field(description="Number of working days of each month, 12.")

    @classmethod
    def of(cls, calendar: WorkingCalendar, year: int, notice: str) -> WorkingYear:
        """Show a year; `notice` is for one that is not published."""
        is_published = calendar.is_published(year)
        days = [day for number in range(366) if (day := date(year, 1, 1) + number * DAY).year == year]
        worked = [day for day in days if calendar.is_expected_working_day(day)]
        return cls(
            year=year,
            is_published=is_published,
            notice=None if is_published else notice,
            days_off=[day for day in days if day in calendar.days_off and day.weekday() < 5],
            days_worked=[day for day in days if day in calendar.days_worked],
            working_days=[sum(day.month == month for day in worked) for month in range(1, 13)],
        )


@strawberry.type(description="What a complaint has come to, since it was read.")
class ComplaintConflict:
    """Of a step that came too late."""

    state: c.State = strawberry.field(description="Where the complaint is now.")
    version: int = strawberry.field(description="Its version now; hand it in as `expectedVersion`.")


@strawberry.type(description="A complaint after a step, or why the step was not taken.")
class ComplaintStepPayload:
    """Of every mutation of the desk on one complaint."""

    complaint: Complaint | None = strawberry.field(
        description="The complaint as the viewer may see it now; also after COMPLAINT_CHANGED. Null: refused "
        "otherwise, or no longer the viewer's to see."
    )
    conflict: ComplaintConflict | None = strawberry.field(
        description="With COMPLAINT_CHANGED: what somebody else has made of it; null otherwise."
    )
    user_errors: list[UserError] = strawberry.field(description="Why not; empty when it was done.")


@strawberry.type(description="A complaint's claim, or why there is none.")
class ClaimPayload:
    """Of claimComplaint and releaseComplaint."""

    complaint: Complaint | None = strawberry.field(description="The complaint; null: refused.")
    claimed_until: datetime | None = strawberry.field(
        description="Until when the viewer's claim holds, UTC; null: there is none."
    )
    user_errors: list[UserError] = strawberry.field(description="Why not; empty when it was done.")


@strawberry.type(description="What became of one of several complaints.")
class BulkComplaintResult:
    """Shows a BulkResult."""

    number: str = strawberry.field(description="Its number as it was given.")
    state: c.State | None = strawberry.field(
        description="Where it is now; null: refused for another reason than COMPLAINT_CHANGED."
    )
    version: int | None = strawberry.field(description="Its version now; null as `state`.")
    user_errors: list[UserError] = strawberry.field(description="Why not; empty when it was done.")


@strawberry.type(description="What became of several complaints, each on its own.")
class BulkComplaintsPayload:
    """Of dispatchComplaints and mergeComplaints."""

    results: list[BulkComplaintResult] = strawberry.field(
        description="One for each, in the order in which they were given, at most 50."
    )
    user_errors: list[UserError] = strawberry.field(
        description="Why nothing at all was done; empty when `results` say what was."
    )


@strawberry.type(description="A complaint that was taken down, or why it was not.")
class TakenDownPayload:
    """Of takeDownComplaint."""

    complaint: Complaint | None = strawberry.field(description="The complaint; null: refused.")
    query_code: str | None = strawberry.field(
        description="Eight characters to be read out: with the number, whoever brought it can follow it. "
        "Null: refused."
    )
    user_errors: list[UserError] = strawberry.field(description="Why not; empty when it was done.")


@strawberry.type(description="Who is behind an anonymous complaint, masked, or why that is not told.")
class TracePayload:
    """Of traceAnonymousComplaint."""

    citizen: CitizenRecord | None = strawberry.field(description="The account, masked; null: refused.")
    user_errors: list[UserError] = strawberry.field(description="Why not; empty when it was done.")
