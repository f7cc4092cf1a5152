"""A change of the database past the rules is found."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from bson.binary import Binary
from complaints_world import NOW, SEAT, ComplaintWorlds, World

from domain import complaints as c
from operations.complaint_audit import Audit, audit
from operations.complaint_statistics import Counting, count_marked
from operations.complaint_steps import accept, advance
from store.complaint_statistics import StatisticsStore

Document = dict[str, Any]


def _set(**fields: object) -> Callable[[Document], Document]:
    return lambda _: {"$set": {name.replace("__", "."): value for name, value in fields.items()}}


CHANGES: dict[str, tuple[Callable[[Document], Document], str]] = {
    "an unwelcome refusal": (_set(standing__state="REFUSED"), "not what its events amount to"),
    "more time": (
        lambda document: {"$set": {"due_at": document["due_at"] + timedelta(days=9)}},
        "its due time is not that of its history",
    ),
    "less urgent": (
        lambda document: {"$set": {"act_by": document["act_by"] + timedelta(days=9)}},
        "the time to act by is not that of its history",
    ),
    "out of sight": (_set(holder="roads"), "it lies with another unit than its history says"),
    "never told": (_set(told=99), "more steps were told than were taken"),
    "a date of its own": (
        lambda document: {"$set": {"history.1.at": document["history"][1]["at"] + timedelta(hours=1)}},
        "event 1: its seal is broken",
    ),
    "another limit": (_set(history__0__move__days=90), "event 0: its seal is broken"),
    "a step less": (
        lambda document: {"$pop": {"history": 1}, "$set": {"standing.version": 2}},
        "not what its events amount to",
    ),
    "a text of another event": (
        lambda document: {"$set": {"texts.0": document["texts"]["2"]}},
        "event 0: its text was changed",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_past_the_rules_is_found(mongodb_uri: str, database_name: str, tmp_path: Path, name: str):
    change, fault = CHANGES[name]

    async def work(world: World) -> None:
        own, stored = world.complaints, world.database["complaints"]
        statistics = StatisticsStore(world.database)
        sound = (await world.submit()).number
        number = (await world.submit()).number
        await accept(own, SEAT, number, c.Kind.COMPLAINT, "0301", now=NOW)
        await advance(own, SEAT, number, c.Dispatch("water", note="请三日内处理"), now=NOW)
        assert (await audit(own, statistics, now=NOW)).faults == {}
        document = await stored.find_one({"_id": number})
        assert document is not None
        assert isinstance(document["texts"]["0"], Binary)
        assert (await stored.update_one({"_id": number}, change(document))).modified_count == 1
        report = await audit(own, statistics, now=NOW)
        assert (report.checked, list(report.faults)) == (2, [number])
        assert any(fault in found for found in report.faults[number])
        assert (await audit(own, statistics, newest=1_000, now=NOW)) == report
        # The block of numbers has a hundred; the first two are complaints.
        assert (await audit(own, statistics, newest=98, now=NOW)).checked == 0
        assert list((await audit(own, statistics, newest=99, now=NOW)).faults) == [number]
        assert sound not in report.faults

    ComplaintWorlds(mongodb_uri, database_name, tmp_path).run(work)


def test_a_complaint_that_was_deleted_is_missed(mongodb_uri: str, database_name: str, tmp_path: Path) -> None:
    async def work(world: World) -> None:
        own, statistics = world.complaints, StatisticsStore(world.database)
        numbers = [(await world.submit()).number for _ in range(3)]
        for number in numbers[:2]:
            await statistics.mark(number, 1)
        assert await count_marked(Counting(statistics, own.store, own.numbers, own.calendar)) == 2
        assert (await audit(own, statistics, now=NOW)) == Audit(3, {})
        await world.database["complaints"].delete_one({"_id": numbers[1]})
        gone = {numbers[1]: ["it was counted, and is there no longer"]}
        assert (await audit(own, statistics, now=NOW)) == Audit(2, gone)
        assert (await audit(own, statistics, newest=1_000, now=NOW)) == Audit(2, gone)

    ComplaintWorlds(mongodb_uri, database_name, tmp_path).run(work)
