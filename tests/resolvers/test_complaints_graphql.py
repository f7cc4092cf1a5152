"""The citizen's side of complaints over the schema, with staff who take their steps; who sees what."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from citizen_world import Citizens, play
from complaints_world import CLERK, CO_CLERK, COUNTY, DAY, MATTER, NOW, SEAT

from domain import complaints as c
from domain.access import Viewer
from domain.complaints import Actor, ActorRole
from notifications.live import publish
from operations.complaint_care import live_topic
from operations.complaint_joins import token_for
from operations.complaint_steps import accept, advance
from operations.complaint_submit import submit
from operations.complaints import code_of
from resolvers.schema import schema
from store.connections import open_redis
from store.gate import Gate, Window

Play = Callable[[Callable[[Citizens], Awaitable[None]]], None]
HOUR = timedelta(hours=1)
VIEW = """
fragment View on Complaint {
  id number version state kind classCode complaintClass { name } isConvenience divisionCode channel
  centre { key } leadUnit { key name } coUnits { key } submittedAt changedAt
  dueAt dueIsProvisional isOverdue limitDays usedDays leftDays clockState pauseReason
  steps { step name isReached at by { role unit { key } accountId } }
  events { seq at action state title text privateText by { role unit { key } accountId } }
  pauses { reason text since until }
  extensions { state askedDays grantedDays reason }
  text excerpt address point(system: GCJ02) { longitude latitude system }
  media { id url thumbnailUrl } contact { name phone } contactWish question
  messages { seq kind text mediaIds by { role unit { key } accountId } }
  answer { outcome isOut text privateText guideId by { role unit { key } accountId } }
  refusal { ground nextOwner note }
  rating { speed attitude result comment } callBack { wasReached isSatisfied note } publication
  reopenedCount canReopenUntil escalatedLevel mergedInto isOwn isJoined joinedCount allowedActions
}
"""
LOOK = VIEW + "query ($number: String!) { viewer { complaint(number: $number) { ...View } } }"
DESK = LOOK.replace("viewer {", "desk {")
BY_CODE = (
    VIEW
    + """query ($number: String!, $code: String!) {
  complaintByCode(number: $number, code: $code) { ...View } }"""
)
SUBMIT = (
    VIEW
    + """mutation ($input: SubmitComplaintInput!) { submitComplaint(input: $input) {
  complaint { ...View } queryCode userErrors { code field message retryAfterS } } }"""
)
LIST = """query ($first: Int! = 20, $after: String, $joined: Boolean! = false) { viewer {
  complaints(first: $first, after: $after, joined: $joined) {
    edges { cursor node { number state kind excerpt dueAt leadUnit { key } outcome mediaCount
      isWaitingForCitizen } }
    pageInfo { hasNextPage hasPreviousPage endCursor } } } }"""
INPUT = {
    "idempotencyKey": "key-of-the-phone",
    "kind": "COMPLAINT",
    "text": MATTER.text,
    "divisionCode": COUNTY,
    "contact": "NAMED",
    "channel": "MINI_PROGRAM",
    "isPublicWished": True,
    "point": {"longitude": 119.3011, "latitude": 26.0846, "system": "GCJ02"},
    "address": "东街口3号楼2单元502室",
    "name": "林小明",
    "phone": "13800138000",
}


@pytest.fixture
def run(mongodb_uri: str, redis_url: str, database_name: str, tmp_path: Path) -> Play:
    def run(act: Callable[[Citizens], Awaitable[None]]) -> None:
        play(mongodb_uri, redis_url, database_name, tmp_path, act)

    return run


def step(name: str, fields: str = "state version") -> str:
    """Make the document of a citizen's step."""
    return f"""mutation ($input: {name[0].upper()}{name[1:]}Input!) {{ {name}(input: $input) {{
      complaint {{ {fields} }} userErrors {{ code field message }} }} }}"""


async def submitted(own: Citizens, by: Viewer | None = None, **changes: Any) -> dict[str, Any]:
    answer = await own.ask(by or own.citizen, SUBMIT, input=INPUT | changes)
    payload: dict[str, Any] = answer["submitComplaint"]
    return payload


async def look(own: Citizens, viewer: Viewer, number: str, language: str = "zh") -> dict[str, Any]:
    """Look as a citizen does, or as staff does at the desk."""
    place, document = ("desk", DESK) if viewer.unit else ("viewer", LOOK)
    found: dict[str, Any] = (await own.ask(viewer, document, language, number=number))[place]["complaint"]
    return found


async def staff(own: Citizens, viewer: Viewer, number: str, taken: c.AnyStep) -> None:
    own.now += HOUR
    await advance(own.world.complaints, viewer, number, taken, now=own.now)


async def handled(own: Citizens, number: str) -> None:
    """Bring a complaint to its answer, with something in every field that staff write."""
    own.now += HOUR
    await accept(own.world.complaints, SEAT, number, c.Kind.COMPLAINT, "0201", now=own.now)
    for viewer, taken in (
        (SEAT, c.Dispatch("water-gulou", ("roads",), note="派单备注")),
        (CLERK, c.TakeUp()),
        (CLERK, c.AskCitizen("请问水管在几号楼？")),
    ):
        await staff(own, viewer, number, taken)


