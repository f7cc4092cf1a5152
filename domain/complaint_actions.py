"""Which steps somebody may take on a complaint now: the one table is asked, with one step of each kind."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Final

from domain import complaints as c
from domain.complaint_clock import Clock
from domain.complaint_standing import Standing
from domain.complaint_steps import TRANSITIONS, action_of, take
from domain.complaints import Actor
from domain.errors import DomainError


class Action(StrEnum):
    """Every step there is, by the name that histories use."""

    SUBMIT = "SUBMIT"
    ACCEPT = "ACCEPT"
    CLASSIFY = "CLASSIFY"
    REFUSE = "REFUSE"
    DISPATCH = "DISPATCH"
    TRANSFER = "TRANSFER"
    ANSWER_DIRECTLY = "ANSWER_DIRECTLY"
    TAKE_UP = "TAKE_UP"
    RETURN = "RETURN"
    ASK_CITIZEN = "ASK_CITIZEN"
    RESUME_WORK = "RESUME_WORK"
    ADVISE = "ADVISE"
    REQUEST_EXTENSION = "REQUEST_EXTENSION"
    GRANT_EXTENSION = "GRANT_EXTENSION"
    DENY_EXTENSION = "DENY_EXTENSION"
    MERGE = "MERGE"
    ANSWER = "ANSWER"
    PASS_CHECK = "PASS_CHECK"  # noqa: S105 — a step, no password
    FAIL_CHECK = "FAIL_CHECK"
    RATE = "RATE"
    CALL_BACK = "CALL_BACK"
    CLOSE = "CLOSE"
    REOPEN = "REOPEN"
    SUPPLEMENT = "SUPPLEMENT"
    WITHDRAW = "WITHDRAW"
    WRITE = "WRITE"
    REVIEW = "REVIEW"
    REMIND = "REMIND"
    ESCALATE = "ESCALATE"
    ERASE = "ERASE"


_SAMPLES: Final[tuple[c.AnyStep, ...]] = (
    c.Accept(kind=c.Kind.HELP, class_code="00", limit_days=1, limit_rule="-"),
    c.Classify(kind=c.Kind.HELP, class_code="00", limit_days=1, limit_rule="-"),
    c.Refuse(ground=c.RefusalGround.NO_MATTER, next_owner="--"),
    c.Dispatch(lead="-"),
    c.Transfer(lead="-"),
    c.AnswerDirectly(text="-"),
    c.TakeUp(),
    c.Return(reason="-"),
    c.AskCitizen(question="-"),
    c.ResumeWork(),
    c.Advise(text="-"),
    c.RequestExtension(days=1, reason="-"),
    c.GrantExtension(days=1),
    c.DenyExtension(reason="-"),
    c.Merge(into="-"),
    c.Answer(outcome=c.Outcome.FULL, text="-"),
    c.PassCheck(),
    c.FailCheck(reason="-"),
    c.Rate(speed=1, attitude=1, result=1),
    c.CallBack(was_reached=False),
    c.Close(),
    c.Reopen(reason="-", limit_days=1, limit_rule="-"),
    c.Supplement(text="-"),
    c.Withdraw(),
    c.Write(text="-"),
    c.Review(is_cleared=False),
)
"""One of each step that people take on a complaint that is there."""


def allowed_actions(
    standing: Standing, actors: Iterable[Actor], clock: Clock, *, now: datetime
) -> list[Action]:
    """List the steps that somebody may take now, by the table and the rules around it."""
    acting = tuple(actors)
    return [
        Action(action_of(step))
        for step in _SAMPLES
        if any(_is_allowed(standing, step, actor, now) for actor in acting)
        and not (isinstance(step, c.RequestExtension) and clock.is_overdue(now))
    ]


def _is_allowed(standing: Standing, step: c.AnyStep, actor: Actor, now: datetime) -> bool:
    if (standing.state, action_of(step), actor.role) not in TRANSITIONS:
        return False
    try:
        take(standing, step, actor, now=now)
    except DomainError:
        return False
    return True
