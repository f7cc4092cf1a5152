"""A complaint as somebody sees it: put together from what `operations.complaint_sight` shows them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from msgspec import Struct

from domain import complaints as c
from domain.access import Viewer
from domain.complaint_actions import Action, allowed_actions
from domain.complaint_clock import Clock, clock_of
from domain.complaint_course import (
    Extension,
    LoopStep,
    Pause,
    extensions_of,
    loop_of,
    passed_answers,
    pauses_of,
)
from domain.complaint_standing import Event, Standing, moves_of
from domain.complaints import Actor, ActorRole
from domain.working_days import WorkingCalendar
from operations.complaint_sight import BY_CODE, JOINED, Sight, Texts, show_events, sight_of
from operations.complaints import Complaints, actors_of, follow
from store.complaints import Complaint


class Party(Struct, frozen=True):
    """Who did something; `account` only for staff who look."""

    role: ActorRole
    unit: str | None = None
    account: str | None = None


class EventView(Struct, frozen=True):
    """An event as somebody sees it; `words` stand beside it, `private_words` are staff's for staff."""

    seq: int
    at: datetime
    action: Action
    state: c.State
    party: Party
    facts: Mapping[str, Any]
    words: str | None
    private_words: str | None = None


class StepView(Struct, frozen=True):
    """One of the seven steps; `at` and `party` None: not reached, or not needed."""

    step: LoopStep
    at: datetime | None = None
    party: Party | None = None


class ExtensionView(Struct, frozen=True):
    """An extension and the reason that the unit gave for it."""

    extension: Extension
    reason: str | None


class MessageKind(StrEnum):
    """What somebody wrote."""

    MESSAGE = "MESSAGE"
    QUESTION = "QUESTION"
    SUPPLEMENT = "SUPPLEMENT"


class MessageView(Struct, frozen=True):
    """What citizen or staff wrote; `text` None: it was erased."""

    seq: int
    at: datetime
    kind: MessageKind
    party: Party
    text: str | None
    media: tuple[str, ...]


class AnswerView(Struct, frozen=True):
    """The answer of the present round; `is_out`: it has reached the citizen."""

    at: datetime
    party: Party
    outcome: c.Outcome
    is_out: bool
    text: str | None
    private_text: str | None
    guide: str | None


class RefusalView(Struct, frozen=True):
    """Why a matter was refused and who it is for."""

    ground: c.RefusalGround
    next_owner: str
    note: str | None


class RatingView(Struct, frozen=True):
    """How the citizen rated, each grade 1 to 5."""

    at: datetime
    speed: int
    attitude: int
    result: int
    comment: str | None


class CallBackView(Struct, frozen=True):
    """What the last call to the citizen found."""

    at: datetime
    was_reached: bool
    is_satisfied: bool | None
    note: str | None


class ContactView(Struct, frozen=True):
    """How the citizen can be reached, as far as they wished."""

    name: str | None
    phone: str | None


class ComplaintView(Struct, frozen=True):
    """A complaint as somebody sees it; what they may not see is None or missing.

    `question`: what the citizen was asked and has not answered. `reopen_until`: the end of the window for
    those who may rate and reopen.
    """

    number: str
    sight: Sight
    version: int
    state: c.State
    kind: c.Kind
    division_code: str
    class_code: str | None
    is_convenience: bool
    centre: str
    lead: str | None
    co_units: tuple[str, ...]
    submitted_at: datetime
    changed_at: datetime
    reopened: int
    escalated: int
    merged_into: str | None
    is_erased: bool
    clock: Clock
    is_overdue: bool
    events: tuple[EventView, ...]
    steps: tuple[StepView, ...]
    pauses: tuple[Pause, ...]
    is_own: bool = False
    allowed_actions: tuple[Action, ...] = ()
    extensions: tuple[ExtensionView, ...] = ()
    messages: tuple[MessageView, ...] = ()
    channel: c.ComplaintChannel | None = None
    contact_wish: c.ContactWish | None = None
    publication: c.Publication | None = None
    excerpt: str | None = None
    text: str | None = None
    address: str | None = None
    point: c.Point | None = None
    contact: ContactView | None = None
    question: str | None = None
    answer: AnswerView | None = None
    refusal: RefusalView | None = None
    rating: RatingView | None = None
    call_back: CallBackView | None = None
    reopen_until: datetime | None = None


