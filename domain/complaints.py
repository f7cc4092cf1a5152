"""Complaints (12345): kinds, states, what can be done to one and what each step says. Rules only.

`domain.complaint_steps` says which step leads where, `domain.complaint_standing` what it changes, and
`domain.complaint_history` chains the steps.
"""

from __future__ import annotations

from datetime import date, timedelta
from enum import StrEnum
from typing import Annotated, ClassVar, Final

from msgspec import Meta, Struct

from domain.errors import DomainError

MAX_TEXT_CHARS: Final = 2_000
MAX_MEDIA: Final = 9
MAX_CO_UNITS: Final = 8
MAX_EVENTS: Final = 400
MAX_CITIZEN_MESSAGES: Final = 50
MAX_REOPENINGS: Final = 2
MAX_EXTENSION_DAYS: Final = 30
MAX_EXTENSIONS: Final = 2
REOPEN_WITHIN: Final = timedelta(days=30)
"""So long after the answer reached the citizen it can be rated and reopened."""
CLOSE_AFTER: Final = timedelta(days=15)
"""An answer that nobody rates or reopens is closed after this."""
CHECK_WITHIN: Final = timedelta(days=3)
"""An answer that the centre has not checked by then, or by the time it is due, goes out unchecked."""
ANSWER_WITHIN: Final = timedelta(days=7)
"""So long the clock waits for a citizen who was asked for more."""

Text = Annotated[str, Meta(min_length=1, max_length=MAX_TEXT_CHARS)]
Reason = Annotated[str, Meta(min_length=1, max_length=500)]
UnitId = Annotated[str, Meta(min_length=1, max_length=64)]
ClassCode = Annotated[str, Meta(min_length=2, max_length=8)]
Days = Annotated[int, Meta(ge=1, le=MAX_EXTENSION_DAYS)]
Grade = Annotated[int, Meta(ge=1, le=5)]
MediaId = Annotated[str, Meta(min_length=1, max_length=64)]
MediaIds = Annotated[tuple[MediaId, ...], Meta(max_length=MAX_MEDIA)]


class InvalidComplaintError(DomainError):
    """A text, number or list of a complaint or a step is out of bounds; `field` names it."""

    code = "INVALID_COMPLAINT"


class ComplaintNotFoundError(DomainError):
    """No complaint has that number, or it is not the viewer's to see."""

    code = "COMPLAINT_NOT_FOUND"


class ComplaintStepNotAllowedError(DomainError):
    """In this state, or in this role, the step leads nowhere."""

    code = "COMPLAINT_STEP_NOT_ALLOWED"


class ComplaintChangedError(DomainError):
    """Somebody else was quicker; `state` and `version` are what the complaint has now."""

    code = "COMPLAINT_CHANGED"


class ReopenTooLateError(DomainError):
    """The window for reopening or rating has passed."""

    code = "REOPEN_TOO_LATE"


class TooManyComplaintStepsError(DomainError):
    """A complaint has as many of these steps as one may have."""

    code = "TOO_MANY_COMPLAINT_STEPS"


class Kind(StrEnum):
    """What a citizen wants (诉求类型)."""

    CONSULT = "CONSULT"
    """咨询"""
    COMPLAINT = "COMPLAINT"
    """投诉"""
    SUGGESTION = "SUGGESTION"
    """建议"""
    HELP = "HELP"
    """求助"""


class ComplaintChannel(StrEnum):
    """The ten ways in."""

    APP = "APP"
    MINI_PROGRAM = "MINI_PROGRAM"
    WEBSITE = "WEBSITE"
    HOTLINE = "HOTLINE"
    WECHAT = "WECHAT"
    QQ = "QQ"
    WEIBO = "WEIBO"
    SMS = "SMS"
    LETTER = "LETTER"
    OPEN311 = "OPEN311"


class ContactWish(StrEnum):
    """How much of themselves a citizen gives to those who handle the complaint."""

    NAMED = "NAMED"
    """Name and phone."""
    PHONE_ONLY = "PHONE_ONLY"
    ANONYMOUS = "ANONYMOUS"
    """Nothing; who it was can be found out by one documented role only, and that look is logged."""


