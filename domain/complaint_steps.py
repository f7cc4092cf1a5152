"""Which step of a complaint leads where: one table, and `take`, which decides a step and makes its event."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from domain import complaints as c
from domain.complaint_clock import ClockEffect, ClockMove
from domain.complaint_standing import Event, Standing
from domain.complaints import Actor, ActorRole, State

_S, _R = State, ActorRole
_OPEN: Final = (_S.SUBMITTED, _S.ACCEPTED, _S.ASKED_BY_SEAT, _S.DISPATCHED, _S.HANDLING, _S.ASKED_BY_UNIT)
_STAFF: Final = (_R.SEAT, _R.UNIT)

Row = tuple[type[c.Step], tuple[ActorRole, ...], Mapping[State | None, State]]


def _stay(*states: State) -> dict[State | None, State]:
    return {state: state for state in states}


_ROWS: Final[tuple[Row, ...]] = (
    (c.Submit, (_R.COMPLAINANT, _R.SEAT), {None: _S.SUBMITTED}),
    (c.Accept, (_R.SEAT,), {_S.SUBMITTED: _S.ACCEPTED}),
    (c.Classify, (_R.SEAT,), _stay(_S.ACCEPTED, _S.DISPATCHED, _S.HANDLING)),
    (c.Refuse, (_R.SEAT,), {_S.SUBMITTED: _S.REFUSED, _S.ACCEPTED: _S.REFUSED}),
    (c.AnswerDirectly, (_R.SEAT,), {_S.SUBMITTED: _S.REPLIED, _S.ACCEPTED: _S.REPLIED}),
    (c.Dispatch, (_R.SEAT,), {_S.ACCEPTED: _S.DISPATCHED}),
    (c.Transfer, _STAFF, {_S.DISPATCHED: _S.DISPATCHED, _S.HANDLING: _S.DISPATCHED}),
    (c.TakeUp, (_R.UNIT,), {_S.DISPATCHED: _S.HANDLING}),
    (c.Return, (_R.UNIT,), {_S.DISPATCHED: _S.ACCEPTED, _S.HANDLING: _S.ACCEPTED}),
    (c.AskCitizen, (_R.SEAT,), {_S.ACCEPTED: _S.ASKED_BY_SEAT}),
    (c.AskCitizen, (_R.UNIT,), {_S.HANDLING: _S.ASKED_BY_UNIT}),
    (c.ResumeWork, (_R.SEAT, _R.SYSTEM), {_S.ASKED_BY_SEAT: _S.ACCEPTED}),
    (c.ResumeWork, (_R.UNIT, _R.SYSTEM), {_S.ASKED_BY_UNIT: _S.HANDLING}),
    (c.Advise, (_R.CO_UNIT,), _stay(_S.DISPATCHED, _S.HANDLING)),
    (c.RequestExtension, (_R.UNIT,), _stay(_S.HANDLING)),
    (c.GrantExtension, (_R.SEAT,), _stay(_S.HANDLING)),
    (c.DenyExtension, (_R.SEAT,), _stay(_S.HANDLING)),
    (c.Merge, (_R.SEAT,), dict.fromkeys((_S.SUBMITTED, _S.ACCEPTED, _S.DISPATCHED, _S.HANDLING), _S.MERGED)),
    (c.Answer, (_R.UNIT,), {_S.HANDLING: _S.ANSWERED}),
    (c.PassCheck, (_R.SEAT, _R.SYSTEM), {_S.ANSWERED: _S.REPLIED}),
    (c.FailCheck, (_R.SEAT,), {_S.ANSWERED: _S.HANDLING}),
    (c.Rate, (_R.COMPLAINANT,), {_S.REPLIED: _S.RATED, _S.CLOSED: _S.CLOSED}),
    (c.CallBack, (_R.SEAT,), _stay(_S.REPLIED, _S.RATED, _S.CLOSED)),
    (c.Close, (_R.SEAT, _R.SYSTEM), {_S.REPLIED: _S.CLOSED, _S.RATED: _S.CLOSED}),
    (
        c.Reopen,
        (_R.COMPLAINANT, _R.SEAT),
        dict.fromkeys((_S.REPLIED, _S.RATED, _S.CLOSED), _S.ACCEPTED),
    ),
    (
        c.Supplement,
        (_R.COMPLAINANT,),
        {
            **_stay(_S.SUBMITTED, _S.ACCEPTED, _S.DISPATCHED, _S.HANDLING),
            _S.ASKED_BY_SEAT: _S.ACCEPTED,
            _S.ASKED_BY_UNIT: _S.HANDLING,
        },
    ),
    (c.Withdraw, (_R.COMPLAINANT,), dict.fromkeys((*_OPEN, _S.ANSWERED), _S.WITHDRAWN)),
    # A message after the end still reaches those who handled the matter.
    (c.Write, (_R.COMPLAINANT, _R.SEAT), _stay(*_S)),
    (c.Write, (_R.UNIT,), _stay(_S.DISPATCHED, _S.HANDLING, _S.ANSWERED, _S.REPLIED, _S.RATED, _S.CLOSED)),
    (c.Review, (_R.SEAT,), _stay(*_S)),
    (c.Remind, (_R.SYSTEM,), _stay(_S.SUBMITTED, _S.ACCEPTED, _S.DISPATCHED, _S.HANDLING)),
    (c.Escalate, (_R.SYSTEM,), _stay(_S.SUBMITTED, _S.ACCEPTED, _S.DISPATCHED, _S.HANDLING)),
    (c.Erase, (_R.SYSTEM,), _stay(*_S)),
)


def action_of(step: type[c.Step] | c.Step) -> str:
    """Name a step as the table and the histories do."""
    return str(step.__struct_config__.tag)


TRANSITIONS: Final[dict[tuple[State | None, str, ActorRole], State]] = {
    (state, action_of(step), role): after
    for step, roles, moves in _ROWS
    for role in roles
    for state, after in moves.items()
}
"""State × action × role: where it leads. What is not in the table is not allowed."""

_STOPS: Final = frozenset({"PASS_CHECK", "ANSWER_DIRECTLY", "REFUSE", "WITHDRAW", "MERGE"})
_ASKED: Final = (_S.ASKED_BY_SEAT, _S.ASKED_BY_UNIT)


def to_millisecond(instant: datetime) -> datetime:
    """Cut an instant to what the store keeps."""
    return instant.replace(microsecond=instant.microsecond // 1000 * 1000)


def split(step: c.Step) -> tuple[dict[str, Any], dict[str, str]]:
    """Take a step apart into its facts and its texts; raw texts are never among the facts.

    Raises: domain.complaints.InvalidComplaintError naming the field that is out of bounds.
    """
    try:
        facts = msgspec.to_builtins(step)
        msgspec.convert(facts, type(step))
    except msgspec.ValidationError as error:
        field = str(error).rpartition("$.")[2].rstrip("`") or "input"
        raise c.InvalidComplaintError(field=field) from error
    texts = {name: facts.pop(name) for name in step.TEXTS if name in facts}
    return facts, texts


def take(
    standing: Standing | None, step: c.AnyStep, actor: Actor, *, now: datetime
) -> tuple[Event, dict[str, str]]:
    """Decide a step and make its event, not yet chained, beside the step's texts.

    Raises: domain.complaints.ComplaintStepNotAllowedError, InvalidComplaintError, ReopenTooLateError,
    TooManyComplaintStepsError.
    """
    facts, texts = split(step)
    state = standing.state if standing else None
    after = TRANSITIONS.get((state, action_of(step), actor.role))
    if after is None:
        raise c.ComplaintStepNotAllowedError(
            state=state.value if state else "NONE", step=action_of(step), role=actor.role.value
        )
    if standing is not None:
        _check(standing, step, actor, now)
    at = to_millisecond(now)
    if standing is not None and at < standing.changed_at:
        at = standing.changed_at  # a history never runs backwards, whatever a machine's clock says
    event = Event(
        seq=standing.version if standing else 0,
        at=at,
        actor=actor,
        facts=facts,
        state=after,
        move=_move(standing, step, at),
    )
    return event, texts


def _check(standing: Standing, step: c.AnyStep, actor: Actor, now: datetime) -> None:
    """Refuse what the table allows in general and the complaint's past forbids."""
    if standing.version >= c.MAX_EVENTS and actor.role is not ActorRole.SYSTEM:
        raise c.TooManyComplaintStepsError(most=c.MAX_EVENTS)
    by_citizen = actor.role is ActorRole.COMPLAINANT
    if isinstance(step, c.Write | c.Supplement) and by_citizen and standing.written >= c.MAX_CITIZEN_MESSAGES:
        raise c.TooManyComplaintStepsError(most=c.MAX_CITIZEN_MESSAGES)
    if isinstance(step, c.Reopen | c.Rate):
        _check_window(standing, step, now)
    refused = (
        (isinstance(step, c.RequestExtension) and standing.extension_days > 0)
        or (isinstance(step, c.GrantExtension | c.DenyExtension) and not standing.extension_days)
        or (isinstance(step, c.Write | c.Supplement) and by_citizen and standing.is_erased)
        or (isinstance(step, c.Review) and standing.publication is c.Publication.NOT_WISHED)
    )
    if refused:
        raise c.ComplaintStepNotAllowedError(
            state=standing.state.value, step=action_of(step), role=actor.role.value
        )
    if isinstance(step, c.RequestExtension) and standing.extensions >= c.MAX_EXTENSIONS:
        raise c.TooManyComplaintStepsError(most=c.MAX_EXTENSIONS)
    if isinstance(step, c.GrantExtension) and step.days > standing.extension_days:
        raise c.InvalidComplaintError(field="days")
    if isinstance(step, c.Dispatch) and (step.lead in step.co_units or step.lead == standing.centre):
        raise c.InvalidComplaintError(field="lead")
    if isinstance(step, c.Review) and step.is_cleared and not step.public_text:
        raise c.InvalidComplaintError(field="public_text")