async def look(
    complaints: Complaints, viewer: Viewer, number: str, *, now: datetime, as_staff: bool = False
) -> tuple[Complaint, ComplaintView]:
    """Get a complaint as a viewer sees it: their own, with `as_staff` one of their work, or a joined one.

    What somebody brought themselves they see as everybody sees their own, also where it is their work.
    Raises: ComplaintNotFoundError, also for one that is not the viewer's to see.
    """
    complaint = await complaints.store.get(c.check_number(number))
    actors = await actors_of(complaints, viewer, complaint)
    own = [actor for actor in actors if actor.role is ActorRole.COMPLAINANT]
    if own or (actors and as_staff):
        return complaint, await show(complaints, complaint, own or actors, now=now)
    if not await complaints.joins.has(complaint.number, await complaints.store.hide(viewer.account_id)):
        raise c.ComplaintNotFoundError(number=number[:20])
    return complaint, await show(complaints, complaint, (), JOINED, now=now)


async def look_by_code(
    complaints: Complaints, number: str, code: str, *, now: datetime
) -> tuple[Complaint, ComplaintView]:
    """Get a complaint by number and query code. Raises: ComplaintNotFoundError, whatever is wrong."""
    complaint = await follow(complaints, number, code)
    return complaint, await show(complaints, complaint, (), BY_CODE, now=now)


async def show(
    complaints: Complaints,
    complaint: Complaint,
    actors: Sequence[Actor],
    sight: Sight | None = None,
    *,
    now: datetime,
) -> ComplaintView:
    """Open a complaint's texts and give what somebody sees of it; `sight` of those who cannot act.

    Nobody looks at a complaint before its last event, however old their `now` is.
    """
    now = max(now, complaint.standing.changed_at)
    texts = await complaints.store.open_texts(complaint)
    return view_of(complaint, texts, actors, complaints.calendar, sight, now=now)


def view_of(
    complaint: Complaint,
    texts: Texts,
    actors: Sequence[Actor],
    calendar: WorkingCalendar,
    sight: Sight | None = None,
    *,
    now: datetime,
) -> ComplaintView:
    """Give what somebody sees of a complaint who may act as `actors`; `sight` of those who cannot act."""
    sight = sight_of(actors) if sight is None else sight
    standing, events = complaint.standing, complaint.events
    clock = clock_of(moves_of(events), calendar, now=now)
    shown = _Shown(sight, events, texts)
    has_matter, talks = bool(sight & Sight.MATTER), bool(sight & Sight.TALK)
    may_reopen = any(actor.role in (ActorRole.COMPLAINANT, ActorRole.SEAT) for actor in actors)
    beginning = shown.words(0) | shown.last_words("ERASE")
    return ComplaintView(
        number=complaint.number,
        sight=sight,
        version=standing.version,
        state=standing.state,
        kind=standing.kind,
        division_code=standing.division_code,
        class_code=standing.class_code,
        is_convenience=standing.is_convenience,
        centre=standing.centre,
        lead=standing.lead,
        co_units=standing.co_units,
        submitted_at=standing.submitted_at,
        changed_at=standing.changed_at,
        reopened=standing.reopened,
        escalated=standing.escalated,
        merged_into=standing.merged_into,
        is_erased=standing.is_erased,
        clock=clock,
        is_overdue=clock.is_overdue(now),
        events=tuple(shown.event(event) for event in shown.events),
        steps=tuple(shown.steps()),
        pauses=tuple(pauses_of(events)),
        is_own=any(actor.role is ActorRole.COMPLAINANT for actor in actors),
        allowed_actions=tuple(allowed_actions(standing, actors, clock, now=now)),
        extensions=tuple(shown.extensions()),
        messages=tuple(shown.messages()) if talks else (),
        channel=standing.channel if has_matter else None,
        contact_wish=standing.contact if has_matter else None,
        publication=standing.publication if has_matter else None,
        excerpt=complaint.excerpt if sight & Sight.GIST else None,
        text=beginning.get("text"),
        address=beginning.get("address"),
        point=complaint.point if has_matter else None,
        contact=_contact(beginning),
        question=shown.question(standing),
        answer=shown.answer(),
        refusal=shown.refusal(),
        rating=shown.rating(standing),
        call_back=shown.call_back(),
        reopen_until=_reopen_until(standing) if may_reopen else None,
    )


def _reopen_until(standing: Standing) -> datetime | None:
    open_to = standing.state in c.ANSWER_OUT and standing.replied_at is not None
    return standing.replied_at + c.REOPEN_WITHIN if open_to and standing.replied_at else None


def _contact(beginning: Mapping[str, str]) -> ContactView | None:
    name, phone = beginning.get("name"), beginning.get("phone")
    return ContactView(name, phone) if name or phone else None


