"""GraphQL types of broadcasts and dead letters, for staff."""

from __future__ import annotations

from datetime import datetime

import strawberry

from domain.ids import encode_node_id
from domain.message_texts import (
    AuthorityNotice,
    Hazard,
    Language,
    Payload,
    PublicWarning,
    WarningColour,
)
from domain.messages import InvalidMessageError, Message, MessageState, Progress
from domain.preferences import MessageKind
from operations.broadcasts import Content
from resolvers.messages_types import Topic, TopicInput
from resolvers.mutations import UserError
from resolvers.node import Node, PageInfo, describe_enum
from store.deliveries import DeadLetter

describe_enum(
    MessageState,
    "Where a message is on its way out.",
    {
        "DRAFT": "Composed; nothing is sent.",
        "AWAITING_APPROVAL": "Waits for another person's approval.",
        "SENDING": "Inbox by inbox is being written.",
        "PAUSED": "Held back.",
        "SENT": "In every inbox; notifications go out by themselves.",
        "CANCELLED": "Stopped for good.",
        "EXPIRED": "Nobody needs it any more.",
    },
)
describe_enum(
    Hazard,
    "What a warning is about.",
    {
        "RADIATION": "Radiation in the environment.",
        "TYPHOON": "Typhoon.",
        "RAINSTORM": "Rainstorm.",
        "GALE": "Gale.",
        "HEAT": "Heat.",
        "COLD": "Cold wave.",
        "THUNDERSTORM": "Thunderstorm.",
        "FOG": "Fog.",
        "FLOOD": "Flood.",
        "GEOLOGICAL": "Landslides and the like.",
    },
)
describe_enum(
    WarningColour,
    "How grave a warning is.",
    {
        "BLUE": "The mildest.",
        "YELLOW": "The second.",
        "ORANGE": "The third; passes digests and quiet hours.",
        "RED": "The gravest; passes digests and quiet hours.",
    },
)


@strawberry.type(description="What a broadcast says in one language.")
class BroadcastPreview:
    """Public and private text."""

    language: str = strawberry.field(description="zh or en.")
    public_title: str = strawberry.field(description="Title of the notification on a locked screen.")
    public_body: str = strawberry.field(description="Text of the notification on a locked screen.")
    private_title: str = strawberry.field(description="Title inside the app.")
    private_body: str = strawberry.field(description="Text inside the app.")

    @classmethod
    def of(cls, payload: Payload, language: Language) -> BroadcastPreview:
        """Word a payload."""
        public, private = payload.public(language), payload.private(language)
        return cls(
            language=language.value,
            public_title=public.title,
            public_body=public.body,
            private_title=private.title,
            private_body=private.body,
        )


@strawberry.type(description="A message to the subscribers of topics, composed by staff.")
class Broadcast(Node):
    """Shows a campaign."""

    kind: MessageKind = strawberry.field(description="What it is about.")
    state: MessageState = strawberry.field(description="Where it is on its way out.")
    is_urgent: bool = strawberry.field(description="Whether it passes digests and quiet hours.")
    topics: list[Topic] = strawberry.field(description="Whose subscribers are told, 1 to 64.")
    texts: list[BroadcastPreview] = strawberry.field(description="What it says, in both languages.")
    created_at: datetime = strawberry.field(description="When it was composed, UTC.")
    is_own: bool = strawberry.field(description="Whether the viewer composed it, and cannot approve it.")
    approved_at: datetime | None = strawberry.field(
        description="When another person approved it, UTC; null: not yet, or not needed."
    )
    started_at: datetime | None = strawberry.field(
        description="When its first inbox was due, UTC; null: not yet."
    )
    expires_at: datetime | None = strawberry.field(
        description="From when on nothing of it is sent, UTC; null: never."
    )
    window_s: int = strawberry.field(description="Seconds over which it is spread; 0: as fast as possible.")
    estimated_count: int = strawberry.field(description="Subscriptions when it was composed or submitted.")
    recipient_count: int = strawberry.field(description="Inboxes that have it so far.")
    parts_total: int = strawberry.field(description="Parts that it is written in; 0: not begun.")
    parts_done: int = strawberry.field(description="Parts that are written.")

    @classmethod
    def of(cls, message: Message, topics: list[Topic], account: str) -> Broadcast:
        """Show a campaign to a member of staff."""
        campaign = message.campaign
        return cls(
            node_id=strawberry.ID(encode_node_id("Broadcast", message.id)),
            kind=MessageKind(message.kind),
            state=message.state,
            is_urgent=message.urgent,
            topics=topics,
            texts=[BroadcastPreview.of(message.payload, language) for language in Language],
            created_at=message.created_at,
            is_own=campaign is not None and campaign.composed_by == account,
            approved_at=campaign.approved_at if campaign else None,
            started_at=message.started_at,
            expires_at=message.expires_at,
            window_s=campaign.window_s if campaign else 0,
            estimated_count=campaign.estimate if campaign else 0,
            recipient_count=message.recipients,
            parts_total=message.splits,
            parts_done=message.done,
        )


