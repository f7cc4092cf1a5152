"""Complaints nearby that may be about the same matter."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from complaints_world import CITIZEN, COUNTY, DAY, MATTER, NOW, OTHER, SEAT, ComplaintWorlds, World
from msgspec.structs import replace

from domain import complaints as c
from domain.complaint_publication import PublicState
from domain.complaints import Point
from operations.complaint_duplicates import Likely, distance_m, find
from operations.complaint_publication import Publisher
from operations.complaint_steps import advance
from store.public_complaints import PublicComplaintStore

PLACE = Point(119.2965, 26.0871)
TEXT = "东街口水管爆裂，三天没人修"


@pytest.fixture
def worlds(mongodb_uri: str, database_name: str, tmp_path: Path) -> ComplaintWorlds:
    return ComplaintWorlds(mongodb_uri, database_name, tmp_path)


async def likely(world: World, point: Point | None = PLACE, text: str = TEXT, days: int = 1) -> list[Likely]:
    own = world.complaints
    publisher = Publisher(PublicComplaintStore(world.database), own.secrets, own.calendar)
    return await find(own, publisher, point, COUNTY, "0201", text, now=NOW + days * DAY)


def test_the_same_matter_beside_is_found_and_says_no_more_than_it_may(worlds: ComplaintWorlds) -> None:
    async def work(world: World) -> None:
        matter = replace(MATTER, class_code="0201", point=Point(119.2985, 26.0871))
        number = (await world.submit(matter=matter)).number
        await world.complaints.joins.add(number, await world.complaints.store.hide("other"), now=NOW)
        (found,) = await likely(world)
        assert found == Likely(
            number=number,
            score=found.score,
            class_code="0201",
            distance_m=200,
            submitted_on=date(2026, 3, 2),
            state=PublicState.RECEIVED,
            joined=1,
            text=None,
        )
        assert 0.6 < found.score <= 1
        step = c.Review(is_cleared=True, public_text="东街口水管爆裂")
        cleared = await advance(world.complaints, SEAT, number, step, now=NOW + DAY)
        publisher = Publisher(
            PublicComplaintStore(world.database), world.complaints.secrets, world.complaints.calendar
        )
        await publisher(cleared, lambda: world.complaints.store.open_texts(cleared), now=NOW + DAY)
        (shown,) = await likely(world)
        assert shown == replace(found, text="东街口水管爆裂")

    worlds.run(work)


def test_far_old_other_or_settled_matters_are_not_likely(worlds: ComplaintWorlds) -> None:
    async def work(world: World) -> None:
        kept = (await world.submit(matter=replace(MATTER, class_code="0201"))).number
        far = replace(MATTER, class_code="0201", point=Point(119.2965, 26.0970))
        await world.submit(matter=far)
        other = replace(MATTER, class_code="0501", text="夜里广场舞音响太吵，睡不着觉")
        await world.submit(matter=other)
        taken_back = await world.submit(by=OTHER, matter=replace(MATTER, class_code="0201"))
        assert {each.number for each in await likely(world)} == {kept, taken_back.number}
        await advance(world.complaints, OTHER, taken_back.number, c.Withdraw(), now=NOW + DAY)
        assert [each.number for each in await likely(world)] == [kept]
        assert await likely(world, point=None) == []
        assert await likely(world, days=62) == []
        edge = Point(119.3001, 26.0852)  # in the next cell
        assert [each.number for each in await likely(world, edge)] == [kept]
        assert CITIZEN.account_id not in str(await likely(world))

    worlds.run(work)


def test_distance() -> None:
    assert round(distance_m(Point(119, 26), Point(119, 26.01))) == 1112
    assert round(distance_m(Point(119, 26), Point(119.01, 26))) == 999
