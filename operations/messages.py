"""What can be done with messages: tell an account, tell subscribers, and run campaigns with four eyes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from msgspec import Struct

from domain.ids import new_id
from domain.message_texts import AnyPayload
from domain.messages import (
    FOUR_EYES_FROM,
    Audience,
    Campaign,
    Message,
    MessageState,
    Progress,
    SecondPersonNeededError,
    Step,
    StepNotAllowedError,
    needs_second_person,
    new_message,
)
from notifications.outbox import Outbox
from store.deliveries import DeadLetter, DeliveryStore
from store.subscriptions import SubscriptionStore

_REPLAY_PAGE: Final = 500


class Tell(Struct, frozen=True):
    """One message of many: what is told to which account; `dedupe_key` names the event."""

    account: str
    payload: AnyPayload
    dedupe_key: str


async def send_message(
    outbox: Outbox,
    account: str,
    payload: AnyPayload,
    dedupe_key: str,
    *,
    now: datetime,
    expires_at: datetime | None = None,
    collapse_key: str = "",
) -> Message:
    """Tell one account something, once: the same dedupe key gives the message that was written first.

    Raises: domain.messages.InvalidMessageError.
    """
    audience = Audience.of_account(account)
    return await outbox.write(
        new_message(
            new_id(now),
            payload,
            audience,
            dedupe_key,
            now=now,
            expires_at=expires_at,
            collapse_key=collapse_key,
        )
    )


async def send_messages(outbox: Outbox, tells: Iterable[Tell], *, now: datetime) -> list[Message]:
    """Tell many accounts something of their own, in few writes; give what is stored, in their order.

    Raises: domain.messages.InvalidMessageError.
    """
    return await outbox.write_many(
        [
            new_message(
                new_id(now), tell.payload, Audience.of_account(tell.account), tell.dedupe_key, now=now
            )
            for tell in tells
        ]
    )


async def broadcast(
    outbox: Outbox,
    topics: Sequence[str],
    payload: AnyPayload,
    dedupe_key: str,
    *,
    now: datetime,
    urgent: bool = False,
    expires_at: datetime | None = None,
) -> Message:
    """Tell the subscribers of any of 1 to 64 topics something, each once.

    Raises: domain.messages.InvalidTopicError, domain.messages.InvalidMessageError.
    """
    audience = Audience.of_topics(tuple(topics))
    return await outbox.write(
        new_message(new_id(now), payload, audience, dedupe_key, now=now, urgent=urgent, expires_at=expires_at)
    )


# --- campaigns --------------------------------------------------------------------------------------------


async def compose_campaign(
    outbox: Outbox,
    subscriptions: SubscriptionStore,
    topics: Sequence[str],
    payload: AnyPayload,
    dedupe_key: str,
    composed_by: str,
    *,
    now: datetime,
    window_s: int = 0,
    urgent: bool = False,
    expires_at: datetime | None = None,
) -> Message:
    """Write a draft with an estimate of its audience; nothing is sent.

    `window_s`: spread over that many seconds, at most seven days; 0: as fast as possible.
    Raises: domain.messages.InvalidTopicError, domain.messages.InvalidMessageError.
    """
    audience = Audience.of_topics(tuple(topics))
    estimate = await subscriptions.estimate(audience.topics)
    campaign = Campaign(composed_by=composed_by, window_s=window_s, estimate=estimate)
    return await outbox.write(
        new_message(
            new_id(now),
            payload,
            audience,
            dedupe_key,
            now=now,
            urgent=urgent,
            expires_at=expires_at,
            campaign=campaign,
        )
    )


async def release_campaign(
    outbox: Outbox,
    subscriptions: SubscriptionStore,
    message_id: str,
    *,
    now: datetime,
    four_eyes_from: int = FOUR_EYES_FROM,
) -> Message:
    """Send a draft, or ask for its approval when the audience, estimated anew, needs a second person.

    Raises: domain.messages.MessageNotFoundError, domain.messages.StepNotAllowedError.
    """
    message = await outbox.messages.get(message_id)
    campaign = _campaign_of(message, Step.RELEASE)
    estimate = await subscriptions.estimate(message.audience.topics)
    change: dict[str, object] = {"campaign.estimate": estimate}
    needed = needs_second_person(
        max(estimate, campaign.estimate), urgent=message.urgent, four_eyes_from=four_eyes_from
    )
    step = Step.SUBMIT if needed else Step.RELEASE
    return await _step(outbox, message_id, step, change, now=now)


async def approve_campaign(outbox: Outbox, message_id: str, approved_by: str, *, now: datetime) -> Message:
    """Approve and send a campaign that somebody else has composed.

    Raises: domain.messages.SecondPersonNeededError, domain.messages.MessageNotFoundError,
    domain.messages.StepNotAllowedError.
    """
    campaign = _campaign_of(await outbox.messages.get(message_id), Step.APPROVE)
    if campaign.composed_by == approved_by:
        raise SecondPersonNeededError()
    change: dict[str, object] = {"campaign.approved_by": approved_by, "campaign.approved_at": now}
    return await _step(outbox, message_id, Step.APPROVE, change, now=now)


async def reject_campaign(outbox: Outbox, message_id: str, *, now: datetime) -> Message:
    """Send a campaign back to its draft.

    Raises: domain.messages.MessageNotFoundError, domain.messages.StepNotAllowedError.
    """
    return await _step(outbox, message_id, Step.REJECT, {}, now=now)


async def pause(outbox: Outbox, message_id: str, *, now: datetime) -> Message:
    """Hold back whatever has not been handed to a channel yet.

    Raises: domain.messages.MessageNotFoundError, domain.messages.StepNotAllowedError.
    """
    return await _step(outbox, message_id, Step.PAUSE, {}, now=now)


async def resume(outbox: Outbox, deliveries: DeliveryStore, message_id: str, *, now: datetime) -> Message:
    """Go on with a paused message. A campaign's window begins anew for what is left of it.

    Raises: domain.messages.MessageNotFoundError, domain.messages.StepNotAllowedError.
    """
    message = await outbox.messages.get(message_id)
    resumed = await _step(outbox, message_id, Step.RESUME, _rest_of_window(message, now), now=now)
    await deliveries.wake(message_id, now=now)
    return resumed


async def cancel(outbox: Outbox, deliveries: DeliveryStore, message_id: str, *, now: datetime) -> Message:
    """Stop a message for good: what has not been handed to a channel yet never is.

    Raises: domain.messages.MessageNotFoundError, domain.messages.StepNotAllowedError.
    """
    cancelled = await _step(outbox, message_id, Step.CANCEL, {}, now=now)
    await deliveries.wake(message_id, now=now)
    return cancelled


async def get_progress(
    outbox: Outbox, deliveries: DeliveryStore, message_id: str, channels: Iterable[str]
) -> Progress:
    """Count how far a message has come, over all its deliveries.

    Raises: domain.messages.MessageNotFoundError.
    """
    message = await outbox.messages.get(message_id)
    is_broadcast = message.audience.account is None
    counts = await deliveries.count(message_id, broadcast=is_broadcast, channels=channels)
    return Progress(message.state, message.recipients, message.splits, message.done, counts)


async def replay_dead_letters(
    deliveries: DeliveryStore, *, now: datetime, message_id: str | None = None, most: int | None = None
) -> tuple[int, int]:
    """Try failed pushes again from the first attempt, all or one message's; count replayed and left ones.

    `most`: look at so many at most; None: at all of them.
    """
    replayed = left = 0
    after = "" if message_id is None else f"{message_id}:"
    while letters := await deliveries.list_dead(_REPLAY_PAGE, after):
        for letter in letters:
            other = message_id is not None and letter.message != message_id
            if other or (most is not None and replayed + left >= most):
                return replayed, left
            done = await deliveries.replay(letter, now=now)
            replayed, left = replayed + done, left + (not done)
        after = letters[-1].id
    return replayed, left


async def list_dead_letters(deliveries: DeliveryStore, first: int, after: str = "") -> list[DeadLetter]:
    """List failed pushes, those of the oldest messages first."""
    return await deliveries.list_dead(first, after)


def _campaign_of(message: Message, step: Step) -> Campaign:
    if message.campaign is None:
        raise StepNotAllowedError(state=message.state.value, step=step.value)
    return message.campaign


def _rest_of_window(message: Message, now: datetime) -> dict[str, object]:
    """Move the start so that the next part is due now and the others follow at the same pace."""
    campaign = message.campaign
    if campaign is None or not campaign.window_s or not message.splits or message.started_at is None:
        return {}
    done_s = campaign.window_s * message.done / message.splits
    return {"started_at": datetime.fromtimestamp(now.timestamp() - done_s, tz=now.tzinfo)}


async def _step(
    outbox: Outbox, message_id: str, step: Step, change: dict[str, object], *, now: datetime
) -> Message:
    message = await outbox.messages.step(message_id, step, change, now=now)
    if message.state is MessageState.SENDING:
        await outbox.announce([message])
    return message