class State(StrEnum):
    """Where a complaint is."""

    SUBMITTED = "SUBMITTED"
    """诉求人诉求: waits for a seat of the centre."""
    ACCEPTED = "ACCEPTED"
    """市中心坐席受理: waits to be dispatched."""
    ASKED_BY_SEAT = "ASKED_BY_SEAT"
    """The seat has asked the citizen for more; the clock stands."""
    DISPATCHED = "DISPATCHED"
    """市中心批转: waits for the unit."""
    HANDLING = "HANDLING"
    """职能部门办理"""
    ASKED_BY_UNIT = "ASKED_BY_UNIT"
    """The unit has asked the citizen for more; the clock stands."""
    ANSWERED = "ANSWERED"
    """职能部门回复: waits for the centre's quality check."""
    REPLIED = "REPLIED"
    """The answer is with the citizen, to be rated (诉求人评价)."""
    RATED = "RATED"
    """Waits for the call back (市中心回访) and for being closed."""
    CLOSED = "CLOSED"
    REFUSED = "REFUSED"
    """Not for this hotline; the next owner is named."""
    WITHDRAWN = "WITHDRAWN"
    MERGED = "MERGED"
    """Goes on as part of another complaint."""


ENDED: Final = frozenset({State.CLOSED, State.REFUSED, State.WITHDRAWN, State.MERGED})
WITH_UNIT: Final = frozenset({State.DISPATCHED, State.HANDLING, State.ASKED_BY_UNIT})
ANSWER_OUT: Final = frozenset({State.REPLIED, State.RATED, State.CLOSED})


class ActorRole(StrEnum):
    """As what somebody takes a step."""

    COMPLAINANT = "COMPLAINANT"
    SEAT = "SEAT"
    """Staff of the 12345 centre of the division or of one above it."""
    UNIT = "UNIT"
    """Staff of the unit in charge."""
    CO_UNIT = "CO_UNIT"
    """Staff of a unit that helps, or of one above, to which the complaint was escalated."""
    SYSTEM = "SYSTEM"
    """The clock."""


class Actor(Struct, frozen=True, omit_defaults=True):
    """Who takes a step; `account` and `unit` are those of staff, a citizen is never named in a history."""

    role: ActorRole
    account: str | None = None
    unit: str | None = None


class Outcome(StrEnum):
    """What became of the matter, as the unit answers."""

    FULL = "FULL"
    PARTIAL = "PARTIAL"
    NOT_FEASIBLE = "NOT_FEASIBLE"


class RefusalGround(StrEnum):
    """Why the hotline does not take a matter; each has another owner."""

    COURT_OR_ARBITRATION = "COURT_OR_ARBITRATION"
    EMERGENCY = "EMERGENCY"
    """110, 119, 120, 122."""
    PARTY_DISCIPLINE = "PARTY_DISCIPLINE"
    PETITION_FINAL = "PETITION_FINAL"
    COMMERCIAL_DISPUTE = "COMMERCIAL_DISPUTE"
    STATE_SECRET = "STATE_SECRET"  # noqa: S105 — a ground, no password
    OUTSIDE_PROVINCE = "OUTSIDE_PROVINCE"
    NO_MATTER = "NO_MATTER"


class Publication(StrEnum):
    """Whether the public list may show a complaint."""

    NOT_WISHED = "NOT_WISHED"
    TO_REVIEW = "TO_REVIEW"
    CLEARED = "CLEARED"
    WITHHELD = "WITHHELD"


class Step(Struct, frozen=True, tag_field="action", forbid_unknown_fields=True, omit_defaults=True):
    """Something that is done to a complaint; `TEXTS` are its fields in people's own words, which may be
    erased by law later, while everything else stays in the history for good.
    """

    TEXTS: ClassVar[tuple[str, ...]] = ()


