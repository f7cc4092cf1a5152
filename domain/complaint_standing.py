"""What the events of a complaint amount to: folding a history over `evolve` gives all that is stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from domain import complaints as c
from domain.complaint_clock import ClockMove
from domain.complaints import Actor, ActorRole, State


class Rating(Struct, frozen=True):
    """Three grades, each 1 to 5."""

    speed: int
    attitude: int
    result: int


class Standing(Struct, frozen=True, omit_defaults=True):
    """All that the events of a complaint amount to; nothing here is known from anywhere else.

    `version`: the number of events. `answered_at`: of the answer that is out or being checked; `replied_at`:
    when it reached the citizen. `extension_days`: asked for and not decided. `written`: messages and
    supplements of the citizen. `reminded`: percent; `escalated`: levels, of the present limit.
    """

    state: State
    version: int
    kind: c.Kind
    channel: c.ComplaintChannel
    contact: c.ContactWish
    division_code: str
    centre: str
    limit_days: int
    limit_rule: str
    submitted_at: datetime
    changed_at: datetime
    class_code: str | None = None
    is_convenience: bool = False
    lead: str | None = None
    co_units: tuple[str, ...] = ()
    asked_at: datetime | None = None
    answered_at: datetime | None = None
    replied_at: datetime | None = None
    outcome: c.Outcome | None = None
    rating: Rating | None = None
    is_called_back: bool = False
    is_satisfied: bool | None = None
    reopened: int = 0
    extension_days: int = 0
    extensions: int = 0
    written: int = 0
    reminded: int = 0
    escalated: int = 0
    escalated_to: str | None = None
    merged_into: str | None = None
    publication: c.Publication = c.Publication.NOT_WISHED
    is_erased: bool = False

    @property
    def holder(self) -> str | None:
        """Name the unit that must act next; None when nobody must."""
        if self.state in c.ENDED:
            return None
        return self.lead if self.state in c.WITH_UNIT else self.centre


class Event(Struct, frozen=True, omit_defaults=True):
    """One step that was taken. `facts` is the step without its texts; `digest` stands for these.

    `at` is UTC, to the millisecond. `hash` is set by `domain.complaint_history`.
    """

    seq: int
    at: datetime
    actor: Actor
    facts: dict[str, Any]
    state: State
    move: ClockMove | None = None
    digest: str | None = None
    hash: str = ""

    @property
    def action(self) -> str:
        """Name the step that was taken."""
        return str(self.facts["action"])


def evolve(standing: Standing | None, event: Event) -> Standing:
    """Give what a complaint is after an event; the only place that says what an event changes."""
    if standing is None:
        return _begin(event)
    change = _CHANGES[event.action](standing, event) if event.action in _CHANGES else {}
    return replace(standing, state=event.state, version=event.seq + 1, changed_at=event.at, **change)


def fold(events: Iterable[Event]) -> Standing | None:
    """Give what a whole history amounts to; None for an empty one."""
    standing: Standing | None = None
    for event in events:
        standing = evolve(standing, event)
    return standing


def moves_of(events: Sequence[Event]) -> list[ClockMove]:
    """List what the events of a history did to the clock, in order."""
    return [event.move for event in events if event.move is not None]


def _begin(event: Event) -> Standing:
    facts = event.facts
    wished = facts.get("is_public_wished", False)
    return Standing(
        state=event.state,
        version=event.seq + 1,
        kind=c.Kind(facts["kind"]),
        channel=c.ComplaintChannel(facts["channel"]),
        contact=c.ContactWish(facts["contact"]),
        division_code=facts["division_code"],
        centre=facts["centre"],
        limit_days=facts["limit_days"],
        limit_rule=facts["limit_rule"],
        submitted_at=event.at,
        changed_at=event.at,
        class_code=facts.get("class_code"),
        publication=c.Publication.TO_REVIEW if wished else c.Publication.NOT_WISHED,
    )


Change = dict[str, Any]


def _classified(_: Standing, event: Event) -> Change:
    facts = event.facts
    return {
        "kind": c.Kind(facts["kind"]),
        "class_code": facts["class_code"],
        "is_convenience": facts.get("is_convenience", False),
        "limit_days": facts["limit_days"],
        "limit_rule": facts["limit_rule"],
    }


def _dispatched(_: Standing, event: Event) -> Change:
    helpers = tuple(event.facts.get("co_units", ()))
    return {"lead": event.facts["lead"], "co_units": helpers, "extension_days": 0}


def _answered(_: Standing, event: Event) -> Change:
    outcome = c.Outcome(event.facts["outcome"])
    return {"answered_at": event.at, "outcome": outcome, "extension_days": 0}


def _written(standing: Standing, event: Event) -> Change:
    return {"written": standing.written + 1} if event.actor.role is ActorRole.COMPLAINANT else {}


def _called_back(standing: Standing, event: Event) -> Change:
    if not event.facts["was_reached"]:
        return {}
    return {"is_called_back": True, "is_satisfied": event.facts.get("is_satisfied")}


def _reviewed(_: Standing, event: Event) -> Change:
    cleared = event.facts["is_cleared"]
    return {"publication": c.Publication.CLEARED if cleared else c.Publication.WITHHELD}


def _reopened(standing: Standing, event: Event) -> Change:
    """Begin a new round; it must be dispatched anew."""
    return {
        "reopened": standing.reopened + 1,
        "limit_days": event.facts["limit_days"],
        "limit_rule": event.facts["limit_rule"],
        "answered_at": None,
        "replied_at": None,
        "outcome": None,
        "rating": None,
        "is_called_back": False,
        "is_satisfied": None,
        "extensions": 0,
        "reminded": 0,
        "escalated": 0,
        "escalated_to": None,
        "lead": None,
        "co_units": (),
    }


_CHANGES: Final[Mapping[str, Callable[[Standing, Event], Change]]] = {
    "ACCEPT": _classified,
    "CLASSIFY": _classified,
    "DISPATCH": _dispatched,
    "TRANSFER": _dispatched,
    "RETURN": lambda _, event: {"lead": None, "co_units": (), "extension_days": 0},
    "ASK_CITIZEN": lambda _, event: {"asked_at": event.at},
    "RESUME_WORK": lambda _, event: {"asked_at": None},
    "SUPPLEMENT": lambda standing, event: {"written": standing.written + 1, "asked_at": None},
    "WRITE": _written,
    "REQUEST_EXTENSION": lambda standing, event: {
        "extension_days": event.facts["days"],
        "extensions": standing.extensions + 1,
    },
    # A smaller share of the limit has passed now, so reminders are due anew.
    "GRANT_EXTENSION": lambda _, event: {
        "extension_days": 0,
        "reminded": 0,
        "escalated": 0,
        "escalated_to": None,
    },
    "DENY_EXTENSION": lambda _, event: {"extension_days": 0},
    "ANSWER": _answered,
    "ANSWER_DIRECTLY": lambda _, event: {
        "answered_at": event.at,
        "replied_at": event.at,
        "outcome": c.Outcome.FULL,
    },
    "PASS_CHECK": lambda _, event: {"replied_at": event.at},
    "FAIL_CHECK": lambda _, event: {"answered_at": None, "outcome": None},
    "RATE": lambda _, event: {
        "rating": Rating(event.facts["speed"], event.facts["attitude"], event.facts["result"])
    },
    "CALL_BACK": _called_back,
    "REOPEN": _reopened,
    "REVIEW": _reviewed,
    "REMIND": lambda _, event: {"reminded": event.facts["percent"]},
    "ESCALATE": lambda _, event: {
        "escalated": event.facts["level"],
        "escalated_to": event.facts["to"],
    },
    "MERGE": lambda _, event: {"merged_into": event.facts["into"]},
    "ERASE": lambda _, event: {"is_erased": True},
}
