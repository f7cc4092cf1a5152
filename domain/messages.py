"""Messages: whom they are for, which states they pass, when a push is tried again. Rules only."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct, field

from domain.errors import DomainError
from domain.message_texts import AnyPayload, BusArriving, PublicWarning

MAX_TOPICS: Final = 64
MAX_DEDUPE_CHARS: Final = 200
MAX_WINDOW: Final = timedelta(days=7)
BUS_LIFE: Final = timedelta(minutes=5)
MAX_ATTEMPTS: Final = 12
FIRST_RETRY_S: Final = 1.0
MAX_RETRY_S: Final = 900.0
CHUNK_DEVICES: Final = 500
FOUR_EYES_FROM: Final = 1_000
"""Campaigns to so many subscribers or more need the approval of a second person."""
URGENT_FOUR_EYES_ABOVE: Final = 100
"""Urgent ones, which wake people up, need it for more subscribers than this."""


class InvalidTopicError(DomainError):
    """A text that is not a topic, or too many topics."""

    code = "INVALID_TOPIC"


class InvalidAudienceError(DomainError):
    """A message is for one account or for topics, never for both or for nobody."""

    code = "INVALID_AUDIENCE"


class InvalidMessageError(DomainError):
    """A message whose key, expiry or window is out of bounds."""

    code = "INVALID_MESSAGE"


class MessageNotFoundError(DomainError):
    """No message has that id."""

    code = "MESSAGE_NOT_FOUND"


class StepNotAllowedError(DomainError):
    """The message is in a state from which this step does not lead anywhere."""

    code = "STEP_NOT_ALLOWED"


class SecondPersonNeededError(DomainError):
    """Whoever composed a campaign cannot approve it."""

    code = "SECOND_PERSON_NEEDED"


class TopicKind(StrEnum):
    """What one can subscribe to."""

    DIVISION = "division"
    STATION = "station"
    ROUTE = "route"
    STOP = "stop"
    ITEM = "item"
    CATEGORY = "category"


_TOPIC = re.compile(rf"(?:{'|'.join(TopicKind)}):[A-Za-z0-9_.\-]{{1,64}}", re.ASCII)


def check_topic(topic: str) -> str:
    """Return a topic, `kind:id`, if it is well-formed.

    Raises: InvalidTopicError.
    """
    if not _TOPIC.fullmatch(topic):
        raise InvalidTopicError(topic=topic[:80])
    return topic


class Audience(Struct, frozen=True, omit_defaults=True):
    """Whom a message is for: one account, or everybody who subscribed to at least one of the topics."""

    account: str | None = None
    topics: tuple[str, ...] = ()

    @classmethod
    def of_account(cls, account: str) -> Audience:
        """Address one account."""
        return cls(account=account)

    @classmethod
    def of_topics(cls, topics: tuple[str, ...]) -> Audience:
        """Address the subscribers of 1 to 64 topics.

        Raises: InvalidTopicError.
        """
        unique = tuple(sorted({check_topic(topic) for topic in topics}))
        if not 1 <= len(unique) <= MAX_TOPICS:
            raise InvalidTopicError(count=len(unique))
        return cls(topics=unique)


class MessageState(StrEnum):
    """Where a message is on its way out."""

    DRAFT = "DRAFT"
    AWAITING_APPROVAL = "AWAITING_APPROVAL"
    SENDING = "SENDING"
    """Inbox rows and deliveries are being written."""
    PAUSED = "PAUSED"
    SENT = "SENT"
    """Every recipient has an inbox row and deliveries, which go out by themselves."""
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"


class Step(StrEnum):
    """What can be done to a message."""

    SUBMIT = "SUBMIT"
    """Ask for the approval by another person."""
    RELEASE = "RELEASE"
    """Send a draft that needs no approval."""
    APPROVE = "APPROVE"
    REJECT = "REJECT"
    PAUSE = "PAUSE"
    RESUME = "RESUME"
    CANCEL = "CANCEL"
    FINISH = "FINISH"
    EXPIRE = "EXPIRE"


_S = MessageState
TRANSITIONS: Final[dict[tuple[MessageState, Step], MessageState]] = {
    (_S.DRAFT, Step.SUBMIT): _S.AWAITING_APPROVAL,
    (_S.DRAFT, Step.RELEASE): _S.SENDING,
    (_S.DRAFT, Step.CANCEL): _S.CANCELLED,
    (_S.AWAITING_APPROVAL, Step.APPROVE): _S.SENDING,
    (_S.AWAITING_APPROVAL, Step.REJECT): _S.DRAFT,
    (_S.AWAITING_APPROVAL, Step.CANCEL): _S.CANCELLED,
    (_S.SENDING, Step.PAUSE): _S.PAUSED,
    (_S.SENDING, Step.CANCEL): _S.CANCELLED,
    (_S.SENDING, Step.FINISH): _S.SENT,
    (_S.SENDING, Step.EXPIRE): _S.EXPIRED,
    (_S.PAUSED, Step.RESUME): _S.SENDING,
    (_S.PAUSED, Step.CANCEL): _S.CANCELLED,
    (_S.PAUSED, Step.EXPIRE): _S.EXPIRED,
    # What is written but not yet handed over can still be held back.
    (_S.SENT, Step.PAUSE): _S.PAUSED,
    (_S.SENT, Step.CANCEL): _S.CANCELLED,
}


def next_state(state: MessageState, step: Step) -> MessageState:
    """Look up where a step leads.

    Raises: StepNotAllowedError.
    """
    found = TRANSITIONS.get((state, step))
    if found is None:
        raise StepNotAllowedError(state=state.value, step=step.value)
    return found


class Campaign(Struct, frozen=True, omit_defaults=True):
    """What a composed broadcast has beside its message: who is behind it, its size, its pace.

    `window_s`: the recipients are spread evenly over that many seconds; 0: as fast as possible.
    """

    composed_by: str
    window_s: Annotated[int, Meta(ge=0, le=int(MAX_WINDOW.total_seconds()))] = 0
    estimate: int = 0
    approved_by: str | None = None
    approved_at: datetime | None = None


class Message(Struct, frozen=True):
    """One message to one account or to the subscribers of topics.

    `dedupe_key` names the event that is told: the same key never makes a second message. A phone shows one of
    several pushes with the same `collapse_key`. Fan-out writes the recipients in `splits` parts of the order
    of their shards; `done` of them are written. `started_at` is when the first part was due.
    """

    id: str
    payload: AnyPayload
    dedupe_key: str
    audience: Audience
    created_at: datetime
    state: MessageState
    urgent: bool = False
    expires_at: datetime | None = None
    collapse_key: str = ""
    campaign: Campaign | None = None
    started_at: datetime | None = None
    splits: int = 0
    done: int = 0
    recipients: int = 0

    @property
    def kind(self) -> str:
        """Name the kind of the payload, by which preferences and unread counts are kept."""
        return str(self.payload.__struct_config__.tag)

    def is_expired(self, now: datetime) -> bool:
        """Tell whether nobody needs the message any more."""
        return self.expires_at is not None and self.expires_at <= now


def new_message(
    id: str,
    payload: AnyPayload,
    audience: Audience,
    dedupe_key: str,
    *,
    now: datetime,
    urgent: bool = False,
    expires_at: datetime | None = None,
    collapse_key: str = "",
    campaign: Campaign | None = None,
) -> Message:
    """Make a message that is ready to be written: a draft when it is a campaign's, else one to be sent.

    A bus alert lives five minutes unless it says otherwise; red and orange warnings are urgent.
    Raises: InvalidAudienceError, InvalidMessageError.
    """
    if (audience.account is None) == (not audience.topics):
        raise InvalidAudienceError()
    if not 0 < len(dedupe_key) <= MAX_DEDUPE_CHARS or len(collapse_key) > MAX_DEDUPE_CHARS:
        raise InvalidMessageError(field="dedupe_key")
    if expires_at is None and isinstance(payload, BusArriving):
        expires_at = now + BUS_LIFE
    if expires_at is not None and expires_at <= now:
        raise InvalidMessageError(field="expires_at")
    if campaign is not None and not 0 <= campaign.window_s <= MAX_WINDOW.total_seconds():
        raise InvalidMessageError(field="window_s")
    warning = isinstance(payload, PublicWarning) and payload.colour in ("ORANGE", "RED")
    return Message(
        id=id,
        payload=msgspec.convert(msgspec.to_builtins(payload), AnyPayload),  # checks the bounds of its texts
        dedupe_key=dedupe_key,
        audience=audience,
        created_at=now,
        state=MessageState.SENDING if campaign is None else MessageState.DRAFT,
        urgent=urgent or warning,
        expires_at=expires_at,
        collapse_key=collapse_key or id,
        campaign=campaign,
    )


def needs_second_person(subscribers: int, *, urgent: bool, four_eyes_from: int = FOUR_EYES_FROM) -> bool:
    """Tell whether somebody else than the author must approve a campaign to so many subscribers.

    An urgent one passes quiet hours and digests, so that fewer people are enough.
    """
    return subscribers >= four_eyes_from or (urgent and subscribers > URGENT_FOUR_EYES_ABOVE)


def due_part(message: Message, now: datetime) -> datetime:
    """Tell when the next part of a message is due: evenly over a campaign's window, else at once."""
    campaign = message.campaign
    if campaign is None or not campaign.window_s or message.started_at is None or not message.splits:
        return now
    return message.started_at + timedelta(seconds=campaign.window_s * message.done / message.splits)


