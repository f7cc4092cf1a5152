"""Guides on the real engines: steps, conflicts, history, search, import, what is due."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from redis.asyncio import Redis

from domain.errors import DomainError
from domain.knowledge import (
    TRANSITIONS,
    Guide,
    GuideAction,
    GuideChangedError,
    GuideContent,
    GuideNotFoundError,
    GuideOutOfScopeError,
    GuideState,
    GuideStepError,
    InvalidGuideError,
    apply,
    grams,
)
from domain.tables import InvalidTableError
from feeds.demo.knowledge import demo_guides
from feeds.knowledge_import import read_guides_file, write_guide
from loaders.complaint_classes import shipped_classes
from loaders.knowledge import GuideIndex, Knowledge, PublishedGuide
from loaders.reference import Follower
from operations.knowledge import (
    Editor,
    GuideKeyReusedError,
    ImportReport,
    ImportRow,
    Step,
    change_guide,
    create_guide,
    get_guide,
    import_guides,
    local_day,
)
from store.connections import open_mongodb, open_redis
from store.knowledge import KnowledgeStore

NOW = datetime(2026, 11, 22, 4, tzinfo=UTC)
CLASSES = shipped_classes()
SEAT = Editor("seat", "350100-12345", "350100")
OPERATOR = Editor("operator")
CONTENT = GuideContent("社保卡丢了怎么补？", "带身份证到服务网点。", "0907", "350100", ("i1",), ("社保卡",))
Play = Callable[[Callable[[KnowledgeStore, Redis], Awaitable[None]]], None]


@pytest.fixture
def play(mongodb_uri: str, redis_url: str, database_name: str) -> Play:
    def run(act: Callable[[KnowledgeStore, Redis], Awaitable[None]]) -> None:
        async def main() -> None:
            async with open_mongodb(mongodb_uri, 30_000) as client, open_redis(redis_url, 5_000) as redis:
                store = KnowledgeStore(client[database_name])
                await store.ensure_indexes()
                await act(store, redis)

        asyncio.run(main())

    return run


async def served(store: KnowledgeStore, redis: Redis) -> GuideIndex:
    knowledge = Knowledge(store)
    await Follower(store.reference, redis, [knowledge.followed], poll=timedelta(hours=1)).refresh()
    return knowledge.index


def step(guide: Guide, action: GuideAction, **more: Any) -> Step:
    return Step(guide.id, action, guide.version, **more)


def test_a_guide_from_its_draft_to_its_end(play: Play) -> None:
    async def act(store: KnowledgeStore, redis: Redis) -> None:
        async def take(guide: Guide, action: GuideAction, **more: Any) -> Guide:
            return await change_guide(
                store,
                redis,
                CLASSES,
                SEAT,
                step(guide, action, **more),
                now=NOW,
            )

        draft = await create_guide(store, CLASSES, SEAT, CONTENT, "k1", now=NOW)
        assert (draft.state, draft.version, draft.published) == (GuideState.DRAFT, 1, None)
        assert len(await served(store, redis)) == 0
        published = await take(draft, GuideAction.PUBLISH)
        assert (await served(store, redis)).search("补社保卡")[0].guide.content == CONTENT
        other = replace(CONTENT, answer="可以在闽政通上申请。")
        revised = await take(published, GuideAction.REVISE, content=other)
        assert revised.has_unpublished
        assert (await served(store, redis)).search("补社保卡")[0].guide.content == CONTENT
        again = await take(revised, GuideAction.PUBLISH)
        assert (await served(store, redis)).search("补社保卡")[0].guide.content == other
        confirmed = await take(again, GuideAction.CONFIRM, review_by=date(2027, 1, 1))
        assert confirmed.review_by == date(2027, 1, 1)
        retired = await take(confirmed, GuideAction.RETIRE)
        assert (await served(store, redis)).search("补社保卡") == []
        back = await take(retired, GuideAction.REVISE, content=CONTENT)
        assert (back.state, back.version, back.review_by) == (GuideState.DRAFT, 7, date(2027, 1, 1))
        assert await get_guide(store, back.id) == back
        history = await store.history(back.id)
        assert [(each.version, each.action.value) for each in history] == [
            (1, "CREATE"),
            (2, "PUBLISH"),
            (3, "REVISE"),
            (4, "PUBLISH"),
            (5, "CONFIRM"),
            (6, "RETIRE"),
            (7, "REVISE"),
        ]
        assert [each.content for each in history if each.content] == [CONTENT, other, CONTENT]
        assert {(each.account, each.unit) for each in history} == {("seat", "350100-12345")}

    play(act)


def test_what_is_refused_changes_nothing(play: Play) -> None:
    async def act(store: KnowledgeStore, redis: Redis) -> None:
        guide = await create_guide(store, CLASSES, SEAT, CONTENT, "k1", now=NOW)
        assert await create_guide(store, CLASSES, SEAT, CONTENT, "k1", now=NOW) == guide
        refusals: list[tuple[type[DomainError], Editor, Step]] = [
            (GuideNotFoundError, SEAT, Step("nothing", GuideAction.PUBLISH, 1)),
            (GuideChangedError, SEAT, Step(guide.id, GuideAction.PUBLISH, 2)),
            (GuideStepError, SEAT, step(guide, GuideAction.CONFIRM, review_by=date(2027, 1, 1))),
            (InvalidGuideError, SEAT, step(guide, GuideAction.CONFIRM)),
            (InvalidGuideError, SEAT, step(guide, GuideAction.REVISE)),
            (InvalidGuideError, SEAT, step(guide, GuideAction.REVISE, content=GuideContent("问", " "))),
            (
                GuideOutOfScopeError,
                SEAT,
                step(guide, GuideAction.REVISE, content=replace(CONTENT, division_code=None)),
            ),
            (GuideOutOfScopeError, Editor("x", "350200-12345", "350200"), step(guide, GuideAction.PUBLISH)),
        ]
        for error, editor, wrong in refusals:
            with pytest.raises(error):
                await change_guide(store, redis, CLASSES, editor, wrong, now=NOW)
        for key, content in (("", CONTENT), ("k" * 65, CONTENT)):
            with pytest.raises(InvalidGuideError):
                await create_guide(store, CLASSES, SEAT, content, key, now=NOW)
        with pytest.raises(GuideKeyReusedError):
            await create_guide(store, CLASSES, SEAT, replace(CONTENT, answer="别的"), "k1", now=NOW)
        for wrong_content in (
            replace(CONTENT, question="问" * 201),
            replace(CONTENT, answer="答" * 5_001),
            replace(CONTENT, class_code="9999"),
            replace(CONTENT, division_code="35x"),
            replace(CONTENT, item_ids=("i",) * 21),
            replace(CONTENT, keywords=("",)),
        ):
            with pytest.raises(InvalidGuideError):
                await create_guide(store, CLASSES, OPERATOR, wrong_content, "k2", now=NOW)
        assert await get_guide(store, guide.id) == guide
        assert len(await store.history(guide.id)) == 1
        assert len(await store.list_guides(GuideState.DRAFT, 10)) == 1
        assert await store.reference.revisions() == {}

    play(act)


def test_of_two_who_change_a_guide_at_once_one_is_told(play: Play) -> None:
    async def act(store: KnowledgeStore, redis: Redis) -> None:
        guide = await create_guide(store, CLASSES, OPERATOR, CONTENT, "k", now=NOW)
        steps = [step(guide, GuideAction.REVISE, content=replace(CONTENT, answer=f"{n}")) for n in range(8)]
        results = await asyncio.gather(
            *(change_guide(store, redis, CLASSES, OPERATOR, each, now=NOW) for each in steps),
            return_exceptions=True,
        )
        won = [each for each in results if isinstance(each, Guide)]
        lost = [each for each in results if isinstance(each, GuideChangedError)]
        assert (len(won), len(lost)) == (1, 7)
        assert {each.params["version"] for each in lost} == {2}
        assert await get_guide(store, guide.id) == won[0]
        assert len(await store.history(guide.id)) == 2

    play(act)


@given(st.lists(st.sampled_from(list(GuideAction)), max_size=12))
def test_no_path_leaves_the_table(actions: list[GuideAction]) -> None:
    guide = Guide("g", 1, GuideState.DRAFT, CONTENT, NOW)
    for action in actions:
        allowed = TRANSITIONS.get((guide.state, action))
        content = replace(CONTENT, answer=f"{guide.version}")
        if allowed is None:
            with pytest.raises(GuideStepError):
                apply(guide, action, now=NOW, content=content)
            continue
        following = apply(guide, action, now=NOW, content=content)
        assert following.state is allowed
        assert following.version == guide.version + 1
        assert (following.published is not None) == (following.state is GuideState.PUBLISHED)
        assert (following.published_at is None) == (following.published is None)
        if action is GuideAction.PUBLISH:
            assert not following.has_unpublished
        guide = following


def test_what_is_due_comes_in_order(play: Play) -> None:
    async def act(store: KnowledgeStore, redis: Redis) -> None:
        days = [None, *(date(2026, 11, 1) + timedelta(days=n // 3) for n in range(30))]
        rows = [ImportRow(f"g{n:02}", CONTENT, day) for n, day in enumerate(days)]
        await import_guides(store, redis, rows, now=NOW)
        due = await store.list_due(date(2026, 11, 5), 100)
        assert [guide.id for guide in due] == [f"g{n:02}" for n in range(1, 16)]
        seen: list[str] = []
        after = None
        while page := await store.list_due(date(2026, 11, 5), 4, after):
            seen += [guide.id for guide in page]
            assert page[-1].review_by is not None
            after = (page[-1].review_by, page[-1].id)
        assert seen == [guide.id for guide in due]
        assert await store.list_due(date(2026, 10, 31), 10) == []

    play(act)
    assert local_day(datetime(2026, 11, 22, 17, tzinfo=UTC)) == date(2026, 11, 23)


@pytest.mark.alone
def test_the_demo_goes_in_is_found_and_comes_back(play: Play, tmp_path: Path) -> None:
    async def act(store: KnowledgeStore, redis: Redis) -> None:
        rows = list(demo_guides())
        assert len(rows) == len({row.id for row in rows}) >= 2_000
        assert await import_guides(store, redis, rows, now=NOW) == ImportReport(len(rows), 0, 0, ())
        assert await import_guides(store, redis, rows, now=NOW) == ImportReport(0, 0, len(rows), ())
        assert await store.reference.revisions() == {"guides": 1}
        index = await served(store, redis)
        assert len(index) == len(rows)
        for text, word in (
            ("办理普通护照换发需要什么材料", "办理普通护照换发需要什么材料？"),
            ("结婚登记要预约吗", "结婚登记"),
            ("租房可以提取公积金吗", "提取住房公积金"),
            ("驾照换证", "换证"),
            ("老人高龄补贴怎么领", "高龄"),
        ):
            found = index.search(text, "350102001")
            assert word in found[0].guide.content.question, text
            assert found[0].guide.content.item_ids
        started = time.perf_counter()
        for row in rows[::10]:
            assert (
                index.search(row.content.question, "350102", 1)[0].guide.content.question
                == row.content.question
            )
        assert (time.perf_counter() - started) / len(rows[::10]) < 0.02
        file = tmp_path / "guides.jsonl"
        lines = []
        after = ""
        while page := await store.list_guides(GuideState.PUBLISHED, 500, after):
            lines += [write_guide(guide) for guide in page]
            after = page[-1].id
        file.write_bytes(b"".join(lines))
        assert sorted(read_guides_file(file, CLASSES), key=lambda row: row.id) == sorted(
            rows, key=lambda row: row.id
        )
        changed = replace(rows[0], content=replace(rows[0].content, answer="改了"))
        report = await import_guides(store, redis, [changed, rows[1]], now=NOW)
        assert report == ImportReport(0, 1, 1, ())
        stored = await get_guide(store, rows[0].id)
        assert (stored.version, stored.published) == (2, changed.content)
        assert len(await store.history(rows[0].id)) == 2

    play(act)


def index_of(*contents: GuideContent) -> GuideIndex:
    return GuideIndex(PublishedGuide(f"g{n}", content, NOW) for n, content in enumerate(contents))


def test_a_division_sees_its_own_and_what_holds_above_it() -> None:
    index = index_of(
        *(
            GuideContent("公交卡怎么办理", "到网点。", division_code=code)
            for code in (None, "350000", "350100", "350102", "350200", "350103")
        )
    )
    found = [hit.guide.content.division_code for hit in index.search("公交卡怎么办", "350102001", 10)]
    assert found == ["350102", "350100", "350000", None]
    assert len(index.search("公交卡怎么办", None, 10)) == 6


def test_the_same_question_is_first() -> None:
    index = index_of(
        GuideContent("公交卡公交卡公交卡", "公交卡"),
        GuideContent("Ｅtc 怎么办公交卡？", "不能。"),
    )
    assert index.search("ETC怎么办公交卡")[0].guide.id == "g1"
    assert index.find("g0") is not None
    assert index.find("g9") is None


@given(st.text(max_size=80), st.sampled_from([None, "350102001", "350000"]))
def test_whatever_is_typed_is_searched(text: str, division: str | None) -> None:
    found = _SMALL.search(text, division, 30)
    assert len(found) <= 20
    if not grams(text):
        assert found == []


_SMALL = index_of(CONTENT, replace(CONTENT, question="AND OR NOT +a -b", division_code=None))


def test_pairs_of_characters() -> None:
    assert grams("HPV疫苗，怎么打 2026") == ["hpv", "疫苗", "怎么", "么打", "2026"]
    assert grams("卡") == ["卡"]
    assert grams("？！ ") == []


@pytest.mark.parametrize(
    ("line", "column"),
    [
        ("{", "*"),
        ("[]", "*"),
        ({"question": "问"}, "*"),
        ({"answer": 1}, "answer"),
        ({"answer": ""}, "answer"),
        ({"colour": "red"}, "*"),
        ({"id": "a b"}, "id"),
        ({"id": "first"}, "id"),
        ({"class_code": "9999"}, "class_code"),
        ({"division_code": "x"}, "division_code"),
        ({"review_by": "soon"}, "review_by"),
        ({"item_ids": [1]}, "item_ids[0]"),
    ],
)
def test_a_wrong_line_says_where(tmp_path: Path, line: str | dict[str, Any], column: str) -> None:
    good = {"id": "first", "question": "问", "answer": "答"}
    if isinstance(line, dict):
        line = json.dumps(
            {"id": "second", **line} if line == {"question": "问"} else {**good, "id": "second", **line}
        )
    file = tmp_path / "guides.jsonl"
    file.write_text(f"{json.dumps(good)}\n\n{line}\n", "utf-8")
    with pytest.raises(InvalidTableError) as refused:
        read_guides_file(file, CLASSES)
    assert (refused.value.params["line"], refused.value.params["column"]) == (3, column)
