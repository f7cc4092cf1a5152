"""Broadcasts in GraphQL: what staff compose, preview, approve, send and watch; dead letters for operators."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Annotated

import strawberry
from strawberry.permission import BasePermission
from strawberry.types import Info

from domain.access import Assurance, Role
from domain.ids import InvalidNodeIdError, decode_node_id, encode_node_id, raw_id_of
from domain.message_texts import Language
from domain.messages import Message
from loaders.catalogue_search import check_first
from operations import broadcasts as operations
from operations import messages as campaigns
from operations.broadcasts import Draft, Scope
from resolvers.access import allow, viewer_of
from resolvers.broadcast_types import (
    AudienceEstimate,
    Broadcast,
    BroadcastConnection,
    BroadcastContentInput,
    BroadcastEdge,
    BroadcastInput,
    BroadcastPayload,
    BroadcastPreview,
    BroadcastProgress,
    ComposeBroadcastInput,
    DeadLetterConnection,
    DeadLetterEdge,
    DeadLetterType,
    ReplayDeadLettersInput,
    ReplayPayload,
    TopicsInput,
)
from resolvers.context import Context
from resolvers.messages import messages_of
from resolvers.messages_types import TopicInput
from resolvers.mutations import refusable
from resolvers.node import PageInfo
from resolvers.topics import division_of_topic, raw_topic_id, show_topic

_STAFF: list[type[BasePermission]] = [allow(Role.DESK, Role.OPERATOR)]
_SURE_STAFF: list[type[BasePermission]] = [allow(Role.DESK, Role.OPERATOR, level=Assurance.L2)]
_SURE_OPERATOR: list[type[BasePermission]] = [allow(Role.OPERATOR, level=Assurance.L2)]
_CURSOR = "BroadcastCursor"
_LETTER_CURSOR = "DeadLetterCursor"
_REPLAYED_AT_ONCE = 1_000


def _scope(info: Info[Context, None]) -> Scope:
    def division_of(topic: str) -> str | None:
        return division_of_topic(info, topic)

    return Scope(viewer_of(info), division_of)


def _topics(topics: list[TopicInput]) -> tuple[str, ...]:
    # One more than allowed is enough to be refused.
    return tuple(f"{each.kind}:{raw_topic_id(each.kind, each.id)}" for each in topics[:65])


def _raw_id(id: str) -> str:
    return raw_id_of("Broadcast", id[:200])


def _show(info: Info[Context, None], message: Message) -> Broadcast:
    topics = [show_topic(info, topic) for topic in message.audience.topics]
    return Broadcast.of(message, topics, viewer_of(info).account_id)


def _cursor(kind: str, after: str | None) -> str | None:
    if after is None:
        return None
    found, raw = decode_node_id(after[:600])
    if found != kind:
        raise InvalidNodeIdError(id=after[:80])
    return raw


def _page(has_next: bool, after: str | None, cursors: list[str]) -> PageInfo:
    return PageInfo(
        has_next_page=has_next,
        has_previous_page=after is not None,
        start_cursor=cursors[0] if cursors else None,
        end_cursor=cursors[-1] if cursors else None,
    )


@strawberry.type
class DeskMessages:
    """The messages' part of Desk."""

    @strawberry.field(
        description="Broadcasts within the viewer's scope, newest first.", permission_classes=_STAFF
    )
    async def broadcasts(
        self,
        info: Info[Context, None],
        first: Annotated[int, strawberry.argument(description="How many, 1 to 100.")] = 20,
        after: Annotated[
            str | None, strawberry.argument(description="Cursor of the last one seen; null: the first page.")
        ] = None,
    ) -> BroadcastConnection:
        """Page through the broadcasts. Raises: InvalidPageSizeError, InvalidNodeIdError."""
        check_first(first)
        before = _cursor(_CURSOR, after)
        found = await operations.list_broadcasts(messages_of(info), _scope(info), first + 1, before)
        edges = [
            BroadcastEdge(cursor=encode_node_id(_CURSOR, message.id), node=_show(info, message))
            for message in found[:first]
        ]
        page = _page(len(found) > first, after, [edge.cursor for edge in edges])
        return BroadcastConnection(edges=edges, page_info=page)

    @strawberry.field(
        description="One broadcast; null, with MESSAGE_NOT_FOUND, also outside of the viewer's scope.",
        permission_classes=_STAFF,
    )
    async def broadcast(
        self,
        info: Info[Context, None],
        id: Annotated[strawberry.ID, strawberry.argument(description="Global id of the broadcast.")],
    ) -> Broadcast | None:
        """Find a broadcast. Raises: MessageNotFoundError."""
        return _show(info, await operations.get_broadcast(messages_of(info), _scope(info), _raw_id(id)))

    @strawberry.field(
        description="How far a broadcast has come, counted now over all its devices; null as `broadcast`.",
        permission_classes=_STAFF,
        metadata={"cost": 100},
    )
    async def broadcast_progress(
        self,
        info: Info[Context, None],
        id: Annotated[strawberry.ID, strawberry.argument(description="Global id of the broadcast.")],
    ) -> BroadcastProgress | None:
        """Count. Raises: MessageNotFoundError."""
        messages = messages_of(info)
        message = await operations.get_broadcast(messages, _scope(info), _raw_id(id))
        progress = await campaigns.get_progress(
            messages.outbox, messages.deliveries, message.id, messages.channels
        )
        return BroadcastProgress.of(progress)

    @strawberry.field(
        description="What a broadcast would say, in Chinese and English; null, with INVALID_MESSAGE naming "
        "the field, when a text is too long or missing.",
        permission_classes=_STAFF,
    )
    def preview_broadcast(
        self,
        content: Annotated[BroadcastContentInput, strawberry.argument(description="What it is to say.")],
    ) -> list[BroadcastPreview] | None:
        """Word it. Raises: InvalidMessageError."""
        payload = operations.check_content(content.read())
        return [BroadcastPreview.of(payload, language) for language in Language]

    @strawberry.field(
        description="How many would get a broadcast; null, with TOPIC_OUT_OF_SCOPE, beyond the scope.",
        permission_classes=_STAFF,
        metadata={"cost": 100},
    )
    async def estimate_audience(
        self,
        info: Info[Context, None],
        audience: Annotated[TopicsInput, strawberry.argument(description="Whose subscribers.")],
        is_urgent: Annotated[
            bool,
            strawberry.argument(
                description="Whether the broadcast is to pass quiet hours, as orange and red warnings do."
            ),
        ] = False,
    ) -> AudienceEstimate | None:
        """Estimate. Raises: InvalidTopicError, TopicOutOfScopeError."""
        found = await operations.estimate(
            messages_of(info), _scope(info), _topics(audience.topics), urgent=is_urgent
        )
        return AudienceEstimate(subscription_count=found.subscriptions, needs_approval=found.needs_approval)

    @strawberry.field(
        description="Notifications that failed for good, those of the oldest messages first.",
        permission_classes=_SURE_OPERATOR,
    )
    async def dead_letters(
        self,
        info: Info[Context, None],
        first: Annotated[int, strawberry.argument(description="How many, 1 to 100.")] = 20,
        after: Annotated[
            str | None, strawberry.argument(description="Cursor of the last one seen; null: the first page.")
        ] = None,
    ) -> DeadLetterConnection:
        """Page through dead letters. Raises: InvalidPageSizeError, InvalidNodeIdError."""
        check_first(first)
        start = _cursor(_LETTER_CURSOR, after) or ""
        found = await campaigns.list_dead_letters(messages_of(info).deliveries, first + 1, start)
        edges = [
            DeadLetterEdge(cursor=encode_node_id(_LETTER_CURSOR, each.id), node=DeadLetterType.of(each))
            for each in found[:first]
        ]
        page = _page(len(found) > first, after, [edge.cursor for edge in edges])
        return DeadLetterConnection(edges=edges, page_info=page)