@strawberry.type(description="A broadcast in its list.")
class BroadcastEdge:
    """Relay's edge."""

    cursor: str = strawberry.field(description="Where it stands; for `after`.")
    node: Broadcast = strawberry.field(description="The broadcast.")


@strawberry.type(description="A page of broadcasts, newest first.")
class BroadcastConnection:
    """Relay's connection."""

    edges: list[BroadcastEdge] = strawberry.field(description="The broadcasts of this page.")
    page_info: PageInfo = strawberry.field(description="Where this page lies.")


@strawberry.type(description="How far a broadcast has come; devices, not people.")
class BroadcastProgress:
    """Counts of one moment."""

    state: MessageState = strawberry.field(description="Where it is on its way out.")
    recipient_count: int = strawberry.field(description="Inboxes that have it.")
    parts_total: int = strawberry.field(description="Parts that it is written in; 0: not begun.")
    parts_done: int = strawberry.field(description="Parts that are written.")
    waiting: int = strawberry.field(description="Not sent yet.")
    retrying: int = strawberry.field(description="Failed for now, to be tried again.")
    held: int = strawberry.field(description="Wait for the end of their citizens' quiet hours.")
    sent: int = strawberry.field(description="Taken by the channel.")
    dead: int = strawberry.field(description="Gone, and removed.")
    failed: int = strawberry.field(description="Failed for good: dead letters.")
    expired: int = strawberry.field(description="Not sent in time.")
    dropped: int = strawberry.field(description="Refused, or counted in a digest, by their citizens.")
    cancelled: int = strawberry.field(description="Stopped before they were sent.")

    @classmethod
    def of(cls, progress: Progress) -> BroadcastProgress:
        """Show counts."""
        devices = progress.devices
        return cls(
            state=progress.state,
            recipient_count=progress.recipients,
            parts_total=progress.parts,
            parts_done=progress.parts_done,
            waiting=devices.waiting,
            retrying=devices.retry,
            held=devices.held,
            sent=devices.sent,
            dead=devices.dead,
            failed=devices.failed,
            expired=devices.expired,
            dropped=devices.dropped,
            cancelled=devices.cancelled,
        )


@strawberry.type(description="How many would get a broadcast.")
class AudienceEstimate:
    """An estimate from above."""

    subscription_count: int = strawberry.field(
        description="Subscriptions to the topics; who subscribed to several is counted several times."
    )
    needs_approval: bool = strawberry.field(
        description="Whether another person must approve: from 1,000 subscribers on, urgent ones above 100."
    )


@strawberry.type(name="DeadLetter", description="A notification that failed for good.")
class DeadLetterType:
    """Says why; whose it was stays unsaid."""

    message_id: strawberry.ID = strawberry.field(description="Global id of the message.")
    channel: str = strawberry.field(description="By which channel: fcm or wechat.")
    reason: str = strawberry.field(description="What the provider said last.")
    attempts: int = strawberry.field(description="How often it was tried.")
    failed_at: datetime = strawberry.field(description="When it was given up, UTC.")

    @classmethod
    def of(cls, letter: DeadLetter) -> DeadLetterType:
        """Show a dead letter."""
        return cls(
            message_id=strawberry.ID(encode_node_id("Message", letter.message)),
            channel=letter.channel,
            reason=letter.reason,
            attempts=letter.attempts,
            failed_at=letter.failed_at,
        )


@strawberry.type(description="A dead letter in its list.")
class DeadLetterEdge:
    """Relay's edge."""

    cursor: str = strawberry.field(description="Where it stands; for `after`.")
    node: DeadLetterType = strawberry.field(description="The dead letter.")


