"""GraphQL types of messages as citizens see them: inbox, preferences, topics."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

import strawberry

from domain.ids import InvalidNodeIdError, decode_node_id, encode_node_id, time_of
from domain.message_texts import Language
from domain.messages import TopicKind
from domain.preferences import (
    NEVER_COUNTED,
    Digest,
    InvalidQuietHoursError,
    KindChange,
    MessageKind,
    NotificationWay,
    Preferences,
    QuietHours,
    digest_of,
    is_given,
)
from operations.inbox import Entry
from resolvers.mutations import UserError
from resolvers.node import Node, PageInfo, describe_enum
from store.inbox import InboxRow, Place

if TYPE_CHECKING:
    from domain.messages import Message

_CURSOR = "InboxCursor"

describe_enum(
    MessageKind,
    "What a message is about.",
    {
        "APPLICATION_PROGRESS": "An application moved on.",
        "COMPLAINT_STEP": "A request to 12345 took a step.",
        "BUS_ARRIVING": "A bus that the citizen waits for; worthless after five minutes.",
        "AIR_QUALITY": "The air of a place crossed a threshold.",
        "WARNING": "A warning of radiation or weather; orange and red ones are urgent.",
        "AUTHORITY": "News from an authority to those who subscribed.",
        "SYSTEM": "News about the account itself.",
    },
)
describe_enum(
    NotificationWay,
    "A way by which a citizen is told beside the inbox, which is always on.",
    {
        "PUSH": "Notifications of the app; on unless refused.",
        "WECHAT": "Subscribe messages of the mini-program, for which WeChat asks, too; on unless refused.",
        "SMS": "Text messages to the phone of the account with the neutral push text, some a day at most, "
        "where the installation sends any; off unless allowed.",
    },
)
describe_enum(
    Digest,
    "How messages of a kind are told; they are in the inbox at once in any case.",
    {
        "AT_ONCE": "One by one.",
        "DAILY": "Counted, in one notification at 09:00 in Asia/Shanghai.",
        "WEEKLY": "Counted, in one notification on Mondays at 09:00 in Asia/Shanghai.",
    },
)
describe_enum(
    TopicKind,
    "What one can subscribe to.",
    {
        "DIVISION": "A division, by its code of 6 or 9 digits.",
        "STATION": "A monitoring station of air or radiation.",
        "ROUTE": "A bus route.",
        "STOP": "A bus stop.",
        "ITEM": "A service item.",
        "CATEGORY": "A category of service items, by its code of two digits.",
    },
)


def encode_place(place: Place) -> str:
    """Make the cursor of a place."""
    return encode_node_id(_CURSOR, f"{place.position}.{place.message}")


def decode_place(cursor: str) -> Place:
    """Read a cursor. Raises: InvalidNodeIdError."""
    kind, raw = decode_node_id(cursor[:200])
    position, _, message = raw.partition(".")
    if kind != _CURSOR:
        raise InvalidNodeIdError(id=cursor[:80])
    time_of(position)
    time_of(message)
    return Place(position, message)


@strawberry.type(description="One thing that the app needs to open the screen a message is about.")
class MessageReference:
    """A name and an id."""

    name: str = strawberry.field(description="What it is: application, complaint, route, stop, place …")
    id: strawberry.ID = strawberry.field(description="Its raw id.")


@strawberry.type(name="Message", description="A message in the viewer's inbox, worded for them alone.")
class MessageType(Node):
    """Shows an entry of an inbox."""

    kind: MessageKind = strawberry.field(description="What it is about.")
    title: str = strawberry.field(description="Title in the language of the request, at most 60 characters.")
    body: str = strawberry.field(
        description="Text in the language of the request, at most 2,000 characters; may be personal."
    )
    is_urgent: bool = strawberry.field(description="Whether it passed digests and quiet hours.")
    received_at: datetime = strawberry.field(description="When it came into the inbox, UTC.")
    expires_at: datetime | None = strawberry.field(
        description="From when on nobody needs it any more, UTC; null: never."
    )
    read_at: datetime | None = strawberry.field(description="When it was read, UTC; null: unread.")
    archived_at: datetime | None = strawberry.field(
        description="When it was archived, UTC; null: not in the archive."
    )
    references: list[MessageReference] = strawberry.field(description="What it is about, at most 4.")

    @classmethod
    def of(cls, entry: Entry, language: str) -> MessageType:
        """Show an entry in a language."""
        row, message = entry.row, entry.message
        text = message.payload.private(Language(language))
        return cls(
            node_id=strawberry.ID(encode_node_id("Message", message.id)),
            kind=MessageKind(row.kind),
            title=text.title,
            body=text.body,
            is_urgent=message.urgent,
            received_at=row.received_at,
            expires_at=message.expires_at,
            read_at=row.read_at,
            archived_at=row.archived_at,
            references=[
                MessageReference(name=name, id=strawberry.ID(id))
                for name, id in message.payload.data().items()
            ],
        )


@strawberry.type(description="A message in its list.")
class InboxEdge:
    """Relay's edge."""

    cursor: str = strawberry.field(description="Where it stands; for `after`, of `messageReceived` too.")
    node: MessageType = strawberry.field(description="The message.")


