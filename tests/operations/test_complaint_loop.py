"""The closed loop on the real engines: submitted once, handled, told, forgotten."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from complaints_world import (
    CITIZEN,
    CITY,
    CLERK,
    CO_CLERK,
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

from domain import complaints as c
from domain.access import Role
from domain.complaint_history import faults_of
from domain.complaint_standing import fold
from domain.complaints import State
from domain.message_texts import ComplaintProgress, ComplaintStage
from domain.messages import Message
from operations.complaint_care import Caretaker, tend
from operations.complaint_forgetting import AccountComplaints
from operations.complaint_steps import accept, advance, merge, reopen
from operations.complaint_submit import IdempotencyKeyReusedError
from operations.complaints import HISTORY_SECRET, clock, code_of, follow, look_up
from store.complaints import Complaint

HOUR = timedelta(hours=1)


@pytest.fixture
def worlds(mongodb_uri: str, database_name: str, tmp_path: Path) -> ComplaintWorlds:
    return ComplaintWorlds(mongodb_uri, database_name, tmp_path)


@dataclass
class Told:
    """An outbox that keeps what it is given, each key once."""

    messages: dict[str, Message] = field(default_factory=dict)

    async def write_many(self, messages: list[Message]) -> list[Message]:
        for message in messages:
            self.messages.setdefault(message.dedupe_key, message)
        return messages

    def stages(self, account: str) -> list[ComplaintStage]:
        found = [m.payload for m in self.messages.values() if m.audience.account == account]
        return [payload.stage for payload in found if isinstance(payload, ComplaintProgress)]


async def answered(world: World, number: str, *, now: datetime = NOW) -> Complaint:
    """Bring a complaint to the answer that waits for its check."""
    own = world.complaints
    await accept(own, SEAT, number, c.Kind.COMPLAINT, "0201", now=now + HOUR)
    await advance(own, SEAT, number, c.Dispatch("water-gulou", ("roads",)), now=now + 2 * HOUR)
    await advance(own, CLERK, number, c.TakeUp(), now=now + 3 * HOUR)
    await advance(own, CO_CLERK, number, c.Advise("路面由我们恢复"), now=now + 4 * HOUR)
    step = c.Answer(outcome=c.Outcome.FULL, text="水管已修复。", private_text="由二队施工")
    return await advance(own, CLERK, number, step, now=now + DAY)


async def check_history(world: World, number: str) -> Complaint:
    complaint = await world.get(number)
    key = await world.complaints.secrets.get(HISTORY_SECRET)
    assert faults_of(key, number, complaint.events, complaint.standing) == []
    assert await world.complaints.store.list_false_texts(complaint) == []
    return complaint


def test_a_complaint_goes_through_the_whole_loop(worlds: ComplaintWorlds):
    async def work(world: World) -> None:
        own, told = world.complaints, Told()
        caretaker = Caretaker(own, told)  # type: ignore[arg-type]
        number = (await world.submit()).number
        assert await tend(caretaker, now=NOW) == 1
        assert await tend(caretaker, now=NOW + DAY) == 0, "nothing is due before half of the time"
        await answered(world, number)
        await advance(own, SEAT, number, c.PassCheck(), now=NOW + DAY + HOUR)
        await advance(own, CITIZEN, number, c.Rate(5, 5, 4), now=NOW + 2 * DAY)
        await advance(own, SEAT, number, c.CallBack(was_reached=True, is_satisfied=True), now=NOW + 3 * DAY)
        await advance(own, SEAT, number, c.Close(), now=NOW + 3 * DAY)
        assert await tend(caretaker, now=NOW + 3 * DAY) == 1
        assert told.stages("citizen") == [
            ComplaintStage.ACCEPTED,
            ComplaintStage.DISPATCHED,
            ComplaintStage.HANDLING,
            ComplaintStage.ANSWERED,
            ComplaintStage.CALLED_BACK,
            ComplaintStage.CLOSED,
        ]
        assert {m.audience.account for m in told.messages.values()} == {"citizen"}
        assert not any("1380" in str(message.payload) for message in told.messages.values())
        complaint = await check_history(world, number)
        assert complaint.standing.state is State.CLOSED
        assert complaint.told == complaint.standing.version == 9 + 1
        assert await tend(caretaker, now=NOW + 300 * DAY) == 0, "what is closed sleeps"
        # The convenience list: three working days, and the check took none of them.
        assert complaint.standing.limit_days == 3
        assert complaint.due_at == datetime(2026, 3, 5, 15, 59, 59, tzinfo=UTC)

    worlds.run(work)


def test_the_same_key_is_the_same_complaint(worlds: ComplaintWorlds):
    async def work(world: World) -> None:
        tries = await asyncio.gather(*(world.submit(key="same key") for _ in range(20)))
        assert len({complaint.number for complaint in tries}) == 1
        assert await world.database["complaints"].count_documents({}) == 1
        other = await world.submit(OTHER, key="same key")
        assert other.number != tries[0].number
        before = await world.database["complaints"].find().to_list()
        with pytest.raises(IdempotencyKeyReusedError):
            await world.submit(matter=replace(MATTER, text="另一件事"), key="same key")
        assert await world.database["complaints"].find().to_list() == before

    worlds.run(work)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"text": ""}, "text"),
        ({"text": "水" * 2_001}, "text"),
        ({"division_code": "110000"}, "divisionCode"),
        ({"media": tuple(str(number) for number in range(10))}, "media"),
        ({"phone": "hello"}, "phone"),
        ({"point": c.Point(200, 0)}, "point.longitude"),
    ],
)
def test_what_is_out_of_bounds_is_refused_whole(
    worlds: ComplaintWorlds, change: dict[str, object], field: str
):
    async def work(world: World) -> None:
        with pytest.raises(c.InvalidComplaintError) as refused:
            await world.submit(matter=replace(MATTER, **change))
        assert refused.value.params == {"field": field}
        assert await world.database["complaints"].count_documents({}) == 0

    worlds.run(work)


def test_who_may_see_it(worlds: ComplaintWorlds):
    async def work(world: World) -> None:
        own = world.complaints
        number = (await world.submit()).number
        for stranger in (OTHER, FAR_SEAT, CLERK, CO_CLERK, OPERATOR):
            with pytest.raises(c.ComplaintNotFoundError):
                await look_up(own, stranger, number)
        await accept(own, SEAT, number, c.Kind.COMPLAINT, "0201", now=NOW)
        await advance(own, SEAT, number, c.Dispatch("water-gulou"), now=NOW)
        assert [actor.role for actor in (await look_up(own, CLERK, number))[1]] == [c.ActorRole.UNIT]
        with pytest.raises(c.ComplaintNotFoundError):
            await look_up(own, CO_CLERK, number)
        code = await code_of(own, number)
        assert (await follow(own, number, code.lower())).number == number
        for wrong in ("", "A" * 8, code[:-1]):
            with pytest.raises(c.ComplaintNotFoundError):
                await follow(own, number, wrong)

    worlds.run(work)


def test_nothing_personal_lies_open_in_the_database(worlds: ComplaintWorlds):
    async def work(world: World) -> None:
        number = (await world.submit(matter=replace(MATTER, address="东街口3号楼2单元502室"))).number
        await advance(world.complaints, CITIZEN, number, c.Write("我叫林小明，请打13800138000"), now=NOW)
        stored = str(await world.database["complaints"].find_one())
        for secret in ("林小明", "13800138000", "502", "citizen"):
            assert secret not in stored
        opened = await world.complaints.store.open_texts(await world.get(number))
        assert opened[0]["phone"] == "13800138000"
        assert opened[1] == {"text": "我叫林小明，请打13800138000"}

    worlds.run(work)


def test_of_two_who_act_at_once_one_wins(worlds: ComplaintWorlds):
    async def work(world: World) -> None:
        own = world.complaints
        number = (await world.submit()).number
        seen = await accept(own, SEAT, number, c.Kind.COMPLAINT, "0201", now=NOW)
        tries = await asyncio.gather(
            *(
                advance(own, SEAT, number, c.Dispatch(lead), now=NOW, version=seen.standing.version)
                for lead in ("water", "roads", "water-gulou") * 4
            ),
            return_exceptions=True,
        )
        won = [each for each in tries if isinstance(each, Complaint)]
        lost = [each for each in tries if isinstance(each, c.ComplaintChangedError)]
        assert (len(won), len(lost)) == (1, 11)
        assert all(each.params == {"state": "DISPATCHED", "version": 3} for each in lost)
        assert (await check_history(world, number)).standing == won[0].standing

    worlds.run(work)


def test_a_step_that_is_refused_changes_nothing(worlds: ComplaintWorlds):
    async def work(world: World) -> None:
        own = world.complaints
        number = (await world.submit()).number
        before = await world.database["complaints"].find_one()
        for who, step in ((SEAT, c.Close()), (CITIZEN, c.Accept(c.Kind.HELP, "0201", 3, "help"))):
            with pytest.raises(c.ComplaintStepNotAllowedError):
                await advance(own, who, number, step, now=NOW)
        with pytest.raises(c.ComplaintChangedError):
            await advance(own, CITIZEN, number, c.Withdraw(), now=NOW, version=7)
        assert await world.database["complaints"].find_one() == before

    worlds.run(work)


def test_the_clock_reminds_escalates_and_answers_for_those_who_do_not(worlds: ComplaintWorlds):
    async def work(world: World) -> None:
        own, told = world.complaints, Told()
        caretaker = Caretaker(own, told)  # type: ignore[arg-type]
        number = (await world.submit()).number
        steps = []
        for hours in range(0, 24 * 40, 6):
            while await tend(caretaker, now=NOW + hours * HOUR):
                complaint = await world.get(number)
                if complaint.events[-1].action not in [action for action, _ in steps[-1:]]:
                    steps.append((complaint.events[-1].action, complaint.events[-1].facts.get("to")))
        assert steps == [("SUBMIT", None), ("REMIND", None), ("ESCALATE", "centre-35")]
        assert [e.facts.get("percent") for e in complaint.events if e.action == "REMIND"] == [50, 80]
        await answered(world, number, now=NOW + 41 * DAY)
        await tend(caretaker, now=NOW + 43 * DAY)
        assert (await world.get(number)).standing.state is State.ANSWERED
        await tend(caretaker, now=NOW + 45 * DAY)
        assert (await world.get(number)).standing.state is State.REPLIED
        await tend(caretaker, now=NOW + 45 * DAY)
        await tend(caretaker, now=NOW + 61 * DAY)
        assert (await check_history(world, number)).standing.state is State.CLOSED
        assert ComplaintStage.ANSWERED in told.stages("citizen")

    worlds.run(work)


def test_the_unit_above_may_look_at_what_was_escalated_to_it(worlds: ComplaintWorlds):
    async def work(world: World) -> None:
        own = world.complaints
        caretaker = Caretaker(own, Told())  # type: ignore[arg-type]
        above = viewer("head", Role.DESK, unit="water", division=CITY)
        number = (await world.submit()).number
        await accept(own, SEAT, number, c.Kind.COMPLAINT, "0301", now=NOW)
        await advance(own, SEAT, number, c.Dispatch("water-gulou"), now=NOW)
        with pytest.raises(c.ComplaintNotFoundError):
            await look_up(own, above, number)
        while await tend(caretaker, now=NOW + 15 * DAY):
            continue
        assert (await world.get(number)).standing.escalated_to == "water"
        _, actors = await look_up(own, above, number)
        assert [actor.role for actor in actors] == [c.ActorRole.CO_UNIT]
        await advance(own, above, number, c.Advise("请今日内答复"), now=NOW + 15 * DAY)
        with pytest.raises(c.ComplaintStepNotAllowedError):
            await advance(own, above, number, c.TakeUp(), now=NOW + 15 * DAY)

    worlds.run(work)


def test_asking_the_citizen_pauses_the_clock(worlds: ComplaintWorlds):
    async def work(world: World) -> None:
        own = world.complaints
        number = (await world.submit()).number
        due = (await accept(own, SEAT, number, c.Kind.COMPLAINT, "0301", now=NOW)).due_at
        asked = await advance(own, SEAT, number, c.AskCitizen("哪一段路？"), now=NOW + DAY)
        assert (asked.due_at, asked.act_by) == (None, NOW + DAY + c.ANSWER_WITHIN)
        assert clock(own, asked, now=NOW + 2 * DAY).reason == "CITIZEN_ASKED"
        after = await advance(own, CITIZEN, number, c.Supplement("东街口"), now=NOW + 3 * DAY)
        assert due is not None
        assert after.due_at == due + 2 * DAY
        assert after.standing.state is State.ACCEPTED

    worlds.run(work)


def test_a_merged_complaint_is_told_of_the_other(worlds: ComplaintWorlds):
    async def work(world: World) -> None:
        own, told = world.complaints, Told()
        caretaker = Caretaker(own, told)  # type: ignore[arg-type]
        first, second = (await world.submit()).number, (await world.submit(OTHER)).number
        with pytest.raises(c.InvalidComplaintError):
            await merge(own, SEAT, first, first, now=NOW)
        await merge(own, SEAT, second, first, now=NOW)
        await tend(caretaker, now=NOW)
        await accept(own, SEAT, first, c.Kind.COMPLAINT, "0201", now=NOW)
        await advance(own, SEAT, first, c.AskCitizen("哪一段？"), now=NOW)
        await tend(caretaker, now=NOW)
        assert told.stages("other") == [ComplaintStage.MERGED, ComplaintStage.ACCEPTED]
        assert told.stages("citizen") == [ComplaintStage.ACCEPTED, ComplaintStage.ASKED]

    worlds.run(work)


def test_reopening_gives_the_seat_the_matter_again(worlds: ComplaintWorlds):
    async def work(world: World) -> None:
        own = world.complaints
        number = (await world.submit()).number
        await answered(world, number)
        await advance(own, SEAT, number, c.PassCheck(), now=NOW + DAY)
        for round_ in (1, 2):
            again = await reopen(own, CITIZEN, number, "又漏水了", now=NOW + 2 * DAY)
            assert (again.standing.state, again.standing.reopened) == (State.ACCEPTED, round_)
            assert again.due_at == datetime(2026, 3, 9, 15, 59, 59, tzinfo=UTC)
            step = c.AnswerDirectly(text="已再次修复。")
            await advance(own, SEAT, number, step, now=NOW + 2 * DAY)
        with pytest.raises(c.TooManyComplaintStepsError):
            await reopen(own, CITIZEN, number, "第三次", now=NOW + 2 * DAY)

    worlds.run(work)


def test_a_forgotten_citizen_leaves_the_matter_and_nothing_of_themselves(worlds: ComplaintWorlds):
    async def work(world: World) -> None:
        own, personal = world.complaints, AccountComplaints(world.complaints)
        number = (await world.submit()).number
        await advance(own, CITIZEN, number, c.Write("我是林小明"), now=NOW)
        await answered(world, number)
        exported = await personal.export_account("citizen")
        assert [each["number"] for each in exported] == [number]
        assert exported[0]["steps"][0]["phone"] == "13800138000"
        assert "二队" not in str(exported), "what staff wrote for staff is not the citizen's"
        assert await personal.erase_account("citizen", now=NOW + 9 * DAY) == 1
        assert await personal.erase_account("citizen", now=NOW + 9 * DAY) == 0
        complaint = await check_history(world, number)
        texts = await own.store.open_texts(complaint)
        assert "13800138000" not in str(texts)
        assert "林小明" not in str(texts)
        assert texts[complaint.events[-1].seq]["text"].startswith("鼓楼区东街口附近水管爆裂")
        assert complaint.owner is None
        assert fold(complaint.events) == complaint.standing
        with pytest.raises(c.ComplaintNotFoundError):
            await look_up(own, CITIZEN, number)

    worlds.run(work)
