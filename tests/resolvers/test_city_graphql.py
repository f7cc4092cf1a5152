"""Urban management over GraphQL on the real engines: six steps, roles, conflicts, lists."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

from desk_world import CLERK, NOW, OPERATOR, SEAT, DeskWorld, citizen, play_desk, staff

from domain.city_cases import faults_of
from domain.ids import decode_node_id
from domain.working_days import calendar_of
from feeds.city_import import read_city_classes_file, write_city_classes_file
from loaders.city_classes import CityClasses, shipped_city_classes
from operations.city_cases import CityCases, replace_city_classes
from store.city_cases import CityCaseStore

FIELDS = """id version state divisionCode description address isOverdue dueAt unit { key }
  cityClass { code name limit limitUnit } grid { code level } point { longitude latitude system }
  events { action role note byUnit { key } unit { key } }"""
REPORT = """mutation ($input: ReportCityCaseInput!) { reportCityCase(input: $input) {
  cityCase { FIELDS } userErrors { code field } } }""".replace("FIELDS", FIELDS)
ONE = "query ($id: ID!) { desk { cityCase(id: $id) { FIELDS } } }".replace("FIELDS", FIELDS)
LIST = """query ($state: CityState!, $division: String, $mine: Boolean! = false, $first: Int! = 20,
  $after: String) { desk { cityCases(state: $state, division: $division, mine: $mine, first: $first,
  after: $after) { edges { node { id } } pageInfo { hasNextPage endCursor } } } }"""
OVERDUE = "{ desk { overdueCityCases { id isOverdue } } }"
NEW: dict[str, Any] = {
    "classCode": "P0118",
    "divisionCode": "350102001",
    "gridCode": "350102001003",
    "description": "路灯不亮",
    "address": "鼓东路1号",
    "point": {"longitude": 119.31, "latitude": 26.09, "system": "WGS84"},
    "idempotencyKey": "k",
}
COLLECTOR = staff("350102001-gov", "350102001", "collector")
COUNTY_SEAT = staff("350102-12345", "350102", "county-seat")


class Secrets:
    async def get(self, name: str) -> bytes:
        return b"s" * 32


async def open_city(world: DeskWorld) -> CityCases:
    store = CityCaseStore(world.database)
    await store.ensure_indexes()
    classes = CityClasses(store)
    await world.follow(classes.followed)
    cases = CityCases(
        store=store,
        secrets=Secrets(),  # type: ignore[arg-type]
        units=lambda: world.units.tree,
        classes=lambda: classes.current,
        complaint_classes=lambda: world.units.classes,
        calendar=calendar_of(),
    )
    world.more["city_cases"] = cases
    return cases


async def step(world: DeskWorld, viewer: Any, name: str, case: dict[str, Any], **more: Any) -> dict[str, Any]:
    kind = {"dispatch": "DispatchCityCaseInput", "verify": "VerifyCityCaseInput"}.get(name, "CityCaseInput")
    document = f"""mutation ($input: {kind}!) {{ step: {name}CityCase(input: $input) {{
      cityCase {{ {FIELDS} }} userErrors {{ code field }} }} }}"""
    given = {"id": case["id"], "expectedVersion": case["version"], **more}
    result: dict[str, Any] = (await world.ask(viewer, document, input=given))["step"]
    return result


async def took(world: DeskWorld, viewer: Any, name: str, case: dict[str, Any], **more: Any) -> dict[str, Any]:
    result = await step(world, viewer, name, case, **more)
    assert result["userErrors"] == []
    found: dict[str, Any] = result["cityCase"]
    return found


def test_the_six_steps(mongodb_uri: str, redis_url: str, database_name: str) -> None:
    async def act(world: DeskWorld) -> None:
        cases = await open_city(world)
        reported = (await world.ask(COLLECTOR, REPORT, input=NEW))["reportCityCase"]["cityCase"]
        again = (await world.ask(COLLECTOR, REPORT, input=NEW))["reportCityCase"]["cityCase"]
        assert again == reported
        assert reported["state"] == "COLLECTED"
        assert reported["cityClass"] == {"code": "P0118", "name": "路灯", "limit": 2, "limitUnit": "DAY"}
        assert [cell["level"] for cell in reported["grid"]] == ["COMMUNITY", "STREET", "DISTRICT", "CITY"]
        assert reported["point"] == NEW["point"]
        case = await took(world, COUNTY_SEAT, "file", reported)
        assert (case["unit"], case["dueAt"]) == (None, None)
        case = await took(world, COUNTY_SEAT, "dispatch", case)
        assert case["unit"] == {"key": "350102-cgj"}
        assert case["dueAt"] == "2026-11-24T15:59:59+00:00"
        world.now = NOW + timedelta(days=1)
        case = await took(world, CLERK, "return", case, note="不是我们的灯")
        assert (case["state"], case["unit"], case["dueAt"]) == ("FILED", None, None)
        case = await took(world, SEAT, "dispatch", case, unitId="350102-cgj")
        assert case["dueAt"] == "2026-11-25T15:59:59+00:00"
        mine = (await world.ask(CLERK, LIST, state="DISPATCHED", mine=True))["desk"]["cityCases"]
        assert [edge["node"]["id"] for edge in mine["edges"]] == [case["id"]]
        assert (await world.ask(SEAT, OVERDUE))["desk"]["overdueCityCases"] == []
        world.now = NOW + timedelta(days=4)
        assert (await world.ask(SEAT, OVERDUE))["desk"]["overdueCityCases"] == [
            {"id": case["id"], "isOverdue": True}
        ]
        case = await took(world, CLERK, "handle", case, note="换了灯泡")
        case = await took(world, COLLECTOR, "verify", case, isDone=False, note="还是不亮")
        assert (case["state"], case["dueAt"]) == ("DISPATCHED", "2026-11-25T15:59:59+00:00")
        case = await took(world, CLERK, "handle", case, note="换了电缆")
        case = await took(world, COLLECTOR, "verify", case, isDone=True)
        case = await took(world, SEAT, "close", case)
        assert (case["state"], case["isOverdue"], case["version"]) == ("CLOSED", True, 10)
        assert [(each["action"], each["role"], each["note"]) for each in case["events"]] == [
            ("REPORT", "COLLECTOR", None),
            ("FILE", "CENTRE", None),
            ("DISPATCH", "CENTRE", None),
            ("RETURN", "UNIT", "不是我们的灯"),
            ("DISPATCH", "CENTRE", None),
            ("HANDLE", "UNIT", "换了灯泡"),
            ("FAIL", "COLLECTOR", "还是不亮"),
            ("HANDLE", "UNIT", "换了电缆"),
            ("VERIFY", "COLLECTOR", None),
            ("CLOSE", "CENTRE", None),
        ]
        stored = await cases.store.find(decode_node_id(case["id"])[1])
        assert stored is not None
        assert faults_of(b"s" * 32, stored) == []
        assert (await world.ask(OPERATOR, ONE, id=case["id"]))["desk"]["cityCase"]["version"] == 10

    play_desk(mongodb_uri, redis_url, database_name, act)


def test_what_is_refused_changes_nothing(mongodb_uri: str, redis_url: str, database_name: str) -> None:
    async def act(world: DeskWorld) -> None:
        cases = await open_city(world)
        for viewer, code in ((None, "UNAUTHENTICATED"), (citizen(), "FORBIDDEN"), (OPERATOR, "FORBIDDEN")):
            assert await world.ask(viewer, REPORT, input=NEW) is None
            assert world.codes == [code]
        xiamen = staff("350200-12345", "350200", "xiamen")
        assert await world.ask(xiamen, REPORT, input=NEW) is None
        assert world.codes == ["FORBIDDEN"]
        for changes, error in (
            ({"classCode": "P9999"}, ("UNKNOWN_CITY_CLASS", "classCode")),
            ({"divisionCode": "x"}, ("INVALID_CITY_CASE", "divisionCode")),
            ({"gridCode": "350102002"}, ("INVALID_CITY_CASE", "gridCode")),
            ({"gridCode": "35"}, ("INVALID_GRID_CODE", "gridCode")),
            ({"description": "  "}, ("INVALID_CITY_CASE", "description")),
            ({"description": "长" * 1001}, ("INVALID_CITY_CASE", "description")),
            ({"address": "长" * 201}, ("INVALID_CITY_CASE", "address")),
            ({"idempotencyKey": ""}, ("INVALID_CITY_CASE", "idempotencyKey")),
        ):
            data = (await world.ask(COLLECTOR, REPORT, input=NEW | changes))["reportCityCase"]
            assert data["cityCase"] is None
            assert [(each["code"], each["field"]) for each in data["userErrors"]] == [error]
        case = (await world.ask(COLLECTOR, REPORT, input=NEW))["reportCityCase"]["cityCase"]
        other = NEW | {"description": "别的"}
        data = (await world.ask(COLLECTOR, REPORT, input=other))["reportCityCase"]
        assert data["userErrors"] == [{"code": "INVALID_CITY_CASE", "field": "idempotencyKey"}]
        for viewer, name, more, code in (
            (COLLECTOR, "file", {}, "CITY_STEP_NOT_ALLOWED"),
            (COUNTY_SEAT, "close", {}, "CITY_STEP_NOT_ALLOWED"),
            (COUNTY_SEAT, "reject", {}, "INVALID_CITY_CASE"),
            (COUNTY_SEAT, "file", {"note": "长" * 501}, "INVALID_CITY_CASE"),
            (COUNTY_SEAT, "file", {"expectedVersion": 2}, "CITY_CASE_CHANGED"),
            (OPERATOR, "file", {}, "FORBIDDEN"),
            (xiamen, "file", {}, "CITY_CASE_NOT_FOUND"),
        ):
            if viewer is OPERATOR:
                document = "mutation ($i: CityCaseInput!) { fileCityCase(input: $i) { cityCase { id } } }"
                given = {"id": case["id"], "expectedVersion": 1}
                assert await world.ask(viewer, document, i=given) is None
                assert world.codes == [code]
                continue
            result = await step(world, viewer, name, case, **more)
            assert [each["code"] for each in result["userErrors"]] == [code]
        filed = await took(world, COUNTY_SEAT, "file", case)
        for unit in ("nobody", "350100-12345"):
            result = await step(world, COUNTY_SEAT, "dispatch", filed, unitId=unit)
            assert result["userErrors"] == [{"code": "UNKNOWN_UNIT", "field": "unitId"}]
        dispatched = await took(world, COUNTY_SEAT, "dispatch", filed)
        handled = await took(world, CLERK, "handle", dispatched, note="修好了")
        result = await step(world, CLERK, "verify", handled, isDone=True)
        assert [each["code"] for each in result["userErrors"]] == ["CITY_STEP_NOT_ALLOWED"]
        stored = await cases.store.find(decode_node_id(case["id"])[1])
        assert stored is not None
        assert (stored.version, len(stored.events)) == (4, 4)
        await world.ask(xiamen, ONE, id=case["id"])
        assert world.codes == ["CITY_CASE_NOT_FOUND"]

    play_desk(mongodb_uri, redis_url, database_name, act)


def test_of_two_who_act_at_once_one_is_told(mongodb_uri: str, redis_url: str, database_name: str) -> None:
    async def act(world: DeskWorld) -> None:
        cases = await open_city(world)
        case = (await world.ask(COLLECTOR, REPORT, input=NEW))["reportCityCase"]["cityCase"]
        results = await asyncio.gather(
            *(step(world, viewer, "file", case) for viewer in (SEAT, COUNTY_SEAT) for _ in range(4))
        )
        errors = [result["userErrors"][0]["code"] for result in results if result["userErrors"]]
        assert errors == ["CITY_CASE_CHANGED"] * 7
        stored = await cases.store.find(decode_node_id(case["id"])[1])
        assert stored is not None
        assert (stored.version, len(stored.events)) == (2, 2)

    play_desk(mongodb_uri, redis_url, database_name, act)


def test_lists_stay_within_the_division(mongodb_uri: str, redis_url: str, database_name: str) -> None:
    async def act(world: DeskWorld) -> None:
        await open_city(world)
        province = staff("350000-12345", "350000", "province")
        ids = []
        for number in range(5):
            world.now = NOW + timedelta(seconds=number)
            new = NEW | {"idempotencyKey": f"k{number}"}
            ids.append((await world.ask(COLLECTOR, REPORT, input=new))["reportCityCase"]["cityCase"]["id"])
        other = NEW | {"divisionCode": "350203", "gridCode": None}
        away = (await world.ask(province, REPORT, input=other))["reportCityCase"]["cityCase"]["id"]

        async def listed(viewer: Any, **more: Any) -> list[str]:
            found: list[str] = []
            after = None
            while True:
                data = await world.ask(viewer, LIST, state="COLLECTED", first=2, after=after, **more)
                page = data["desk"]["cityCases"]
                found += [edge["node"]["id"] for edge in page["edges"]]
                if not page["pageInfo"]["hasNextPage"]:
                    return found
                after = page["pageInfo"]["endCursor"]

        assert await listed(SEAT) == ids[::-1]
        assert await listed(COLLECTOR) == ids[::-1]
        assert await listed(province, division="350200") == [away]
        assert sorted(await listed(province)) == sorted([*ids, away])
        assert await listed(OPERATOR, division="350102001") == ids[::-1]
        for viewer, more in ((SEAT, {"division": "350200"}), (OPERATOR, {}), (OPERATOR, {"mine": True})):
            await world.ask(viewer, LIST, state="COLLECTED", **more)
            assert world.codes == ["FORBIDDEN"]

    play_desk(mongodb_uri, redis_url, database_name, act)


def test_classes_are_public_and_replaceable(
    mongodb_uri: str, redis_url: str, database_name: str, tmp_path: Path
) -> None:
    async def act(world: DeskWorld) -> None:
        cases = await open_city(world)
        data = await world.ask(
            None, '{ all: cityClasses { isCertain } some: cityClasses(kind: EVENT, group: "其他") { code } }'
        )
        assert (len(data["all"]), len(data["some"])) == (188, 4)
        file = tmp_path / "classes.csv"
        with file.open("w", encoding="utf-8", newline="") as out:
            write_city_classes_file(shipped_city_classes(), out)
        own = read_city_classes_file(file)
        assert own.select() == shipped_city_classes().select()
        revisions = [await replace_city_classes(cases.store, world.redis, own, now=NOW) for _ in range(2)]
        assert revisions == [1, 1]
        suggest = (
            'query ($c: String!) { desk { suggestCityUnit(classCode: $c, division: "350102001") { key } } }'
        )
        for code, unit in (("P0101", "350100-gs"), ("E0119", "350102-sthj"), ("P0118", "350102-cgj")):
            assert (await world.ask(SEAT, suggest, c=code))["desk"]["suggestCityUnit"] == {"key": unit}
        await world.ask(SEAT, suggest, c="x")
        assert world.codes == ["UNKNOWN_CITY_CLASS"]

    play_desk(mongodb_uri, redis_url, database_name, act)
