"""What the desk's mutations on complaints are given."""

from __future__ import annotations

import strawberry

from domain import complaints as c
from operations.complaint_desk_work import BulkItem
from operations.complaint_submit import Intake
from resolvers import complaint_enums  # noqa: F401 — describes the enums
from resolvers.places import GeoPointInput
from resolvers.units import raw_unit_id


def trimmed(text: str | None) -> str | None:
    """Give a text without blanks around it; None for None and for nothing but blanks."""
    return (text.strip() or None) if text is not None else None


@strawberry.input(description="One complaint, as it was seen.")
class ComplaintStepInput:
    """What every step is given; others add to it."""

    number: str = strawberry.field(description="Number of the complaint.")
    expected_version: int | None = strawberry.field(
        default=None,
        description="The version that was seen; another one is refused with COMPLAINT_CHANGED. Null: any.",
    )


@strawberry.input(description="Which complaint.")
class ComplaintNumberInput:
    """For what does not depend on what was seen."""

    number: str = strawberry.field(description="Number of the complaint.")


@strawberry.input(description="What a complaint is about.")
class ClassifyComplaintInput(ComplaintStepInput):
    """For acceptComplaint and classifyComplaint."""

    kind: c.Kind = strawberry.field(description="What the citizen wants.")
    class_code: str = strawberry.field(description="Four digits of a class.")


@strawberry.input(description="Why a matter is not for 12345, and who it is for.")
class RefuseComplaintInput(ComplaintStepInput):
    """For refuseComplaint."""

    ground: c.RefusalGround = strawberry.field(description="Why.")
    next_owner: str = strawberry.field(description="Who it is for, 2 to 80 characters; the citizen reads it.")
    note: str | None = strawberry.field(
        default=None, description="More about it, at most 500 characters; the citizen reads it. Null: none."
    )


@strawberry.input(description="Who is to handle a matter.")
class DispatchComplaintInput(ComplaintStepInput):
    """For dispatchComplaint and transferComplaint."""

    lead_unit: strawberry.ID = strawberry.field(description="The unit in charge, by global id or key.")
    co_units: list[strawberry.ID] = strawberry.field(
        default_factory=list, description="Units that help, at most 8, by global id or key."
    )
    note: str | None = strawberry.field(
        default=None, description="For these units, at most 500 characters; null: none."
    )

    def read(self, kind: type[c.Dispatch]) -> c.Dispatch:
        """Give the step."""
        return read_dispatch(kind, self.lead_unit, self.co_units, self.note)


@strawberry.input(description="One of several complaints, as it was seen.")
class BulkComplaintInput:
    """For what is done to several at once."""

    number: str = strawberry.field(description="Number of the complaint.")
    expected_version: int | None = strawberry.field(
        default=None, description="The version that was seen; null: any."
    )

    def read(self) -> BulkItem:
        """Give the item."""
        return BulkItem(self.number, self.expected_version)


@strawberry.input(description="Several complaints and who is to handle them.")
class DispatchComplaintsInput:
    """For dispatchComplaints."""

    complaints: list[BulkComplaintInput] = strawberry.field(description="Which, 1 to 50.")
    lead_unit: strawberry.ID = strawberry.field(description="The unit in charge, by global id or key.")
    co_units: list[strawberry.ID] = strawberry.field(
        default_factory=list, description="Units that help, at most 8, by global id or key."
    )
    note: str | None = strawberry.field(
        default=None, description="For these units, at most 500 characters; null: none."
    )

    def read(self) -> c.Dispatch:
        """Give the step."""
        return read_dispatch(c.Dispatch, self.lead_unit, self.co_units, self.note)


def read_dispatch(
    kind: type[c.Dispatch], lead: strawberry.ID, co_units: list[strawberry.ID], note: str | None
) -> c.Dispatch:
    """Make the step; one unit more than allowed is enough to be refused."""
    helpers = tuple(raw_unit_id(each) for each in co_units[: c.MAX_CO_UNITS + 1])
    return kind(lead=raw_unit_id(lead), co_units=helpers, note=trimmed(note))


@strawberry.input(description="Complaints about the same matter.")
class MergeComplaintsInput:
    """For mergeComplaints."""

    complaints: list[BulkComplaintInput] = strawberry.field(description="Which, 1 to 50.")
    into: str = strawberry.field(description="Number of the open complaint in which they go on.")


@strawberry.input(description="Why a matter is given back.")
class ReturnComplaintInput(ComplaintStepInput):
    """For returnComplaint."""

    reason: str = strawberry.field(description="Why, 1 to 500 characters.")
    suggested_unit: strawberry.ID | None = strawberry.field(
        default=None, description="Whose it should be, by global id or key; null: not known."
    )


@strawberry.input(description="What the citizen is asked.")
class AskCitizenInput(ComplaintStepInput):
    """For askCitizen."""

    question: str = strawberry.field(description="1 to 500 characters.")


@strawberry.input(description="A text beside a complaint.")
class ComplaintTextInput(ComplaintStepInput):
    """For adviseComplaint and sendMessageToCitizen."""

    text: str = strawberry.field(description="1 to 2,000 characters.")


@strawberry.input(description="A reason.")
class ComplaintReasonInput(ComplaintStepInput):
    """For denyExtension and reopenForCitizen."""

    reason: str = strawberry.field(description="1 to 500 characters.")


@strawberry.input(description="How many more working days a unit needs.")
class RequestExtensionInput(ComplaintStepInput):
    """For requestExtension."""

    days: int = strawberry.field(description="Working days, 1 to 30.")
    reason: str = strawberry.field(description="Why, 1 to 500 characters.")


