"""Who sees what of a complaint: decided here and nowhere else, by as what somebody looks at it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import Flag, auto
from functools import reduce
from operator import or_
from typing import Any, Final

from domain.complaint_course import passed_answers
from domain.complaint_standing import Event
from domain.complaints import Actor, ActorRole
from domain.redaction import redact

Texts = Mapping[int, Mapping[str, str]]


class Sight(Flag):
    """Parts of a complaint that somebody may see."""

    COURSE = auto()
    """Kind, class, division, units, states, steps, clock, and answers; for all who see it at all."""
    GIST = auto()
    """The beginning of the text, without personal data."""
    ANSWERS = auto()
    """Answers as they were written; without personal data otherwise."""
    MATTER = auto()
    """Text, place, attachments, and what was added to them."""
    TALK = auto()
    """What citizen and staff write to each other, and how the citizen rated."""
    CONTACT = auto()
    """Name and phone, as far as the citizen wished; a look by staff is logged."""
    DESK = auto()
    """What staff write for each other, and who of them acted."""


_FOR_ALL: Final = Sight.COURSE
_EITHER: Final = Sight.TALK | Sight.DESK
BY_CODE: Final = Sight.COURSE | Sight.ANSWERS
"""For whoever has number and query code."""
JOINED: Final = Sight.COURSE | Sight.GIST
"""For citizens who have joined somebody else's complaint."""
_OWN: Final = BY_CODE | Sight.GIST | Sight.MATTER | Sight.TALK | Sight.CONTACT
_SIGHTS: Final[Mapping[ActorRole, Sight]] = {
    ActorRole.COMPLAINANT: _OWN,
    ActorRole.SEAT: _OWN | Sight.DESK,
    ActorRole.UNIT: _OWN | Sight.DESK,
    # Helps the unit in charge, which alone deals with the citizen.
    ActorRole.CO_UNIT: BY_CODE | Sight.GIST | Sight.MATTER | Sight.DESK,
}

_EVENTS: Final[Mapping[str, Sight]] = {
    "ADVISE": Sight.DESK,
    "REVIEW": Sight.DESK,
    "REMIND": Sight.DESK,
    "ERASE": Sight.DESK,
    "REQUEST_EXTENSION": _EITHER,
    "DENY_EXTENSION": _EITHER,
    "WRITE": Sight.TALK,
}
"""Events that not everybody sees who sees the complaint: for those with any of these."""
_TEXTS: Final[Mapping[tuple[str, str], Sight]] = {
    ("SUBMIT", "text"): Sight.MATTER,
    ("SUBMIT", "address"): Sight.MATTER,
    ("SUBMIT", "name"): Sight.CONTACT,
    ("SUBMIT", "phone"): Sight.CONTACT,
    ("ERASE", "text"): Sight.MATTER,
    ("SUPPLEMENT", "text"): Sight.MATTER,
    ("REFUSE", "note"): _FOR_ALL,
    ("ANSWER_DIRECTLY", "text"): _FOR_ALL,
    ("ANSWER", "text"): _FOR_ALL,
    ("ASK_CITIZEN", "question"): Sight.TALK,
    ("WRITE", "text"): Sight.TALK,
    ("RATE", "comment"): _EITHER,
    ("REOPEN", "reason"): _EITHER,
    ("WITHDRAW", "reason"): _EITHER,
    ("REQUEST_EXTENSION", "reason"): _EITHER,
    ("ANSWER", "private_text"): Sight.DESK,
    ("DISPATCH", "note"): Sight.DESK,
    ("TRANSFER", "note"): Sight.DESK,
    ("RETURN", "reason"): Sight.DESK,
    ("ADVISE", "text"): Sight.DESK,
    ("DENY_EXTENSION", "reason"): Sight.DESK,
    ("FAIL_CHECK", "reason"): Sight.DESK,
    ("CALL_BACK", "note"): Sight.DESK,
    ("REVIEW", "public_text"): Sight.DESK,
}
"""For whom a text is: for those with any of these; one that is not here is for nobody."""
_TO_CITIZEN: Final = frozenset({("REFUSE", "note"), ("ANSWER_DIRECTLY", "text"), ("ANSWER", "text")})
_FACTS: Final[Mapping[str, Sight]] = {
    **dict.fromkeys(("kind", "class_code", "lead", "co_units", "days", "outcome", "ground"), _FOR_ALL),
    **dict.fromkeys(("next_owner", "into", "to", "level", "guide"), _FOR_ALL),
    **dict.fromkeys(("speed", "attitude", "result", "was_reached", "is_satisfied"), _EITHER),
    **dict.fromkeys(("percent", "suggested", "is_cleared"), Sight.DESK),
    "media": Sight.MATTER,
}
"""For whom a fact is; one that is not here is for nobody."""


def sight_of(actors: Iterable[Actor]) -> Sight:
    """Give all that somebody sees who may act as these."""
    return reduce(or_, (_SIGHTS[actor.role] for actor in actors), _FOR_ALL)


def show_events(
    sight: Sight, events: Sequence[Event], texts: Texts
) -> list[tuple[Event, dict[str, Any], dict[str, str]]]:
    """Give the events that are shown, each with its shown facts and texts, in order.

    An answer that is not out yet is the desk's; to those who do not see answers as they were written they are
    shown without personal data.
    """
    passed = passed_answers(events)
    shown = []
    for event in events:
        if not sight & _EVENTS.get(event.action, _FOR_ALL):
            continue
        facts = {name: fact for name, fact in event.facts.items() if sight & _FACTS.get(name, Sight(0))}
        words = {
            field: text if sight & Sight.ANSWERS else _without_persons(event.action, field, text)
            for field, text in texts.get(event.seq, {}).items()
            if sight & _TEXTS.get((event.action, field), Sight(0))
        }
        if event.action == "ANSWER" and event.seq not in passed and not sight & Sight.DESK:
            facts.pop("outcome", None)
            words.clear()
        shown.append((event, facts, words))
    return shown


def _without_persons(action: str, field: str, text: str) -> str:
    return redact(text).text if (action, field) in _TO_CITIZEN else text