class Point(Struct, frozen=True):
    """A place, WGS-84, degrees."""

    longitude: Annotated[float, Meta(ge=-180, le=180)]
    latitude: Annotated[float, Meta(ge=-90, le=90)]


class Submit(Step, frozen=True, tag="SUBMIT"):
    """Bring a matter before the hotline. `limit_days` are working days, by the rule `limit_rule`."""

    TEXTS = ("text", "address", "name", "phone")
    kind: Kind
    channel: ComplaintChannel
    contact: ContactWish
    division_code: str
    centre: UnitId
    limit_days: int
    limit_rule: str
    text: Text
    class_code: ClassCode | None = None
    is_public_wished: bool = False
    media: MediaIds = ()
    point: Point | None = None
    address: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    name: Annotated[str, Meta(min_length=1, max_length=40)] | None = None
    phone: Annotated[str, Meta(pattern=r"^\+?[0-9\-]{5,20}$")] | None = None


class Accept(Step, frozen=True, tag="ACCEPT"):
    """Take a matter on, under a class and, where the citizen chose wrongly, another kind."""

    kind: Kind
    class_code: ClassCode
    limit_days: int
    limit_rule: str
    is_convenience: bool = False


class Classify(Accept, frozen=True, tag="CLASSIFY"):
    """Give another class or kind."""


class Refuse(Step, frozen=True, tag="REFUSE"):
    """Refuse a matter that is not for the hotline, and name who it is for."""

    TEXTS = ("note",)
    ground: RefusalGround
    next_owner: Annotated[str, Meta(min_length=2, max_length=80)]
    note: Reason | None = None


class Dispatch(Step, frozen=True, tag="DISPATCH"):
    """Pass a matter on to the unit in charge, and to those that help it."""

    TEXTS = ("note",)
    lead: UnitId
    co_units: Annotated[tuple[UnitId, ...], Meta(max_length=MAX_CO_UNITS)] = ()
    note: Reason | None = None


class Transfer(Dispatch, frozen=True, tag="TRANSFER"):
    """Pass a matter on from one unit to another."""


class AnswerDirectly(Step, frozen=True, tag="ANSWER_DIRECTLY"):
    """Answer at once (即问即答)."""

    TEXTS = ("text",)
    text: Text
    guide: Annotated[str, Meta(max_length=64)] | None = None


class TakeUp(Step, frozen=True, tag="TAKE_UP"):
    """Begin to handle a matter."""


class Return(Step, frozen=True, tag="RETURN"):
    """Give a matter back to the dispatcher, saying whose it should be."""

    TEXTS = ("reason",)
    reason: Reason
    suggested: UnitId | None = None


class AskCitizen(Step, frozen=True, tag="ASK_CITIZEN"):
    """Ask the citizen for more; the clock stands until they answer, a week at most."""

    TEXTS = ("question",)
    question: Reason


class ResumeWork(Step, frozen=True, tag="RESUME_WORK"):
    """Go on without the citizen's answer."""


class Advise(Step, frozen=True, tag="ADVISE"):
    """Tell the unit in charge what a helping unit found."""

    TEXTS = ("text",)
    text: Text


class RequestExtension(Step, frozen=True, tag="REQUEST_EXTENSION"):
    """Ask the centre for more working days."""

    TEXTS = ("reason",)
    days: Days
    reason: Reason


class GrantExtension(Step, frozen=True, tag="GRANT_EXTENSION"):
    """Grant working days; they may be fewer than were asked for."""

    days: Days


class DenyExtension(Step, frozen=True, tag="DENY_EXTENSION"):
    """Deny the extension that was asked for."""

    TEXTS = ("reason",)
    reason: Reason


class Merge(Step, frozen=True, tag="MERGE"):
    """Let a complaint go on as part of another about the same matter."""

    into: Annotated[str, Meta(min_length=1, max_length=20)]


class Answer(Step, frozen=True, tag="ANSWER"):
    """Answer a matter: what the citizen reads, and what only staff do."""

    TEXTS = ("text", "private_text")
    outcome: Outcome
    text: Text
    private_text: Text | None = None