async def answered(own: Citizens, number: str) -> None:
    for viewer, taken in (
        (CLERK, c.RequestExtension(days=3, reason="需要开挖路面")),
        (SEAT, c.GrantExtension(days=2)),
        (CO_CLERK, c.Advise("路面由我们恢复")),
        (CLERK, c.Write("师傅明天上门")),
        (CLERK, c.Answer(c.Outcome.PARTIAL, "初步答复", "内部一")),
        (SEAT, c.FailCheck("答复太短")),
        (CLERK, c.Answer(c.Outcome.FULL, "林小明先生：水管已修复。", "由二队施工")),
    ):
        await staff(own, viewer, number, taken)


def test_a_whole_life_as_its_citizen_sees_it(run: Play) -> None:
    async def act(own: Citizens) -> None:
        photo = await own.upload(own.citizen, b"picture")
        payload = await submitted(own, mediaIds=[photo])
        new = payload["complaint"]
        number, code = new["number"], payload["queryCode"]
        assert payload["userErrors"] == []
        assert (new["state"], new["version"], new["isOwn"], new["isJoined"]) == ("SUBMITTED", 1, True, False)
        assert (new["text"], new["address"]) == (MATTER.text, INPUT["address"])
        assert new["contact"] == {"name": "林小明", "phone": "13800138000"}
        assert [each["id"] for each in new["media"]] == [photo]
        assert new["media"][0]["url"].startswith(f"/media/{photo}?until=")
        assert new["point"]["system"] == "GCJ02"
        assert new["point"]["longitude"] == pytest.approx(119.3011, abs=2e-6)
        assert (new["limitDays"], new["leftDays"], new["clockState"]) == (10, 10, "RUNNING")
        # Ten working days after Monday, 2 March 2026.
        assert (new["dueAt"], new["dueIsProvisional"]) == ("2026-03-16T15:59:59+00:00", False)
        assert new["allowedActions"] == ["SUPPLEMENT", "WITHDRAW", "WRITE"]
        assert [each["isReached"] for each in new["steps"]] == [True] + [False] * 6
        # The same again is the same complaint; under the same key nothing else is.
        assert (await submitted(own, mediaIds=[photo]))["complaint"]["number"] == number
        other = await submitted(own, text="另一件事")
        assert [each["code"] for each in other["userErrors"]] == ["IDEMPOTENCY_KEY_REUSED"]

        await handled(own, number)
        asked = await look(own, own.citizen, number)
        assert (asked["state"], asked["clockState"], asked["pauseReason"]) == (
            "ASKED_BY_UNIT",
            "PAUSED",
            "CITIZEN_ASKED",
        )
        assert (asked["question"], asked["dueAt"]) == ("请问水管在几号楼？", None)
        own.now += DAY
        done = (
            await own.ask(
                own.citizen,
                step("supplementComplaint", "state clockState question messages { kind text mediaIds }"),
                input={"number": number, "text": "在3号楼"},
            )
        )["supplementComplaint"]
        assert done["userErrors"] == []
        assert (done["complaint"]["state"], done["complaint"]["clockState"]) == ("HANDLING", "RUNNING")
        assert done["complaint"]["question"] is None
        assert done["complaint"]["messages"] == [
            {"kind": "QUESTION", "text": "请问水管在几号楼？", "mediaIds": []},
            {"kind": "SUPPLEMENT", "text": "在3号楼", "mediaIds": []},
        ]
        await answered(own, number)
        checked = await look(own, own.citizen, number)
        assert (checked["state"], checked["answer"], checked["pauseReason"]) == (
            "ANSWERED",
            None,
            None,
        )
        await staff(own, SEAT, number, c.PassCheck())
        out = await look(own, own.citizen, number)
        assert out["answer"] == {
            "outcome": "FULL",
            "isOut": True,
            "text": "林小明先生：水管已修复。",
            "privateText": None,
            "guideId": None,
            "by": {"role": "UNIT", "unit": {"key": "water-gulou"}, "accountId": None},
        }
        assert [(each["step"], each["name"]) for each in out["steps"] if each["isReached"]] == [
            ("SUBMITTED", "提交诉求"),
            ("ACCEPTED", "坐席受理"),
            ("DISPATCHED", "转派单位"),
            ("HANDLED", "单位办理"),
            ("ANSWERED", "答复诉求人"),
        ]
        assert out["extensions"] == [
            {"state": "GRANTED", "askedDays": 3, "grantedDays": 2, "reason": "需要开挖路面"}
        ]
        # The seat found a class of the convenience list: 3 days, and 2 that were granted.
        assert (out["limitDays"], out["isConvenience"]) == (5, True)
        assert [(each["reason"], each["until"] is None) for each in out["pauses"]] == [
            ("CITIZEN_ASKED", False),
        ]
        assert out["allowedActions"] == ["RATE", "REOPEN", "WRITE"]
        assert out["canReopenUntil"] is not None
        await rate_and_reopen(own, number)
        follower = (await own.ask(None, BY_CODE, number=number, code=code.lower()))["complaintByCode"]
        assert (follower["state"], follower["reopenedCount"], follower["answer"]) == ("ACCEPTED", 1, None)

    run(act)


