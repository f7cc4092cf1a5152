"""What a citizen does with their inbox and their topics; what there is for somebody who was away."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from domain.errors import DomainError
from domain.messages import Message, MessageNotFoundError, TopicKind, check_topic
from notifications.outbox import Outbox
from notifications.recent import RecentMessages
from store.account_messages import AccountMessages
from store.deliveries import DeliveryStore
from store.inbox import InboxRow, InboxStore, Place, place_at
from store.preferences import PreferenceStore
from store.subscriptions import SubscriptionStore

MAX_IDS: Final = 100
OVERLAP: Final = timedelta(minutes=2)
"""So long before its cursor a client reads on: rows are not always seen in the order of their positions."""
_PAGE: Final = 100


class Messages(Struct, frozen=True):
    """What messages need; `channels` are the names by which deliveries are counted."""

    outbox: Outbox
    recent: RecentMessages
    inbox: InboxStore
    own: AccountMessages
    deliveries: DeliveryStore
    subscriptions: SubscriptionStore
    preferences: PreferenceStore
    channels: tuple[str, ...]


class TooManyMessagesError(DomainError):
    """One call changes 1 to 100 messages."""

    code = "TOO_MANY_MESSAGES"


class InvalidSelectionError(DomainError):
    """Messages are named by their ids or by a cursor: by one of them."""

    code = "INVALID_SELECTION"


class UnknownTopicError(DomainError):
    """The catalogue knows no division, item or category of this id."""

    code = "UNKNOWN_TOPIC"


class Entry(Struct, frozen=True):
    """A row of an inbox and what it is about."""

    row: InboxRow
    message: Message


# --- reading ----------------------------------------------------------------------------------------------


async def list_inbox(
    messages: Messages,
    account: str,
    first: int,
    before: Place | None = None,
    *,
    kind: str | None = None,
    archived: bool = False,
) -> list[InboxRow]:
    """List at most `first` rows of an account, newest first, those behind the place `before`."""
    return await messages.inbox.list_newest(account, first, before, kind=kind, archived=archived)


async def with_messages(messages: Messages, rows: Sequence[InboxRow]) -> list[Entry]:
    """Give rows with what they are about, in one batch; a row whose message is gone is left out."""
    found = await messages.outbox.messages.list_by_ids([row.message for row in rows])
    return [Entry(row, found[row.message]) for row in rows if row.message in found]


async def get_entry(messages: Messages, account: str, message_id: str) -> Entry:
    """Give one message of an account.

    Raises: domain.messages.MessageNotFoundError, for somebody else's as for one that does not exist.
    """
    rows = await messages.inbox.list_by_message(account, [message_id])
    entries = await with_messages(messages, list(rows.values()))
    if not entries:
        raise MessageNotFoundError(id=message_id[:80])
    return entries[0]


async def entries_after(messages: Messages, account: str, after: Place) -> AsyncIterator[Entry]:
    """Yield everything an account was told from two minutes before a place on, the oldest first."""
    place = place_at(InboxRow("", "", after.position).received_at - OVERLAP)
    while rows := await messages.inbox.list_after(account, _PAGE, place):
        for entry in await with_messages(messages, rows):
            yield entry
        place = rows[-1].place


# --- changing ---------------------------------------------------------------------------------------------


async def mark_read(messages: Messages, account: str, ids: Sequence[str], *, now: datetime) -> int:
    """Mark messages as read, and count those that were not.

    Raises: TooManyMessagesError, domain.messages.MessageNotFoundError; nothing is changed then.
    """
    return await messages.inbox.mark_read(account, await _own(messages, account, ids), now=now)


async def mark_all_read(messages: Messages, account: str, last: Place, *, now: datetime) -> int:
    """Mark everything up to a place as read, that place included, and count what was not."""
    return await messages.inbox.mark_read_until(account, last, now=now)


async def archive(
    messages: Messages, account: str, ids: Sequence[str], *, archived: bool, now: datetime
) -> int:
    """Put messages into the archive, or take them out of it; count those that were not there.

    Raises: TooManyMessagesError, domain.messages.MessageNotFoundError; nothing is changed then.
    """
    own = await _own(messages, account, ids)
    if archived:
        return await messages.inbox.archive(account, own, now=now)
    return await messages.inbox.restore(account, own)


async def delete(messages: Messages, account: str, ids: Sequence[str]) -> int:
    """Delete messages for good, those to this account alone with all that is kept about them; count them.

    Raises: TooManyMessagesError, domain.messages.MessageNotFoundError; nothing is changed then.
    """
    own = await _own(messages, account, ids)
    # The row goes last: while it is there, whatever breaks off can be repeated.
    await messages.own.forget(account, own)
    return await messages.inbox.delete(account, own)


async def _own(messages: Messages, account: str, ids: Sequence[str]) -> list[str]:
    wanted = list(dict.fromkeys(ids))
    if not 1 <= len(wanted) <= MAX_IDS:
        raise TooManyMessagesError(field="ids", count=len(wanted), maximum=MAX_IDS)
    known = await messages.inbox.list_by_message(account, wanted)
    for each in wanted:
        if each not in known:
            raise MessageNotFoundError(field="ids", id=each[:80])
    return wanted


# --- topics -----------------------------------------------------------------------------------------------


async def subscribe(
    messages: Messages,
    account: str,
    kind: TopicKind,
    id: str,
    *,
    is_known: Callable[[TopicKind, str], bool],
) -> list[str]:
    """Subscribe an account to a topic and give all of its topics; again is no error.

    Raises: domain.messages.InvalidTopicError, UnknownTopicError,
    store.subscriptions.TooManySubscriptionsError.
    """
    topic = check_topic(f"{kind}:{id}")
    if not is_known(kind, id):
        raise UnknownTopicError(field="id", kind=kind.value)
    await messages.subscriptions.subscribe(account, topic)
    return await messages.subscriptions.list_topics(account)


async def unsubscribe(messages: Messages, account: str, kind: TopicKind, id: str) -> list[str]:
    """End a subscription, if there is one, and give the topics that are left.

    Raises: domain.messages.InvalidTopicError.
    """
    await messages.subscriptions.unsubscribe(account, check_topic(f"{kind}:{id}"))
    return await messages.subscriptions.list_topics(account)
