"""Messages in GraphQL: the viewer's inbox, preferences and topics, and what comes live."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from typing import Annotated, Final

import msgspec
import strawberry
from msgspec import Struct
from strawberry.permission import BasePermission
from strawberry.types import Info

from domain.access import SIGNED_IN
from domain.ids import raw_id_of
from domain.message_texts import Language
from domain.messages import TopicKind
from domain.preferences import MessageKind, Preferences
from loaders.catalogue_search import check_first
from notifications.live import Closed, ListenerClosedError, account_topic
from operations import inbox as operations
from operations.inbox import InvalidSelectionError, Messages
from operations.preferences import KEEP, update_preferences
from resolvers.access import allow, viewer_of
from resolvers.context import Context
from resolvers.live import shared
from resolvers.messages_types import (
    ArchiveMessagesInput,
    DeleteMessagesInput,
    InboxConnection,
    InboxPayload,
    MarkReadInput,
    MessageType,
    PreferencesPayload,
    PreferencesType,
    ReceivedMessage,
    Topic,
    TopicInput,
    TopicsPayload,
    UnreadCounts,
    UpdatePreferencesInput,
    decode_place,
)
from resolvers.mutations import refusable
from resolvers.topics import is_known_topic, raw_topic_id, show_topic
from store.inbox import Place, place_at

_SIGNED_IN: list[type[BasePermission]] = [allow(*SIGNED_IN)]
_MOST_KINDS: Final = 20
_MOST_REMEMBERED: Final = 1_000
_MAX_IDS_READ: Final = operations.MAX_IDS + 1


def messages_of(info: Info[Context, None]) -> Messages:
    """Give what messages need. Raises: RuntimeError where this process keeps none."""
    messages = info.context.stores.messages
    if messages is None:
        raise RuntimeError("this process keeps no messages")
    return messages


def raw_message_id(id: str) -> str:
    """Give the raw id of a message, of which pushes speak, behind any id that a client has."""
    return raw_id_of("Message", id[:200])


def _raw_ids(ids: list[strawberry.ID]) -> list[str]:
    # One more than allowed is enough to be refused.
    return [raw_message_id(id) for id in ids[:_MAX_IDS_READ]]


@strawberry.type
class ViewerMessages:
    """The messages' part of Viewer."""

    @strawberry.field(
        description="The viewer's messages, newest first; kept for a year unless the installation says else.",
        permission_classes=_SIGNED_IN,
    )
    async def inbox(
        self,
        info: Info[Context, None],
        first: Annotated[int, strawberry.argument(description="How many, 1 to 100.")] = 20,
        after: Annotated[
            str | None,
            strawberry.argument(description="Cursor of the last message seen; null for the first page."),
        ] = None,
        kind: Annotated[
            MessageKind | None, strawberry.argument(description="Only this kind; null for all.")
        ] = None,
        archived: Annotated[
            bool, strawberry.argument(description="The archive instead of the inbox proper.")
        ] = False,
    ) -> InboxConnection:
        """Page through the inbox. Raises: InvalidPageSizeError, InvalidNodeIdError."""
        check_first(first)
        before = None if after is None else decode_place(after)
        messages, account = messages_of(info), viewer_of(info).account_id
        rows = await operations.list_inbox(
            messages,
            account,
            first + 1,
            before,
            kind=None if kind is None else kind.value,
            archived=archived,
        )
        entries = await operations.with_messages(messages, rows[:first])
        return InboxConnection.of(rows, entries, first, info.context.language, is_later=after is not None)

    @strawberry.field(
        description="One message of the viewer's; null, with MESSAGE_NOT_FOUND, for everybody else's.",
        permission_classes=_SIGNED_IN,
    )
    async def message(
        self,
        info: Info[Context, None],
        id: Annotated[
            strawberry.ID, strawberry.argument(description="Global id, or the raw id that a push carries.")
        ],
    ) -> MessageType | None:
        """Find a message. Raises: MessageNotFoundError."""
        account = viewer_of(info).account_id
        entry = await operations.get_entry(messages_of(info), account, raw_message_id(id))
        return MessageType.of(entry, info.context.language)

    @strawberry.field(description="How many messages are unread.", permission_classes=_SIGNED_IN)
    async def unread(self, info: Info[Context, None]) -> UnreadCounts:
        """Count unread messages."""
        return await _unread(info)

    @strawberry.field(description="How the viewer wants to be told.", permission_classes=_SIGNED_IN)
    async def notification_preferences(self, info: Info[Context, None]) -> PreferencesType:
        """Read the preferences."""
        return PreferencesType.of(await messages_of(info).preferences.get(viewer_of(info).account_id))

    @strawberry.field(
        description="What the viewer subscribed to, at most 200 topics.",
        permission_classes=_SIGNED_IN,
        metadata={"list_size": 50},
    )
    async def topics(self, info: Info[Context, None]) -> list[Topic]:
        """List the topics."""
        return await _topics(info)