async def rate_and_reopen(own: Citizens, number: str) -> None:
    grades = {"number": number, "speed": 2, "attitude": 5, "result": 6}
    wrong = (await own.ask(own.citizen, step("rateComplaint"), input=grades))["rateComplaint"]
    assert [(each["code"], each["field"]) for each in wrong["userErrors"]] == [
        ("INVALID_COMPLAINT", "result")
    ]
    before = wrong["complaint"]
    assert before["state"] == "REPLIED"
    fields = "state rating { speed attitude result comment } allowedActions"
    grades = {**grades, "result": 3, "comment": "慢", "expectedVersion": before["version"]}
    rated = (await own.ask(own.citizen, step("rateComplaint", fields), input=grades))["rateComplaint"]
    assert rated["complaint"] == {
        "state": "RATED",
        "rating": {"speed": 2, "attitude": 5, "result": 3, "comment": "慢"},
        "allowedActions": ["REOPEN", "WRITE"],
    }
    # A repetition after a lost answer changes nothing and says what there is.
    again = (await own.ask(own.citizen, step("rateComplaint"), input=grades))["rateComplaint"]
    assert [each["code"] for each in again["userErrors"]] == ["COMPLAINT_CHANGED"]
    assert again["userErrors"][0]["message"] == "诉求刚有新的进展（状态 RATED，第 15 版），请刷新后重试。"
    assert again["complaint"] == {"state": "RATED", "version": before["version"] + 1}
    await staff(own, SEAT, number, c.CallBack(was_reached=True, is_satisfied=False, note="仍漏水"))
    called = await look(own, own.citizen, number)
    assert called["callBack"] == {"wasReached": True, "isSatisfied": False, "note": None}
    assert [each["isReached"] for each in called["steps"]] == [True] * 7
    reopened = (
        await own.ask(
            own.citizen,
            step("reopenComplaint", "state reopenedCount limitDays rating { speed } steps { isReached }"),
            input={"number": number, "reason": "又漏了"},
        )
    )["reopenComplaint"]
    assert reopened["complaint"] == {
        "state": "ACCEPTED",
        "reopenedCount": 1,
        "limitDays": 3,
        "rating": None,
        "steps": [{"isReached": True}] * 2 + [{"isReached": False}] * 5,
    }


STAFF_TEXTS = {"派单备注", "路面由我们恢复", "内部一", "由二队施工", "答复太短", "仍漏水", "初步答复"}
OWN_TEXTS = {MATTER.text, INPUT["address"], "在3号楼", "请问水管在几号楼？", "师傅明天上门", "谢谢", "慢"}
CONTACT = {"林小明", "13800138000"}
STAFF_ACCOUNTS = {"seat", "clerk", "co-clerk"}


def texts_of(answer: Any) -> set[str]:
    """Give every string in an answer."""
    if isinstance(answer, dict):
        return set().union(*(texts_of(each) for each in answer.values())) if answer else set()
    if isinstance(answer, list):
        return set().union(*(texts_of(each) for each in answer)) if answer else set()
    return {answer} if isinstance(answer, str) else set()


async def full_life(own: Citizens) -> tuple[str, str]:
    payload = await submitted(own)
    number = payload["complaint"]["number"]
    await handled(own, number)
    for name, fields in (
        ("supplementComplaint", {"text": "在3号楼"}),
        ("sendComplaintMessage", {"text": "谢谢"}),
    ):
        done = await own.ask(own.citizen, step(name), input={"number": number, **fields})
        assert done[name]["userErrors"] == []
    await answered(own, number)
    await staff(own, SEAT, number, c.PassCheck())
    await staff(own, SEAT, number, c.Review(is_cleared=True, public_text="公开文本"))
    grades = {"number": number, "speed": 2, "attitude": 5, "result": 3, "comment": "慢"}
    await own.ask(own.citizen, step("rateComplaint"), input=grades)
    await staff(own, SEAT, number, c.CallBack(was_reached=True, is_satisfied=False, note="仍漏水"))
    return number, payload["queryCode"]