_Input = Annotated[BroadcastInput, strawberry.argument(description="Which.")]


@strawberry.type
class BroadcastsMutation:
    """The messages' part of Mutation: what staff do."""

    @strawberry.mutation(
        description="Write the draft of a broadcast; nothing is sent.", permission_classes=_SURE_STAFF
    )
    async def compose_broadcast(
        self,
        info: Info[Context, None],
        input: Annotated[ComposeBroadcastInput, strawberry.argument(description="What, to whom, when.")],
    ) -> BroadcastPayload:
        """Run `compose`."""
        return await _payload(info, _compose(info, input))

    @strawberry.mutation(
        description="Send a draft; from 1,000 subscriptions on it waits for another person's approval first.",
        permission_classes=_SURE_STAFF,
    )
    async def submit_broadcast(self, info: Info[Context, None], input: _Input) -> BroadcastPayload:
        """Run `release_campaign`."""
        return await _payload(info, _submit(info, input))

    @strawberry.mutation(
        description="Approve a broadcast that somebody else composed, and send it.",
        permission_classes=_SURE_STAFF,
    )
    async def approve_broadcast(self, info: Info[Context, None], input: _Input) -> BroadcastPayload:
        """Run `approve_campaign`."""
        return await _payload(info, _approve(info, input))

    @strawberry.mutation(
        description="Send a broadcast that waits for approval back to its draft.",
        permission_classes=_SURE_STAFF,
    )
    async def reject_broadcast(self, info: Info[Context, None], input: _Input) -> BroadcastPayload:
        """Run `reject_campaign`."""
        return await _payload(info, _reject(info, input))

    @strawberry.mutation(
        description="Hold back whatever no channel has taken yet.", permission_classes=_SURE_STAFF
    )
    async def pause_broadcast(self, info: Info[Context, None], input: _Input) -> BroadcastPayload:
        """Run `pause`."""
        return await _payload(info, _pause(info, input))

    @strawberry.mutation(
        description="Go on with a paused broadcast; the rest of its window begins now.",
        permission_classes=_SURE_STAFF,
    )
    async def resume_broadcast(self, info: Info[Context, None], input: _Input) -> BroadcastPayload:
        """Run `resume`."""
        return await _payload(info, _resume(info, input))

    @strawberry.mutation(
        description="Stop a broadcast for good: what no channel has taken yet is never sent.",
        permission_classes=_SURE_STAFF,
    )
    async def cancel_broadcast(self, info: Info[Context, None], input: _Input) -> BroadcastPayload:
        """Run `cancel`."""
        return await _payload(info, _cancel(info, input))

    @strawberry.mutation(
        description="Try failed notifications again from the first attempt, 1,000 at most in one call.",
        permission_classes=_SURE_OPERATOR,
    )
    async def replay_dead_letters(
        self,
        info: Info[Context, None],
        input: Annotated[ReplayDeadLettersInput, strawberry.argument(description="Which.")],
    ) -> ReplayPayload:
        """Run `replay_dead_letters`."""
        replayed, left = await campaigns.replay_dead_letters(
            messages_of(info).deliveries,
            now=info.context.now,
            message_id=None if input.message_id is None else _raw_message(input.message_id),
            most=_REPLAYED_AT_ONCE,
        )
        return ReplayPayload(replayed_count=replayed, left_count=left, user_errors=[])


