"""The demo's complaints went through the house's own operations, and may be made twice."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

from complaints_world import ComplaintWorlds, World
from msgspec.structs import replace

from domain.complaints import State
from feeds.demo.complaints import play, stories
from feeds.demo.units import demo_units
from loaders.complaint_classes import shipped_classes
from operations.complaint_audit import audit
from store.complaint_statistics import StatisticsStore

NOW = datetime(2026, 11, 20, 8, tzinfo=UTC)


def test_they_are_whole_and_there_once(mongodb_uri: str, database_name: str, tmp_path: Path):
    units = demo_units(shipped_classes())

    async def work(world: World) -> None:
        own = replace(world.complaints, units=lambda: units, is_division=units.covers)
        told = sorted(stories(units, NOW, 40), key=lambda story: story.at)
        assert [story.key for story in told] == [
            story.key for story in sorted(stories(units, NOW, 40), key=lambda story: story.at)
        ]
        for _ in range(2):
            for story in told:
                await play(own, story, now=NOW)
        report = await audit(own, StatisticsStore(world.database), now=NOW)
        assert (report.checked, report.faults) == (40, {})
        states: Counter[State] = Counter()
        for complaint in await own.store.list_whole(await own.numbers.list_newest(100_000)):
            states[complaint.standing.state] += 1
            assert complaint.owner is None
            assert all(event.at <= NOW for event in complaint.events)
            assert complaint.standing.state is State.CLOSED or NOW - complaint.events[0].at < timedelta(
                days=60
            )
        assert states[State.CLOSED] >= 20
        assert len(states) >= 2

    ComplaintWorlds(mongodb_uri, database_name, tmp_path).run(work)