def test_each_sees_their_part_and_no_more(run: Play) -> None:
    async def act(own: Citizens) -> None:
        number, code = await full_life(own)
        complaints = own.world.complaints
        await complaints.joins.add(number, await complaints.store.hide(own.other.account_id), now=own.now)
        seen = {
            "owner": await look(own, own.citizen, number),
            "seat": await look(own, SEAT, number),
            "unit": await look(own, CLERK, number),
            "co-unit": await look(own, CO_CLERK, number),
            "joined": await look(own, own.other, number),
            "code": (await own.ask(None, BY_CODE, number=number, code=code))["complaintByCode"],
        }
        said = {name: texts_of(view) for name, view in seen.items()}
        hidden = {"owner", "joined", "code"}
        for name, texts in said.items():
            assert (texts >= STAFF_TEXTS) == (name not in hidden), name
            assert bool(STAFF_TEXTS & texts) == (name not in hidden), name
            assert bool(STAFF_ACCOUNTS & texts) == (name not in hidden), name
            assert ("公开文本" in texts) == (name not in hidden), name
            assert own.citizen.account_id not in texts, name
            assert (texts >= CONTACT) == (name in ("owner", "seat", "unit")), name
            assert bool(CONTACT & texts) == (name in ("owner", "seat", "unit")), name
        for name in ("owner", "seat", "unit"):
            assert said[name] >= OWN_TEXTS, name
        assert {MATTER.text, INPUT["address"], "在3号楼", "慢"} <= said["co-unit"]
        assert not {"请问水管在几号楼？", "师傅明天上门", "谢谢"} & said["co-unit"]
        for name in ("joined", "code"):
            assert not OWN_TEXTS & said[name], name
            empty = ("text", "address", "point", "media", "contact", "contactWish", "channel", "question")
            assert {field: seen[name][field] for field in empty} == dict.fromkeys(empty), name
            assert (seen[name]["messages"], seen[name]["extensions"], seen[name]["rating"]) == ([], [], None)
            assert (seen[name]["callBack"], seen[name]["publication"]) == (None, None)
            assert (seen[name]["allowedActions"], seen[name]["canReopenUntil"]) == ([], None)
            actions = [each["action"] for each in seen[name]["events"]]
            assert not {"WRITE", "ADVISE", "REVIEW", "REQUEST_EXTENSION"} & set(actions)
            assert {"GRANT_EXTENSION", "ANSWER", "PASS_CHECK"} <= set(actions)
        # The answer is the citizen's; to those who joined, it comes without who it was for.
        assert seen["code"]["answer"]["text"] == "林小明先生：水管已修复。"
        assert "林小明" not in seen["joined"]["answer"]["text"]
        assert seen["joined"]["answer"]["text"].endswith("水管已修复。")
        assert (seen["code"]["excerpt"], seen["joined"]["excerpt"]) == (None, seen["owner"]["excerpt"])
        assert (seen["joined"]["isJoined"], seen["joined"]["joinedCount"]) == (True, 1)
        for name in seen:
            same = ("state", "dueAt", "steps", "limitDays", "kind", "leadUnit")
            strip = {field: seen[name][field] for field in same if field != "steps"}
            assert strip == {field: seen["owner"][field] for field in same if field != "steps"}, name
            reached = [(each["step"], each["at"]) for each in seen[name]["steps"]]
            assert reached == [(each["step"], each["at"]) for each in seen["owner"]["steps"]], name

    run(act)


def test_every_look_of_staff_at_a_contact_is_written_down_first(run: Play) -> None:
    async def act(own: Citizens) -> None:
        number = (await submitted(own))["complaint"]["number"]
        log = own.world.complaints.access_log
        assert await log.list_newest(own.citizen.account_id, 10, None) == []
        await look(own, own.citizen, number)
        await own.ask(SEAT, "query ($n: String!) { desk { complaint(number: $n) { text state } } }", n=number)
        assert await log.list_newest(own.citizen.account_id, 10, None) == []
        await look(own, SEAT, number)
        entry = (await log.list_newest(own.citizen.account_id, 10, None))[0]
        assert (entry.unit, entry.fields, entry.reason) == (
            "centre-3501",
            ("name", "phone"),
            f"办理诉求 {number}",
        )
        # An anonymous one shows nothing to anybody, so nothing is written.
        hidden = await submitted(own, idempotencyKey="anonymous-1", contact="ANONYMOUS")
        seen = await look(own, SEAT, hidden["complaint"]["number"])
        assert (seen["contact"], seen["contactWish"]) == (None, "ANONYMOUS")
        assert not {own.citizen.account_id, *CONTACT} & texts_of(seen)
        phone = await submitted(own, idempotencyKey="phone-only-1", contact="PHONE_ONLY")
        assert (await look(own, SEAT, phone["complaint"]["number"]))["contact"] == {
            "name": None,
            "phone": "13800138000",
        }
        entries = await log.list_newest(own.citizen.account_id, 10, None)
        assert sorted(each.fields for each in entries) == [("name", "phone"), ("phone",)]

    run(act)