class PassCheck(Step, frozen=True, tag="PASS_CHECK"):
    """Find an answer good enough for the citizen."""


class FailCheck(Step, frozen=True, tag="FAIL_CHECK"):
    """Send an answer back to the unit."""

    TEXTS = ("reason",)
    reason: Reason


class Rate(Step, frozen=True, tag="RATE"):
    """Rate speed, attitude and result, each from 1 (very bad) to 5 (very good)."""

    TEXTS = ("comment",)
    speed: Grade
    attitude: Grade
    result: Grade
    comment: Reason | None = None


class CallBack(Step, frozen=True, tag="CALL_BACK"):
    """Note what a call to the citizen found."""

    TEXTS = ("note",)
    was_reached: bool
    is_satisfied: bool | None = None
    note: Reason | None = None


class Close(Step, frozen=True, tag="CLOSE"):
    """Close the loop."""


class Reopen(Step, frozen=True, tag="REOPEN"):
    """Say that an answer does not settle the matter; a new limit begins."""

    TEXTS = ("reason",)
    reason: Reason
    limit_days: int
    limit_rule: str


class Supplement(Step, frozen=True, tag="SUPPLEMENT"):
    """Add to a matter; it answers a question that was asked."""

    TEXTS = ("text",)
    text: Text
    media: MediaIds = ()


class Withdraw(Step, frozen=True, tag="WITHDRAW"):
    """Take a matter back."""

    TEXTS = ("reason",)
    reason: Reason | None = None


class Write(Step, frozen=True, tag="WRITE"):
    """Write a message: the citizen to those who handle the matter, or they to the citizen."""

    TEXTS = ("text",)
    text: Text


class Review(Step, frozen=True, tag="REVIEW"):
    """Clear a complaint for the public list under a text without personal data, or withhold it."""

    TEXTS = ("public_text",)
    is_cleared: bool
    public_text: Text | None = None


class Remind(Step, frozen=True, tag="REMIND"):
    """Remind whoever holds a matter that half, or four fifths, of its time have passed."""

    percent: int


class Escalate(Step, frozen=True, tag="ESCALATE"):
    """Tell the unit above that the time has passed."""

    to: UnitId
    level: int


class Erase(Step, frozen=True, tag="ERASE"):
    """Forget who complained and their own words, because they deleted their account.

    `text` is what remains of the matter: the words it began with, without personal data.
    """

    TEXTS = ("text",)
    text: Text


AnyStep = (
    Submit
    | Accept
    | Classify
    | Refuse
    | Dispatch
    | Transfer
    | AnswerDirectly
    | TakeUp
    | Return
    | AskCitizen
    | ResumeWork
    | Advise
    | RequestExtension
    | GrantExtension
    | DenyExtension
    | Merge
    | Answer
    | PassCheck
    | FailCheck
    | Rate
    | CallBack
    | Close
    | Reopen
    | Supplement
    | Withdraw
    | Write
    | Review
    | Remind
    | Escalate
    | Erase
)


def number_of(day: date, sequence: int) -> str:
    """Make a number: the day as yymmdd, six digits or more, a check digit (ISO 7064, MOD 11,10)."""
    digits = f"{day:%y%m%d}{sequence:06}"
    return digits + check_digit(digits)


def check_digit(digits: str) -> str:
    """Give the check digit of decimal digits (ISO/IEC 7064, MOD 11,10)."""
    product = 10
    for digit in digits:
        total = (int(digit) + product) % 10 or 10
        product = total * 2 % 11
    return str((11 - product) % 10)


def check_number(text: str) -> str:
    """Return a complaint's number, typed with blanks or dashes or without, if its check digit is right.

    Raises: ComplaintNotFoundError.
    """
    number = text.replace(" ", "").replace("-", "")
    if not (13 <= len(number) <= 16 and number.isascii() and number.isdigit()):
        raise ComplaintNotFoundError(number=text[:20])
    if check_digit(number[:-1]) != number[-1]:
        raise ComplaintNotFoundError(number=text[:20])
    return number
