"""GraphQL types of complaints; `resolvers.complaint_showing` fills them from views."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import strawberry
from bson.binary import Binary
from msgspec import Struct
from strawberry.types import Info

from domain import complaints as c
from domain.access import Role
from domain.complaint_actions import Action
from domain.complaint_clock import ClockState
from domain.complaint_course import ExtensionState, LoopStep, PauseReason
from domain.coordinates import CoordinateSystem
from engine.relation import relation
from operations.complaint_views import ContactView, MessageKind
from operations.complaints import Complaints
from resolvers import complaint_enums  # noqa: F401 — describes the enums
from resolvers.catalogue_types import Division
from resolvers.context import Context
from resolvers.media import MediaType, load_media
from resolvers.node import Node, PageInfo
from resolvers.places import GeoPoint
from resolvers.units import ComplaintClass, Unit


@strawberry.type(description="Who did something.")
class ComplaintParty:
    """Shows a Party."""

    role: c.ActorRole = strawberry.field(description="As what.")
    unit: Unit | None = strawberry.field(description="The unit of staff; null for citizens and the clock.")
    account_id: str | None = strawberry.field(
        description="Which member of staff it was; null for everybody but staff."
    )


@strawberry.type(description="One of the seven steps of the closed loop.")
class ComplaintLoopEntry:
    """Shows a StepView."""

    step: LoopStep = strawberry.field(description="Which.")
    name: str = strawberry.field(description="Its name in the language of the request.")
    is_reached: bool = strawberry.field(description="Whether this round has reached it.")
    at: datetime | None = strawberry.field(description="When, UTC; null: not reached, or not needed.")
    by: ComplaintParty | None = strawberry.field(description="By whom; null: not reached, or not needed.")


@strawberry.type(description="Something that happened to a complaint.")
class ComplaintEvent:
    """Shows an EventView."""

    seq: int = strawberry.field(
        description="Its place in the history, from 0; what is not shown is left out."
    )
    at: datetime = strawberry.field(description="When, UTC.")
    action: Action = strawberry.field(description="What was done.")
    state: c.State = strawberry.field(description="Where the complaint was afterwards.")
    by: ComplaintParty = strawberry.field(description="By whom.")
    title: str = strawberry.field(description="What happened, in the language of the request.")
    text: str | None = strawberry.field(
        description="The words beside it, at most 2,000 characters; null: none, erased, or not to be shown."
    )
    private_text: str | None = strawberry.field(
        description="What came with it for staff only; null for everybody else."
    )


@strawberry.type(description="One time that the clock stood.")
class ComplaintPause:
    """Shows a Pause."""

    reason: PauseReason = strawberry.field(description="Why.")
    text: str = strawberry.field(description="Why, in the language of the request.")
    since: datetime = strawberry.field(description="From when, UTC.")
    until: datetime | None = strawberry.field(description="Until when, UTC; null: it still stands.")


@strawberry.type(description="An extension that the unit asked for.")
class ComplaintExtension:
    """Shows an ExtensionView."""

    state: ExtensionState = strawberry.field(description="What became of it.")
    asked_days: int = strawberry.field(description="Working days that were asked for.")
    granted_days: int = strawberry.field(description="Working days that were granted; 0: none.")
    reason: str | None = strawberry.field(description="Why the unit needs them; null: not to be shown.")
    asked_at: datetime = strawberry.field(description="When it was asked for, UTC.")
    decided_at: datetime | None = strawberry.field(description="When it was decided, UTC; null: not yet.")


@strawberry.type(description="What citizen and staff wrote to each other.")
class ComplaintMessage:
    """Shows a MessageView."""

    seq: int = strawberry.field(description="Number of its event.")
    at: datetime = strawberry.field(description="When, UTC.")
    kind: MessageKind = strawberry.field(description="What it is.")
    by: ComplaintParty = strawberry.field(description="By whom.")
    text: str | None = strawberry.field(description="At most 2,000 characters; null: it was erased.")
    media_ids: list[strawberry.ID] = strawberry.field(
        description="Which of the complaint's attachments came with it, at most 9."
    )


@strawberry.type(description="The answer of the present round.")
class ComplaintAnswer:
    """Shows an AnswerView."""

    at: datetime = strawberry.field(description="When it was given, UTC.")
    by: ComplaintParty = strawberry.field(description="By whom.")
    outcome: c.Outcome = strawberry.field(description="What became of the matter.")
    is_out: bool = strawberry.field(description="Whether it has reached the citizen.")
    text: str | None = strawberry.field(description="What the citizen reads; null: it was erased.")
    private_text: str | None = strawberry.field(description="For staff only; null for everybody else.")
    guide_id: str | None = strawberry.field(
        description="Key of the guide of the knowledge base that was used; null: none."
    )


@strawberry.type(description="Why a matter is not for 12345, and who it is for.")
class ComplaintRefusal:
    """Shows a RefusalView."""

    ground: c.RefusalGround = strawberry.field(description="Why.")
    next_owner: str = strawberry.field(description="Who it is for.")
    note: str | None = strawberry.field(description="What the seat wrote about it; null: nothing.")


@strawberry.type(description="How the citizen rated the present round; each grade 1 (very bad) to 5.")
class ComplaintRating:
    """Shows a RatingView."""

    at: datetime = strawberry.field(description="When, UTC.")
    speed: int = strawberry.field(description="How quick it was.")
    attitude: int = strawberry.field(description="How staff behaved.")
    result: int = strawberry.field(description="What came out.")
    comment: str | None = strawberry.field(description="In their own words; null: none.")


@strawberry.type(description="What the last call to the citizen found.")
class ComplaintCallBack:
    """Shows a CallBackView."""

    at: datetime = strawberry.field(description="When, UTC.")
    was_reached: bool = strawberry.field(description="Whether the citizen answered the call.")
    is_satisfied: bool | None = strawberry.field(
        description="What they said; null: not asked, or not reached."
    )
    note: str | None = strawberry.field(description="For staff only; null for everybody else.")


@strawberry.type(description="How the citizen can be reached, as far as they wished.")
class ComplaintContact:
    """Shows a ContactView."""

    name: str | None = strawberry.field(description="Their name; null: not given.")
    phone: str | None = strawberry.field(description="Their phone; null: not given.")


class ContactKey(Struct, frozen=True):
    """Whose contact is to be shown; `owner` is whose access log is written first, None: nobody's."""

    number: str
    contact: ContactView
    owner: Binary | None