def test_what_is_wrong_is_named_and_changes_nothing(run: Play) -> None:
    async def act(own: Citizens) -> None:
        for changes, error in (
            ({"text": " "}, ("INVALID_COMPLAINT", "text")),
            ({"text": "长" * 2_001}, ("INVALID_COMPLAINT", "text")),
            ({"divisionCode": "999999"}, ("INVALID_COMPLAINT", "divisionCode")),
            ({"classCode": "01"}, ("UNKNOWN_COMPLAINT_CLASS", "classCode")),
            ({"channel": "HOTLINE"}, ("INVALID_COMPLAINT", "channel")),
            ({"idempotencyKey": "short"}, ("INVALID_COMPLAINT", "idempotencyKey")),
            ({"phone": "call me"}, ("INVALID_COMPLAINT", "phone")),
            ({"address": "长" * 201}, ("INVALID_COMPLAINT", "address")),
            ({"mediaIds": ["a", "a"]}, ("INVALID_COMPLAINT", "mediaIds")),
            ({"mediaIds": ["unknown"]}, ("MEDIA_NOT_FOUND", "mediaIds")),
            (
                {"point": {"longitude": 181, "latitude": 0, "system": "WGS84"}},
                ("INVALID_COMPLAINT", "point.longitude"),
            ),
        ):
            payload = await submitted(own, **changes)
            found = [(each["code"], each["field"]) for each in payload["userErrors"]]
            assert (found, payload["complaint"], payload["queryCode"]) == ([error], None, None), changes
            await own.stores.identity.gate.forget(
                [
                    Window(limit, f"complaints:{own.citizen.account_id}")
                    for limit in ("5 per 10 minute", "20 per 1 day")
                ]
            )
        assert (await own.ask(own.citizen, LIST))["viewer"]["complaints"]["edges"] == []
        number = (await submitted(own))["complaint"]["number"]
        for name, fields in (
            ("supplementComplaint", {"text": "x"}),
            ("sendComplaintMessage", {"text": "x"}),
            ("withdrawComplaint", {}),
            ("rateComplaint", {"speed": 1, "attitude": 1, "result": 1}),
            ("reopenComplaint", {"reason": "x"}),
            ("leaveComplaint", {}),
        ):
            # Somebody else's does not exist; staff act at the desk, not as citizens.
            for stranger in (own.other, SEAT):
                done = (await own.ask(stranger, step(name), input={"number": number, **fields}))[name]
                assert [each["code"] for each in done["userErrors"]] == ["COMPLAINT_NOT_FOUND"], name
                assert done["complaint"] is None
        for name, fields in (
            ("rateComplaint", {"speed": 1, "attitude": 1, "result": 1}),
            ("reopenComplaint", {"reason": "x"}),
        ):
            done = (await own.ask(own.citizen, step(name), input={"number": number, **fields}))[name]
            assert done["complaint"] == {"state": "SUBMITTED", "version": 1}
        assert await own.ask(own.other, LOOK, number=number) == {"errors": ["COMPLAINT_NOT_FOUND"]}
        assert await own.ask(SEAT, LOOK, number=number) == {"errors": ["COMPLAINT_NOT_FOUND"]}
        assert await own.ask(None, LOOK, number=number) == {"errors": ["UNAUTHENTICATED"]}
        withdrawn = (
            await own.ask(
                own.citizen, step("withdrawComplaint"), input={"number": number, "reason": "已解决"}
            )
        )["withdrawComplaint"]
        assert withdrawn["complaint"] == {"state": "WITHDRAWN", "version": 2}

    run(act)


def test_a_citizen_who_is_not_quick_enough_is_no_conflict(run: Play) -> None:
    async def act(own: Citizens) -> None:
        number = (await submitted(own))["complaint"]["number"]
        send = step("sendComplaintMessage")
        work = [own.ask(own.citizen, send, input={"number": number, "text": f"第{n}条"}) for n in range(3)]
        answers = [each["sendComplaintMessage"] for each in await asyncio.gather(*work)]
        assert [each["userErrors"] for each in answers] == [[], [], []]
        assert (await own.world.get(number)).standing.version == 4

    run(act)


def test_a_page_of_ones_own_and_of_those_joined(run: Play) -> None:
    async def act(own: Citizens) -> None:
        numbers = [(await own.world.submit(own.citizen)).number for _ in range(5)]
        theirs = await own.world.submit(own.other)
        own_ = await own.world.complaints.store.hide(own.citizen.account_id)
        await own.world.complaints.joins.add(theirs.number, own_, now=NOW)
        seen: list[str] = []
        page: dict[str, Any] = {"endCursor": None, "hasNextPage": True}
        while page["hasNextPage"]:
            found = (await own.ask(own.citizen, LIST, first=2, after=page["endCursor"]))["viewer"][
                "complaints"
            ]
            seen += [edge["node"]["number"] for edge in found["edges"]]
            page = found["pageInfo"]
        assert seen == numbers[::-1]
        joined = (await own.ask(own.citizen, LIST, joined=True))["viewer"]["complaints"]
        assert [edge["node"]["number"] for edge in joined["edges"]] == [theirs.number]
        assert joined["edges"][0]["node"]["mediaCount"] is None
        assert joined["pageInfo"]["hasNextPage"] is False
        for wrong in ("x", "Q29tcGxhaW50Q3Vyc29yOjE", page["endCursor"] + "A"):
            assert await own.ask(own.citizen, LIST, after=wrong) == {"errors": ["INVALID_ID"]}
        assert await own.ask(own.citizen, LIST, first=0) == {"errors": ["INVALID_PAGE_SIZE"]}

    run(act)


