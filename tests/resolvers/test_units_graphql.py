"""Units and classes over GraphQL: public, paged, guessed."""

from __future__ import annotations

from typing import Any

from desk_world import DeskWorld, play_desk

from domain.ids import decode_node_id

UNITS = """query ($division: String, $kind: UnitKind, $below: Boolean! = false, $first: Int! = 20,
  $after: String) { units(division: $division, kind: $kind, below: $below, first: $first, after: $after) {
  totalCount edges { cursor node { id key name kind level divisionCode } }
  pageInfo { hasNextPage hasPreviousPage endCursor } } }"""
UNIT = """query ($id: ID!) { unit(id: $id) { key name nameEn isEnvironmental isActive hours phone
  parent { key parent { key parent { key } } } } }"""
RESPONSIBLE = """query ($code: String!, $division: String!, $first: Int! = 3) {
  responsibleUnits(classCode: $code, division: $division, first: $first) {
  reason score unit { key name } } }"""


def test_units_are_public_and_paged(mongodb_uri: str, redis_url: str, database_name: str) -> None:
    async def act(world: DeskWorld) -> None:
        page = (await world.ask(None, UNITS, kind="CENTRE", first=50))["units"]
        assert (page["totalCount"], len(page["edges"])) == (93, 50)
        rest = await world.ask(None, UNITS, kind="CENTRE", first=50, after=page["pageInfo"]["endCursor"])
        keys = [edge["node"]["key"] for part in (page, rest["units"]) for edge in part["edges"]]
        assert len(keys) == 93
        assert keys == sorted(keys)
        assert rest["units"]["pageInfo"]["hasNextPage"] is False
        assert rest["units"]["pageInfo"]["hasPreviousPage"] is True
        first: dict[str, Any] = page["edges"][0]["node"]
        assert first["key"] == "350000-12345"
        assert first["level"] == "PROVINCE"
        own = await world.ask(None, UNITS, division="350102001000")
        assert [edge["node"]["name"] for edge in own["units"]["edges"]] == ["鼓东街道办事处"]
        below = await world.ask(None, UNITS, division="350102", kind="GOVERNMENT", below=True)
        assert below["units"]["totalCount"] == 11
        for wrong in ({"first": 0}, {"division": "35x"}, {"after": page["edges"][0]["node"]["id"]}):
            assert await world.ask(None, UNITS, **wrong) is None
            assert world.codes[0] in ("INVALID_PAGE_SIZE", "INVALID_DIVISION_CODE", "INVALID_ID")

    play_desk(mongodb_uri, redis_url, database_name, act)


def test_one_unit_with_those_above_it(mongodb_uri: str, redis_url: str, database_name: str) -> None:
    async def act(world: DeskWorld) -> None:
        page = await world.ask(None, UNITS, division="350102", kind="DEPARTMENT")
        ids = {edge["node"]["key"]: edge["node"]["id"] for edge in page["units"]["edges"]}
        assert decode_node_id(ids["350102-sthj"]) == ("Unit", "350102-sthj")
        expected = {
            "key": "350102-sthj",
            "name": "福州市鼓楼生态环境局",
            "nameEn": None,
            "isEnvironmental": True,
            "isActive": True,
            "hours": "周一至周五 8:30—12:00，14:30—17:30（法定节假日除外）",
            "parent": {"key": "350100-sthj", "parent": {"key": "350000-sthj", "parent": None}},
        }
        for id in (ids["350102-sthj"], "350102-sthj"):
            unit = (await world.ask(None, UNIT, id=id))["unit"]
            assert unit.pop("phone").startswith("0591-90")
            assert unit == expected
        assert (await world.ask(None, UNIT, id="nobody"))["unit"] is None

    play_desk(mongodb_uri, redis_url, database_name, act)


def test_classes_are_listed_and_guessed(mongodb_uri: str, redis_url: str, database_name: str) -> None:
    async def act(world: DeskWorld) -> None:
        data = await world.ask(
            None,
            """{ complaintClasses { code groupCode } three: complaintClasses(group: "03") { code groupCode
            isEnvironmental isConvenience } none: complaintClasses(group: "0301") { code }
            suggestComplaintClasses(text: "路灯不亮", first: 1) { code name nameEn isConvenience } }""",
        )
        assert len(data["complaintClasses"]) == 18
        assert data["three"][0] == {
            "code": "0301",
            "groupCode": "03",
            "isEnvironmental": True,
            "isConvenience": False,
        }
        assert data["none"] == []
        assert data["suggestComplaintClasses"] == [
            {"code": "0203", "name": "路灯照明", "nameEn": "Street lamps", "isConvenience": True}
        ]
        assert (
            await world.ask(None, '{ suggestComplaintClasses(text: "' + "长" * 301 + '") { code } }') is None
        )
        assert world.codes == ["TEXT_TOO_LONG"]

    play_desk(mongodb_uri, redis_url, database_name, act)


def test_whoever_is_responsible_is_named(mongodb_uri: str, redis_url: str, database_name: str) -> None:
    async def act(world: DeskWorld) -> None:
        data = await world.ask(None, RESPONSIBLE, code="0302", division="350102001", first=2)
        assert data["responsibleUnits"] == [
            {
                "reason": "ENVIRONMENTAL_AUTHORITY",
                "score": 40.0,
                "unit": {"key": "350102-sthj", "name": "福州市鼓楼生态环境局"},
            },
            {"reason": "DUTY", "score": 17.0, "unit": {"key": "350102-cgj", "name": "鼓楼区城市管理局"}},
        ]
        for code, division, expected in (
            ("9999", "350102", "UNKNOWN_COMPLAINT_CLASS"),
            ("0302", "x", "INVALID_DIVISION_CODE"),
        ):
            data = await world.ask(None, RESPONSIBLE, code=code, division=division)
            assert data == {"responsibleUnits": None}
            assert world.codes == [expected]

    play_desk(mongodb_uri, redis_url, database_name, act)