def complaints_of(context: Context) -> Complaints:
    """Give what complaints need. Raises: RuntimeError where this process keeps none."""
    complaints = context.stores.complaints
    if complaints is None:
        raise RuntimeError("this process keeps no complaints")
    return complaints


async def load_contacts(keys: list[ContactKey], context: Context) -> list[ComplaintContact]:
    """Give contacts; a look by staff is in the citizen's access log before it happens."""
    complaints, viewer = complaints_of(context), context.viewer
    for key in keys:
        if key.owner is not None and viewer is not None:
            account = await complaints.store.reveal(key.owner)
            fields = [name for name in ("name", "phone") if getattr(key.contact, name) is not None]
            reason = f"办理诉求 {key.number}"
            await complaints.access_log.record(account, viewer, Role.DESK, fields, reason, now=context.now)
    return [ComplaintContact(name=key.contact.name, phone=key.contact.phone) for key in keys]


@strawberry.type(description="A request to 12345, as far as the viewer may see it.")
class Complaint(Node):
    """Shows a ComplaintView."""

    number: str = strawberry.field(description="Its public number, digits only, the last one for checking.")
    version: int = strawberry.field(
        description="Counts its events; hand it in as `expectedVersion` to act on what was seen only."
    )
    state: c.State = strawberry.field(description="Where it is.")
    kind: c.Kind = strawberry.field(description="What the citizen wants.")
    class_code: str | None = strawberry.field(description="Code of its class; null: none yet.")
    complaint_class: ComplaintClass | None = strawberry.field(
        description="Its class; null: none yet, or one that is no longer on the list."
    )
    is_convenience: bool = strawberry.field(description="Whether it is on the list of convenience services.")
    division_code: str = strawberry.field(description="Code of its division, 6 or 9 digits.")
    division: Division | None = strawberry.field(
        description="Its division; null while the catalogue is not loaded."
    )
    channel: c.ComplaintChannel | None = strawberry.field(
        description="How it came in; null: not to be shown."
    )
    centre: Unit | None = strawberry.field(description="The centre that watches over it; null: closed since.")
    lead_unit: Unit | None = strawberry.field(description="The unit in charge; null: none now.")
    co_units: list[Unit] = strawberry.field(description="Units that help, at most 8.")
    submitted_at: datetime = strawberry.field(description="When it was submitted, UTC.")
    changed_at: datetime = strawberry.field(description="When something happened last, UTC.")
    due_at: datetime | None = strawberry.field(
        description="By when it is to be answered, UTC, worked out from its history; null while a pause "
        "leaves it open."
    )
    due_is_provisional: bool = strawberry.field(
        description="Whether `dueAt` may still change, because a year's calendar is not published yet."
    )
    is_overdue: bool = strawberry.field(description="Whether it was, or is, answered too late.")
    limit_days: int = strawberry.field(description="Working days it may take, with extensions.")
    used_days: int = strawberry.field(description="Working days that were counted.")
    left_days: int = strawberry.field(description="Working days that are left.")
    clock_state: ClockState = strawberry.field(description="Whether days are being counted.")
    pause_reason: PauseReason | None = strawberry.field(
        description="Why the clock stands; null: it does not."
    )
    steps: list[ComplaintLoopEntry] = strawberry.field(
        description="The seven steps, as far as this round is."
    )
    events: list[ComplaintEvent] = strawberry.field(
        description="All that happened and may be shown, in order, at most 400 or so."
    )
    pauses: list[ComplaintPause] = strawberry.field(description="When the clock stood, in order.")
    extensions: list[ComplaintExtension] = strawberry.field(
        description="Extensions that were asked for, in order; empty where they are not to be shown."
    )
    text: str | None = strawberry.field(
        description="The matter in the citizen's words, at most 2,000 characters; null: not to be shown."
    )
    excerpt: str | None = strawberry.field(
        description="The beginning of the text, without personal data; null: not to be shown."
    )
    address: str | None = strawberry.field(description="Where, in words; null: none, or not to be shown.")
    contact_wish: c.ContactWish | None = strawberry.field(
        description="How the citizen wants to be reached; null: not to be shown."
    )
    question: str | None = strawberry.field(
        description="What the citizen was asked and has not answered; null: nothing, or not to be shown."
    )
    messages: list[ComplaintMessage] = strawberry.field(
        description="What citizen and staff wrote to each other, in order; empty where not to be shown."
    )
    answer: ComplaintAnswer | None = strawberry.field(
        description="The answer of the present round; null: none yet, or still being checked."
    )
    refusal: ComplaintRefusal | None = strawberry.field(description="Why it was refused; null: it was not.")
    rating: ComplaintRating | None = strawberry.field(
        description="The citizen's rating of the present round; null: none, or not to be shown."
    )
    call_back: ComplaintCallBack | None = strawberry.field(
        description="What the last call of the present round found; null: none, or not to be shown."
    )
    publication: c.Publication | None = strawberry.field(
        description="Whether the public list may show it; null: not to be shown."
    )
    reopened_count: int = strawberry.field(description="How often it was reopened.")
    can_reopen_until: datetime | None = strawberry.field(
        description="Until when it can be rated and reopened, UTC; null: not now, or not by the viewer."
    )
    escalated_level: int = strawberry.field(description="To how many levels above it was told as overdue.")
    merged_into: str | None = strawberry.field(
        description="Number of the complaint that it goes on in; null: it was not merged."
    )
    is_own: bool = strawberry.field(description="Whether it is the viewer's own.")
    allowed_actions: list[Action] = strawberry.field(description="The steps that the viewer may take now.")
    place: strawberry.Private[c.Point | None]
    media_key: strawberry.Private[str | None]
    contact_key: strawberry.Private[ContactKey | None]

    media = relation(
        load_media,
        key="media_key",
        graphql_type=list[MediaType] | None,
        description="Its attachments, at most 9; null: not to be shown.",
    )
    contact = relation(
        load_contacts,
        key="contact_key",
        graphql_type=ComplaintContact | None,
        description="How the citizen can be reached, for themselves and for the staff who deal with them, "
        "whose look is written to the citizen's access log; null: not given, or not to be shown.",
    )

    @strawberry.field(description="Where; null: not given, or not to be shown.")
    def point(
        self,
        system: Annotated[
            CoordinateSystem, strawberry.argument(description="In which system.")
        ] = CoordinateSystem.WGS84,
    ) -> GeoPoint | None:
        """Show the place."""
        return None if self.place is None else GeoPoint.of(self.place, system)

    @strawberry.field(description="Whether the viewer has joined it.")
    async def is_joined(self, info: Info[Context, None]) -> bool:
        """Ask the joins."""
        complaints, viewer = complaints_of(info.context), info.context.viewer
        if viewer is None:
            return False
        return await complaints.joins.has(self.number, await complaints.store.hide(viewer.account_id))

    @strawberry.field(description="How many citizens have joined it.")
    async def joined_count(self, info: Info[Context, None]) -> int:
        """Count the joins."""
        return await complaints_of(info.context).joins.count(self.number)