@strawberry.type(description="A page of dead letters.")
class DeadLetterConnection:
    """Relay's connection."""

    edges: list[DeadLetterEdge] = strawberry.field(description="The dead letters of this page.")
    page_info: PageInfo = strawberry.field(description="Where this page lies.")


# --- input ------------------------------------------------------------------------------------------------


@strawberry.input(description="What an authority tells; English falls back to Chinese where it is null.")
class NoticeInput:
    """Of AuthorityNotice."""

    authority: str = strawberry.field(description="Who tells it, at most 80 characters.")
    title: str = strawberry.field(description="Chinese title, at most 40 characters; public.")
    summary: str = strawberry.field(description="Chinese text for locked screens, at most 150 characters.")
    body: str = strawberry.field(description="Chinese text inside the app, at most 1,800 characters.")
    title_en: str | None = strawberry.field(default=None, description="English title, as the Chinese one.")
    summary_en: str | None = strawberry.field(
        default=None, description="English summary, as the Chinese one."
    )
    body_en: str | None = strawberry.field(default=None, description="English body, as the Chinese one.")


@strawberry.input(description="A public warning; the system words it in both languages.")
class WarningInput:
    """Of PublicWarning."""

    warning_id: strawberry.ID = strawberry.field(description="Its issuer's id, at most 128 characters.")
    hazard: Hazard = strawberry.field(description="What it is about.")
    colour: WarningColour = strawberry.field(description="How grave it is; orange and red are urgent.")
    place_name: str = strawberry.field(description="Where, at most 80 characters.")
    issuer: str = strawberry.field(description="Who issued it, at most 80 characters.")
    advice: str | None = strawberry.field(default=None, description="What to do, at most 150 characters.")


@strawberry.input(description="What a broadcast says: exactly one of these.")
class BroadcastContentInput:
    """One of the contents."""

    notice: NoticeInput | None = strawberry.field(default=None, description="News of an authority.")
    warning: WarningInput | None = strawberry.field(default=None, description="A public warning.")

    def read(self) -> Content:
        """Give the payload, its bounds not checked yet. Raises: InvalidMessageError."""
        if (self.notice is None) == (self.warning is None):
            raise InvalidMessageError(field="content")
        if self.notice is not None:
            return AuthorityNotice(**vars(self.notice))
        return PublicWarning(**vars(self.warning))


@strawberry.input(description="The subscribers of any of these.")
class TopicsInput:
    """1 to 64 topics."""

    topics: list[TopicInput] = strawberry.field(description="1 to 64 topics.")


@strawberry.input(description="A broadcast to be.")
class ComposeBroadcastInput:
    """Of composeBroadcast."""

    content: BroadcastContentInput = strawberry.field(description="What it says.")
    topics: list[TopicInput] = strawberry.field(
        description="Whose subscribers are told, 1 to 64; for staff divisions and items of their division."
    )
    is_urgent: bool = strawberry.field(
        default=False, description="Whether it passes digests and quiet hours."
    )
    expires_at: datetime | None = strawberry.field(
        default=None, description="From when on nothing of it is sent, with an offset; null: never."
    )
    window_s: int = strawberry.field(
        default=0, description="Seconds over which it is spread, 0 to 604,800; 0: as fast as possible."
    )
    idempotency_key: str = strawberry.field(
        description="1 to 64 characters; the same one gives the broadcast that was composed first."
    )


@strawberry.input(description="Which broadcast.")
class BroadcastInput:
    """Of the steps of a broadcast."""

    id: strawberry.ID = strawberry.field(description="Global id of the broadcast.")


@strawberry.input(description="Which dead letters.")
class ReplayDeadLettersInput:
    """Of replayDeadLetters."""

    message_id: strawberry.ID | None = strawberry.field(
        default=None, description="Those of this message or broadcast; null: all."
    )


@strawberry.type(description="Result of a step of a broadcast.")
class BroadcastPayload:
    """The broadcast, or why nothing was done."""

    broadcast: Broadcast | None = strawberry.field(description="As it is now; null when refused.")
    user_errors: list[UserError] = strawberry.field(description="Why nothing was done.")


@strawberry.type(description="Result of replayDeadLetters.")
class ReplayPayload:
    """How many are tried again."""

    replayed_count: int = strawberry.field(description="Notifications that wait again.")
    left_count: int = strawberry.field(
        description="Those that could not: just being sent, or forgotten meanwhile."
    )
    user_errors: list[UserError] = strawberry.field(description="Why nothing was done.")