@strawberry.input(description="How many more working days a unit gets.")
class GrantExtensionInput(ComplaintStepInput):
    """For grantExtension."""

    days: int = strawberry.field(description="Working days, at most as many as were asked for.")


@strawberry.input(description="An answer.")
class AnswerComplaintInput(ComplaintStepInput):
    """For answerComplaint."""

    outcome: c.Outcome = strawberry.field(description="What became of the matter.")
    text: str = strawberry.field(description="What the citizen reads, 1 to 2,000 characters.")
    private_text: str | None = strawberry.field(
        default=None, description="What only staff read, at most 2,000 characters; null: nothing."
    )


@strawberry.input(description="An answer at once (即问即答).")
class AnswerDirectlyInput(ComplaintStepInput):
    """For answerComplaintDirectly."""

    text: str | None = strawberry.field(
        default=None,
        description="What the citizen reads, at most 2,000 characters; null: what the guide says.",
    )
    guide_id: strawberry.ID | None = strawberry.field(
        default=None, description="The published guide that answers it, by global id or key; null: none."
    )


@strawberry.input(description="Whether an answer is good enough for the citizen.")
class CheckAnswerInput(ComplaintStepInput):
    """For checkComplaintAnswer."""

    is_passed: bool = strawberry.field(description="Whether it goes to the citizen, or back to the unit.")
    reason: str | None = strawberry.field(
        default=None,
        description="Why it goes back, 1 to 500 characters, for the unit; null where it goes to the citizen.",
    )


@strawberry.input(description="What a call to the citizen found.")
class RecordCallBackInput(ComplaintStepInput):
    """For recordCallBack."""

    was_reached: bool = strawberry.field(description="Whether the citizen answered the call.")
    is_satisfied: bool | None = strawberry.field(
        default=None, description="Whether they are satisfied; null: not asked, or not reached."
    )
    note: str | None = strawberry.field(
        default=None, description="For staff, at most 500 characters; null: none."
    )


@strawberry.input(description="Whether the public list may show a complaint.")
class ReviewPublicationInput(ComplaintStepInput):
    """For reviewPublication."""

    is_cleared: bool = strawberry.field(description="Whether it may be shown.")
    public_text: str | None = strawberry.field(
        default=None,
        description="Under which text, 1 to 2,000 characters; null: the proposed one. Personal data that is "
        "found in it is taken out all the same.",
    )


@strawberry.input(description="A matter that came by phone, by letter or in a chat.")
class TakeDownComplaintInput:
    """For takeDownComplaint."""

    idempotency_key: str = strawberry.field(
        description="8 to 64 characters, made once for each matter; the same key gives the same complaint."
    )
    channel: c.ComplaintChannel = strawberry.field(
        description="How it came: HOTLINE, LETTER, SMS, WECHAT, QQ or WEIBO."
    )
    kind: c.Kind = strawberry.field(description="What the citizen wants.")
    text: str = strawberry.field(description="The matter, 1 to 2,000 characters.")
    division_code: str = strawberry.field(description="Where, a division within the viewer's.")
    contact: c.ContactWish = strawberry.field(
        description="How the citizen wants to be reached; NAMED needs name and phone, PHONE_ONLY the phone."
    )
    class_code: str | None = strawberry.field(
        default=None, description="Four digits of a class; null: not known yet."
    )
    address: str | None = strawberry.field(
        default=None, description="Where, in words, at most 200 characters; null: not given."
    )
    point: GeoPointInput | None = strawberry.field(default=None, description="Where; null: not given.")
    name: str | None = strawberry.field(
        default=None, description="The citizen's name, at most 40 characters; null: not given."
    )
    phone: str | None = strawberry.field(default=None, description="The citizen's phone; null: not given.")
    is_public_wished: bool = strawberry.field(
        default=False, description="Whether the public list may show it, once the centre has cleared it."
    )
    media_ids: list[strawberry.ID] = strawberry.field(
        default_factory=list, description="What the seat has uploaded for it, at most 9."
    )

    def read(self) -> Intake:
        """Give the matter. Raises: InvalidComplaintError naming a coordinate out of range."""
        return Intake(
            kind=self.kind,
            text=self.text.strip(),
            division_code=self.division_code,
            channel=self.channel,
            contact=self.contact,
            class_code=self.class_code,
            is_public_wished=self.is_public_wished,
            media=tuple(str(each) for each in self.media_ids[: c.MAX_MEDIA + 1]),
            point=None if self.point is None else self.point.read(),
            address=trimmed(self.address),
            name=trimmed(self.name),
            phone=trimmed(self.phone),
        )


@strawberry.input(description="An anonymous complaint, and why its owner must be known.")
class TraceComplaintInput:
    """For traceAnonymousComplaint."""

    number: str = strawberry.field(description="Number of the complaint.")
    reason: str = strawberry.field(
        description="By which law or order, 1 to 200 characters; the citizen reads it in their access log."
    )


@strawberry.input(description="What the complaints of a queue must be like.")
class ComplaintQueueFilter:
    """All that is given must fit."""

    state: c.State | None = strawberry.field(default=None, description="In this state; null: in any.")
    kind: c.Kind | None = strawberry.field(default=None, description="Of this kind; null: of any.")
    class_code: str | None = strawberry.field(
        default=None, description="Of this class (four digits) or group (two); null: of any."
    )
    division_code: str | None = strawberry.field(
        default=None, description="In this division or below it; null: in any."
    )
