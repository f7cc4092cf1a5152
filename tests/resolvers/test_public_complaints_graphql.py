"""What everybody may see of complaints, and figures about them, through the schema."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from desk_world import NOW, DeskWorld, play_desk
from msgspec.structs import replace
from pymongo.asynchronous.collection import AsyncCollection

from domain.complaint_publication import PublicComplaint, PublicState
from domain.complaint_statistics import Deltas, Month, Round, deltas_of, merge_deltas
from domain.complaints import Kind, Outcome, Point
from domain.ids import decode_node_id, encode_node_id
from loaders.complaint_statistics import ComplaintStatistics
from loaders.complaint_sums import ComplaintSums
from loaders.public_complaints import PublicComplaints
from store.complaint_statistics import StatisticsStore
from store.public_complaints import PublicComplaintStore

LIST = """query ($text: String! = "", $filter: PublicComplaintFilter, $first: Int! = 20, $after: String) {
  publicComplaints(text: $text, filter: $filter, first: $first, after: $after) {
    edges { cursor node { id text kind state submittedOn divisionCode complaintClass { code name }
      unit { key name } answer outcome answeredOn workingDays isInTime
      point(system: GCJ02) { longitude latitude system } } }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }"""
ONE = """query ($id: ID!) { publicComplaint(id: $id) { id text publishedAt } }"""
MAP = """query ($bounds: MapBoundsInput!, $zoom: Int!, $filter: ComplaintMapFilter,
  $system: CoordinateSystem! = WGS84) {
  complaintClusters(bounds: $bounds, zoom: $zoom, filter: $filter, system: $system) {
    count side point { longitude latitude system } } }"""
TABLE = """query ($from: String!, $to: String!, $by: ComplaintStatisticsBy!, $division: String,
  $unit: ID, $class: String, $kind: ComplaintKind) {
  complaintStatistics(from: $from, to: $to, by: $by, division: $division, unitId: $unit,
    classCode: $class, kind: $kind) {
    total { figures { received reopened answered inTime inTimeShare rated satisfied satisfiedShare
      refused withdrawn merged medianHours p90Hours } series { month figures { received } } }
    rows { key label figures { received answered } } asOf } }"""
SHOWN = PublicComplaint(
    id="abcdefgh23456700",
    version=7,
    published_at=datetime(2026, 11, 20, 1, tzinfo=UTC),
    submitted_on=date(2026, 11, 19),
    text="东街口路灯不亮",
    kind=Kind.COMPLAINT,
    state=PublicState.ANSWERED,
    division_code="350102",
    class_code="0201",
    unit="350102-cgj",
    point=Point(119.296, 26.087),
    answer="已更换灯泡",
    outcome=Outcome.FULL,
    answered_on=date(2026, 11, 20),
    working_days=1,
    is_in_time=True,
)
Play = Callable[[Callable[[DeskWorld], Awaitable[None]]], None]


@pytest.fixture
def play(mongodb_uri: str, redis_url: str, database_name: str) -> Play:
    return lambda act: play_desk(mongodb_uri, redis_url, database_name, act)


async def publish(world: DeskWorld, home: Path, *complaints: PublicComplaint) -> PublicComplaints:
    store = PublicComplaintStore(world.database)
    await store.ensure_indexes()
    await store.load(complaints, now=NOW - timedelta(days=1))
    public = PublicComplaints(store, home / "public", poll=timedelta(seconds=1), clock=lambda: NOW)
    await public.open()
    await public.refresh()
    world.more["public_complaints"] = public
    return public


def test_everybody_reads_what_was_cleared(play: Play, tmp_path: Path) -> None:
    async def act(world: DeskWorld) -> None:
        older = [
            replace(SHOWN, id=f"abcdefgh2345670{n}", published_at=SHOWN.published_at - timedelta(days=n))
            for n in range(1, 4)
        ]
        public = await publish(world, tmp_path, SHOWN, *older)
        page = (await world.ask(None, LIST, first=2, text="路灯"))["publicComplaints"]
        assert world.codes == []
        first = page["edges"][0]["node"]
        assert decode_node_id(first.pop("id")) == ("PublicComplaint", SHOWN.id)
        place = first.pop("point")
        assert place["system"] == "GCJ02"
        assert 0.003 < place["longitude"] - 119.296 < 0.008
        assert first == {
            "text": "东街口路灯不亮",
            "kind": "COMPLAINT",
            "state": "ANSWERED",
            "submittedOn": "2026-11-19",
            "divisionCode": "350102",
            "complaintClass": first["complaintClass"],
            "unit": first["unit"],
            "answer": "已更换灯泡",
            "outcome": "FULL",
            "answeredOn": "2026-11-20",
            "workingDays": 1,
            "isInTime": True,
        }
        assert (first["complaintClass"]["code"], first["unit"]["key"]) == ("0201", "350102-cgj")
        assert page["pageInfo"]["hasNextPage"] is True
        rest = await world.ask(None, LIST, first=2, after=page["pageInfo"]["endCursor"])
        nodes = [edge["node"] for edge in rest["publicComplaints"]["edges"]]
        assert [decode_node_id(node["id"])[1] for node in nodes] == [each.id for each in older[1:]]
        assert rest["publicComplaints"]["pageInfo"]["hasNextPage"] is False
        one = (await world.ask(None, ONE, id=encode_node_id("PublicComplaint", SHOWN.id)))["publicComplaint"]
        assert one["text"] == "东街口路灯不亮"
        assert (await world.ask(None, ONE, id="nothing"))["publicComplaint"] is None
        filters: list[tuple[dict[str, Any], int]] = [
            ({"divisionCode": "350100", "classCode": "02", "kind": "COMPLAINT", "state": "ANSWERED"}, 4),
            ({"from": "2026-11-20"}, 0),
            ({"from": "2026-11-19", "to": "2026-11-19"}, 4),
            ({"kind": "HELP"}, 0),
        ]
        for wanted, count in filters:
            answer = await world.ask(None, LIST, filter=wanted)
            assert len(answer["publicComplaints"]["edges"]) == count
        public.close()

    play(act)


@pytest.mark.parametrize(
    ("variables", "code"),
    [
        ({"first": 101}, "INVALID_PAGE_SIZE"),
        ({"text": "长" * 301}, "TEXT_TOO_LONG"),
        ({"after": "nonsense"}, "INVALID_ID"),
        ({"after": encode_node_id("PublicComplaintCursor", str(1 << 64))}, "INVALID_ID"),
        ({"filter": {"classCode": "02x"}}, "INVALID_CLASS_CODE"),
        ({"filter": {"divisionCode": "nowhere"}}, "INVALID_DIVISION_CODE"),
    ],
)
def test_what_is_out_of_bounds_is_refused(
    play: Play, tmp_path: Path, variables: dict[str, Any], code: str
) -> None:
    async def act(world: DeskWorld) -> None:
        public = await publish(world, tmp_path, SHOWN)
        await world.ask(None, LIST, **variables)
        assert world.codes == [code]
        public.close()

    play(act)


def test_the_map(play: Play, tmp_path: Path) -> None:
    async def act(world: DeskWorld) -> None:
        public = await publish(world, tmp_path, SHOWN)

        def corner(longitude: float, latitude: float) -> dict[str, Any]:
            return {"longitude": longitude, "latitude": latitude, "system": "WGS84"}

        bounds = {"southWest": corner(119.2, 26), "northEast": corner(119.4, 26.2)}
        (mark,) = (await world.ask(None, MAP, bounds=bounds, zoom=10))["complaintClusters"]
        assert (mark["count"], mark["side"], mark["point"]["system"]) == (1, 0.04, "WGS84")
        (other,) = (await world.ask(None, MAP, bounds=bounds, zoom=10, system="BD09"))["complaintClusters"]
        assert other["point"] != mark["point"]
        opened = {"isOpen": True}
        assert (await world.ask(None, MAP, bounds=bounds, zoom=10, filter=opened))["complaintClusters"] == []
        await world.ask(None, MAP, bounds=dict(zip(bounds, reversed(bounds.values()), strict=True)), zoom=10)
        assert world.codes == ["INVALID_BOUNDS"]
        await world.ask(None, MAP, bounds=bounds, zoom=10, filter={"groupCode": "0201"})
        assert world.codes == ["INVALID_CLASS_CODE"]
        public.close()

    play(act)


ROUND = Round(
    Month(2026, 3),
    Kind.COMPLAINT,
    "350102",
    "0201",
    "350102-cgj",
    is_first=True,
    is_answered=True,
    is_in_time=True,
    is_rated=True,
    is_satisfied=True,
    minutes=600,
)


async def count(world: DeskWorld, home: Path, *rounds: Round) -> None:
    store = StatisticsStore(world.database)
    deltas: Deltas = {}
    for each in rounds:
        merge_deltas(deltas, deltas_of((), [each]))
    await store.replace_all(deltas)
    sums = ComplaintSums(store, home, poll=timedelta(seconds=1), clock=lambda: NOW)
    await sums.open()
    await sums.refresh()
    world.more["statistics"] = ComplaintStatistics(sums, world.units)


def test_figures_as_tables_and_series(play: Play, tmp_path: Path) -> None:
    async def act(world: DeskWorld) -> None:
        late = replace(ROUND, month=Month(2026, 4), is_in_time=False, is_satisfied=False, minutes=6_000)
        waits = Round(Month(2026, 4), Kind.HELP, "350200", is_first=True)
        await count(world, tmp_path, ROUND, ROUND, late, waits)
        span = {"from": "2026-03", "to": "2026-05"}
        table = (await world.ask(None, TABLE, by="MONTH", **span))["complaintStatistics"]
        assert table["asOf"] == NOW.isoformat()
        figures = table["total"]["figures"]
        assert 10 * 0.956 < figures.pop("medianHours") < 10 * 1.045
        assert 100 * 0.956 < figures.pop("p90Hours") < 100 * 1.045
        assert figures == {
            "received": 4,
            "reopened": 0,
            "answered": 3,
            "inTime": 2,
            "inTimeShare": 2 / 3,
            "rated": 3,
            "satisfied": 2,
            "satisfiedShare": 2 / 3,
            "refused": 0,
            "withdrawn": 0,
            "merged": 0,
        }
        series = [(each["month"], each["figures"]["received"]) for each in table["total"]["series"]]
        assert series == [("2026-03", 2), ("2026-04", 2), ("2026-05", 0)]
        assert [(row["key"], row["figures"]["received"]) for row in table["rows"]] == series

        async def rows(by: str, **more: Any) -> list[tuple[str, str, int]]:
            found = (await world.ask(None, TABLE, by=by, **span, **more))["complaintStatistics"]
            return [(row["key"], row["label"], row["figures"]["received"]) for row in found["rows"]]

        kinds = [
            ("CONSULT", "咨询", 0),
            ("COMPLAINT", "投诉", 3),
            ("SUGGESTION", "建议", 0),
            ("HELP", "求助", 1),
        ]
        assert await rows("KIND") == kinds
        assert await rows("KIND", kind="HELP") == [("HELP", "求助", 1)]
        names = world.units.classes
        (group,) = await rows("CLASS", division="350100")
        assert (group[0], group[2]) == ("02", 3)
        assert group[1] == names.find("02").name  # type: ignore[union-attr]
        (of_group,) = await rows("CLASS", **{"class": "02"})
        assert (of_group[0], of_group[2]) == ("0201", 3)
        (unit,) = await rows("UNIT", division="350102")
        assert (unit[0], unit[2]) == ("350102-cgj", 3)
        only = await world.ask(None, TABLE, by="MONTH", unit="350102-cgj", **span)
        assert only["complaintStatistics"]["total"]["figures"]["received"] == 3
        divisions = {
            None: [SimpleNamespace(code="350000")],
            "350000": [SimpleNamespace(code=code) for code in ("350100", "350200", "350300")],
        }
        world.catalogue = SimpleNamespace(
            roots=divisions[None],
            division=lambda code: SimpleNamespace(name=f"名称{code}", children=divisions.get(code, [])),
        )
        assert await rows("DIVISION", division="350000") == [
            ("350100", "名称350100", 3),
            ("350200", "名称350200", 1),
        ]
        assert await rows("DIVISION") == [("350000", "名称350000", 4)]

    play(act)


@pytest.mark.parametrize(
    ("variables", "code"),
    [
        ({"from": "2026-3"}, "INVALID_STATISTICS"),
        ({"from": "2026-04", "to": "2026-03"}, "INVALID_STATISTICS"),
        ({"from": "2020-01"}, "INVALID_STATISTICS"),
        ({"unit": "u", "division": "350100"}, "INVALID_STATISTICS"),
        ({"by": "UNIT"}, "INVALID_STATISTICS"),
        ({"by": "DIVISION", "unit": "u"}, "INVALID_STATISTICS"),
        ({"class": "9999"}, "INVALID_STATISTICS"),
        ({"class": "x"}, "INVALID_CLASS_CODE"),
    ],
)
def test_figures_that_cannot_be_asked_for(
    play: Play, tmp_path: Path, variables: dict[str, Any], code: str
) -> None:
    async def act(world: DeskWorld) -> None:
        await count(world, tmp_path)
        await world.ask(None, TABLE, **{"from": "2026-01", "to": "2026-12", "by": "MONTH", **variables})
        assert world.codes == [code]

    play(act)


def test_figures_need_no_store(play: Play, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def act(world: DeskWorld) -> None:
        await count(world, tmp_path, ROUND)

        def found(self: AsyncCollection[Any], *_: Any, **__: Any) -> None:
            raise AssertionError(self.name)

        with monkeypatch.context() as away:
            away.setattr(AsyncCollection, "find", found)
            away.setattr(AsyncCollection, "find_one", found)
            for by in ("MONTH", "KIND", "CLASS"):
                table = await world.ask(None, TABLE, **{"from": "2025-01", "to": "2026-12", "by": by})
                assert table["complaintStatistics"]["total"]["figures"]["received"] == 1

    play(act)
