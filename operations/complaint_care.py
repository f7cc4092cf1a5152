"""The caretaker of complaints: tells what has happened, does what the clock demands, wakes up in time.

Every complaint says itself when it must be looked at (`wake_at`): at once after a step, later when the clock
has something to do. Whatever is done here may be done twice: messages have keys, steps are conditional.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol

import msgspec
import structlog
from msgspec import Struct
from redis.asyncio import Redis
from redis.exceptions import RedisError

from domain import complaints as c
from domain.complaint_care import due_step, next_look
from domain.complaint_standing import Event
from domain.complaints import Actor, ActorRole
from domain.message_texts import ComplaintProgress, ComplaintStage
from notifications.live import publish
from notifications.outbox import Outbox
from operations.complaint_steps import act
from operations.complaints import Complaints, clock
from operations.messages import Tell, send_messages
from store.complaints import Complaint

log = structlog.get_logger(__name__)

AT_ONCE: Final = 200
_TRIED_AGAIN_AFTER: Final = timedelta(minutes=1)
_SIDE_BY_SIDE: Final = 8
_JOINED_AT_ONCE: Final = 500
_CLOCK: Final = Actor(ActorRole.SYSTEM)
ReadTexts = Callable[[], Awaitable[dict[int, dict[str, str]]]]


class Follower(Protocol):
    """Follows complaints, step by step; told at least once after every step, maybe twice."""

    async def __call__(self, complaint: Complaint, texts: ReadTexts, *, now: datetime) -> None:
        """Do what follows from a complaint's history so far; `texts()` decrypts its texts."""


class Caretaker(Struct, frozen=True):
    """What the caretaker works with; `redis` None: nobody is told live."""

    complaints: Complaints
    outbox: Outbox
    followers: Sequence[Follower] = ()
    redis: Redis | None = None


_STAGES: Final = {
    "ACCEPT": ComplaintStage.ACCEPTED,
    "REFUSE": ComplaintStage.REFUSED,
    "DISPATCH": ComplaintStage.DISPATCHED,
    "TRANSFER": ComplaintStage.DISPATCHED,
    "TAKE_UP": ComplaintStage.HANDLING,
    "ASK_CITIZEN": ComplaintStage.ASKED,
    "GRANT_EXTENSION": ComplaintStage.EXTENDED,
    "ANSWER_DIRECTLY": ComplaintStage.ANSWERED,
    "PASS_CHECK": ComplaintStage.ANSWERED,
    "CALL_BACK": ComplaintStage.CALLED_BACK,
    "CLOSE": ComplaintStage.CLOSED,
    "MERGE": ComplaintStage.MERGED,
    "REOPEN": ComplaintStage.REOPENED,
    "WRITE": ComplaintStage.MESSAGE,
}
"""What a citizen is told of; steps that are not here are the desk's own affair, or the citizen's own."""
_OWNERS: Final = frozenset({ComplaintStage.ASKED, ComplaintStage.MESSAGE})
"""What only the owner is told of: those who have joined cannot answer."""


def live_topic(number: str) -> str:
    """Name the live topic of one complaint."""
    return f"complaint:{number}"


async def tend(caretaker: Caretaker, *, now: datetime) -> int:
    """Look at the complaints that are due, at most 200 of them; count them."""
    awake = await caretaker.complaints.store.list_awake(AT_ONCE, now=now)
    slots = asyncio.Semaphore(_SIDE_BY_SIDE)

    async def look(complaint: Complaint) -> None:
        async with slots:
            try:
                await tend_one(caretaker, complaint, now=now)
            except Exception as error:  # one that cannot be told must not keep the others waiting
                log.error("complaints.not_tended", complaint=complaint.number, exc_info=error)
                await caretaker.complaints.store.postpone(complaint, now + _TRIED_AGAIN_AFTER)

    async with asyncio.TaskGroup() as group:
        for complaint in awake:
            group.create_task(look(complaint))
    return len(awake)


