"""The desk's side of complaints over the schema: a life by staff, conflicts, queues, who learns what."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from citizen_world import Citizens, play
from complaints_world import (
    CITY,
    CLERK,
    CO_CLERK,
    COUNTY,
    FAR_SEAT,
    MATTER,
    NOW,
    OPERATOR,
    SEAT,
    UNITS,
    viewer,
)
from msgspec.structs import replace

from domain import complaints as c
from domain.access import Assurance, Role, Viewer
from domain.knowledge import GuideContent
from domain.units import Duty, UnitTree
from loaders.knowledge import GuideIndex, PublishedGuide
from loaders.reference import Follower
from loaders.units import Units
from operations.complaint_steps import advance
from operations.units import replace_units
from store.units import UnitStore

Play = Callable[[Callable[[Citizens], Awaitable[None]]], None]
SEAT_2 = viewer("second seat", Role.DESK, unit="centre-3501", division=CITY)
STRANGER = viewer("stranger", Role.DESK, unit="water-taijiang", division="350103")
STEPS = {
    "acceptComplaint": "ClassifyComplaintInput",
    "classifyComplaint": "ClassifyComplaintInput",
    "refuseComplaint": "RefuseComplaintInput",
    "dispatchComplaint": "DispatchComplaintInput",
    "transferComplaint": "DispatchComplaintInput",
    "returnComplaint": "ReturnComplaintInput",
    "takeUpComplaint": "ComplaintStepInput",
    "askCitizen": "AskCitizenInput",
    "resumeComplaint": "ComplaintStepInput",
    "adviseComplaint": "ComplaintTextInput",
    "requestExtension": "RequestExtensionInput",
    "grantExtension": "GrantExtensionInput",
    "denyExtension": "ComplaintReasonInput",
    "answerComplaint": "AnswerComplaintInput",
    "answerComplaintDirectly": "AnswerDirectlyInput",
    "checkComplaintAnswer": "CheckAnswerInput",
    "recordCallBack": "RecordCallBackInput",
    "reopenForCitizen": "ComplaintReasonInput",
    "closeComplaint": "ComplaintStepInput",
    "reviewPublication": "ReviewPublicationInput",
    "sendMessageToCitizen": "ComplaintTextInput",
}
CLAIM = """mutation ($input: ComplaintNumberInput!) { %s(input: $input) {
  complaint { number version } claimedUntil userErrors { code field retryAfterS } } }"""
QUEUE = """query ($queue: ComplaintQueue!, $unit: ID, $filter: ComplaintQueueFilter,
  $order: ComplaintQueueOrder! = ACT_BY, $first: Int! = 20, $after: String) { desk {
  complaintQueue(queue: $queue, unit: $unit, filter: $filter, order: $order, first: $first, after: $after) {
    edges { cursor actBy isOverdue isClaimedByViewer claimedUntil node { number state excerpt kind } }
    pageInfo { hasNextPage hasPreviousPage endCursor } } } }"""
COUNTS = "query ($unit: ID) { desk { complaintQueueCounts(unit: $unit) { queue count isMore } } }"
BULK = """mutation ($input: DispatchComplaintsInput!) { dispatchComplaints(input: $input) {
  results { number state version userErrors { code field message } } userErrors { code field } } }"""
MERGE = """mutation ($input: MergeComplaintsInput!) { mergeComplaints(input: $input) {
  results { number state userErrors { code field } } userErrors { code field } } }"""
TAKE_DOWN = """mutation ($input: TakeDownComplaintInput!) { takeDownComplaint(input: $input) {
  complaint { number channel contact { name phone } isOwn } queryCode userErrors { code field } } }"""
TRACE = """mutation ($input: TraceComplaintInput!) { traceAnonymousComplaint(input: $input) {
  citizen { name phone } userErrors { code field } } }"""
EVERYTHING = """query ($number: String!) { desk { complaint(number: $number) {
  id number text excerpt address contactWish contact { name phone } isOwn version
  steps { by { role unit { key } accountId } } events { action text privateText by { role accountId } }
  messages { text by { role accountId } } answer { text privateText } allowedActions } } }"""
SUGGEST = """query ($number: String!) { desk {
  suggestUnits(number: $number) { unit { key } reason }
  similarComplaints(number: $number) { score distanceM complaint { number excerpt } }
  proposePublication(number: $number) { text found } } }"""
CALENDAR = """query ($year: Int!) { desk { workingCalendar(year: $year) {
  year isPublished notice daysOff daysWorked workingDays } } }"""


@pytest.fixture
def run(mongodb_uri: str, redis_url: str, database_name: str, tmp_path: Path) -> Play:
    def run(act: Callable[[Citizens], Awaitable[None]]) -> None:
        play(mongodb_uri, redis_url, database_name, tmp_path, act)

    return run


async def do(desk: Citizens, by: Viewer, name: str, number: str, **input: Any) -> dict[str, Any]:
    document = f"""mutation ($input: {STEPS[name]}!) {{ {name}(input: $input) {{
      complaint {{ state version leadUnit {{ key }} classCode limitDays clockState }}
      conflict {{ state version }} userErrors {{ code field message }} }} }}"""
    answer = await desk.ask(by, document, input={"number": number, **input})
    return cast("dict[str, Any]", answer[name])


async def done(desk: Citizens, by: Viewer, name: str, number: str, **input: Any) -> dict[str, Any]:
    payload = await do(desk, by, name, number, **input)
    assert payload["userErrors"] == []
    assert payload["conflict"] is None
    return cast("dict[str, Any]", payload["complaint"])


async def codes(desk: Citizens, by: Viewer, name: str, number: str, **input: Any) -> list[tuple[str, Any]]:
    before = await desk.world.get(number)
    payload = await do(desk, by, name, number, **input)
    after = await desk.world.get(number)
    assert (before.standing, before.events) == (after.standing, after.events), "refused, and nothing changed"
    return [(error["code"], error["field"]) for error in payload["userErrors"]]


async def queue(desk: Citizens, by: Viewer, name: str, **variables: Any) -> list[str]:
    answer = await desk.ask(by, QUEUE, queue=name, **variables)
    return [edge["node"]["number"] for edge in answer["desk"]["complaintQueue"]["edges"]]


def test_a_whole_life_at_the_desk(run: Play) -> None:
    async def act(desk: Citizens) -> None:
        number = (await desk.world.submit()).number
        kind = {"kind": "COMPLAINT", "classCode": "0201"}
        assert await codes(desk, CLERK, "acceptComplaint", number, **kind) == [("COMPLAINT_NOT_FOUND", None)]
        unknown = {**kind, "classCode": "9999"}
        assert await codes(desk, SEAT, "acceptComplaint", number, **unknown) == [
            ("UNKNOWN_COMPLAINT_CLASS", "classCode")
        ]
        shown = await done(desk, SEAT, "acceptComplaint", number, expectedVersion=1, **kind)
        assert shown == {
            "state": "ACCEPTED",
            "version": 2,
            "leadUnit": None,
            "classCode": "0201",
            "limitDays": 3,
            "clockState": "RUNNING",
        }
        assert (await done(desk, SEAT, "classifyComplaint", number, kind="HELP", classCode="0301"))[
            "classCode"
        ] == "0301"
        assert (await done(desk, SEAT, "askCitizen", number, question="具体在几号？"))[
            "clockState"
        ] == "PAUSED"
        assert (await done(desk, SEAT, "resumeComplaint", number))["state"] == "ACCEPTED"
        lead = {"leadUnit": "water-taijiang", "coUnits": ["roads"], "note": "请速办"}
        assert (await done(desk, SEAT, "dispatchComplaint", number, **lead))["leadUnit"] == {
            "key": "water-taijiang"
        }
        returned = await done(
            desk, STRANGER, "returnComplaint", number, reason="属鼓楼区", suggestedUnit="water-gulou"
        )
        assert returned["state"] == "ACCEPTED"
        assert await codes(desk, SEAT, "dispatchComplaint", number, leadUnit="centre-3501") == [
            ("INVALID_COMPLAINT", "lead")
        ]
        await done(desk, SEAT, "dispatchComplaint", number, leadUnit="water", coUnits=["roads"])
        chief = viewer("chief", Role.DESK, unit="water", division=CITY)
        assert await codes(desk, chief, "transferComplaint", number, leadUnit="centre-35") == [
            ("INVALID_COMPLAINT", "lead")
        ]
        moved = await done(
            desk, chief, "transferComplaint", number, leadUnit="water-gulou", coUnits=["roads"]
        )
        assert moved["leadUnit"] == {"key": "water-gulou"}
        assert (await done(desk, CLERK, "takeUpComplaint", number))["state"] == "HANDLING"
        await done(desk, CO_CLERK, "adviseComplaint", number, text="路面归我们")
        assert await codes(desk, CO_CLERK, "answerComplaint", number, outcome="FULL", text="好了") == [
            ("COMPLAINT_STEP_NOT_ALLOWED", None)
        ]
        await done(desk, CLERK, "requestExtension", number, days=5, reason="等配件")
        assert await codes(desk, SEAT, "grantExtension", number, days=6) == [("INVALID_COMPLAINT", "days")]
        assert (await done(desk, SEAT, "grantExtension", number, days=2))["limitDays"] == 5
        await done(desk, CLERK, "requestExtension", number, days=5, reason="还等")
        await done(desk, SEAT, "denyExtension", number, reason="已经延过")
        assert await codes(desk, CLERK, "answerComplaint", number, outcome="FULL", text="  ") == [
            ("INVALID_COMPLAINT", "text")
        ]
        answer = {"outcome": "PARTIAL", "text": "主管已修", "privateText": "支管待拨款"}
        await done(desk, CLERK, "answerComplaint", number, **answer)
        assert await codes(desk, SEAT, "checkComplaintAnswer", number, isPassed=False) == [
            ("INVALID_COMPLAINT", "reason")
        ]
        await done(desk, SEAT, "checkComplaintAnswer", number, isPassed=False, reason="支管呢？")
        await done(desk, CLERK, "answerComplaint", number, **{**answer, "outcome": "FULL"})
        assert (await done(desk, SEAT, "checkComplaintAnswer", number, isPassed=True))["state"] == "REPLIED"
        await done(desk, SEAT, "reviewPublication", number, isCleared=True, publicText="水管爆裂")
        await done(desk, SEAT, "recordCallBack", number, wasReached=True, isSatisfied=False, note="还漏")
        assert (await done(desk, SEAT, "reopenForCitizen", number, reason="电话中说还漏"))[
            "state"
        ] == "ACCEPTED"
        direct = await done(desk, SEAT, "answerComplaintDirectly", number, text="已加派人手")
        assert direct["state"] == "REPLIED"
        await done(desk, SEAT, "closeComplaint", number)
        assert (await done(desk, SEAT, "sendMessageToCitizen", number, text="感谢来电"))["state"] == "CLOSED"
        complaint = await desk.world.get(number)
        assert complaint.standing.reopened == 1
        assert complaint.standing.publication is c.Publication.CLEARED
        refused = (await desk.world.submit()).number
        ground = {"ground": "COMMERCIAL_DISPUTE", "nextOwner": "市场监督管理局 12315"}
        assert (await done(desk, SEAT, "refuseComplaint", refused, **ground))["state"] == "REFUSED"

    run(act)


def test_a_step_that_comes_too_late_shows_what_is_new(run: Play) -> None:
    async def act(desk: Citizens) -> None:
        number = (await desk.world.submit()).number
        await done(desk, SEAT_2, "acceptComplaint", number, kind="HELP", classCode="0201")
        ground = {"ground": "NO_MATTER", "nextOwner": "物业公司"}
        payload = await do(desk, SEAT, "refuseComplaint", number, expectedVersion=1, **ground)
        assert payload["conflict"] == {"state": "ACCEPTED", "version": 2}
        assert [error["code"] for error in payload["userErrors"]] == ["COMPLAINT_CHANGED"]
        assert (payload["complaint"]["state"], payload["complaint"]["version"]) == ("ACCEPTED", 2)
        assert await codes(desk, SEAT, "closeComplaint", number) == [("COMPLAINT_STEP_NOT_ALLOWED", None)]

    run(act)


def test_claims_over_the_schema(run: Play) -> None:
    async def act(desk: Citizens) -> None:
        number = (await desk.world.submit()).number
        claim, release = CLAIM % "claimComplaint", CLAIM % "releaseComplaint"
        input = {"number": number}
        mine = (await desk.ask(SEAT, claim, input=input))["claimComplaint"]
        assert mine == {
            "complaint": {"number": number, "version": 1},
            "claimedUntil": (NOW + timedelta(minutes=20)).isoformat(),
            "userErrors": [],
        }
        other = (await desk.ask(SEAT_2, claim, input=input))["claimComplaint"]
        assert other == {
            "complaint": None,
            "claimedUntil": None,
            "userErrors": [{"code": "COMPLAINT_CLAIMED", "field": None, "retryAfterS": 1200}],
        }
        assert await codes(desk, SEAT_2, "acceptComplaint", number, kind="HELP", classCode="0201") == [
            ("COMPLAINT_CLAIMED", None)
        ]
        for by, is_mine in ((SEAT, True), (SEAT_2, False)):
            answer = await desk.ask(by, QUEUE, queue="UNIT")
            (edge,) = answer["desk"]["complaintQueue"]["edges"]
            assert edge["isClaimedByViewer"] is is_mine
            assert edge["claimedUntil"] == mine["claimedUntil"]
        assert await queue(desk, SEAT, "MINE") == [number]
        assert await queue(desk, SEAT_2, "MINE") == []
        kept = (await desk.ask(SEAT_2, release, input=input))["releaseComplaint"]
        assert (kept["claimedUntil"], kept["userErrors"]) == (None, [])
        assert (await desk.world.get(number)).claimed_by == "seat"
        await desk.ask(SEAT, release, input=input)
        assert (await desk.world.get(number)).claimed_by is None

    run(act)


def test_pages_filters_and_counts_over_the_schema(run: Play) -> None:
    async def act(desk: Citizens) -> None:
        made = [(await desk.world.submit()).number for _ in range(5)]
        for number in made[:2]:
            await done(desk, SEAT, "acceptComplaint", number, kind="HELP", classCode="0301")
        seen: list[str] = []
        after = None
        while True:
            page = (await desk.ask(SEAT, QUEUE, queue="UNIT", first=2, after=after))["desk"]["complaintQueue"]
            assert page["pageInfo"]["hasPreviousPage"] is (after is not None)
            seen += [edge["node"]["number"] for edge in page["edges"]]
            after = page["pageInfo"]["endCursor"]
            if not page["pageInfo"]["hasNextPage"]:
                break
        assert sorted(seen) == made
        assert seen[:2] == made[:2], "three days are due before ten"
        assert await queue(desk, SEAT, "UNIT", order="NEWEST") == made[::-1]
        accepted = {"state": "ACCEPTED", "classCode": "03", "divisionCode": "350102000000", "kind": "HELP"}
        assert await queue(desk, SEAT, "UNIT", filter=accepted) == made[:2]
        assert await queue(desk, SEAT, "UNIT", filter={"divisionCode": "350200"}) == []
        assert await queue(desk, SEAT, "UNIT", unit="centre-3501", first=1, after=None) == made[:1]
        counted = (await desk.ask(SEAT, COUNTS))["desk"]["complaintQueueCounts"]
        assert len(counted) == 10
        assert {each["queue"]: each["count"] for each in counted if each["count"]} == {
            "UNIT": 5,
            "TO_REVIEW": 2,
        }
        assert not any(each["isMore"] for each in counted)
        for wrong in ({"after": "x"}, {"after": after, "order": "NEWEST"}, {"first": 101}, {"first": 0}):
            assert "errors" in await desk.ask(SEAT, QUEUE, queue="UNIT", **wrong)
        bad = await desk.ask(SEAT, QUEUE, queue="UNIT", filter={"classCode": "x"})
        assert bad["errors"] == ["INVALID_COMPLAINT"]
        assert (await desk.ask(CLERK, QUEUE, queue="UNIT", unit="centre-3501"))["errors"] == ["FORBIDDEN"]
        assert (await desk.ask(SEAT, COUNTS, unit="nowhere"))["errors"] == ["UNKNOWN_UNIT"]
        far = await desk.ask(FAR_SEAT, QUEUE, queue="UNIT")
        assert far["desk"]["complaintQueue"]["edges"] == []

    run(act)


def test_many_at_once_over_the_schema(run: Play) -> None:
    async def act(desk: Citizens) -> None:
        made = [(await desk.world.submit()).number for _ in range(3)]
        for number in made[:2]:
            await done(desk, SEAT, "acceptComplaint", number, kind="HELP", classCode="0201")
        seen = [{"number": number, "expectedVersion": 2} for number in made]
        answer = await desk.ask(SEAT, BULK, input={"complaints": seen, "leadUnit": "water-gulou"})
        results = answer["dispatchComplaints"]["results"]
        assert [(each["number"], each["state"], each["version"]) for each in results] == [
            (made[0], "DISPATCHED", 3),
            (made[1], "DISPATCHED", 3),
            (made[2], "SUBMITTED", 1),
        ]
        assert [[error["code"] for error in each["userErrors"]] for each in results] == [
            [],
            [],
            ["COMPLAINT_CHANGED"],
        ]
        none = await desk.ask(SEAT, BULK, input={"complaints": [], "leadUnit": "water-gulou"})
        assert none["dispatchComplaints"] == {
            "results": [],
            "userErrors": [{"code": "INVALID_COMPLAINT", "field": "complaints"}],
        }
        merged = await desk.ask(SEAT, MERGE, input={"complaints": seen[:1], "into": made[1]})
        assert merged["mergeComplaints"]["results"][0]["userErrors"] == [
            {"code": "COMPLAINT_CHANGED", "field": None}
        ]
        fresh = [{"number": made[0]}, {"number": made[2]}]
        merged = await desk.ask(SEAT, MERGE, input={"complaints": fresh, "into": made[1]})
        assert [each["state"] for each in merged["mergeComplaints"]["results"]] == ["MERGED", "MERGED"]

    run(act)


def test_what_helps_a_dispatcher(run: Play) -> None:
    async def act(desk: Citizens) -> None:
        own = desk.world
        units = Units(UnitStore(own.database))
        duty = Duty("0409", CITY)
        responsible = UnitTree(
            replace(unit, duties=(duty,)) if unit.id == "water" else unit for unit in UNITS.all
        )
        await replace_units(units.store, desk.redis, responsible, now=NOW)
        await Follower(units.store.reference, desk.redis, units.followed, poll=timedelta(hours=1)).refresh()
        desk.stores = replace(desk.stores, units=units)
        number = (await own.submit()).number
        near = (await own.submit(matter=replace(MATTER, point=c.Point(119.2969, 26.0873)))).number
        found = (await desk.ask(SEAT, SUGGEST, number=number))["desk"]
        assert found["proposePublication"]["found"] == ["PHONE"]
        assert "13800138000" not in found["proposePublication"]["text"]
        assert [each["complaint"]["number"] for each in found["similarComplaints"]] == [near]
        assert found["similarComplaints"][0]["distanceM"] == 50
        likely = [{"unit": {"key": "water"}, "reason": "DUTY"}]
        assert found["suggestUnits"] == likely, "the text says what it is about"
        await done(desk, SEAT, "acceptComplaint", number, kind="COMPLAINT", classCode="0301")
        assert (await desk.ask(SEAT, SUGGEST, number=number))["desk"]["suggestUnits"] == []
        await done(desk, SEAT, "classifyComplaint", number, kind="COMPLAINT", classCode="0409")
        assert (await desk.ask(SEAT, SUGGEST, number=number))["desk"]["suggestUnits"] == likely
        await done(desk, SEAT, "dispatchComplaint", number, leadUnit="water-gulou")
        refused = await desk.ask(CLERK, SUGGEST, number=number)
        assert refused["errors"] == ["FORBIDDEN"]

    run(act)


def test_an_answer_out_of_the_knowledge_base(run: Play) -> None:
    async def act(desk: Citizens) -> None:
        guide = PublishedGuide("g1", GuideContent("停水怎么办？", "请拨打96115。", "0101"), NOW)
        knowledge = SimpleNamespace(index=GuideIndex([guide]))
        desk.stores = replace(desk.stores, knowledge=cast("Any", knowledge))
        number = (await desk.world.submit()).number
        answer = {"guideId": "g2"}
        assert await codes(desk, SEAT, "answerComplaintDirectly", number, **answer) == [
            ("GUIDE_NOT_FOUND", "guideId")
        ]
        assert await codes(desk, SEAT, "answerComplaintDirectly", number) == [("INVALID_COMPLAINT", "text")]
        await done(desk, SEAT, "answerComplaintDirectly", number, guideId="g1")
        complaint = await desk.world.get(number)
        assert complaint.events[-1].facts == {"action": "ANSWER_DIRECTLY", "guide": "g1"}
        texts = await desk.world.complaints.store.open_texts(complaint)
        assert texts[complaint.events[-1].seq] == {"text": "请拨打96115。"}

    run(act)


CALL = {
    "idempotencyKey": "call-0001",
    "channel": "HOTLINE",
    "kind": "HELP",
    "text": "电梯停运，老人被困，请协助。",
    "divisionCode": COUNTY,
    "contact": "NAMED",
    "name": "陈女士",
    "phone": "13900139000",
    "point": {"longitude": 119.3011, "latitude": 26.0846, "system": "GCJ02"},
}


def test_a_call_is_taken_down(run: Play) -> None:
    async def act(desk: Citizens) -> None:
        taken = (await desk.ask(SEAT, TAKE_DOWN, input=CALL))["takeDownComplaint"]
        again = (await desk.ask(SEAT, TAKE_DOWN, input=CALL))["takeDownComplaint"]
        assert taken == again
        assert taken["complaint"]["channel"] == "HOTLINE"
        assert taken["complaint"]["contact"] == {"name": "陈女士", "phone": "13900139000"}
        assert taken["complaint"]["isOwn"] is False
        assert len(taken["queryCode"]) == 8
        wrong = (await desk.ask(SEAT, TAKE_DOWN, input=CALL | {"channel": "APP"}))["takeDownComplaint"]
        assert wrong == {
            "complaint": None,
            "queryCode": None,
            "userErrors": [{"code": "INVALID_COMPLAINT", "field": "channel"}],
        }
        assert (await desk.ask(CLERK, TAKE_DOWN, input=CALL))["errors"] == ["FORBIDDEN"]
        assert (
            len(
                await desk.world.complaints.store.list_whole(
                    await desk.world.complaints.numbers.list_newest(1_000)
                )
            )
            == 1
        )

    run(act)


def test_no_role_but_the_operators_learns_who_is_behind_an_anonymous_complaint(run: Play) -> None:
    async def act(desk: Citizens) -> None:
        own = desk.world.complaints
        account = await own.accounts.find_or_create_by_phone("13712345678", now=NOW)
        owner = viewer(account.id)
        anonymous = replace(
            MATTER, contact=c.ContactWish.ANONYMOUS, name=None, phone=None, text="楼下每晚烧烤，油烟扰民。"
        )
        number = (await desk.world.submit(owner, anonymous)).number
        await done(desk, SEAT, "acceptComplaint", number, kind="COMPLAINT", classCode="0301")
        lead = {"leadUnit": "water-gulou", "coUnits": ["roads"]}
        await done(desk, SEAT, "dispatchComplaint", number, **lead)
        await advance(own, owner, number, c.Write(text="还在扰民"), now=NOW)
        await done(desk, CLERK, "takeUpComplaint", number)
        for by in (SEAT, SEAT_2, CLERK, CO_CLERK):
            shown = (await desk.ask(by, EVERYTHING, number=number))["desk"]["complaint"]
            assert shown["contact"] is None
            text = json.dumps(shown, ensure_ascii=False)
            assert account.id not in text
            assert "13712345678" not in text
            complainants = [each["by"] for each in shown["events"] if each["by"]["role"] == "COMPLAINANT"]
            assert complainants
            assert all(each["accountId"] is None for each in complainants)
        input = {"number": number, "reason": "公安机关依法调取"}
        strong = replace(SEAT, assurance=Assurance.L3)
        for by in (None, owner, desk.other, SEAT, strong, CLERK, FAR_SEAT):
            answer = await desk.ask(by, TRACE, input=input)
            assert answer["errors"] == ["UNAUTHENTICATED" if by is None else "FORBIDDEN"]
        weak = replace(OPERATOR, assurance=Assurance.L2)
        assert (await desk.ask(weak, TRACE, input=input))["errors"] == ["ASSURANCE_TOO_LOW"]
        assert await own.access_log.list_newest(account.id, 10, None) == []
        found = (await desk.ask(OPERATOR, TRACE, input=input))["traceAnonymousComplaint"]
        assert found == {"citizen": {"name": None, "phone": "137****5678"}, "userErrors": []}
        (entry,) = await own.access_log.list_newest(account.id, 10, None)
        assert (entry.role, entry.reason) == (Role.OPERATOR, "公安机关依法调取")
        named = (await desk.world.submit()).number
        refused = await desk.ask(OPERATOR, TRACE, input={**input, "number": named})
        assert refused["traceAnonymousComplaint"] == {
            "citizen": None,
            "userErrors": [{"code": "COMPLAINT_NOT_ANONYMOUS", "field": None}],
        }

    run(act)


def test_a_look_at_the_desk_is_for_those_who_handle_it(run: Play) -> None:
    async def act(desk: Citizens) -> None:
        number = (await desk.world.submit()).number
        for by, code in (
            (STRANGER, "COMPLAINT_NOT_FOUND"),
            (CLERK, "COMPLAINT_NOT_FOUND"),
            (FAR_SEAT, "COMPLAINT_NOT_FOUND"),
            (desk.citizen, "FORBIDDEN"),
            (OPERATOR, "FORBIDDEN"),
            (replace(SEAT, assurance=Assurance.L1), "ASSURANCE_TOO_LOW"),
        ):
            assert (await desk.ask(by, EVERYTHING, number=number))["errors"] == [code]
        own = (await desk.world.submit(SEAT)).number
        assert (await desk.ask(SEAT, EVERYTHING, number=own))["errors"] == ["OWN_COMPLAINT"]
        shown = (await desk.ask(SEAT, EVERYTHING, number=number))["desk"]["complaint"]
        assert shown["text"] == MATTER.text
        assert shown["contact"] == {"name": MATTER.name, "phone": MATTER.phone}
        (entry,) = await desk.world.complaints.access_log.list_newest("citizen", 10, None)
        assert (entry.role, entry.unit, entry.fields) == (Role.DESK, "centre-3501", ("name", "phone"))

    run(act)


def test_the_working_calendar(run: Play) -> None:
    async def act(desk: Citizens) -> None:
        known = (await desk.ask(CLERK, CALENDAR, year=2026))["desk"]["workingCalendar"]
        assert (known["isPublished"], known["notice"]) == (True, None)
        assert "2026-02-17" in known["daysOff"]
        assert "2026-02-14" in known["daysWorked"]
        assert known["workingDays"][1] == 16
        assert len(known["workingDays"]) == 12
        unknown = (await desk.ask(OPERATOR, CALENDAR, year=2040))["desk"]["workingCalendar"]
        assert (unknown["isPublished"], unknown["daysOff"], unknown["daysWorked"]) == (False, [], [])
        assert "MINTONG_HOLIDAYS" in unknown["notice"]
        assert sum(unknown["workingDays"]) == 261
        assert (await desk.ask(CLERK, CALENDAR, year=1999))["errors"] == ["INVALID_COMPLAINT"]
        assert (await desk.ask(desk.citizen, CALENDAR, year=2026))["errors"] == ["FORBIDDEN"]

    run(act)
