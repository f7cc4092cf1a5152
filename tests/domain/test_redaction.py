"""Personal data in complaints: what is found in the corpus, what is left alone, and what always holds."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redaction_texts import generate, parse, read_corpus, recall

from domain.redaction import TOKENS, Finding, PersonalKind, redact

CORPUS = [parse(*row) for row in read_corpus()]
FLOORS = dict.fromkeys(PersonalKind, 0.99) | {
    PersonalKind.ACCOUNT: 0.95,
    PersonalKind.ADDRESS: 0.95,
    PersonalKind.NAME: 0.9,
}
NAME_FLOORS = {"later": 0.85, "fresh": 0.8}
"""Names in texts that nobody had in mind when the rules were made are found less often."""


# --- the corpus -----------------------------------------------------------------------------------------


def test_the_corpus_is_large_and_its_generated_part_is_what_the_maker_makes() -> None:
    texts = [text.text for text in CORPUS]
    assert len(set(texts)) == len(texts)
    assert sum(bool(text.spans) for text in CORPUS) >= 400
    assert sum(not text.spans for text in CORPUS) >= 150
    assert sum(text.origin != "generated" for text in CORPUS) >= 150
    assert {kind for text in CORPUS for kind, _, _ in text.spans} == set(PersonalKind)
    assert [marked for origin, marked in read_corpus() if origin == "generated"] == generate()


@pytest.mark.parametrize("origin", ["hand", "generated", "later", "fresh"])
def test_recall_by_kind(origin: str) -> None:
    floors = FLOORS | {PersonalKind.NAME: NAME_FLOORS.get(origin, FLOORS[PersonalKind.NAME])}
    found = recall([text for text in CORPUS if text.origin == origin])
    too_low = {kind: f"{n} of {m}" for kind, (n, m) in found.items() if n < m * floors[PersonalKind(kind)]}
    assert too_low == {}


def test_what_is_found_is_of_the_kind_it_is() -> None:
    marked = right = 0
    for text in CORPUS:
        found = redact(text.text).found
        for kind, start, end in text.spans:
            touching = {each.kind for each in found if each.start < end and start < each.end}
            marked += bool(touching)
            right += kind in touching
    assert right / marked >= 0.99


def test_little_is_found_where_nothing_is() -> None:
    clean = [text for text in CORPUS if not text.spans]
    assert sum(bool(redact(text.text).found) for text in clean) / len(clean) <= 0.01
    wrong = total = 0
    for text in CORPUS:
        for each in redact(text.text).found:
            total += 1
            wrong += not any(each.start < end and start < each.end for _, start, end in text.spans)
    assert wrong / total <= 0.01


def test_the_corpus_is_redacted_for_good() -> None:
    for text in CORPUS:
        once = redact(text.text)
        assert redact(once.text).text == once.text
        assert redact(once.text).found == ()


# --- one by one -----------------------------------------------------------------------------------------


def test_what_stays_is_as_it_was_written() -> None:
    text = "ＡＢ　请打１３８-0013-8000，\u200b谢谢"
    result = redact(text)
    assert result.text == "ＡＢ　请打〔电话〕，\u200b谢谢"
    assert result.found == (Finding(PersonalKind.PHONE, 5, 18),)
    assert text[5:18] == "１３８-0013-8000"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("电话1\u200b3\u200b8\u200b0013\u200b8000", "电话〔电话〕"),
        ("电话1️⃣3️⃣8️⃣00138000", "电话〔电话〕"),
        ("电话①③⑧００１３８０００", "电话〔电话〕"),
        ("座机0591-8765 4321转802", "座机〔电话〕"),
        ("卡 4111 1111 1111 1111 2次", "卡 〔银行卡号〕 2次"),
        ("卡 4111 1111 1111 1112", "卡 4111 1111 1111 1112"),
        ("身份证350102199013010012", "身份证〔身份证号〕"),
        ("编号350102199013010012", "编号350102199013010012"),
        ("住五四路128号3-2-502", "住五四路〔门牌〕〔门牌〕"),
        ("五四路128号门口积水", "五四路128号门口积水"),
        ("闽AD12345和闽a·12345、闽A1234学", "〔车牌〕和〔车牌〕、〔车牌〕"),
        ("生于1990年3月5日，1990年3月5日开业", "生于〔出生日期〕，1990年3月5日开业"),
        ("zhang.san@mail.example.com.cn的邮箱", "〔邮箱〕的邮箱"),
    ],
)
def test_ways_of_writing(text: str, expected: str) -> None:
    assert redact(text).text == expected


@pytest.mark.parametrize(
    "text",
    [
        "12345、110、119、120、122、96123、0591-12345、10086、95588、400-810-8888都打过",
        "电话12345，热线4008108888，微信12345公众号",
        "赔偿13800元，面积138.00平方米，第1380条，2026-11-22 19:30:00",
        "工单2611220000017、快递SF1234567890123、订单20261122123456",
        "302路、K1路、地铁1号线、G4512高速、B1层、5号窗口",
        "依据第二百八十四条、〔2023〕15号文，13、14、15、16、17路公交",
    ],
)
def test_numbers_that_are_nobodys(text: str) -> None:
    assert redact(text).text == text


def test_every_kind_has_a_token_that_is_found_no_more() -> None:
    assert set(TOKENS) == set(PersonalKind)
    text = "姓名：" + "".join(TOKENS.values()) + "先生"
    assert redact(text).text == text


# --- always ---------------------------------------------------------------------------------------------

PIECES = st.sampled_from(
    [
        *"王、和三一@+生年月日号村室，。x\n\u200b〔〕",
        *("我叫", "姓名", "投诉", "陈建国", "先生", "电话", "微信", "卡号", "号楼", "单元", "15号", "闽A"),
        *("13800138000", "138", "0013", "8000", "0591", "-8765", "4321", "86", "１３", "一三八", "6222"),
        *("350102", "19900307", "001X", "12345", "2026", "qq.com", "〔电话〕", "〔姓名〕"),
    ]
)
TEXTS = st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=25).map("".join))


@given(TEXTS)
def test_redacting_twice_is_redacting_once(text: str) -> None:
    once = redact(text)
    assert redact(once.text).text == once.text
    places = [place for each in once.found for place in (each.start, each.end)]
    assert places == sorted(places)
    assert all(each.start < each.end <= len(text) for each in once.found)


@given(TEXTS, st.from_regex(r"1[3-9][0-9]{9}", fullmatch=True), TEXTS)
def test_no_mobile_number_is_left(before: str, mobile: str, after: str) -> None:
    for run in re.findall(r"[0-9]{11,}", redact(before + mobile + after).text):
        assert not re.fullmatch(r"(?:86|0086|0)?1[3-9][0-9]{9}", run)


HOSTILE = {
    "digits": "1" * 10_000,
    "mobiles without an end": "1380013800" * 1_000,
    "gaps": "1 3-8." * 1_700,
    "at": "a@" * 5_000,
    "local part": "a." * 5_000 + "@",
    "hosts": "a@b.c." * 1_700,
    "one name after another": "姓名陈建国、" * 1_700,
    "surnames": "王" * 10_000,
    "cues": "我叫" * 5_000,
    "titles": "王老师" * 3_300,
    "people who know each other": "老陈" * 5_000,
    "names of other languages": "阿艾·" * 3_300,
    "staff": "员" * 10_000,
    "numbers of houses": "三号楼二单元" * 1_700,
    "homes": "家住" * 5_000,
    "village": "村1" * 5_000,
    "tokens": "〔电话〕" * 2_500,
    "brackets": "〔" * 10_000,
    "masked": "138****" * 1_400,
    "plates": "闽A" * 5_000,
    "WeChat": "微信号是" * 2_500,
    "invisible": "\u200b" * 10_000,
    "born": "出生" * 5_000,
    "dates": "1990年1月" * 1_700,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_texts_take_no_longer_than_others(text: str) -> None:
    redact("先读词典")
    began = time.process_time()
    redact(text)
    assert time.process_time() - began < 2


def test_time_grows_with_the_text_only() -> None:
    text = "".join(each.text for each in CORPUS)[:10_000]

    def spent(copies: int) -> float:
        began = time.process_time()
        redact(text * copies)
        return time.process_time() - began

    spent(1)
    assert spent(8) < 8 * 4 * max(min(spent(1) for _ in range(3)), 0.01)
