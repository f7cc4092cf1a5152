"""The desk on the real engines: queues, claims, two clerks at once, many dispatched, taken down, traced."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from complaints_world import (
    CITIZEN,
    CITY,
    CLERK,
    CO_CLERK,
    COUNTY,
    DAY,
    FAR_SEAT,
    MATTER,
    NOW,
    OPERATOR,
    OTHER,
    SEAT,
    ComplaintWorlds,
    World,
    viewer,
)
from msgspec.structs import replace
from pymongo import monitoring

import store.connections
from domain import complaints as c
from domain.access import Assurance, ForbiddenError, Role, Viewer
from domain.account import TextTooLongError
from domain.complaint_desk import (
    LEASE,
    MAX_CLAIMS,
    ComplaintClaimedError,
    Narrow,
    NoAccountBehindError,
    NotAnonymousError,
    OwnComplaintError,
    Place,
    Queue,
    TooManyClaimsError,
    end_of_soon,
)
from domain.complaints import Actor, ActorRole, ComplaintChannel, ContactWish, State
from domain.errors import DomainError
from domain.units import UnknownUnitError
from operations.complaint_desk import QueueRequest, count_queues, list_queue
from operations.complaint_desk_intake import propose_publication, review_publication, take_down, trace
from operations.complaint_desk_work import (
    BulkItem,
    claim,
    dispatch_many,
    merge_many,
    release,
    take_step,
)
from operations.complaint_steps import accept, act, advance, reopen
from operations.complaint_submit import Intake
from operations.complaints import follow
from store.complaints import Complaint, Summary

HOUR = timedelta(hours=1)
SEAT_2 = viewer("second seat", Role.DESK, unit="centre-3501", division=CITY)
PROVINCE = viewer("province", Role.DESK, unit="centre-35", division="350000")
CLERK_2 = viewer("second clerk", Role.DESK, unit="water-gulou", division=COUNTY)
CHIEF = viewer("chief", Role.DESK, unit="water", division=CITY)
STRANGER = viewer("stranger", Role.DESK, unit="water-taijiang", division="350103")
SYSTEM = Actor(ActorRole.SYSTEM)


@pytest.fixture
def worlds(mongodb_uri: str, database_name: str, tmp_path: Path) -> ComplaintWorlds:
    return ComplaintWorlds(mongodb_uri, database_name, tmp_path)


async def handled(world: World, number: str, *, now: datetime = NOW, to: State = State.HANDLING) -> Complaint:
    """Bring a complaint as far as a state on the straight way."""
    own = world.complaints
    steps: dict[State, Awaitable[Complaint]] = {
        State.ACCEPTED: accept(own, SEAT, number, c.Kind.COMPLAINT, "0201", now=now),
        State.DISPATCHED: advance(own, SEAT, number, c.Dispatch("water-gulou"), now=now),
        State.HANDLING: advance(own, CLERK, number, c.TakeUp(), now=now),
        State.ANSWERED: advance(own, CLERK, number, c.Answer(outcome=c.Outcome.FULL, text="已修"), now=now),
        State.REPLIED: advance(own, SEAT, number, c.PassCheck(), now=now),
        State.CLOSED: advance(own, SEAT, number, c.Close(), now=now),
    }
    complaint: Complaint | None = None
    for state, step in steps.items():
        if complaint is not None and complaint.standing.state is to:
            step.close()  # type: ignore[attr-defined]
            continue
        complaint = await step
        assert complaint.standing.state is state
    assert complaint is not None
    return complaint


async def numbers(
    world: World,
    by: Viewer,
    queue: Queue,
    *,
    unit: str | None = None,
    newest: bool = False,
    now: datetime = NOW,
    **narrow: Any,
) -> list[str]:
    request = QueueRequest(queue, unit, newest, Narrow(**narrow))
    return [row.number for row in await list_queue(world.complaints, by, request, 100, now=now)]


async def counts(world: World, by: Viewer, unit: str | None = None, *, now: datetime = NOW) -> dict[str, int]:
    found = await count_queues(world.complaints, by, unit, now=now)
    assert [each.queue for each in found] == list(Queue)
    assert not any(each.is_more for each in found)
    return {each.queue.value: each.count for each in found if each.count}


async def refused(doing: Awaitable[Any], error: type[DomainError]) -> DomainError:
    with pytest.raises(error) as caught:
        await doing
    return caught.value


def test_a_complaint_goes_from_queue_to_queue(worlds: ComplaintWorlds) -> None:
    async def work(world: World) -> None:
        own = world.complaints
        number = (await world.submit()).number
        assert await counts(world, SEAT) == {"UNIT": 1}
        assert await counts(world, CLERK) == {}
        await handled(world, number, to=State.ACCEPTED)
        assert await counts(world, SEAT) == {"UNIT": 1, "TO_REVIEW": 1}
        await advance(own, SEAT, number, c.Dispatch("water-gulou"), now=NOW)
        assert await counts(world, SEAT) == {"TO_REVIEW": 1}
        assert await counts(world, CLERK) == {"UNIT": 1}
        assert await numbers(world, CLERK, Queue.UNIT) == [number]
        await advance(own, CLERK, number, c.TakeUp(), now=NOW)
        await advance(own, CLERK, number, c.RequestExtension(days=3, reason="等材料"), now=NOW)
        assert await numbers(world, SEAT, Queue.TO_EXTEND) == [number]
        await advance(own, SEAT, number, c.GrantExtension(days=2), now=NOW)
        assert await numbers(world, SEAT, Queue.TO_EXTEND) == []
        # Three days and two more: due on the 9th. The day before it is due soon, the day after overdue.
        due = (await world.get(number)).due_at
        assert due == datetime(2026, 3, 9, 15, 59, 59, tzinfo=UTC)
        assert await counts(world, CLERK, now=due - DAY) == {"UNIT": 1, "DUE_SOON": 1}
        assert await counts(world, CLERK, now=due + HOUR) == {"UNIT": 1, "OVERDUE": 1}
        assert await numbers(world, CLERK, Queue.DUE_SOON, now=due - DAY) == [number]
        assert await numbers(world, CLERK, Queue.DUE_SOON, now=due + HOUR) == []
        assert await numbers(world, CLERK, Queue.OVERDUE, now=due + HOUR) == [number]
        complaint = await world.get(number)
        await act(own, complaint, c.Escalate(to="water", level=1), SYSTEM, now=due + HOUR)
        assert await numbers(world, CHIEF, Queue.ESCALATED, now=due + HOUR) == [number]
        answer = c.Answer(outcome=c.Outcome.FULL, text="已修")
        await advance(own, CLERK, number, answer, now=due + 2 * HOUR)
        assert await numbers(world, CHIEF, Queue.ESCALATED, now=due + DAY) == []
        assert await counts(world, SEAT, now=due + DAY) == {"UNIT": 1, "TO_CHECK": 1, "TO_REVIEW": 1}
        assert await numbers(world, SEAT, Queue.TO_CHECK) == [number]
        await review_publication(own, SEAT, number, None, is_cleared=True, now=due + DAY)
        await advance(own, SEAT, number, c.PassCheck(), now=due + DAY)
        assert await counts(world, SEAT, now=due + 60 * DAY) == {"UNIT": 1}, (
            "waiting for a rating is not late"
        )
        await reopen(own, CITIZEN, number, "又坏了", now=due + 2 * DAY)
        assert await counts(world, SEAT, now=due + 2 * DAY) == {"UNIT": 1, "REOPENED": 1}
        await advance(own, SEAT, number, c.Dispatch("water-gulou"), now=due + 2 * DAY)
        assert await numbers(world, SEAT, Queue.REOPENED) == []
        assert await numbers(world, CLERK, Queue.REOPENED) == [number]
        await advance(own, CITIZEN, number, c.Withdraw(), now=due + 2 * DAY)
        assert await counts(world, SEAT) == await counts(world, CLERK) == {}

    worlds.run(work)


def test_what_a_citizen_writes_reaches_who_answered_also_after_the_end(worlds: ComplaintWorlds) -> None:
    async def work(world: World) -> None:
        own = world.complaints
        number = (await world.submit()).number
        await advance(own, CITIZEN, number, c.Write(text="还在漏"), now=NOW)
        assert await numbers(world, SEAT, Queue.WRITTEN) == [number]
        await handled(world, number, to=State.CLOSED)
        assert await numbers(world, SEAT, Queue.WRITTEN) == []
        await advance(own, CITIZEN, number, c.Write(text="谢谢，但是又漏了"), now=NOW + DAY)
        assert await numbers(world, CLERK, Queue.WRITTEN) == [number]
        await review_publication(own, SEAT, number, None, is_cleared=False, now=NOW + DAY)
        assert await numbers(world, CLERK, Queue.WRITTEN) == [number], "a review answers nobody"
        await take_step(own, CLERK, number, c.Write(text="明天再去"), now=NOW + DAY)
        assert await numbers(world, CLERK, Queue.WRITTEN) == []

    worlds.run(work)


async def pages(
    world: World, by: Viewer, request: QueueRequest, size: int, *, now: datetime = NOW
) -> list[Summary]:
    rows: list[Summary] = []
    place: Place | None = None
    while True:
        found = await list_queue(world.complaints, by, request, size, place, now=now)
        rows += found
        if len(found) < size:
            return rows
        place = Place(found[-1].act_by, found[-1].number)


def test_pages_of_a_queue_are_the_queue(worlds: ComplaintWorlds) -> None:
    async def work(world: World) -> None:
        kinds = [c.Kind.CONSULT, c.Kind.COMPLAINT, c.Kind.COMPLAINT, c.Kind.HELP]
        for number in range(24):
            division = COUNTY if number % 3 else CITY
            matter = replace(MATTER, kind=kinds[number % 4], division_code=division)
            complaint = await world.submit(matter=matter, now=NOW + number % 5 * DAY)
            if number % 2:
                await accept(
                    world.complaints, SEAT, complaint.number, kinds[number % 4], "0301", now=NOW + 5 * DAY
                )
        now = NOW + 6 * DAY
        stored = await world.complaints.store.list_whole(await world.complaints.numbers.list_newest(100_000))
        assert len({row.act_by for row in stored}) < len(stored) / 2, "many are due at the same instant"
        urgent = [row.number for row in sorted(stored, key=lambda row: (row.act_by, row.number))]
        newest = sorted(urgent, reverse=True)
        for size in (1, 5, 24, 100):
            rows = await pages(world, SEAT, QueueRequest(Queue.UNIT), size, now=now)
            assert [row.number for row in rows] == urgent
            rows = await pages(world, SEAT, QueueRequest(Queue.UNIT, newest=True), size, now=now)
            assert [row.number for row in rows] == newest
        by_number = {row.number: row.standing for row in stored}
        for narrow in (
            Narrow(state=State.ACCEPTED),
            Narrow(kind=c.Kind.COMPLAINT),
            Narrow(class_prefix="03"),
            Narrow(class_prefix="0302"),
            Narrow(division_prefix=COUNTY),
            Narrow(state=State.SUBMITTED, kind=c.Kind.HELP, division_prefix="3501"),
        ):
            fitting = [number for number in urgent if narrow.fits(by_number[number])]
            for is_newest, order in ((False, fitting), (True, sorted(fitting, reverse=True))):
                request = QueueRequest(Queue.UNIT, newest=is_newest, narrow=narrow)
                assert [row.number for row in await pages(world, SEAT, request, 3, now=now)] == order
        late = [number for number in urgent if number in await numbers(world, SEAT, Queue.OVERDUE, now=now)]
        soon = await numbers(world, SEAT, Queue.DUE_SOON, now=now)
        bound = end_of_soon(world.complaints.calendar, now=now)
        due = {row.number: row.act_by for row in stored}
        assert late == [number for number in urgent if due[number] < now]
        assert soon == [number for number in urgent if now <= due[number] < bound]
        assert late
        assert soon
        counted = await counts(world, SEAT, now=now)
        assert counted["OVERDUE"] == len(late)
        assert counted["DUE_SOON"] == len(soon)
        for queue in (Queue.OVERDUE, Queue.DUE_SOON, Queue.TO_REVIEW):
            request = QueueRequest(queue, newest=True)
            rows = await pages(world, SEAT, request, 2, now=now)
            assert rows
            assert [row.number for row in rows] == sorted((row.number for row in rows), reverse=True)
        reviews = await pages(world, SEAT, QueueRequest(Queue.TO_REVIEW), 5, now=now)
        assert [row.number for row in reviews] == sorted(
            number for number in urgent if by_number[number].state is State.ACCEPTED
        )

    worlds.run(work)


def test_whose_queues_a_viewer_reads(worlds: ComplaintWorlds) -> None:
    async def work(world: World) -> None:
        number = (await world.submit()).number
        assert await numbers(world, PROVINCE, Queue.UNIT, unit="centre-3501") == [number]
        assert await numbers(world, PROVINCE, Queue.UNIT) == []
        assert await numbers(world, FAR_SEAT, Queue.UNIT) == [], "beyond the seat's division"
        assert await counts(world, FAR_SEAT) == {}
        assert await numbers(world, SEAT, Queue.UNIT, division_prefix="3502") == []
        await handled(world, number, to=State.DISPATCHED)
        for by in (CLERK, CHIEF, SEAT, PROVINCE):
            assert await numbers(world, by, Queue.UNIT, unit="water-gulou") == [number]
        for by, unit in (
            (STRANGER, "water-gulou"),
            (CLERK, "water"),
            (CLERK, "centre-3501"),
            (SEAT, "centre-35"),
            (FAR_SEAT, "water-gulou"),
            (CITIZEN, None),
            (OPERATOR, "water-gulou"),
        ):
            await refused(count_queues(world.complaints, by, unit, now=NOW), ForbiddenError)
            await refused(numbers(world, by, Queue.UNIT, unit=unit), ForbiddenError)
        await refused(numbers(world, SEAT, Queue.UNIT, unit="nowhere"), UnknownUnitError)

    worlds.run(work)


class Commands(monitoring.CommandListener):
    """Counts the commands on complaints."""

    def __init__(self) -> None:
        self.count = 0

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self.count += event.command.get(event.command_name) == "complaints"

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None: ...

    def failed(self, event: monitoring.CommandFailedEvent) -> None: ...


def test_a_queue_costs_the_store_the_same_whatever_is_in_it(
    worlds: ComplaintWorlds, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = Commands()
    client = store.connections.AsyncMongoClient
    monkeypatch.setattr(
        store.connections,
        "AsyncMongoClient",
        lambda *args, **more: client(*args, **{**more, "event_listeners": [listener]}),
    )

    async def calls(world: World, doing: Awaitable[Any]) -> int:
        before = listener.count
        await doing
        return listener.count - before

    async def work(world: World) -> None:
        async def all_calls() -> list[int]:
            found = []
            for queue in Queue:
                for newest in (False, True):
                    request = QueueRequest(queue, newest=newest)
                    doing = list_queue(world.complaints, SEAT, request, 3, now=NOW)
                    found.append(await calls(world, doing))
            found.append(await calls(world, count_queues(world.complaints, SEAT, None, now=NOW)))
            return found

        empty = await all_calls()
        for _ in range(8):
            await world.submit()
        assert await all_calls() == empty
        held = 6  # a centre holds complaints in six states
        expected = {Queue.UNIT: held, Queue.DUE_SOON: 2, Queue.OVERDUE: 2}
        assert empty[:-1] == [n for queue in Queue for n in (expected.get(queue, 1), 1)]
        assert empty[-1] == 3
        after = Place(NOW, "2603020000019")
        request = QueueRequest(Queue.UNIT)
        later = await calls(world, list_queue(world.complaints, SEAT, request, 3, after, now=NOW))
        assert later == 2 * held

    worlds.run(work)


def test_a_claim_is_won_by_one_and_ends_with_its_time(worlds: ComplaintWorlds) -> None:
    async def work(world: World) -> None:
        own = world.complaints
        number = (await world.submit()).number
        tries = await asyncio.gather(
            *(claim(own, by, number, now=NOW) for by in (SEAT, SEAT_2, PROVINCE)), return_exceptions=True
        )
        won = [each for each in tries if isinstance(each, Complaint)]
        lost = [each for each in tries if isinstance(each, ComplaintClaimedError)]
        assert (len(won), len(lost)) == (1, 2)
        assert {each.params["seconds"] for each in lost} == {LEASE // timedelta(seconds=1)}
        owner = next(by for by in (SEAT, SEAT_2, PROVINCE) if by.account_id == won[0].claimed_by)
        rival = SEAT if owner is not SEAT else SEAT_2
        assert await numbers(world, owner, Queue.MINE) == [number]
        assert await numbers(world, rival, Queue.MINE) == []
        # A colleague may neither act nor give it up; what moves nothing is free to all.
        step = c.Refuse(ground=c.RefusalGround.NO_MATTER, next_owner="物业")
        before = await world.get(number)
        await refused(take_step(own, rival, number, step, now=NOW), ComplaintClaimedError)
        await release(own, rival, number)
        assert await world.get(number) == before
        await take_step(own, rival, number, c.Write(text="您好"), now=NOW)
        # It may be renewed, and after its end anybody may claim.
        renewed = await claim(own, owner, number, now=NOW + LEASE / 2)
        assert renewed.claimed_until == NOW + LEASE / 2 + LEASE
        await refused(claim(own, rival, number, now=NOW + LEASE), ComplaintClaimedError)
        assert await numbers(world, owner, Queue.MINE, now=NOW + 2 * LEASE) == []
        taken = await claim(own, rival, number, now=NOW + 2 * LEASE)
        assert taken.claimed_by == rival.account_id
        assert (await release(own, rival, number)).claimed_by is None
        assert (await world.get(number)).claimed_by is None

    worlds.run(work)


def test_a_claim_ends_with_the_turn_and_is_for_those_whose_turn_it_is(worlds: ComplaintWorlds) -> None:
    async def work(world: World) -> None:
        own = world.complaints
        number = (await world.submit()).number
        await refused(claim(own, CLERK, number, now=NOW), c.ComplaintNotFoundError)
        await refused(claim(own, CITIZEN, number, now=NOW), OwnComplaintError)
        await claim(own, SEAT, number, now=NOW)
        await handled(world, number, to=State.DISPATCHED)
        assert (await world.get(number)).claimed_by is None
        await refused(claim(own, SEAT, number, now=NOW), c.ComplaintStepNotAllowedError)
        await claim(own, CLERK, number, now=NOW)
        await refused(take_step(own, CLERK_2, number, c.TakeUp(), now=NOW), ComplaintClaimedError)
        await take_step(own, SEAT, number, c.Transfer("roads"), now=NOW)
        await claim(own, CO_CLERK, number, now=NOW)
        await advance(own, CITIZEN, number, c.Withdraw(), now=NOW)
        await refused(claim(own, SEAT, number, now=NOW), c.ComplaintStepNotAllowedError)

    worlds.run(work)


def test_nobody_claims_more_than_fifty(worlds: ComplaintWorlds) -> None:
    async def work(world: World) -> None:
        made = [(await world.submit()).number for _ in range(MAX_CLAIMS + 1)]
        for number in made[:MAX_CLAIMS]:
            await claim(world.complaints, SEAT, number, now=NOW)
        await refused(claim(world.complaints, SEAT, made[-1], now=NOW), TooManyClaimsError)
        assert (await world.get(made[-1])).claimed_by is None
        await claim(world.complaints, SEAT, made[0], now=NOW + LEASE / 2)
        assert await numbers(world, SEAT, Queue.MINE) == sorted(made[:MAX_CLAIMS])
        await claim(world.complaints, SEAT, made[-1], now=NOW + LEASE)

    worlds.run(work)


def test_of_two_clerks_at_once_one_wins_and_the_other_sees_what_is_new(worlds: ComplaintWorlds) -> None:
    async def work(world: World) -> None:
        own, refuse = world.complaints, c.Refuse(ground=c.RefusalGround.NO_MATTER, next_owner="物业公司")
        winners: Counter[str] = Counter()
        for _ in range(50):
            complaint = await world.submit()
            number, seen = complaint.number, complaint.standing.version
            tries = await asyncio.gather(
                take_step(own, SEAT, number, refuse, now=NOW, version=seen),
                accept(own, SEAT_2, number, c.Kind.HELP, "0201", now=NOW, version=seen),
                return_exceptions=True,
            )
            won = [each for each in tries if isinstance(each, Complaint)]
            lost = [each for each in tries if isinstance(each, c.ComplaintChangedError)]
            assert (len(won), len(lost)) == (1, 1), tries
            stored = await world.get(number)
            assert (stored.standing, stored.events) == (won[0].standing, won[0].events)
            assert len(stored.events) == stored.standing.version == 2
            assert lost[0].params == {"state": stored.standing.state.value, "version": 2}
            winners[stored.standing.state.value] += 1
        assert sum(winners.values()) == 50

    worlds.run(work)


def test_of_fifty_dispatched_one_conflict_stops_no_other(worlds: ComplaintWorlds) -> None:
    async def work(world: World) -> None:
        own = world.complaints
        made = [(await world.submit()).number for _ in range(6)]
        for number in made[:5]:
            await accept(own, SEAT, number, c.Kind.COMPLAINT, "0201", now=NOW)
        items = [BulkItem(number, 2) for number in made]
        items[1] = BulkItem(made[1], 1)
        items.append(BulkItem("12345"))
        step = c.Dispatch("water-gulou", ("roads",))
        results = await dispatch_many(own, SEAT, items, step, now=NOW)
        codes = [each.refusal.code if each.refusal else None for each in results]
        assert codes == [
            None,
            "COMPLAINT_CHANGED",
            None,
            None,
            None,
            "COMPLAINT_CHANGED",
            "COMPLAINT_NOT_FOUND",
        ]
        assert [each.number for each in results] == [item.number for item in items]
        found = [(await world.get(number)).standing.state for number in made]
        assert Counter(found) == {State.DISPATCHED: 4, State.ACCEPTED: 1, State.SUBMITTED: 1}
        for some in ([], [BulkItem(made[1])] * 51):
            error = await refused(dispatch_many(own, SEAT, some, step, now=NOW), c.InvalidComplaintError)
            assert error.params == {"field": "complaints"}
        results = await merge_many(
            own, SEAT, [BulkItem(made[0]), BulkItem(made[2]), BulkItem(made[1])], made[2], now=NOW
        )
        assert [each.refusal.params if each.refusal else None for each in results] == [
            None,
            {"field": "into"},
            None,
        ]
        assert (await world.get(made[0])).standing.merged_into == made[2]

    worlds.run(work)


def test_nobody_handles_their_own(worlds: ComplaintWorlds) -> None:
    async def work(world: World) -> None:
        own = world.complaints
        number = (await world.submit(SEAT)).number
        before = await world.get(number)
        step = c.Refuse(ground=c.RefusalGround.NO_MATTER, next_owner="物业")
        for doing in (
            take_step(own, SEAT, number, step, now=NOW),
            claim(own, SEAT, number, now=NOW),
            release(own, SEAT, number),
            propose_publication(own, SEAT, number),
        ):
            await refused(doing, OwnComplaintError)
        assert await world.get(number) == before
        await take_step(own, SEAT_2, number, step, now=NOW)

    worlds.run(work)


CALLED = Intake(
    kind=c.Kind.HELP,
    text="老人在家摔倒，电梯停运，请协助。",
    division_code=COUNTY,
    channel=ComplaintChannel.HOTLINE,
    contact=ContactWish.PHONE_ONLY,
    phone="13900139000",
    name="陈女士",
)


def test_a_seat_takes_down_what_is_told_on_the_phone(worlds: ComplaintWorlds) -> None:
    async def work(world: World) -> None:
        own = world.complaints
        taken = await take_down(own, SEAT, CALLED, "call-0001", now=NOW)
        again = await take_down(own, SEAT, CALLED, "call-0001", now=NOW + HOUR)
        assert again.complaint.number == taken.complaint.number
        stored = await follow(own, taken.complaint.number, taken.query_code)
        assert stored.owner is None
        assert stored.events[0].actor == Actor(ActorRole.SEAT, account="seat", unit="centre-3501")
        assert stored.standing.channel is ComplaintChannel.HOTLINE
        texts = (await own.store.open_texts(stored))[0]
        assert texts == {"text": CALLED.text, "phone": "13900139000"}, "no name where none is wished"
        for channel in set(ComplaintChannel) - {ComplaintChannel(each) for each in taken_down_channels()}:
            error = await refused(
                take_down(own, SEAT, replace(CALLED, channel=channel), "call-0002", now=NOW),
                c.InvalidComplaintError,
            )
            assert error.params == {"field": "channel"}
        for by, matter, field in (
            (FAR_SEAT, CALLED, "divisionCode"),
            (SEAT, replace(CALLED, phone=None), "phone"),
            (SEAT, replace(CALLED, contact=ContactWish.NAMED, name=None), "name"),
        ):
            error = await refused(take_down(own, by, matter, "call-0003", now=NOW), c.InvalidComplaintError)
            assert error.params == {"field": field}
        await refused(take_down(own, CLERK, CALLED, "call-0004", now=NOW), ForbiddenError)
        assert len(await own.store.list_whole(await own.numbers.list_newest(100_000))) == 1

    worlds.run(work)


def taken_down_channels() -> Iterable[str]:
    return ("HOTLINE", "LETTER", "SMS", "WECHAT", "QQ", "WEIBO")


def test_a_review_proposes_a_text_without_persons(worlds: ComplaintWorlds) -> None:
    async def work(world: World) -> None:
        own = world.complaints
        number = (await world.submit()).number
        proposed = await propose_publication(own, SEAT, number)
        assert "13800138000" not in proposed.text
        assert "东街口" in proposed.text
        await refused(propose_publication(own, CLERK, number), c.ComplaintNotFoundError)
        await handled(world, number)
        await refused(propose_publication(own, CLERK, number), ForbiddenError)
        done = await review_publication(own, SEAT, number, None, is_cleared=True, now=NOW)
        assert done.standing.publication is c.Publication.CLEARED
        seq = done.events[-1].seq
        assert (await own.store.open_texts(done))[seq] == {"public_text": proposed.text}
        withheld = await review_publication(own, SEAT, number, "x", is_cleared=False, now=NOW)
        assert withheld.standing.publication is c.Publication.WITHHELD
        assert withheld.events[-1].digest is None, "a text that nobody is to read is not kept"

    worlds.run(work)


def test_an_anonymous_complaint_is_traced_by_an_operator_only_and_the_look_is_logged_first(
    worlds: ComplaintWorlds,
) -> None:
    async def work(world: World) -> None:
        own = world.complaints
        account = await own.accounts.find_or_create_by_phone("13800138001", now=NOW)
        someone = viewer(account.id)
        anonymous = replace(MATTER, contact=ContactWish.ANONYMOUS, name=None, phone=None)
        number = (await world.submit(someone, anonymous)).number
        for by in (CITIZEN, OTHER, SEAT, CLERK, PROVINCE, someone):
            await refused(trace(own, by, number, "依法", now=NOW), ForbiddenError)
        await refused(trace(own, OPERATOR, number, " ", now=NOW), TextTooLongError)
        await refused(trace(own, OPERATOR, "1234567890123", "依法", now=NOW), c.ComplaintNotFoundError)
        named = (await world.submit()).number
        await refused(trace(own, OPERATOR, named, "依法", now=NOW), NotAnonymousError)
        taken = await take_down(
            own, SEAT, replace(CALLED, contact=ContactWish.ANONYMOUS), "call-0001", now=NOW
        )
        await refused(trace(own, OPERATOR, taken.complaint.number, "依法", now=NOW), NoAccountBehindError)
        assert await own.access_log.list_newest(account.id, 10, None) == []
        found = await trace(own, OPERATOR, number, " 公安机关依法调取 ", now=NOW)
        assert found.id == account.id
        (entry,) = await own.access_log.list_newest(account.id, 10, None)
        assert (entry.role, entry.fields, entry.reason, entry.unit) == (
            Role.OPERATOR,
            ("name", "phone"),
            "公安机关依法调取",
            None,
        )
        assert OPERATOR.level(NOW) is Assurance.L3

    worlds.run(work)
