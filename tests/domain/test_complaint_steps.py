"""The table of steps: no path leaves it, what is stored follows from events, due times move for a reason."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from domain import complaints as c
from domain.complaint_care import act_by, due_step, next_look
from domain.complaint_clock import Clock, ClockState, clock_of
from domain.complaint_history import digest_of, faults_of, seal
from domain.complaint_standing import Event, Standing, evolve, fold, moves_of
from domain.complaint_steps import TRANSITIONS, action_of, diagram, take
from domain.complaints import Actor, ActorRole, State
from domain.errors import DomainError
from domain.working_days import calendar_of

KEY, NUMBER = b"key of the history", "2603020000011"
CALENDAR = calendar_of()
START = datetime(2026, 3, 2, 2, tzinfo=UTC)
ABOVE = {"unit-1": "unit-2", "unit-2": "centre-2", "centre": "centre-2"}.get
SUBMIT = c.Submit(
    kind=c.Kind.COMPLAINT,
    channel=c.ComplaintChannel.APP,
    contact=c.ContactWish.NAMED,
    division_code="350102",
    centre="centre",
    limit_days=10,
    limit_rule="complaint",
    text="路灯不亮",
    is_public_wished=True,
)
STEPS: tuple[c.AnyStep, ...] = (
    c.Accept(kind=c.Kind.HELP, class_code="0203", limit_days=3, limit_rule="help"),
    c.Classify(kind=c.Kind.COMPLAINT, class_code="0201", limit_days=10, limit_rule="complaint"),
    c.Refuse(ground=c.RefusalGround.EMERGENCY, next_owner="110"),
    c.Dispatch(lead="unit-1", co_units=("unit-2",)),
    c.Transfer(lead="unit-2", note="属于市级职责"),
    c.AnswerDirectly(text="请拨打供电服务热线。"),
    c.TakeUp(),
    c.Return(reason="不是我们的路段"),
    c.AskCitizen(question="请说明灯杆编号"),
    c.ResumeWork(),
    c.Advise(text="电源正常"),
    c.RequestExtension(days=5, reason="需要采购灯具"),
    c.GrantExtension(days=3),
    c.DenyExtension(reason="可以先用临时灯"),
    c.Merge(into="2603020000023"),
    c.Answer(outcome=c.Outcome.PARTIAL, text="已修复两盏", private_text="还差一盏"),
    c.PassCheck(),
    c.FailCheck(reason="没有说明何时修完"),
    c.Rate(speed=3, attitude=4, result=2),
    c.CallBack(was_reached=True, is_satisfied=False),
    c.Close(),
    c.Reopen(reason="还有一盏不亮", limit_days=3, limit_rule="help"),
    c.Supplement(text="灯杆编号 A12"),
    c.Withdraw(reason="已经修好"),
    c.Write(text="什么时候来修？"),
    c.Review(is_cleared=True, public_text="路灯不亮"),
    c.Review(is_cleared=False),
    c.Remind(percent=50),
    c.Escalate(to="unit-2", level=1),
    c.Erase(text="路灯不亮"),
)
DETOURS = {"WITHDRAW", "MERGE", "REFUSE", "ANSWER_DIRECTLY"}
ONWARD = [key for key, after in TRANSITIONS.items() if key[0] not in (None, after) and key[1] not in DETOURS]
ROLES = tuple(Actor(role, account="a", unit="u") for role in ActorRole)
ACCEPT, DISPATCH = STEPS[0], STEPS[3]
TO_HANDLING = ((ACCEPT, ActorRole.SEAT), (DISPATCH, ActorRole.SEAT), (c.TakeUp(), ActorRole.UNIT))
ANSWERED = (*TO_HANDLING, (STEPS[15], ActorRole.UNIT))
PATHS = (
    (),
    TO_HANDLING,
    (*TO_HANDLING, (STEPS[11], ActorRole.UNIT)),
    (*TO_HANDLING, (STEPS[11], ActorRole.UNIT), (STEPS[12], ActorRole.SEAT)),
    ANSWERED,
    (*ANSWERED, (c.PassCheck(), ActorRole.SEAT)),
)
"""How far a complaint has come before anybody does anything."""


class OneComplaint(RuleBasedStateMachine):
    """Anybody does anything at any time to one complaint."""

    events: list[Event]
    standing: Standing
    now: datetime

    @initialize(role=st.sampled_from([ActorRole.COMPLAINANT, ActorRole.SEAT]), so_far=st.sampled_from(PATHS))
    def submit(self, role: ActorRole, so_far: tuple[tuple[c.AnyStep, ActorRole], ...]) -> None:
        self.now, self.events = START, []
        self._append(*take(None, SUBMIT, Actor(role), now=self.now))
        for step, by in so_far:
            self.now += timedelta(hours=7)
            self._try(step, Actor(by, account="a", unit="u"))
        assert len(self.events) == 1 + len(so_far)

    @rule(hours=st.integers(0, 100))
    def wait(self, hours: int) -> None:
        before = self.clock()
        self.now += timedelta(hours=hours)
        assert self.clock().due_at == before.due_at

    @rule(step=st.sampled_from(STEPS), actor=st.sampled_from(ROLES))
    def step(self, step: c.AnyStep, actor: Actor) -> None:
        self._try(step, actor)

    @rule(data=st.data())
    def allowed_step(self, data: st.DataObject) -> None:
        self._draw(data, [key for key in TRANSITIONS if key[0] is self.standing.state])

    @precondition(lambda self: any(key[0] is self.standing.state for key in ONWARD))
    @rule(data=st.data())
    def step_onward(self, data: st.DataObject) -> None:
        """Or a machine hardly ever gets as far as an answer."""
        self._draw(data, [key for key in ONWARD if key[0] is self.standing.state])

    def _draw(self, data: st.DataObject, keys: list[tuple[State | None, str, ActorRole]]) -> None:
        _, action, role = data.draw(st.sampled_from(keys))
        step = data.draw(st.sampled_from([each for each in STEPS if action_of(each) == action]))
        self._try(step, Actor(role, account="a", unit="u"))

    @rule()
    def let_the_clock_act(self) -> None:
        step = due_step(self.standing, self.clock(), CALENDAR, ABOVE, now=self.now)
        planned = next_look(self.standing, self.clock(), CALENDAR, ABOVE)
        assert (step is not None) == (planned is not None and planned <= self.now)
        if step is not None:
            before = len(self.events)
            self._try(step, Actor(ActorRole.SYSTEM))
            assert len(self.events) == before + 1, "what the clock plans, the table allows"

    @invariant()
    def history_is_sound(self) -> None:
        assert faults_of(KEY, NUMBER, self.events, self.standing) == []
        assert fold(self.events) == self.standing
        assert self.standing.version == len(self.events)

    @invariant()
    def somebody_holds_what_is_open(self) -> None:
        is_open = self.standing.state not in c.ENDED
        assert (self.standing.holder is not None) == is_open
        assert (act_by(self.standing, self.clock()) is not None) == is_open
        clock, state = self.clock(), self.standing.state
        if state in (State.SUBMITTED, State.ACCEPTED, State.DISPATCHED, State.HANDLING, State.ANSWERED):
            assert clock.state is ClockState.RUNNING
        elif state in (State.ASKED_BY_SEAT, State.ASKED_BY_UNIT):
            assert clock.state is ClockState.PAUSED
        else:
            assert clock.state is ClockState.STOPPED

    def clock(self) -> Clock:
        return clock_of(moves_of(self.events), CALENDAR, now=self.now)

    def _try(self, step: c.AnyStep, actor: Actor) -> None:
        events, standing, clock = list(self.events), self.standing, self.clock()
        after = TRANSITIONS.get((standing.state, action_of(step), actor.role))
        try:
            event, texts = take(standing, step, actor, now=self.now)
        except DomainError:
            assert (self.events, self.standing) == (events, standing)
            return
        assert after is event.state, "only the table says where a step leads"
        self._append(event, texts)
        if event.move is None:
            assert self.clock().due_at == clock.due_at, "a due time moved and no event says why"

    def _append(self, event: Event, texts: dict[str, str]) -> None:
        digest = digest_of(texts, b"salt") if texts else None
        sealed = seal(KEY, NUMBER, self.events[-1] if self.events else None, replace(event, digest=digest))
        assert not any(text in str(sealed.facts) for text in texts.values())
        self.standing = evolve(self.standing if self.events else None, sealed)
        self.events.append(sealed)


OneComplaint.TestCase.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestOneComplaint = OneComplaint.TestCase


def history(*steps: tuple[c.AnyStep, ActorRole]) -> tuple[list[Event], Standing]:
    events: list[Event] = []
    standing: Standing | None = None
    for index, (step, role) in enumerate(((SUBMIT, ActorRole.COMPLAINANT), *steps)):
        event, _ = take(standing, step, Actor(role), now=START + timedelta(hours=index))
        events.append(seal(KEY, NUMBER, events[-1] if events else None, event))
        standing = evolve(standing, events[-1])
    assert standing is not None
    return events, standing


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda events: [replace(events[0], at=events[0].at - timedelta(days=9)), *events[1:]], "seal"),
        (lambda events: [events[0], *events[2:]], "seal"),
        (lambda events: events[:-1], "not what its events amount to"),
        (lambda events: [*events[:2], replace(events[2], facts={"action": "CLOSE"}), *events[3:]], "seal"),
        (lambda events: [events[0], events[2], events[1], *events[3:]], "has number 2"),
    ],
)
def test_a_change_of_the_past_is_found(change, fault):  # type: ignore[no-untyped-def]
    events, standing = history(*TO_HANDLING)
    assert faults_of(KEY, NUMBER, events, standing) == []
    assert any(fault in found for found in faults_of(KEY, NUMBER, change(events), standing))


def test_a_step_outside_of_the_table_is_found_even_under_a_true_seal():
    events, standing = history()
    event = replace(events[0], seq=1, facts={"action": "CLOSE"}, state=State.CLOSED, move=None, hash="")
    forged = [*events, seal(KEY, NUMBER, events[0], event)]
    assert faults_of(KEY, NUMBER, forged, evolve(standing, forged[1])) == [
        "event 1: CLOSE does not lead from SUBMITTED to CLOSED"
    ]
    assert faults_of(b"another key", NUMBER, events, standing) == ["event 0: its seal is broken"]
    assert faults_of(KEY, "2603020000023", events, standing) == ["event 0: its seal is broken"]


def test_an_answer_that_nobody_checks_goes_out_in_time():
    events, standing = history(*ANSWERED)
    clock = clock_of(moves_of(events), CALENDAR, now=START)
    assert clock.due_at is not None
    assert (standing.state, standing.holder, clock.state) == (State.ANSWERED, "centre", ClockState.RUNNING)
    checked = events[-1].at + c.CHECK_WITHIN
    assert due_step(standing, clock, CALENDAR, ABOVE, now=checked - timedelta(seconds=1)) is None
    assert due_step(standing, clock, CALENDAR, ABOVE, now=checked) == c.PassCheck()
    hurried = replace(standing, answered_at=clock.due_at - timedelta(hours=1))
    assert next_look(hurried, clock, CALENDAR, ABOVE) == clock.due_at
    late = replace(standing, answered_at=clock.due_at + timedelta(hours=1))
    assert next_look(late, clock, CALENDAR, ABOVE) == clock.due_at + timedelta(hours=1) + c.CHECK_WITHIN


def test_a_worthless_answer_every_evening_does_not_stop_the_clock():
    events, standing = history(*TO_HANDLING)
    due_at = clock_of(moves_of(events), CALENDAR, now=START).due_at
    for day in range(1, 9):
        for step, role, hour in ((STEPS[15], ActorRole.UNIT, 13), (STEPS[17], ActorRole.SEAT, 23)):
            event, _ = take(standing, step, Actor(role), now=START + timedelta(days=day, hours=hour))
            events.append(seal(KEY, NUMBER, events[-1], event))
            standing = evolve(standing, events[-1])
    assert clock_of(moves_of(events), CALENDAR, now=START).due_at == due_at


def test_reopening_begins_a_new_limit_and_has_a_window():
    events, standing = history(*ANSWERED, (c.PassCheck(), ActorRole.SEAT))
    late = events[-1].at + c.REOPEN_WITHIN + timedelta(seconds=1)
    with pytest.raises(c.ReopenTooLateError):
        take(standing, STEPS[21], Actor(ActorRole.COMPLAINANT), now=late)
    event, _ = take(standing, STEPS[21], Actor(ActorRole.COMPLAINANT), now=late - timedelta(days=1))
    after = evolve(standing, event)
    assert (after.state, after.reopened, after.outcome, after.lead) == (State.ACCEPTED, 1, None, None)
    assert after.holder == "centre"


def test_escalation_goes_up_level_by_level_even_when_nobody_owns_the_complaint():
    events, standing = history()
    clock = clock_of(moves_of(events), CALENDAR, now=START)
    assert clock.due_at == datetime(2026, 3, 16, 15, 59, 59, tzinfo=UTC)
    late = clock.due_at + timedelta(seconds=1)
    assert due_step(standing, clock, CALENDAR, ABOVE, now=late) == c.Escalate(to="centre-2", level=1)
    assert due_step(standing, clock, CALENDAR, ABOVE, now=late - timedelta(seconds=1)) == c.Remind(percent=80)
    nobody_above = due_step(standing, clock, CALENDAR, lambda _: None, now=late)
    assert nobody_above == c.Remind(percent=80)


@pytest.mark.parametrize(
    "number", ["2603020000016", "260302000001", "26030200000115", "x", "", "２６０３０２００００００１１"]
)
def test_a_mistyped_number_is_no_number(number: str):
    with pytest.raises(c.ComplaintNotFoundError):
        c.check_number(number)


def test_numbers_can_be_typed_with_blanks():
    assert c.number_of(START.date(), 1) == NUMBER
    assert c.check_number("260302 000001-1") == NUMBER
    assert len({c.number_of(START.date(), count) for count in range(2_000)}) == 2_000


def test_the_document_is_that_of_the_table():
    document = Path(__file__).parents[2] / "docs" / "complaint-steps.md"
    assert document.read_text(encoding="utf-8") == diagram(), "`mintong complaints diagram` writes it anew"
