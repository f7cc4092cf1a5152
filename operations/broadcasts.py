"""What staff do with broadcasts: within their division, with four eyes above a size that urgency lowers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Final

import msgspec
from msgspec import Struct

from domain.access import Role, Viewer, is_within
from domain.errors import DomainError
from domain.message_texts import AuthorityNotice, PublicWarning
from domain.messages import (
    Audience,
    InvalidMessageError,
    Message,
    MessageNotFoundError,
    needs_second_person,
)
from operations.inbox import Messages
from operations.messages import compose_campaign

MAX_KEY_CHARS: Final = 64
_PAGE: Final = 100
_MOST_PAGES: Final = 10

Content = AuthorityNotice | PublicWarning


class TopicOutOfScopeError(DomainError):
    """Staff may tell the subscribers of divisions and items within their own division."""

    code = "TOPIC_OUT_OF_SCOPE"


class Scope(Struct, frozen=True):
    """Whom a member of staff may tell; `division_of` gives a topic's division, None when it has none."""

    viewer: Viewer
    division_of: Callable[[str], str | None]

    def includes(self, topics: Sequence[str]) -> bool:
        """Tell whether all of the topics are the viewer's to tell."""
        if self.viewer.acts_as(Role.OPERATOR):
            return True
        own = self.viewer.division_code
        if own is None or not self.viewer.acts_as(Role.DESK):
            return False
        divisions = [self.division_of(topic) for topic in topics]
        return all(division is not None and is_within(division, own) for division in divisions)


class Draft(Struct, frozen=True):
    """What a member of staff has composed; `key` makes a repetition the same broadcast."""

    content: Content
    topics: tuple[str, ...]
    key: str
    is_urgent: bool = False
    window_s: int = 0
    expires_at: datetime | None = None


class Estimate(Struct, frozen=True):
    """How many subscriptions the topics have, at least as many as subscribers; whether two must agree."""

    subscriptions: int
    needs_approval: bool


def check_content(content: Content) -> Content:
    """Return a content whose texts are within their bounds.

    Raises: domain.messages.InvalidMessageError naming the field.
    """
    try:
        return msgspec.convert(msgspec.to_builtins(content), type(content))
    except msgspec.ValidationError as error:
        field = str(error).rpartition("$.")[2].rstrip("`") or "content"
        raise InvalidMessageError(field=field) from error


async def estimate(
    messages: Messages, scope: Scope, topics: Sequence[str], *, urgent: bool = False
) -> Estimate:
    """Estimate the audience of topics, and tell whether an urgent message or another needs two people.

    Raises: domain.messages.InvalidTopicError, TopicOutOfScopeError.
    """
    audience = _audience(scope, topics)
    count = await messages.subscriptions.estimate(audience.topics)
    return Estimate(count, needs_second_person(count, urgent=urgent))


async def compose(messages: Messages, scope: Scope, draft: Draft, *, now: datetime) -> Message:
    """Write a draft; nothing is sent.

    Raises: domain.messages.InvalidTopicError, TopicOutOfScopeError, domain.messages.InvalidMessageError.
    """
    if not 1 <= len(draft.key) <= MAX_KEY_CHARS:
        raise InvalidMessageError(field="idempotencyKey")
    if draft.expires_at is not None and draft.expires_at.tzinfo is None:
        raise InvalidMessageError(field="expiresAt")
    author = scope.viewer.account_id
    return await compose_campaign(
        messages.outbox,
        messages.subscriptions,
        _audience(scope, draft.topics).topics,
        check_content(draft.content),
        _dedupe_key(author, draft.key),
        author,
        now=now,
        window_s=draft.window_s,
        urgent=draft.is_urgent,
        expires_at=draft.expires_at,
    )


async def get_broadcast(messages: Messages, scope: Scope, message_id: str) -> Message:
    """Give a broadcast that is the viewer's to work on.

    Raises: domain.messages.MessageNotFoundError, also for what is outside of the viewer's scope.
    """
    message = await messages.outbox.messages.get(message_id)
    if message.campaign is None or not scope.includes(message.audience.topics):
        raise MessageNotFoundError(field="id", id=message_id[:80])
    return message


async def list_broadcasts(
    messages: Messages, scope: Scope, first: int, before: str | None = None
) -> list[Message]:
    """List at most `first` broadcasts within the scope, newest first, older than the id `before`.

    Looks at the 1,000 next ones at most.
    """
    found: list[Message] = []
    for _ in range(_MOST_PAGES):
        page = await messages.outbox.messages.list_campaigns(_PAGE, before)
        found += [message for message in page if scope.includes(message.audience.topics)]
        if len(page) < _PAGE or len(found) >= first:
            break
        before = page[-1].id
    return found[:first]


def _dedupe_key(author: str, key: str) -> str:
    """Name a composition so that nobody can tell by it who composed."""
    return f"broadcast:{blake2b(f'{author}:{key}'.encode(), digest_size=16).hexdigest()}"


def _audience(scope: Scope, topics: Sequence[str]) -> Audience:
    audience = Audience.of_topics(tuple(topics))
    if not scope.includes(audience.topics):
        raise TopicOutOfScopeError(field="topics")
    return audience
