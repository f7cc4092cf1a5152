"""What the public sees of complaints: what was cleared, without personal data, no longer than it may."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import date, timedelta
from pathlib import Path

import pytest
from complaints_world import CITIZEN, CLERK, DAY, NOW, SEAT, ComplaintWorlds, World
from msgspec.structs import replace

from domain import complaints as c
from domain.complaint_publication import PublicComplaint, PublicState
from domain.complaints import Kind, Outcome, Point
from operations.complaint_publication import Publisher, propose
from operations.complaint_steps import accept, advance, reopen
from store.complaints import Complaint
from store.public_complaints import PublicComplaintStore

HOUR = timedelta(hours=1)
PUBLIC = "鼓楼区东街口附近水管爆裂，我叫林小明，电话13800138000，已经三天没有人来修。"


@pytest.fixture
def worlds(mongodb_uri: str, database_name: str, tmp_path: Path) -> ComplaintWorlds:
    return ComplaintWorlds(mongodb_uri, database_name, tmp_path)


class Newsroom:
    """A publisher beside its world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.store = PublicComplaintStore(world.database)
        self.publisher = Publisher(self.store, world.complaints.secrets, world.complaints.calendar)

    async def follow(self, complaint: Complaint, *, now: object = None) -> None:
        def texts() -> Awaitable[dict[int, dict[str, str]]]:
            return self.world.complaints.store.open_texts(complaint)

        await self.publisher(complaint, texts, now=complaint.standing.changed_at)

    async def seen(self, number: str) -> PublicComplaint | None:
        return await self.store.find(await self.publisher.public_id(number))

    async def clear(self, number: str, text: str = PUBLIC, *, is_cleared: bool = True) -> Complaint:
        step = c.Review(is_cleared=is_cleared, public_text=text if is_cleared else None)
        return await advance(self.world.complaints, SEAT, number, step, now=NOW + HOUR)


def test_only_what_was_cleared_is_seen_and_nothing_in_it_leads_to_anybody(worlds: ComplaintWorlds) -> None:
    async def work(world: World) -> None:
        news = Newsroom(world)
        complaint = await world.submit()
        await news.follow(complaint)
        assert await news.seen(complaint.number) is None
        assert await world.database["public_complaints"].count_documents({}) == 0
        cleared = await news.clear(complaint.number)
        await news.follow(cleared)
        seen = await news.seen(complaint.number)
        public_id = await news.publisher.public_id(complaint.number)
        assert seen == PublicComplaint(
            id=public_id,
            version=2,
            published_at=NOW + HOUR,
            submitted_on=date(2026, 3, 2),
            text="鼓楼区东街口附近水管爆裂，我叫〔姓名〕，电话〔电话〕，已经三天没有人来修。",
            kind=Kind.COMPLAINT,
            state=PublicState.RECEIVED,
            division_code="350102",
            point=Point(119.296, 26.087),
        )
        stored = str(await world.database["public_complaints"].find_one({"_id": public_id}))
        for secret in (complaint.number, "13800138000", "林小明", "119.2965", CITIZEN.account_id):
            assert secret not in stored
        assert complaint.number not in public_id
        assert len(public_id) == 16

    worlds.run(work)


def test_an_answer_is_seen_once_somebody_of_the_centre_has_read_it(worlds: ComplaintWorlds) -> None:
    async def work(world: World) -> None:
        news, own = Newsroom(world), world.complaints
        number = (await world.submit()).number
        await news.clear(number)
        await accept(own, SEAT, number, Kind.COMPLAINT, "0201", now=NOW + 2 * HOUR)
        await advance(own, SEAT, number, c.Dispatch("water-gulou"), now=NOW + 2 * HOUR)
        await advance(own, CLERK, number, c.TakeUp(), now=NOW + 2 * HOUR)
        step = c.Answer(outcome=Outcome.PARTIAL, text="已联系王建国先生13900139000修复", private_text="内部")
        answered = await advance(own, CLERK, number, step, now=NOW + 2 * DAY)
        await news.follow(answered)
        waiting = await news.seen(number)
        assert waiting is not None
        assert (waiting.state, waiting.answer, waiting.outcome) == (PublicState.IN_PROGRESS, None, None)
        checked = await advance(own, SEAT, number, c.PassCheck(), now=NOW + 2 * DAY)
        await news.follow(checked)
        seen = await news.seen(number)
        assert seen is not None
        assert seen == replace(
            waiting,
            version=7,
            state=PublicState.ANSWERED,
            answer="已联系〔姓名〕先生〔电话〕修复",
            outcome=Outcome.PARTIAL,
            answered_on=date(2026, 3, 4),
            working_days=1,
            is_in_time=True,
        )
        assert (seen.unit, seen.class_code) == ("water-gulou", "0201")
        again = await reopen(own, CITIZEN, number, "还是漏水", now=NOW + 3 * DAY)
        await news.follow(again)
        back = await news.seen(number)
        assert back is not None
        assert (back.state, back.answer, back.working_days) == (PublicState.RECEIVED, None, None)

    worlds.run(work)


def test_what_may_no_longer_be_seen_goes_and_no_late_writer_brings_it_back(worlds: ComplaintWorlds) -> None:
    async def work(world: World) -> None:
        news = Newsroom(world)
        number = (await world.submit()).number
        cleared = await news.clear(number)
        withheld = await news.clear(number, is_cleared=False)
        await news.follow(withheld)
        await news.follow(cleared)
        assert await news.seen(number) is None
        kept = await world.database["public_complaints"].find_one({})
        assert kept is not None
        assert set(kept) == {"_id", "version", "published_at", "changed_at", "gone"}
        await news.follow(await news.clear(number, "水管爆裂"))
        seen = await news.seen(number)
        assert seen is not None
        assert seen.text == "水管爆裂"
        gone = await advance(world.complaints, CITIZEN, number, c.Withdraw(), now=NOW + 2 * HOUR)
        await news.follow(gone)
        assert await news.seen(number) is None

    worlds.run(work)


def test_a_step_that_shows_nothing_new_is_no_change(worlds: ComplaintWorlds) -> None:
    async def work(world: World) -> None:
        news = Newsroom(world)
        number = (await world.submit()).number
        await news.follow(await news.clear(number))
        before = await news.store.list_changes(NOW, NOW + 2 * DAY)
        step = c.Write("请尽快处理")
        written = await advance(world.complaints, CITIZEN, number, step, now=NOW + DAY)
        await news.follow(written)
        await news.follow(written)
        after = await news.store.list_changes(NOW, NOW + 2 * DAY)
        assert [each.changed_at for each in after] == [each.changed_at for each in before] == [NOW + HOUR]
        assert after[0].shown is not None
        assert after[0].shown.version == 3

    worlds.run(work)


def test_a_proposal_says_what_was_taken_out() -> None:
    proposal = propose("请打13800138000")
    assert proposal.text == "请打〔电话〕"
    assert [(each.kind.value, each.start, each.end) for each in proposal.found] == [("PHONE", 2, 13)]
