"""What a citizen is told before they submit: who would answer, by when, and whether it is known already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from msgspec import Struct

from domain import complaints as c
from domain.complaint_classes import ComplaintClass
from domain.complaint_clock import Clock, ClockEffect, ClockMove, clock_of
from domain.units import Outcome, Suggestion, Unit
from operations.complaints import Complaints, limit_for

MAX_CLASSES: Final = 3
MAX_UNITS: Final = 3


class Sketch(Struct, frozen=True):
    """What is known of a matter that somebody is about to bring."""

    kind: c.Kind
    text: str
    division_code: str
    class_code: str | None = None
    point: c.Point | None = None


class Preview(Struct, frozen=True):
    """What a matter would meet. `clock` is the one it would begin with if it were submitted now.

    `class_code`: the class on which units and limit are based, the given one or else the likeliest, None
    where no word is known.
    """

    class_code: str | None
    classes: tuple[ComplaintClass, ...]
    centre: Unit
    units: tuple[Suggestion, ...]
    clock: Clock
    is_convenience: bool


def check_sketch(complaints: Complaints, sketch: Sketch) -> None:
    """Refuse a sketch out of bounds.

    Raises: InvalidComplaintError naming the field, domain.complaint_classes.UnknownClassError.
    """
    if not 1 <= len(sketch.text.strip()) <= c.MAX_TEXT_CHARS:
        raise c.InvalidComplaintError(field="text")
    if not complaints.is_division(sketch.division_code):
        raise c.InvalidComplaintError(field="divisionCode")
    if sketch.class_code is not None:
        complaints.classes.get(sketch.class_code)


def preview(
    complaints: Complaints, sketch: Sketch, past: Mapping[str, Outcome] | None = None, *, now: datetime
) -> Preview:
    """Work out what a matter would meet; `past` outcomes by unit, of its class and division, if known.

    The limit is that of the kind and of the class which the citizen named: a guess promises nothing.
    Raises: those of `check_sketch`.
    """
    check_sketch(complaints, sketch)
    division, given = sketch.division_code, sketch.class_code
    centre = complaints.units().centre(division)
    if centre is None:
        raise c.InvalidComplaintError(field="divisionCode")
    guessed = complaints.classes.suggest(sketch.text, MAX_CLASSES)
    basis = given or next(iter(guessed), None)
    limit = limit_for(complaints, sketch.kind, given, division, at=now)
    start = ClockMove(now, ClockEffect.START, limit.days, limit.id)
    found = complaints.classes.find(given) if given else None
    return Preview(
        class_code=basis,
        classes=tuple(complaints.classes.get(code) for code in guessed),
        centre=centre,
        units=tuple(_units(complaints, basis, division, past)),
        clock=clock_of([start], complaints.calendar, now=now),
        is_convenience=found is not None and found.is_convenience,
    )


def _units(
    complaints: Complaints, class_code: str | None, division: str, past: Mapping[str, Outcome] | None
) -> Sequence[Suggestion]:
    if class_code is None:
        return ()
    return complaints.units().responsible(complaints.classes, class_code, division, past, MAX_UNITS)