def test_joining_needs_the_token_of_ones_own_preview(run: Play) -> None:
    async def act(own: Citizens) -> None:
        complaints = own.world.complaints
        number = (await own.world.submit(own.citizen)).number
        join, leave = step("joinComplaint", "isJoined joinedCount isOwn text"), step("leaveComplaint")
        token = await token_for(complaints, own.other, number, now=own.now)
        stolen = await token_for(complaints, own.citizen, number, now=own.now)
        old = await token_for(complaints, own.other, number, now=own.now - 25 * HOUR)
        for wrong in ("", "x", "1.x", stolen, old, f"9{token}", token[:-1]):
            done = (await own.ask(own.other, join, input={"number": number, "token": wrong}))["joinComplaint"]
            assert [each["code"] for each in done["userErrors"]] == ["CANNOT_JOIN_COMPLAINT"], wrong
            assert done["complaint"] is None
        mine = (await own.ask(own.citizen, join, input={"number": number, "token": stolen}))["joinComplaint"]
        assert [each["field"] for each in mine["userErrors"]] == ["number"]
        for _ in range(2):
            done = (await own.ask(own.other, join, input={"number": number, "token": token}))["joinComplaint"]
            assert done["userErrors"] == []
            assert done["complaint"] == {"isJoined": True, "joinedCount": 1, "isOwn": False, "text": None}
        left = (await own.ask(own.other, leave, input={"number": number}))["leaveComplaint"]
        assert (left["complaint"], left["userErrors"]) == (None, [])
        assert await complaints.joins.count(number) == 0

    run(act)


def test_following_by_code_tells_nobody_what_was_wrong_and_is_limited(run: Play) -> None:
    async def act(own: Citizens) -> None:
        # Taken down by a seat for somebody without an account.
        matter = MATTER
        actor = Actor(ActorRole.SEAT, account=SEAT.account_id, unit=SEAT.unit)
        taken = await submit(own.world.complaints, SEAT, actor, matter, "call-0001", now=NOW)
        code = await code_of(own.world.complaints, taken.number)
        spaced = f"{taken.number[:6]} {taken.number[6:]}"
        assert (await own.ask(None, BY_CODE, number=spaced, code=f" {code} "))["complaintByCode"][
            "number"
        ] == taken.number
        missing = c.number_of(NOW.date(), 777_777)
        for number, wrong in ((taken.number, "AAAAAAAA"), (missing, code), ("123", code)):
            assert await own.ask(None, BY_CODE, number=number, code=wrong) == {
                "errors": ["COMPLAINT_NOT_FOUND"]
            }
        for _ in range(27):
            await own.ask(None, BY_CODE, number=missing, code="AAAAAAAA")
        assert await own.ask(None, BY_CODE, number=taken.number, code=code) == {
            "errors": ["TOO_MANY_REQUESTS"]
        }
        own.address = "another-" + own.address
        assert "complaintByCode" in await own.ask(None, BY_CODE, number=taken.number, code=code)

    run(act)


def test_submissions_are_limited_and_go_on_without_redis(run: Play) -> None:
    async def act(own: Citizens) -> None:
        for count in range(5):
            assert (await submitted(own, idempotencyKey=f"matter-{count}"))["userErrors"] == []
        sixth = await submitted(own, idempotencyKey="matter-5")
        assert [each["code"] for each in sixth["userErrors"]] == ["TOO_MANY_REQUESTS"]
        assert 0 < sixth["userErrors"][0]["retryAfterS"] <= 600
        # A retry of what was taken is no submission.
        again = await submitted(own, idempotencyKey="matter-4")
        assert (again["userErrors"], again["complaint"]["version"]) == ([], 1)
        found = (await own.ask(own.citizen, LIST))["viewer"]["complaints"]["edges"]
        assert len(found) == 5

        away = open_redis("redis://127.0.0.1:1/0", 200)
        own.stores.identity.gate = Gate(away)  # type: ignore[misc]
        assert (await submitted(own, idempotencyKey="matter-5"))["userErrors"] == []
        await away.aclose()

    run(act)


def test_events_in_english_and_every_action_has_words(run: Play) -> None:
    async def act(own: Citizens) -> None:
        number, _ = await full_life(own)
        english = await look(own, SEAT, number, "en")
        titles = {each["action"]: each["title"] for each in english["events"]}
        assert titles["DISPATCH"] == "福州市12345中心 passed it on to 鼓楼区水务局"
        assert titles["GRANT_EXTENSION"] == "2 more working days were granted"
        assert titles["ANSWER"] == "鼓楼区水务局 answered: settled"
        chinese = await look(own, own.citizen, number)
        assert [each["title"] for each in chinese["events"]][:5] == [
            "诉求已提交",
            "福州市12345中心已受理",
            "福州市12345中心转派鼓楼区水务局办理",
            "鼓楼区水务局开始办理",
            "鼓楼区水务局请诉求人补充情况，计时暂停",
        ]
        assert [each["title"] for each in chinese["events"] if each["action"] == "ANSWER"] == [
            "鼓楼区水务局已办理答复，中心审核中",
            "鼓楼区水务局已答复：已解决",
        ]

    run(act)