@strawberry.type(description="A request to 12345 in a list.")
class ComplaintSummary(Node):
    """Shows a Summary."""

    number: str = strawberry.field(description="Its public number; read the rest with it.")
    version: int = strawberry.field(description="Counts its events.")
    state: c.State = strawberry.field(description="Where it is.")
    kind: c.Kind = strawberry.field(description="What the citizen wants.")
    class_code: str | None = strawberry.field(description="Code of its class; null: none yet.")
    complaint_class: ComplaintClass | None = strawberry.field(
        description="Its class; null: none yet, or one that is no longer on the list."
    )
    division_code: str = strawberry.field(description="Code of its division, 6 or 9 digits.")
    excerpt: str = strawberry.field(
        description="The beginning of the text, at most 80 characters, without personal data."
    )
    submitted_at: datetime = strawberry.field(description="When it was submitted, UTC.")
    changed_at: datetime = strawberry.field(description="When something happened last, UTC.")
    due_at: datetime | None = strawberry.field(
        description="By when it is to be answered, UTC; null while a pause leaves it open."
    )
    lead_unit: Unit | None = strawberry.field(description="The unit in charge; null: none now.")
    outcome: c.Outcome | None = strawberry.field(
        description="What became of it; null: no answer has reached the citizen in this round."
    )
    reopened_count: int = strawberry.field(description="How often it was reopened.")
    media_count: int | None = strawberry.field(
        description="How many attachments it has; null: not to be shown."
    )
    is_waiting_for_citizen: bool = strawberry.field(
        description="Whether the citizen was asked for more and the clock stands."
    )


@strawberry.type(description="A complaint in its list.")
class ComplaintEdge:
    """Relay's edge."""

    cursor: str = strawberry.field(description="Hand it in as `after` to go on behind this complaint.")
    node: ComplaintSummary = strawberry.field(description="The complaint.")


@strawberry.type(description="A page of complaints.")
class ComplaintConnection:
    """Relay's connection."""

    edges: list[ComplaintEdge] = strawberry.field(description="The complaints of this page.")
    page_info: PageInfo = strawberry.field(description="Where this page lies.")