@strawberry.type(description="A page of the inbox, newest first.")
class InboxConnection:
    """Relay's connection."""

    edges: list[InboxEdge] = strawberry.field(description="The messages of this page.")
    page_info: PageInfo = strawberry.field(description="Where this page lies.")

    @classmethod
    def of(
        cls, rows: list[InboxRow], entries: Iterable[Entry], first: int, language: str, *, is_later: bool
    ) -> InboxConnection:
        """Make a page of up to `first` of the rows, of which one more may have been read."""
        edges = [
            InboxEdge(cursor=encode_place(entry.row.place), node=MessageType.of(entry, language))
            for entry in entries
        ]
        shown = rows[:first]
        return cls(
            edges=edges,
            page_info=PageInfo(
                has_next_page=len(rows) > first,
                has_previous_page=is_later,
                start_cursor=encode_place(shown[0].place) if shown else None,
                end_cursor=encode_place(shown[-1].place) if shown else None,
            ),
        )


@strawberry.type(description="How many messages of a kind are unread.")
class KindCount:
    """A kind and a count."""

    kind: MessageKind = strawberry.field(description="The kind.")
    count: int = strawberry.field(description="Unread messages outside of the archive, at least 1.")


@strawberry.type(description="Unread messages outside of the archive, among the newest 5,000.")
class UnreadCounts:
    """Counted by the server."""

    total: int = strawberry.field(description="All of them.")
    by_kind: list[KindCount] = strawberry.field(description="By kind; a kind without any is left out.")

    @classmethod
    def of(cls, counts: dict[str, int]) -> UnreadCounts:
        """Show counts, kinds in their fixed order."""
        by_kind = [KindCount(kind=kind, count=counts[kind]) for kind in MessageKind if counts.get(kind)]
        return cls(total=sum(counts.values()), by_kind=by_kind)


@strawberry.type(description="A message just after it came, or one that came while the client was away.")
class ReceivedMessage:
    """An event of `messageReceived`."""

    cursor: str = strawberry.field(description="Keep the newest; it is `after` when subscribing anew.")
    message: MessageType = strawberry.field(description="The message; the same one may come twice.")

    @classmethod
    def of(cls, entry: Entry, language: str) -> ReceivedMessage:
        """Show an entry in a language."""
        return cls(cursor=encode_place(entry.row.place), message=MessageType.of(entry, language))

    @classmethod
    def new(cls, message: Message, position: str, language: str) -> ReceivedMessage:
        """Show a message that has just been written to an inbox, hence neither read nor archived."""
        return cls.of(Entry(InboxRow(message.id, message.kind, position), message), language)


# --- preferences ------------------------------------------------------------------------------------------


@strawberry.type(description="Whether messages of one kind may go out on one way, and since when.")
class Consent:
    """One consent of its own."""

    way: NotificationWay = strawberry.field(description="The way.")
    is_given: bool = strawberry.field(description="Whether it is used.")
    decided_at: datetime | None = strawberry.field(
        description="When the citizen said so, UTC; null: they never did, and it is as for everybody."
    )


@strawberry.type(description="What the viewer wants for one kind of messages.")
class KindPreference:
    """A kind's digest and consents."""

    kind: MessageKind = strawberry.field(description="The kind.")
    digest: Digest = strawberry.field(description="One by one, or counted.")
    can_be_counted: bool = strawberry.field(description="Whether the kind can be told by digests at all.")
    consents: list[Consent] = strawberry.field(description="One for each way.")


@strawberry.type(description="From one time of the day until before another; over midnight if it ends first.")
class QuietHoursType:
    """Times of Asia/Shanghai."""

    start: str = strawberry.field(description="HH:MM in Asia/Shanghai.")
    end: str = strawberry.field(description="HH:MM in Asia/Shanghai; what was held goes out then.")


@strawberry.type(name="NotificationPreferences", description="How the viewer wants to be told.")
class PreferencesType:
    """All preferences of one account."""

    version: int = strawberry.field(
        description="Counts the changes; hand it in as `expectedVersion`. 0: nothing was ever changed."
    )
    updated_at: datetime | None = strawberry.field(description="When it was changed last, UTC; null: never.")
    quiet_hours: QuietHoursType | None = strawberry.field(
        description="When only urgent messages are told, the others right after; null: at no time."
    )
    kinds: list[KindPreference] = strawberry.field(description="One for each kind.")

    @classmethod
    def of(cls, preferences: Preferences) -> PreferencesType:
        """Show preferences, with what was never said as it is for everybody."""
        hours = preferences.quiet_hours
        return cls(
            version=preferences.version,
            updated_at=preferences.updated_at,
            quiet_hours=QuietHoursType(start=_clock(hours.start), end=_clock(hours.end)) if hours else None,
            kinds=[_kind(preferences, kind) for kind in MessageKind],
        )