async def until(is_so: Callable[[], bool]) -> None:
    while True:
        if is_so():
            return
        await asyncio.sleep(0.01)


CHANGED = (
    "subscription ($number: String!) { complaintChanged(number: $number) { number version state isOverdue } }"
)


def test_changes_are_told_live_to_those_who_may_see_them(run: Play) -> None:
    async def act(own: Citizens) -> None:
        number = (await submitted(own))["complaint"]["number"]
        listening = asyncio.create_task(own.hub.run())
        async with asyncio.timeout(20):
            await until(lambda: own.hub.is_connected)
            context = own.context(own.citizen)
            stream: Any = await schema.subscribe(CHANGED, {"number": number}, context_value=context)
            following = asyncio.ensure_future(anext(stream))
            await until(lambda: live_topic(number) in own.hub._topics)
            await asyncio.sleep(0.1)
            await publish(own.redis, live_topic(number), b"{}")  # nothing has changed
            await accept(own.world.complaints, SEAT, number, c.Kind.COMPLAINT, "0201", now=NOW + 40 * DAY)
            await publish(own.redis, live_topic(number), b"{}")
            event = await following
            assert event.errors is None
            assert event.data["complaintChanged"] == {
                "number": number,
                "version": 2,
                "state": "ACCEPTED",
                "isOverdue": True,
            }
            await stream.aclose()
            refused: Any = await schema.subscribe(
                CHANGED, {"number": number}, context_value=own.context(own.other)
            )
            first = await anext(refused)
            assert [type(each.original_error).__name__ for each in first.errors] == ["ComplaintNotFoundError"]
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)

    run(act)


PREVIEW = """query ($input: ComplaintPreviewInput!) { complaintPreview(input: $input) {
  suggestedClasses { code } centre { key } likelyUnits { unit { key } reason } guides { score }
  dueAt dueIsProvisional limitDays isConvenience
  likelyDuplicates { number isOwn joinToken distanceM submittedOn isInProgress joinedCount text } } }"""


def test_a_preview_says_who_by_when_and_what_is_known_already(run: Play) -> None:
    async def act(own: Citizens) -> None:
        complaints = own.world.complaints
        mine, theirs = await own.world.submit(own.citizen), await own.world.submit(own.other)
        sketch = {
            "kind": "HELP",
            "text": MATTER.text,
            "divisionCode": COUNTY,
            "point": {"longitude": 119.2966, "latitude": 26.0871, "system": "WGS84"},
        }
        found = (await own.ask(own.citizen, PREVIEW, input=sketch))["complaintPreview"]
        assert found["centre"] == {"key": "centre-3501"}
        assert (found["limitDays"], found["dueAt"]) == (3, "2026-03-05T15:59:59+00:00")
        assert found["dueIsProvisional"] is False
        assert 0 < len(found["suggestedClasses"]) <= 3
        by_number = {each["number"]: each for each in found["likelyDuplicates"]}
        assert set(by_number) == {mine.number, theirs.number}
        assert (by_number[mine.number]["isOwn"], by_number[mine.number]["joinToken"]) == (True, None)
        shown = by_number[theirs.number]
        assert (shown["isOwn"], shown["distanceM"], shown["text"]) == (False, 0, None)
        assert (shown["isInProgress"], shown["submittedOn"]) == (False, "2026-03-02")
        join = {"number": theirs.number, "token": shown["joinToken"]}
        joined = (await own.ask(own.citizen, step("joinComplaint"), input=join))["joinComplaint"]
        assert joined["userErrors"] == []
        again = (await own.ask(own.citizen, PREVIEW, input=sketch))["complaintPreview"]["likelyDuplicates"]
        assert {each["number"]: each["joinedCount"] for each in again} == {mine.number: 0, theirs.number: 1}
        # With a class whose unit is known: the one with the duty in the division, or above it.
        known = (await own.ask(own.citizen, PREVIEW, input={**sketch, "classCode": "0101"}))[
            "complaintPreview"
        ]
        assert known["likelyUnits"] == [{"unit": {"key": "water"}, "reason": "DUTY"}]
        # On the last days of the calendar that is published, what is promised may still change.
        own.now = NOW.replace(month=12, day=30)
        late = {**sketch, "kind": "COMPLAINT"}
        assert (await own.ask(own.citizen, PREVIEW, input=late))["complaintPreview"][
            "dueIsProvisional"
        ] is True
        for changes in ({"text": ""}, {"divisionCode": "1"}, {"text": "长" * 2_001}):
            refused = await own.ask(own.citizen, PREVIEW, input=sketch | changes)
            assert refused == {"errors": ["INVALID_COMPLAINT"]}
        assert await own.ask(None, PREVIEW, input=sketch) == {"errors": ["UNAUTHENTICATED"]}
        assert await complaints.joins.count(mine.number) == 0

    run(act)