async def tend_one(caretaker: Caretaker, complaint: Complaint, *, now: datetime) -> None:
    """Tell what is new of one complaint and take the clock's step, if one is due."""
    complaints = caretaker.complaints
    news = complaint.events[complaint.told :]
    if news:
        await _tell(caretaker, complaint, news, now=now)
    standing, calendar = complaint.standing, complaints.calendar
    running = clock(complaints, complaint, now=now)
    step = due_step(standing, running, calendar, _above(complaints), now=now)
    if step is not None:
        try:
            await act(complaints, complaint, step, _CLOCK, now=now)
        except c.ComplaintChangedError:
            return  # somebody was quicker: the complaint is awake again by that step
        return
    wake_at = next_look(standing, running, calendar, _above(complaints))
    await complaints.store.settle(complaint, wake_at)


def _above(complaints: Complaints) -> Callable[[str], str | None]:
    units = complaints.units()

    def above(unit_id: str) -> str | None:
        unit = units.next_level_up(unit_id)
        return unit.id if unit else None

    return above


async def _tell(caretaker: Caretaker, complaint: Complaint, news: Sequence[Event], *, now: datetime) -> None:
    opened: dict[int, dict[str, str]] | None = None

    async def texts() -> dict[int, dict[str, str]]:
        nonlocal opened
        if opened is None:
            opened = await caretaker.complaints.store.open_texts(complaint)
        return opened

    for follower in caretaker.followers:
        await follower(complaint, texts, now=now)
    told = [(event, stage) for event in news if (stage := _stage(event)) is not None]
    await _move_joined(caretaker.complaints, complaint, news, now=now)
    if told:
        await _tell_citizens(caretaker, complaint, told, now=now)
    if caretaker.redis is not None:
        content = msgspec.json.encode({"complaint": complaint.number, "version": complaint.standing.version})
        try:
            await publish(caretaker.redis, live_topic(complaint.number), content)
        except (RedisError, OSError):
            return  # live news is lost when Redis is away; the inbox has it


def _stage(event: Event) -> ComplaintStage | None:
    by_citizen = event.actor.role is ActorRole.COMPLAINANT
    return None if by_citizen else _STAGES.get(event.action)


async def _tell_citizens(
    caretaker: Caretaker,
    complaint: Complaint,
    told: Sequence[tuple[Event, ComplaintStage]],
    *,
    now: datetime,
) -> None:
    """Tell the owner, and everybody who has joined, each event once."""
    store = caretaker.complaints.store
    for_joined = [(event, stage) for event, stage in told if stage not in _OWNERS]
    if complaint.owner is not None:
        await _tell_account(caretaker, complaint, told, await store.reveal(complaint.owner), now=now)
    after = ""
    while joined := await caretaker.complaints.joins.list_owners(complaint.number, _JOINED_AT_ONCE, after):
        after = joined[-1][0]
        for _, owner in joined:
            await _tell_account(caretaker, complaint, for_joined, await store.reveal(owner), now=now)


async def _tell_account(
    caretaker: Caretaker,
    complaint: Complaint,
    told: Sequence[tuple[Event, ComplaintStage]],
    account: str,
    *,
    now: datetime,
) -> None:
    tells = [
        Tell(
            account,
            ComplaintProgress(
                complaint_id=complaint.number,
                title=complaint.excerpt,
                stage=stage,
                unit=_unit_name(caretaker.complaints, event),
            ),
            f"complaint:{complaint.number}:{event.seq}:{account}",
        )
        for event, stage in told
    ]
    await send_messages(caretaker.outbox, tells, now=now)


def _unit_name(complaints: Complaints, event: Event) -> str | None:
    """Name the unit that an event is about: that which it was passed on to, or which acts."""
    unit = complaints.units().find(event.facts.get("lead") or event.actor.unit or "")
    return unit.name if unit else None


async def _move_joined(
    complaints: Complaints, complaint: Complaint, news: Sequence[Event], *, now: datetime
) -> None:
    """Let everybody behind a merged complaint hear of the one that it goes on in."""
    if not any(event.action == "MERGE" for event in news) or complaint.standing.merged_into is None:
        return
    target = complaint.standing.merged_into
    if complaint.owner is not None:
        await complaints.joins.add(target, complaint.owner, now=now)
    after = ""
    while joined := await complaints.joins.list_owners(complaint.number, _JOINED_AT_ONCE, after):
        after = joined[-1][0]
        for _, owner in joined:
            await complaints.joins.add(target, owner, now=now)