def _kind(preferences: Preferences, kind: MessageKind) -> KindPreference:
    said = preferences.consents.get(kind, {})
    consents = [
        Consent(
            way=way,
            is_given=is_given(preferences, kind, way),
            decided_at=said[way].at if way in said else None,
        )
        for way in NotificationWay
    ]
    return KindPreference(
        kind=kind,
        digest=digest_of(preferences, kind),
        can_be_counted=kind not in NEVER_COUNTED,
        consents=consents,
    )


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def _minute(text: str) -> int:
    hours, colon, minutes = text[:6].partition(":")
    plain = colon and len(hours) == len(minutes) == 2 and f"{hours}{minutes}".isascii()
    if not (plain and hours.isdigit() and minutes.isdigit() and int(hours) < 24 and int(minutes) < 60):
        raise InvalidQuietHoursError(field="quietHours")
    return int(hours) * 60 + int(minutes)


@strawberry.input(description="Quiet hours; over midnight when they end before they start.")
class QuietHoursInput:
    """Times of Asia/Shanghai."""

    start: str = strawberry.field(description="HH:MM in Asia/Shanghai.")
    end: str = strawberry.field(description="HH:MM in Asia/Shanghai, another time than the start.")

    def read(self) -> QuietHours:
        """Read the times. Raises: InvalidQuietHoursError."""
        return QuietHours(_minute(self.start), _minute(self.end))


@strawberry.input(description="What is to change about one kind; null leaves as it is.")
class KindPreferenceInput:
    """Part of updateNotificationPreferences."""

    kind: MessageKind = strawberry.field(description="The kind.")
    digest: Digest | None = strawberry.field(default=None, description="One by one, or counted.")
    push: bool | None = strawberry.field(default=None, description="Whether the app may notify.")
    wechat: bool | None = strawberry.field(default=None, description="Whether the mini-program may.")
    sms: bool | None = strawberry.field(default=None, description="Whether text messages may be sent.")

    def read(self) -> KindChange:
        """Give what is to change."""
        said = {
            NotificationWay.PUSH: self.push,
            NotificationWay.WECHAT: self.wechat,
            NotificationWay.SMS: self.sms,
        }
        return KindChange(
            self.kind, {way: given for way, given in said.items() if given is not None}, self.digest
        )


@strawberry.input(description="Changes to the preferences as they were at a version.")
class UpdatePreferencesInput:
    """Of updateNotificationPreferences."""

    expected_version: int = strawberry.field(description="The version that the citizen saw.")
    kinds: list[KindPreferenceInput] = strawberry.field(
        default_factory=list, description="What is to change by kind, at most 20."
    )
    quiet_hours: QuietHoursInput | None = strawberry.field(
        default=strawberry.UNSET, description="New quiet hours; null takes them away; left out: unchanged."
    )


@strawberry.type(description="Result of updateNotificationPreferences.")
class PreferencesPayload:
    """The preferences, or why they are as they were."""

    preferences: PreferencesType = strawberry.field(description="As they are now, changed or not.")
    user_errors: list[UserError] = strawberry.field(description="Why nothing was changed.")


# --- changes to the inbox and topics ----------------------------------------------------------------------


@strawberry.input(description="Which messages are read: either ids, or everything up to a cursor.")
class MarkReadInput:
    """Of markMessagesRead."""

    ids: list[strawberry.ID] | None = strawberry.field(default=None, description="1 to 100 messages.")
    all_until: str | None = strawberry.field(
        default=None, description="Cursor of the last message that the citizen saw, with all before it."
    )


@strawberry.input(description="Which messages go where.")
class ArchiveMessagesInput:
    """Of archiveMessages."""

    ids: list[strawberry.ID] = strawberry.field(description="1 to 100 messages.")
    archived: bool = strawberry.field(default=True, description="False: out of the archive again.")


@strawberry.input(description="Which messages.")
class DeleteMessagesInput:
    """Of deleteMessages."""

    ids: list[strawberry.ID] = strawberry.field(description="1 to 100 messages.")


@strawberry.type(description="Result of a change to the inbox.")
class InboxPayload:
    """How many were changed, or why none was."""

    changed_count: int = strawberry.field(description="Messages that are otherwise than before.")
    unread: UnreadCounts = strawberry.field(description="Unread messages now.")
    user_errors: list[UserError] = strawberry.field(description="Why nothing was changed.")


@strawberry.input(description="A topic.")
class TopicInput:
    """Of subscribeToTopic and unsubscribeFromTopic."""

    kind: TopicKind = strawberry.field(description="What it is.")
    id: strawberry.ID = strawberry.field(
        description="Code or id, 1 to 64 letters, digits, _ . or -; or the catalogue's global id."
    )


@strawberry.type(description="Something that the viewer subscribed to.")
class Topic:
    """A topic with its name."""

    kind: TopicKind = strawberry.field(description="What it is.")
    id: strawberry.ID = strawberry.field(description="Its code or raw id.")
    name: str | None = strawberry.field(
        description="What it is called; null when it is not of the catalogue, or gone from it."
    )


@strawberry.type(description="Result of subscribeToTopic and unsubscribeFromTopic.")
class TopicsPayload:
    """All topics, or why nothing was changed."""

    topics: list[Topic] = strawberry.field(description="All of the viewer's topics now, at most 200.")
    user_errors: list[UserError] = strawberry.field(description="Why nothing was changed.")