DRAFT = "id version text divisionCode contact mediaIds point(system: GCJ02) { longitude system } expiresAt"
SAVE = f"""mutation ($input: SaveComplaintDraftInput!) {{ saveComplaintDraft(input: $input) {{
  draft {{ {DRAFT} }} userErrors {{ code field message }} }} }}"""
DRAFTS = "{ viewer { complaintDrafts { id version text } } }"
DELETE = """mutation ($input: DeleteComplaintDraftInput!) { deleteComplaintDraft(input: $input) {
  id userErrors { code } } }"""


def test_drafts_are_saved_found_again_and_go_with_their_submission(run: Play) -> None:
    async def act(own: Citizens) -> None:
        async def save(**fields: Any) -> dict[str, Any]:
            answer: dict[str, Any] = (await own.ask(own.citizen, SAVE, input=fields))["saveComplaintDraft"]
            return answer

        place = {"longitude": 119.3011, "latitude": 26.0846, "system": "GCJ02"}
        first = await save(id="form-0001", text="水管", point=place)
        assert first["userErrors"] == []
        assert (first["draft"]["version"], first["draft"]["text"]) == (1, "水管")
        assert first["draft"]["point"]["longitude"] == pytest.approx(119.3011, abs=2e-6)
        assert first["draft"]["expiresAt"] == "2026-04-01T02:00:00+00:00"
        assert await save(id="form-0001", text="水管", point=place) == first  # its answer was lost
        second = await save(id="form-0001", text="水管爆裂", expectedVersion=1)
        assert (second["draft"]["version"], second["draft"]["point"]) == (2, None)
        stale = await save(id="form-0001", text="别的", expectedVersion=1)
        assert [each["code"] for each in stale["userErrors"]] == ["DRAFT_CHANGED"]
        assert stale["draft"] == second["draft"]
        gone = await save(id="form-0002", text="别的", expectedVersion=4)
        assert ([each["code"] for each in gone["userErrors"]], gone["draft"]) == (["DRAFT_CHANGED"], None)
        for wrong, field in (
            ({"id": "short"}, "id"),
            ({"id": "form 0001"}, "id"),
            ({"id": "form-0003", "text": "长" * 2_001}, "text"),
            ({"id": "form-0003", "mediaIds": [str(n) for n in range(10)]}, "mediaIds"),
        ):
            refused = await save(**wrong)
            assert [(e["code"], e["field"]) for e in refused["userErrors"]] == [("INVALID_COMPLAINT", field)]
        for count in range(9):
            assert (await save(id=f"more-{count:04}"))["userErrors"] == []
        eleventh = await save(id="more-9999")
        assert [each["code"] for each in eleventh["userErrors"]] == ["TOO_MANY_DRAFTS"]
        listed = (await own.ask(own.citizen, DRAFTS))["viewer"]["complaintDrafts"]
        assert len(listed) == 10
        assert {"id": "form-0001", "version": 2, "text": "水管爆裂"} in listed
        one = "query ($id: ID!) { viewer { complaintDraft(id: $id) { text } } }"
        assert await own.ask(own.other, one, id="form-0001") == {"errors": ["DRAFT_NOT_FOUND"]}
        assert (await own.ask(own.citizen, one, id="form-0001"))["viewer"]["complaintDraft"][
            "text"
        ] == "水管爆裂"
        for done in (
            {"id": "more-0000", "userErrors": []},
            {"id": None, "userErrors": [{"code": "DRAFT_NOT_FOUND"}]},
        ):
            deleted = await own.ask(own.citizen, DELETE, input={"id": "more-0000"})
            assert deleted["deleteComplaintDraft"] == done
        # Nothing of it lies in the clear.
        kept = [each async for each in own.world.database["complaint_drafts"].find({})]
        assert "水管" not in repr(kept)
        assert own.citizen.account_id not in repr(kept)
        assert len(await own.drafts.export_account(own.citizen.account_id)) == 9
        refused_ = await submitted(own, draftId="form-0001", text="")
        assert refused_["complaint"] is None
        assert (await submitted(own, draftId="form-0001"))["userErrors"] == []
        assert await own.ask(own.citizen, one, id="form-0001") == {"errors": ["DRAFT_NOT_FOUND"]}
        own.now += 31 * DAY
        assert (await own.ask(own.citizen, DRAFTS))["viewer"]["complaintDrafts"] == []
        assert (await save(id="more-0001", text="新"))["draft"]["version"] == 1
        assert await own.drafts.erase_account(own.citizen.account_id, now=own.now) == 8
        assert await own.world.database["complaint_drafts"].count_documents({}) == 0

    run(act)