_MESSAGES: Final[Mapping[str, tuple[MessageKind, str]]] = {
    "WRITE": (MessageKind.MESSAGE, "text"),
    "ASK_CITIZEN": (MessageKind.QUESTION, "question"),
    "SUPPLEMENT": (MessageKind.SUPPLEMENT, "text"),
}


class _Shown:
    """The shown part of a history, from which the parts of a view are read."""

    def __init__(self, sight: Sight, events: Sequence[Event], texts: Texts) -> None:
        shown = show_events(sight, events, texts)
        self.events = [event for event, _, _ in shown]
        self._facts = {event.seq: facts for event, facts, _ in shown}
        self._words = {event.seq: words for event, _, words in shown}
        self._all = events
        self._is_staff = bool(sight & Sight.DESK)
        begun = max((event.seq for event in events if event.action == "REOPEN"), default=0)
        self._round = [event for event in self.events if event.seq >= begun]

    def words(self, seq: int) -> dict[str, str]:
        return self._words.get(seq, {})

    def last_words(self, action: str) -> dict[str, str]:
        found = self._last(action)
        return self.words(found.seq) if found else {}

    def _last(self, *actions: str) -> Event | None:
        """Find the last of some events in the present round."""
        return next((event for event in reversed(self._round) if event.action in actions), None)

    def party(self, event: Event) -> Party:
        actor = event.actor
        return Party(actor.role, actor.unit, actor.account if self._is_staff else None)

    def event(self, event: Event) -> EventView:
        texts = dict(self.words(event.seq))
        private = texts.pop("private_text", None)
        return EventView(
            seq=event.seq,
            at=event.at,
            action=Action(event.action),
            state=event.state,
            party=self.party(event),
            facts=self._facts[event.seq],
            words=None if event.action == "SUBMIT" else next(iter(texts.values()), None),
            private_words=private,
        )

    def steps(self) -> Iterable[StepView]:
        reached = loop_of(self._all)
        for step in LoopStep:
            at, event = reached.get(step, (None, None))
            yield StepView(step, at, self.party(event) if event else None)

    def extensions(self) -> Iterable[ExtensionView]:
        for extension in extensions_of(self._all):
            if extension.seq in self._words:
                yield ExtensionView(extension, self.words(extension.seq).get("reason"))

    def messages(self) -> Iterable[MessageView]:
        for event in self.events:
            if event.action in _MESSAGES:
                kind, field = _MESSAGES[event.action]
                text, media = self.words(event.seq).get(field), self._facts[event.seq].get("media", ())
                yield MessageView(event.seq, event.at, kind, self.party(event), text, tuple(media))

    def question(self, standing: Standing) -> str | None:
        waits = standing.state in (c.State.ASKED_BY_SEAT, c.State.ASKED_BY_UNIT)
        return self.last_words("ASK_CITIZEN").get("question") if waits else None

    def answer(self) -> AnswerView | None:
        found = self._last("ANSWER", "ANSWER_DIRECTLY", "FAIL_CHECK")
        is_out = found is not None and found.seq in passed_answers(self._all)
        if found is None or found.action == "FAIL_CHECK" or not (is_out or self._is_staff):
            return None
        words, facts = self.words(found.seq), self._facts[found.seq]
        return AnswerView(
            at=found.at,
            party=self.party(found),
            outcome=c.Outcome(facts.get("outcome", c.Outcome.FULL)),
            is_out=is_out,
            text=words.get("text"),
            private_text=words.get("private_text"),
            guide=facts.get("guide"),
        )

    def refusal(self) -> RefusalView | None:
        found = self._last("REFUSE")
        if found is None:
            return None
        facts = self._facts[found.seq]
        note = self.words(found.seq).get("note")
        return RefusalView(c.RefusalGround(facts["ground"]), facts["next_owner"], note)

    def rating(self, standing: Standing) -> RatingView | None:
        found = self._last("RATE")
        facts = self._facts[found.seq] if found else {}
        if found is None or "speed" not in facts or standing.rating is None:
            return None
        comment = self.words(found.seq).get("comment")
        return RatingView(found.at, facts["speed"], facts["attitude"], facts["result"], comment)

    def call_back(self) -> CallBackView | None:
        found = self._last("CALL_BACK")
        facts = self._facts[found.seq] if found else {}
        if found is None or "was_reached" not in facts:
            return None
        note = self.words(found.seq).get("note")
        return CallBackView(found.at, facts["was_reached"], facts.get("is_satisfied"), note)