def _raw_message(id: str) -> str:
    return raw_id_of("Message", _raw_id(id))


async def _payload(info: Info[Context, None], work: Awaitable[Message]) -> BroadcastPayload:
    message, errors = await refusable(work, info.context.word)
    return BroadcastPayload(broadcast=_show(info, message) if message else None, user_errors=errors)


async def _compose(info: Info[Context, None], input: ComposeBroadcastInput) -> Message:
    draft = Draft(
        content=input.content.read(),
        topics=_topics(input.topics),
        key=input.idempotency_key,
        is_urgent=input.is_urgent,
        window_s=input.window_s,
        expires_at=input.expires_at,
    )
    return await operations.compose(messages_of(info), _scope(info), draft, now=info.context.now)


async def _own(info: Info[Context, None], input: BroadcastInput) -> str:
    """Give the raw id of a broadcast within the viewer's scope. Raises: MessageNotFoundError."""
    return (await operations.get_broadcast(messages_of(info), _scope(info), _raw_id(input.id))).id


async def _submit(info: Info[Context, None], input: BroadcastInput) -> Message:
    messages, id = messages_of(info), await _own(info, input)
    return await campaigns.release_campaign(messages.outbox, messages.subscriptions, id, now=info.context.now)


async def _approve(info: Info[Context, None], input: BroadcastInput) -> Message:
    messages, id = messages_of(info), await _own(info, input)
    person = viewer_of(info).account_id
    return await campaigns.approve_campaign(messages.outbox, id, person, now=info.context.now)


async def _reject(info: Info[Context, None], input: BroadcastInput) -> Message:
    return await campaigns.reject_campaign(
        messages_of(info).outbox, await _own(info, input), now=info.context.now
    )


async def _pause(info: Info[Context, None], input: BroadcastInput) -> Message:
    return await campaigns.pause(messages_of(info).outbox, await _own(info, input), now=info.context.now)


async def _resume(info: Info[Context, None], input: BroadcastInput) -> Message:
    messages, id = messages_of(info), await _own(info, input)
    return await campaigns.resume(messages.outbox, messages.deliveries, id, now=info.context.now)


async def _cancel(info: Info[Context, None], input: BroadcastInput) -> Message:
    messages, id = messages_of(info), await _own(info, input)
    return await campaigns.cancel(messages.outbox, messages.deliveries, id, now=info.context.now)
