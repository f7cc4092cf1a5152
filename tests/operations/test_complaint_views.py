"""Who sees what of a complaint: every step and text has its rule, and nobody sees more than their part."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise
from typing import get_args

import pytest
from complaints_world import NOW
from hypothesis import given
from hypothesis import strategies as st

from domain import complaints as c
from domain.complaint_actions import Action, allowed_actions
from domain.complaint_clock import clock_of
from domain.complaint_course import ExtensionState, extensions_of, loop_of, pauses_of
from domain.complaint_standing import Event, Standing, evolve, moves_of
from domain.complaint_steps import TRANSITIONS, action_of, take
from domain.complaints import Actor, ActorRole
from domain.errors import DomainError
from domain.working_days import calendar_of
from operations.complaint_sight import _TEXTS, BY_CODE, JOINED, Sight, show_events, sight_of
from resolvers.complaint_words import _EVENTS

CALENDAR = calendar_of()
SUBMIT = c.Submit(
    kind=c.Kind.COMPLAINT,
    channel=c.ComplaintChannel.APP,
    contact=c.ContactWish.NAMED,
    division_code="350102",
    centre="centre",
    limit_days=10,
    limit_rule="r",
    text="SUBMIT.text",
    address="SUBMIT.address",
    name="SUBMIT.name",
    phone="13800138000",
    is_public_wished=True,
)
LIMIT = {"limit_days": 3, "limit_rule": "r"}
STEPS: list[tuple[c.AnyStep, ActorRole]] = [
    (c.Accept(kind=c.Kind.COMPLAINT, class_code="0201", **LIMIT), ActorRole.SEAT),
    (c.Refuse(ground=c.RefusalGround.NO_MATTER, next_owner="法院", note="REFUSE.note"), ActorRole.SEAT),
    (c.Dispatch(lead="unit", co_units=("co",), note="DISPATCH.note"), ActorRole.SEAT),
    (c.Transfer(lead="other", note="TRANSFER.note"), ActorRole.UNIT),
    (c.AnswerDirectly(text="ANSWER_DIRECTLY.text"), ActorRole.SEAT),
    (c.TakeUp(), ActorRole.UNIT),
    (c.Return(reason="RETURN.reason"), ActorRole.UNIT),
    (c.AskCitizen(question="ASK_CITIZEN.question"), ActorRole.UNIT),
    (c.ResumeWork(), ActorRole.SYSTEM),
    (c.Advise(text="ADVISE.text"), ActorRole.CO_UNIT),
    (c.RequestExtension(days=5, reason="REQUEST_EXTENSION.reason"), ActorRole.UNIT),
    (c.GrantExtension(days=2), ActorRole.SEAT),
    (c.DenyExtension(reason="DENY_EXTENSION.reason"), ActorRole.SEAT),
    (c.Answer(c.Outcome.FULL, "ANSWER.text", "ANSWER.private_text"), ActorRole.UNIT),
    (c.PassCheck(), ActorRole.SEAT),
    (c.FailCheck(reason="FAIL_CHECK.reason"), ActorRole.SEAT),
    (c.Rate(speed=1, attitude=1, result=1, comment="RATE.comment"), ActorRole.COMPLAINANT),
    (c.CallBack(was_reached=True, is_satisfied=True, note="CALL_BACK.note"), ActorRole.SEAT),
    (c.Reopen(reason="REOPEN.reason", **LIMIT), ActorRole.COMPLAINANT),
    (c.Supplement(text="SUPPLEMENT.text"), ActorRole.COMPLAINANT),
    (c.Withdraw(reason="WITHDRAW.reason"), ActorRole.COMPLAINANT),
    (c.Write(text="WRITE.text"), ActorRole.UNIT),
    (c.Review(is_cleared=True, public_text="REVIEW.public_text"), ActorRole.SEAT),
    (c.Remind(percent=50), ActorRole.SYSTEM),
    (c.Escalate(to="centre", level=1), ActorRole.SYSTEM),
]
FOR_CITIZENS = {
    *("SUBMIT.text", "SUBMIT.address", "SUBMIT.name", "13800138000", "SUPPLEMENT.text", "REFUSE.note"),
    *("ANSWER_DIRECTLY.text", "ANSWER.text", "ASK_CITIZEN.question", "WRITE.text", "RATE.comment"),
    *("REOPEN.reason", "WITHDRAW.reason", "REQUEST_EXTENSION.reason"),
}
FOR_FOLLOWERS = {"REFUSE.note", "ANSWER_DIRECTLY.text", "ANSWER.text"}


def history(choices: list[int]) -> tuple[list[Event], dict[int, dict[str, str]]]:
    """Take those of some steps that are allowed one after another."""
    event, texts = take(None, SUBMIT, Actor(ActorRole.COMPLAINANT), now=NOW)
    events, said, standing = [event], {0: texts}, evolve(None, event)
    for number, choice in enumerate(choices, 1):
        step, role = STEPS[choice]
        actor = Actor(role, account="staff", unit="unit") if role not in _NOBODY else Actor(role)
        try:
            event, texts = take(standing, step, actor, now=NOW + number * timedelta(hours=7))
        except DomainError:
            continue
        events.append(event)
        said[event.seq] = texts
        standing = evolve(standing, event)
    return events, said


_NOBODY = {ActorRole.COMPLAINANT, ActorRole.SYSTEM}
HISTORIES = st.lists(st.integers(0, len(STEPS) - 1), max_size=40).map(history)


def test_every_step_has_a_name_words_and_every_text_a_rule() -> None:
    steps = {action_of(step): step for step in get_args(c.AnyStep)}
    assert {action.value for action in Action} == set(steps) == set(_EVENTS)
    assert {(action, field) for action, step in steps.items() for field in step.TEXTS} == set(_TEXTS)


@given(HISTORIES)
def test_nobody_sees_more_than_their_part(
    lived: tuple[list[Event], dict[int, dict[str, str]]],
) -> None:
    events, texts = lived

    def seen(sight: Sight) -> set[str]:
        return {text for _, _, words in show_events(sight, events, texts) for text in words.values()}

    owner = sight_of([Actor(ActorRole.COMPLAINANT)])
    everything = {text for words in texts.values() for text in words.values()}
    assert seen(owner) <= FOR_CITIZENS
    assert seen(BY_CODE) <= seen(owner) & FOR_FOLLOWERS
    assert {each.partition(".")[0] for each in seen(JOINED)} <= {
        each.partition(".")[0] for each in FOR_FOLLOWERS
    }
    assert seen(sight_of([Actor(ActorRole.SEAT)])) == everything - {"ERASE.text"}
    co_unit = seen(sight_of([Actor(ActorRole.CO_UNIT)]))
    assert not co_unit & {"SUBMIT.name", "13800138000", "WRITE.text", "ASK_CITIZEN.question"}
    # An answer that no check has passed is the desk's.
    if not any(event.action in ("PASS_CHECK", "ANSWER_DIRECTLY") for event in events):
        assert not seen(owner) & {"ANSWER.text", "ANSWER_DIRECTLY.text"}
        shown = show_events(owner, events, texts)
        assert not any("outcome" in facts for event, facts, _ in shown if event.action == "ANSWER")


def refusal_of(standing: Standing, step: c.AnyStep, actor: Actor, now: datetime) -> DomainError | None:
    try:
        take(standing, step, actor, now=now)
    except DomainError as error:
        return error
    return None


@given(HISTORIES, st.sampled_from(list(ActorRole)))
def test_what_is_said_to_be_allowed_is(
    lived: tuple[list[Event], dict[int, dict[str, str]]], role: ActorRole
) -> None:
    events, _ = lived
    standing = None
    for event in events:
        standing = evolve(standing, event)
    assert standing is not None
    now = events[-1].at
    clock = clock_of(moves_of(events), CALENDAR, now=now)
    actor = Actor(role)
    allowed = set(allowed_actions(standing, [actor], clock, now=now))
    assert {(standing.state, each.value, role) for each in allowed} <= set(TRANSITIONS)
    for step, by in STEPS:
        if by is not role or action_of(step) == "REQUEST_EXTENSION":
            continue
        refusal = refusal_of(standing, step, actor, now)
        if refusal is None:
            assert role is ActorRole.SYSTEM or action_of(step) in allowed
        elif not isinstance(refusal, c.InvalidComplaintError):
            # What is wrong with these days or units does not mean that the kind of step is not allowed.
            assert action_of(step) not in allowed
    assert allowed_actions(standing, [], clock, now=now) == []


@given(HISTORIES)
def test_the_course_follows_the_history(lived: tuple[list[Event], dict[int, dict[str, str]]]) -> None:
    events, _ = lived
    reached = loop_of(events)
    assert all(events[0].at <= at <= events[-1].at for at, _ in reached.values())
    pauses = pauses_of(events)
    assert all(each.until is not None and each.since <= each.until for each in pauses[:-1])
    assert all(one.until <= two.since for one, two in pairwise(pauses) if one.until)
    extensions = extensions_of(events)
    assert all(each.state is not ExtensionState.REQUESTED for each in extensions[:-1])
    granted = [each for each in extensions if each.state is ExtensionState.GRANTED]
    assert sum(each.granted_days for each in granted) == sum(
        event.facts["days"] for event in events if event.action == "GRANT_EXTENSION"
    )


@pytest.mark.parametrize("role", [role for role in ActorRole if role is not ActorRole.SYSTEM])
def test_only_those_who_deal_with_the_citizen_see_how_to_reach_them(role: ActorRole) -> None:
    may = role in (ActorRole.COMPLAINANT, ActorRole.SEAT, ActorRole.UNIT)
    assert bool(sight_of([Actor(role)]) & Sight.CONTACT) == may
    assert not (BY_CODE | JOINED) & (Sight.CONTACT | Sight.MATTER | Sight.TALK | Sight.DESK)
