"""The knowledge base over GraphQL: public search; what staff of a centre write and others may not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from desk_world import CLERK, NOW, OPERATOR, SEAT, DeskWorld, citizen, play_desk, staff

from domain.ids import decode_node_id
from domain.knowledge import GuideState
from loaders.knowledge import Knowledge
from store.knowledge import KnowledgeStore

SEARCH = """query ($text: String!, $division: String, $first: Int! = 5) {
  searchGuides(text: $text, division: $division, first: $first) {
  score guide { id key question answer classCode divisionCode publishedAt items { id } } } }"""
GUIDE = """query ($id: ID!) { guide(id: $id) { key answer } }"""
DESK = """query ($id: ID!) { desk { guide(id: $id) { key version state hasUnpublished text { question keywords
  itemIds } publishedText { question } reviewBy publishedAt } guideHistory(id: $id) { version action unit
  text { answer } } } }"""
LIST = """query ($state: GuideState! = DRAFT, $first: Int! = 20, $after: String) { desk {
  guides(state: $state, first: $first, after: $after) { edges { cursor node { key } }
  pageInfo { hasNextPage endCursor } } } }"""
DUE = """query ($first: Int! = 20, $after: String) { desk { guidesDueForReview(first: $first, after: $after) {
  edges { node { key reviewBy } } pageInfo { hasNextPage endCursor } } } }"""
CREATE = """mutation ($input: CreateGuideInput!) { createGuide(input: $input) {
  guide { id key version state reviewBy } userErrors { code field message } } }"""
STEP = """mutation ($input: %s!) { %s(input: $input) {
  guide { version state reviewBy text { answer } publishedText { answer } } userErrors { code field } } }"""
PUBLISH = STEP % ("GuideInput", "publishGuide")
RETIRE = STEP % ("GuideInput", "retireGuide")
REVISE = STEP % ("ReviseGuideInput", "reviseGuide")
CONFIRM = STEP % ("ConfirmGuideInput", "confirmGuide")
TEXT: dict[str, Any] = {
    "question": "社保卡丢了怎么补？",
    "answer": "带身份证到服务网点。",
    "divisionCode": "350100",
    "keywords": ["社保卡"],
    "itemIds": ["i1"],
}


async def open_knowledge(world: DeskWorld) -> Knowledge:
    knowledge = Knowledge(KnowledgeStore(world.database))
    world.more.update(knowledge=knowledge, identity=SimpleNamespace(redis=world.redis))
    await knowledge.store.ensure_indexes()
    await world.follow(knowledge.followed)
    return knowledge


def test_a_guide_from_the_seat_to_the_citizen(mongodb_uri: str, redis_url: str, database_name: str) -> None:
    async def act(world: DeskWorld) -> None:
        knowledge = await open_knowledge(world)
        new = {"text": TEXT, "idempotencyKey": "k", "reviewBy": "2026-11-20"}
        created = (await world.ask(SEAT, CREATE, input=new))["createGuide"]
        assert created["userErrors"] == []
        guide = created["guide"]
        assert (guide["version"], guide["state"], guide["reviewBy"]) == (1, "DRAFT", "2026-11-20")
        assert decode_node_id(guide["id"]) == ("Guide", guide["key"])
        drafts = (await world.ask(SEAT, LIST))["desk"]["guides"]
        assert [edge["node"]["key"] for edge in drafts["edges"]] == [guide["key"]]
        assert (await world.ask(None, GUIDE, id=guide["id"]))["guide"] is None

        step = {"id": guide["id"], "expectedVersion": 1}
        published = (await world.ask(SEAT, PUBLISH, input=step))["publishGuide"]
        assert published["guide"]["publishedText"] == {"answer": "带身份证到服务网点。"}
        refused = (await world.ask(SEAT, PUBLISH, input=step))["publishGuide"]
        assert refused == {
            "guide": None,
            "userErrors": [{"code": "GUIDE_CHANGED", "field": "expectedVersion"}],
        }
        await world.follow(knowledge.followed)
        hits = (await world.ask(None, SEARCH, text="社保卡怎么补", division="350102"))["searchGuides"]
        assert hits[0].pop("score") > 0
        assert hits == [
            {
                "guide": {
                    "id": guide["id"],
                    "key": guide["key"],
                    "question": TEXT["question"],
                    "answer": TEXT["answer"],
                    "classCode": None,
                    "divisionCode": "350100",
                    "publishedAt": NOW.isoformat(),
                    "items": [],
                }
            }
        ]
        assert (await world.ask(None, SEARCH, text="社保卡怎么补", division="350200"))["searchGuides"] == []

        due = (await world.ask(SEAT, DUE))["desk"]["guidesDueForReview"]
        assert [edge["node"]["key"] for edge in due["edges"]] == [guide["key"]]
        confirm = {"id": guide["id"], "expectedVersion": 2, "reviewBy": "2027-05-01"}
        assert (await world.ask(SEAT, CONFIRM, input=confirm))["confirmGuide"]["userErrors"] == []
        assert (await world.ask(SEAT, DUE))["desk"]["guidesDueForReview"]["edges"] == []
        revise = {"id": guide["id"], "expectedVersion": 3, "text": TEXT | {"answer": "网上申请。"}}
        revised = (await world.ask(OPERATOR, REVISE, input=revise))["reviseGuide"]["guide"]
        assert (revised["text"], revised["publishedText"]) == (
            {"answer": "网上申请。"},
            {"answer": "带身份证到服务网点。"},
        )
        desk = (await world.ask(SEAT, DESK, id=guide["id"]))["desk"]
        assert desk["guide"]["hasUnpublished"] is True
        assert [(each["action"], each["unit"]) for each in desk["guideHistory"]] == [
            ("CREATE", "350100-12345"),
            ("PUBLISH", "350100-12345"),
            ("CONFIRM", "350100-12345"),
            ("REVISE", None),
        ]
        await world.ask(SEAT, RETIRE, input={"id": guide["id"], "expectedVersion": 4})
        await world.follow(knowledge.followed)
        assert (await world.ask(None, GUIDE, id=guide["id"]))["guide"] is None

    play_desk(mongodb_uri, redis_url, database_name, act)


def test_only_centres_and_operators_write(mongodb_uri: str, redis_url: str, database_name: str) -> None:
    async def act(world: DeskWorld) -> None:
        knowledge = await open_knowledge(world)
        new = {"text": TEXT, "idempotencyKey": "k"}
        for viewer, code in ((None, "UNAUTHENTICATED"), (citizen(), "FORBIDDEN"), (CLERK, "FORBIDDEN")):
            assert await world.ask(viewer, CREATE, input=new) is None
            assert world.codes == [code]
            await world.ask(viewer, LIST)
            assert world.codes == [code]
            await world.ask(viewer, DESK, id="x")
            assert set(world.codes) == {code}
        xiamen = staff("350200-12345", "350200")
        refused = (await world.ask(xiamen, CREATE, input=new))["createGuide"]
        assert refused["guide"] is None
        assert [each["code"] for each in refused["userErrors"]] == ["GUIDE_OUT_OF_SCOPE"]
        everywhere = {"text": TEXT | {"divisionCode": None}, "idempotencyKey": "k2"}
        for viewer, errors in (
            (SEAT, ["GUIDE_OUT_OF_SCOPE"]),
            (staff("350000-12345", "350000"), []),
            (OPERATOR, []),
        ):
            data = (await world.ask(viewer, CREATE, input=everywhere))["createGuide"]
            assert [each["code"] for each in data["userErrors"]] == errors
        too_many = TEXT | {"itemIds": ["i"] * 30}
        data = (await world.ask(SEAT, CREATE, input={"text": too_many, "idempotencyKey": "k3"}))[
            "createGuide"
        ]
        assert [(each["code"], each["field"]) for each in data["userErrors"]] == [
            ("INVALID_GUIDE", "itemIds")
        ]
        assert len(await knowledge.store.list_guides(GuideState.DRAFT, 10)) == 2

    play_desk(mongodb_uri, redis_url, database_name, act)


def test_pages_and_bounds(mongodb_uri: str, redis_url: str, database_name: str) -> None:
    async def act(world: DeskWorld) -> None:
        await open_knowledge(world)
        for number in range(5):
            new = {"text": TEXT, "idempotencyKey": f"k{number}", "reviewBy": f"2026-11-{number + 1:02}"}
            guide = (await world.ask(SEAT, CREATE, input=new))["createGuide"]["guide"]
            if number:
                await world.ask(SEAT, PUBLISH, input={"id": guide["id"], "expectedVersion": 1})
        days: list[str] = []
        after = None
        while True:
            page = (await world.ask(SEAT, DUE, first=2, after=after))["desk"]["guidesDueForReview"]
            days += [edge["node"]["reviewBy"] for edge in page["edges"]]
            if not page["pageInfo"]["hasNextPage"]:
                break
            after = page["pageInfo"]["endCursor"]
        assert days == [f"2026-11-0{day}" for day in range(2, 6)]
        first = (await world.ask(SEAT, LIST, state="PUBLISHED", first=3))["desk"]["guides"]
        rest = await world.ask(SEAT, LIST, state="PUBLISHED", first=3, after=first["pageInfo"]["endCursor"])
        keys = [edge["node"]["key"] for page in (first, rest["desk"]["guides"]) for edge in page["edges"]]
        assert keys == sorted(keys)
        assert len(keys) == 4
        for document, variables, code in (
            (LIST, {"first": 101}, "INVALID_PAGE_SIZE"),
            (LIST, {"after": after}, "INVALID_ID"),
            (DUE, {"after": first["pageInfo"]["endCursor"]}, "INVALID_ID"),
        ):
            await world.ask(SEAT, document, **variables)
            assert world.codes == [code]
        for variables, code in (
            ({"text": "问" * 301}, "TEXT_TOO_LONG"),
            ({"text": "问", "first": 21}, "INVALID_PAGE_SIZE"),
            ({"text": "问", "division": "x"}, "INVALID_DIVISION_CODE"),
        ):
            assert await world.ask(None, SEARCH, **variables) is None
            assert world.codes == [code]
        await world.ask(SEAT, DESK, id="nothing")
        assert world.codes == ["GUIDE_NOT_FOUND"]

    play_desk(mongodb_uri, redis_url, database_name, act)