def _check_window(standing: Standing, step: c.Reopen | c.Rate, now: datetime) -> None:
    replied = standing.replied_at
    if replied is None or now > replied + c.REOPEN_WITHIN:
        raise c.ReopenTooLateError(days=c.REOPEN_WITHIN // timedelta(days=1))
    if isinstance(step, c.Reopen) and standing.reopened >= c.MAX_REOPENINGS:
        raise c.TooManyComplaintStepsError(most=c.MAX_REOPENINGS)
    if isinstance(step, c.Rate) and standing.rating is not None:
        raise c.TooManyComplaintStepsError(most=1)


def _move(standing: Standing | None, step: c.AnyStep, at: datetime) -> ClockMove | None:
    """Say what a step does to the clock."""
    action = action_of(step)
    if isinstance(step, c.Submit):
        return ClockMove(at, ClockEffect.START, step.limit_days, step.limit_rule)
    if isinstance(step, c.Reopen):
        return ClockMove(at, ClockEffect.RESTART, step.limit_days, step.limit_rule)
    if standing is None:
        return None
    if isinstance(step, c.Accept) and (step.limit_days, step.limit_rule) != (
        standing.limit_days,
        standing.limit_rule,
    ):
        return ClockMove(at, ClockEffect.LIMIT, step.limit_days, step.limit_rule)
    if isinstance(step, c.GrantExtension):
        return ClockMove(at, ClockEffect.EXTEND, step.days, reason="EXTENSION_GRANTED")
    if isinstance(step, c.AskCitizen):
        return ClockMove(at, ClockEffect.PAUSE, reason="CITIZEN_ASKED")
    if isinstance(step, c.ResumeWork) or (isinstance(step, c.Supplement) and standing.state in _ASKED):
        return ClockMove(at, ClockEffect.RESUME)
    return ClockMove(at, ClockEffect.STOP) if action in _STOPS else None


def diagram() -> str:
    """Draw the table as a Mermaid diagram and write it down in Markdown, for `docs/complaint-steps.md`."""
    arrows: dict[tuple[str, str], set[str]] = {}
    for (before, action, _), after in TRANSITIONS.items():
        if before is not after:
            ends = (before.value if before else "[*]", after.value)
            arrows.setdefault(ends, set()).add(action)
    drawn = [
        f"    {before} --> {after}: {', '.join(sorted(actions))}"
        for (before, after), actions in arrows.items()
    ]
    drawn += [f"    {state.value} --> [*]" for state in State if state in c.ENDED]
    roles: dict[tuple[str, str, str], list[str]] = {}
    for (before, action, role), after in TRANSITIONS.items():
        roles.setdefault((before.value if before else "—", action, after.value), []).append(role.value)
    rows = [f"| {b} | {a} | {', '.join(by)} | {after} |" for (b, a, after), by in roles.items()]
    return "\n".join(
        [
            "# The steps of a complaint",
            "",
            "Made from the table in `domain/complaint_steps.py` by `mintong complaints diagram`;",
            "steps that leave the state as it is are in the table only.",
            "",
            "```mermaid",
            "stateDiagram-v2",
            *drawn,
            "```",
            "",
            "| State | Step | By | Leads to |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )
