"""A complaint's course for people: the seven steps of the loop, pauses and extensions, from its events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final

from msgspec import Struct

from domain.complaint_clock import ClockEffect
from domain.complaint_standing import Event


class LoopStep(StrEnum):
    """The seven steps of the closed loop."""

    SUBMITTED = "SUBMITTED"
    """诉求人诉求"""
    ACCEPTED = "ACCEPTED"
    """市中心坐席受理"""
    DISPATCHED = "DISPATCHED"
    """市中心批转"""
    HANDLED = "HANDLED"
    """职能部门办理"""
    ANSWERED = "ANSWERED"
    """职能部门回复"""
    RATED = "RATED"
    """诉求人评价"""
    CALLED_BACK = "CALLED_BACK"
    """市中心回访"""


class PauseReason(StrEnum):
    """Why a clock stands, as the events say it."""

    CITIZEN_ASKED = "CITIZEN_ASKED"


class ExtensionState(StrEnum):
    """What became of an extension that was asked for."""

    REQUESTED = "REQUESTED"
    GRANTED = "GRANTED"
    DENIED = "DENIED"
    LAPSED = "LAPSED"
    """The matter went on before the centre decided."""


class Pause(Struct, frozen=True):
    """One time that the clock stood; `until` None: it still does."""

    reason: PauseReason
    since: datetime
    until: datetime | None


class Extension(Struct, frozen=True):
    """One extension; `seq` of the event that asked for it. Days are working days."""

    seq: int
    asked_at: datetime
    asked_days: int
    state: ExtensionState
    granted_days: int = 0
    decided_at: datetime | None = None


_REACHES: Final[Mapping[str, LoopStep]] = {
    "SUBMIT": LoopStep.SUBMITTED,
    "ACCEPT": LoopStep.ACCEPTED,
    "REOPEN": LoopStep.ACCEPTED,
    "DISPATCH": LoopStep.DISPATCHED,
    "TRANSFER": LoopStep.DISPATCHED,
    "TAKE_UP": LoopStep.HANDLED,
    "RATE": LoopStep.RATED,
}
_UNDOES: Final[Mapping[str, Sequence[LoopStep]]] = {
    "RETURN": (LoopStep.DISPATCHED, LoopStep.HANDLED),
    "TRANSFER": (LoopStep.HANDLED,),
    "REOPEN": tuple(LoopStep)[1:],
}
_ENDS_REQUEST: Final = frozenset({"ANSWER", "DISPATCH", "TRANSFER", "RETURN", "MERGE", "WITHDRAW"})
_RESUMING: Final = (ClockEffect.RESUME, ClockEffect.STOP, ClockEffect.RESTART)


def loop_of(events: Sequence[Event]) -> dict[LoopStep, tuple[datetime, Event]]:
    """Give the steps that the present round has reached, when, and the event of whoever reached them.

    A step that is undone (returned, transferred, reopened) is not reached any more. An answer is reached when
    it is with the citizen, by the unit that gave it.
    """
    reached: dict[LoopStep, tuple[datetime, Event]] = {}
    answer: Event | None = None
    for event in events:
        for step in _UNDOES.get(event.action, ()):
            reached.pop(step, None)
        if event.action in _REACHES:
            reached[_REACHES[event.action]] = (event.at, event)
        elif event.action == "ANSWER":
            answer = event
        elif event.action == "ANSWER_DIRECTLY":
            reached.setdefault(LoopStep.ACCEPTED, (event.at, event))
            reached[LoopStep.ANSWERED] = (event.at, event)
        elif event.action == "PASS_CHECK" and answer is not None:
            reached[LoopStep.ANSWERED] = (event.at, answer)
        elif event.action == "CALL_BACK" and event.facts["was_reached"]:
            reached[LoopStep.CALLED_BACK] = (event.at, event)
    return reached


def passed_answers(events: Sequence[Event]) -> set[int]:
    """Give the events whose answer reached the citizen: given directly, or found good enough."""
    passed: set[int] = set()
    answer: Event | None = None
    for event in events:
        if event.action == "ANSWER_DIRECTLY":
            passed.add(event.seq)
        elif event.action == "ANSWER":
            answer = event
        elif event.action == "PASS_CHECK" and answer is not None:
            passed.add(answer.seq)
    return passed


def pauses_of(events: Sequence[Event]) -> list[Pause]:
    """List the times that the clock stood, in order."""
    pauses: list[Pause] = []
    open_since: datetime | None = None
    reason = PauseReason.CITIZEN_ASKED
    for move in (event.move for event in events if event.move is not None):
        if open_since is not None and move.effect in _RESUMING:
            pauses.append(Pause(reason, open_since, move.at))
            open_since = None
        elif move.effect is ClockEffect.PAUSE:
            open_since, reason = move.at, PauseReason(move.reason or "")
    return pauses if open_since is None else [*pauses, Pause(reason, open_since, None)]


def extensions_of(events: Sequence[Event]) -> list[Extension]:
    """List the extensions that were asked for, in order, and what became of them."""
    found: list[Extension] = []
    for event in events:
        if event.action == "REQUEST_EXTENSION":
            found.append(Extension(event.seq, event.at, event.facts["days"], ExtensionState.REQUESTED))
        elif not found or found[-1].state is not ExtensionState.REQUESTED:
            continue
        elif event.action == "GRANT_EXTENSION":
            found[-1] = _decided(found[-1], ExtensionState.GRANTED, event, event.facts["days"])
        elif event.action == "DENY_EXTENSION":
            found[-1] = _decided(found[-1], ExtensionState.DENIED, event)
        elif event.action in _ENDS_REQUEST:
            found[-1] = _decided(found[-1], ExtensionState.LAPSED, event)
    return found


def _decided(asked: Extension, state: ExtensionState, event: Event, days: int = 0) -> Extension:
    return Extension(asked.seq, asked.asked_at, asked.asked_days, state, days, event.at)