async def _unread(info: Info[Context, None]) -> UnreadCounts:
    account = viewer_of(info).account_id
    return UnreadCounts.of(await messages_of(info).inbox.count_unread(account))


async def _topics(info: Info[Context, None]) -> list[Topic]:
    topics = await messages_of(info).subscriptions.list_topics(viewer_of(info).account_id)
    return [show_topic(info, topic) for topic in topics]


async def _inbox_payload(info: Info[Context, None], work: Awaitable[int]) -> InboxPayload:
    count, errors = await refusable(work, info.context.word)
    return InboxPayload(changed_count=count or 0, unread=await _unread(info), user_errors=errors)


async def _topics_payload(info: Info[Context, None], work: Awaitable[list[str]]) -> TopicsPayload:
    _, errors = await refusable(work, info.context.word)
    return TopicsPayload(topics=await _topics(info), user_errors=errors)


@strawberry.type
class MessagesMutation:
    """The messages' part of Mutation: what citizens change."""

    @strawberry.mutation(
        description="Mark messages as read; one that is not the viewer's changes nothing at all.",
        permission_classes=_SIGNED_IN,
    )
    async def mark_messages_read(
        self,
        info: Info[Context, None],
        input: Annotated[MarkReadInput, strawberry.argument(description="Which.")],
    ) -> InboxPayload:
        """Run `mark_read` or `mark_all_read`."""
        return await _inbox_payload(info, _mark_read(info, input))

    @strawberry.mutation(
        description="Put messages into the archive, or take them out of it.", permission_classes=_SIGNED_IN
    )
    async def archive_messages(
        self,
        info: Info[Context, None],
        input: Annotated[ArchiveMessagesInput, strawberry.argument(description="Which, and where.")],
    ) -> InboxPayload:
        """Run `archive`."""
        account, ids = viewer_of(info).account_id, _raw_ids(input.ids)
        work = operations.archive(
            messages_of(info), account, ids, archived=input.archived, now=info.context.now
        )
        return await _inbox_payload(info, work)

    @strawberry.mutation(
        description="Delete messages for good; what has not been sent of them is not sent any more.",
        permission_classes=_SIGNED_IN,
    )
    async def delete_messages(
        self,
        info: Info[Context, None],
        input: Annotated[DeleteMessagesInput, strawberry.argument(description="Which.")],
    ) -> InboxPayload:
        """Run `delete`."""
        account, ids = viewer_of(info).account_id, _raw_ids(input.ids)
        return await _inbox_payload(info, operations.delete(messages_of(info), account, ids))

    @strawberry.mutation(
        description="Change how the viewer is told, from the version that they saw. PREFERENCES_CONFLICT: it "
        "was changed meanwhile, and nothing is changed now; the payload has what there is.",
        permission_classes=_SIGNED_IN,
    )
    async def update_notification_preferences(
        self,
        info: Info[Context, None],
        input: Annotated[UpdatePreferencesInput, strawberry.argument(description="The changes.")],
    ) -> PreferencesPayload:
        """Run `update_preferences`."""
        store, account = messages_of(info).preferences, viewer_of(info).account_id
        saved, errors = await refusable(_update(info, input), info.context.word)
        preferences = saved if saved is not None else await store.get(account)
        return PreferencesPayload(preferences=PreferencesType.of(preferences), user_errors=errors)

    @strawberry.mutation(
        description="Subscribe to a topic; again is no error. At most 200.", permission_classes=_SIGNED_IN
    )
    async def subscribe_to_topic(
        self,
        info: Info[Context, None],
        input: Annotated[TopicInput, strawberry.argument(description="The topic.")],
    ) -> TopicsPayload:
        """Run `subscribe`."""

        def is_known(kind: TopicKind, id: str) -> bool:
            return is_known_topic(info, kind, id)

        id = raw_topic_id(input.kind, input.id)
        work = operations.subscribe(
            messages_of(info), viewer_of(info).account_id, input.kind, id, is_known=is_known
        )
        return await _topics_payload(info, work)

    @strawberry.mutation(
        description="End a subscription; one that there is not is no error.", permission_classes=_SIGNED_IN
    )
    async def unsubscribe_from_topic(
        self,
        info: Info[Context, None],
        input: Annotated[TopicInput, strawberry.argument(description="The topic.")],
    ) -> TopicsPayload:
        """Run `unsubscribe`."""
        id = raw_topic_id(input.kind, input.id)
        work = operations.unsubscribe(messages_of(info), viewer_of(info).account_id, input.kind, id)
        return await _topics_payload(info, work)


async def _mark_read(info: Info[Context, None], input: MarkReadInput) -> int:
    messages, account, now = messages_of(info), viewer_of(info).account_id, info.context.now
    if (input.ids is None) == (input.all_until is None):
        raise InvalidSelectionError(field="ids")
    if input.ids is not None:
        return await operations.mark_read(messages, account, _raw_ids(input.ids), now=now)
    last = decode_place(input.all_until or "")
    return await operations.mark_all_read(messages, account, last, now=now)


async def _update(info: Info[Context, None], input: UpdatePreferencesInput) -> Preferences:
    if len(input.kinds) > _MOST_KINDS:
        raise InvalidSelectionError(field="kinds")
    hours = input.quiet_hours
    return await update_preferences(
        messages_of(info).preferences,
        viewer_of(info).account_id,
        [change.read() for change in input.kinds],
        KEEP if hours is strawberry.UNSET else None if hours is None else hours.read(),
        expected_version=input.expected_version,
        language=Language(info.context.language),
        now=info.context.now,
    )


# --- live -------------------------------------------------------------------------------------------------


class _Event(Struct, frozen=True):
    """What a live event names: a message, and the position of its rows."""

    message: str
    position: str


_read_event = msgspec.json.Decoder(_Event).decode


@strawberry.type
class MessagesSubscription:
    """The messages' part of Subscription."""

    @strawberry.subscription(
        description="Every message of the viewer's as it comes. With `after`, first what came since two "
        "minutes before that cursor: at least once, so tell messages apart by their id.",
        permission_classes=_SIGNED_IN,
    )
    async def message_received(
        self,
        info: Info[Context, None],
        after: Annotated[
            str | None,
            strawberry.argument(description="The newest cursor seen; null: only what comes from now on."),
        ] = None,
    ) -> AsyncIterator[ReceivedMessage]:
        """Follow the inbox. Raises: InvalidNodeIdError, ListenerClosedError."""
        context, account = info.context, viewer_of(info).account_id
        reader = _Reader(messages_of(info), account, context.language)
        reads_on = after is not None
        if after is not None:
            reader.place = decode_place(after)
        else:
            reader.place = place_at(context.now)
        while True:
            # Listen first, then read: nothing falls between the two.
            async with context.live.listen([account_topic(account)]) as events:
                if reads_on:
                    async for entry in operations.entries_after(reader.messages, account, reader.place):
                        if reader.take(entry.row.place):
                            yield ReceivedMessage.of(entry, context.language)
                try:
                    async for event in events:
                        received = await reader.receive(event.body)
                        if received is not None:
                            yield received
                except ListenerClosedError as closed:
                    if closed.reason is not Closed.GAP:
                        raise
                reads_on = True


class _Reader:
    """Where one subscriber has come to, and the messages it had lately."""

    __slots__ = ("_account", "_had", "_language", "messages", "place")

    def __init__(self, messages: Messages, account: str, language: str) -> None:
        self.messages = messages
        self.place = Place("", "")
        self._account = account
        self._language = language
        self._had: dict[str, None] = {}

    def take(self, place: Place) -> bool:
        """Note that a message goes out; False when it did lately."""
        if (place.position, place.message) > (self.place.position, self.place.message):
            self.place = place
        if place.message in self._had:
            return False
        self._had[place.message] = None
        if len(self._had) > _MOST_REMEMBERED:
            del self._had[next(iter(self._had))]
        return True

    async def receive(self, body: bytes) -> ReceivedMessage | None:
        """Give what an event is about: for a broadcast the same for all, executed once."""
        event = _read_event(body)
        message = await self.messages.recent.find(event.message)
        if message is None or message.audience.account not in (None, self._account):
            return None
        if not self.take(Place(event.position, message.id)):
            return None
        received = ReceivedMessage.new(message, event.position, self._language)
        if message.audience.account is not None:
            return received
        return shared(received, ("message", message.id, event.position))