class DeviceState(StrEnum):
    """What became of one message on one device; single letters, because deliveries hold 500 of them."""

    WAITING = "Q"
    RETRY = "R"
    SENT = "S"
    DEAD = "D"
    """The token was dead and is removed, or the device is gone."""
    FAILED = "F"
    """Refused for good, or tried too often: there is a dead letter."""
    EXPIRED = "X"
    HELD = "H"
    """Waits for the end of the citizen's quiet hours or for their digest."""
    DROPPED = "O"
    """The citizen's preferences say no, or the channel's daily limit for them is reached."""
    CANCELLED = "C"


OPEN_STATES: Final = frozenset({DeviceState.WAITING, DeviceState.RETRY, DeviceState.HELD})


class VerdictKind(StrEnum):
    """Whether a push goes out."""

    SEND = "SEND"
    HOLD = "HOLD"
    DROP = "DROP"


class Verdict(Struct, frozen=True):
    """What preferences say about one push: send it, hold it until an instant, or drop it."""

    kind: VerdictKind = VerdictKind.SEND
    until: datetime | None = None


SEND: Final = Verdict()
DROP: Final = Verdict(VerdictKind.DROP)


def retry_delay_s(attempts: int, retry_after_s: float | None, jitter: float) -> float:
    """Compute the seconds until the next try: doubling from 1 s to 15 min, jittered, never sooner than asked.

    `attempts` counts the tries so far, at least 1; `jitter` in [0, 1) takes away up to half.
    """
    base = min(FIRST_RETRY_S * 2.0 ** (attempts - 1), MAX_RETRY_S)
    return max(base * (1 - jitter / 2), (retry_after_s or 0.0) * (1 + jitter / 10))


class Counts(Struct, frozen=True, omit_defaults=True):
    """How many devices of a message are in which state."""

    waiting: int = 0
    retry: int = 0
    sent: int = 0
    dead: int = 0
    failed: int = 0
    expired: int = 0
    held: int = 0
    dropped: int = 0
    cancelled: int = 0

    @property
    def open(self) -> int:
        """Count the devices whose fate is open."""
        return self.waiting + self.retry + self.held

    @property
    def total(self) -> int:
        """Count all devices."""
        return sum(msgspec.structs.astuple(self))


_COUNTED: Final = {state.value: state.name.lower() for state in DeviceState}


def count_states(counts: dict[str, int]) -> Counts:
    """Name the counts of device states that are given by letter."""
    return Counts(**{_COUNTED[letter]: count for letter, count in counts.items() if count})


class Progress(Struct, frozen=True):
    """How far a message has come; `recipients` have an inbox row, `parts_done` of `parts` are written."""

    state: MessageState
    recipients: int = 0
    parts: int = 0
    parts_done: int = 0
    devices: Counts = field(default_factory=Counts)
