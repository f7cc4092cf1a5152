from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.catalogue import LegalBasis
from feeds.catalogue_divisions import fujian, make_division, missing_parents, short_name
from feeds.catalogue_legal import MAX_ARTICLE_TEXT, parse_citations
from feeds.catalogue_text import clean_line, clean_text, shorten


@pytest.mark.parametrize(
    ("dirty", "clean"),
    [
        ("社会保障卡申领", "社会保障卡申领"),
        ("A&amp;amp;B", "A&B"),
        ("一&lt;br&gt;二", "一\n二"),
        ("一<br/>二<BR />三", "一\n二\n三"),
        ("<p>一</p><p style='x'>二</p>", "一\n二"),
        ("<span class=a>一</span><b>二</b>", "一二"),
        ("<script>alert(1)</script>一", "一"),
        ("<!-- x -->一", "一"),
        ("未满<18周岁，<3年", "未满<18周岁，<3年"),
        ("一\x00\x07\x7f\x9f二\u200b\ufeff", "一二"),
        ("\t一 \u3000\xa0 二  ", "一 二"),
        ("一\r\n\r\n \n二", "一\n二"),
        ("&nbsp;一&#8203;二", "一二"),
    ],
)
def test_cleaning(dirty: str, clean: str) -> None:
    assert clean_text(dirty) == clean


@given(st.text(max_size=200))
def test_cleaning_leaves_no_control_characters_and_no_blank_edges(text: str) -> None:
    cleaned = clean_text(text)
    assert not [c for c in cleaned if (ord(c) < 32 and c != "\n") or 0x7F <= ord(c) <= 0x9F]
    assert cleaned == cleaned.strip()
    assert "  " not in cleaned
    assert "\n" not in clean_line(text)


def test_shortening_marks_the_cut() -> None:
    assert (shorten("一二三", 3), shorten("一二三四", 3)) == ("一二三", "一二…")


def _pairs(bases: list[LegalBasis]) -> list[tuple[str, str, str]]:
    return [(basis.law, basis.article, basis.text) for basis in bases]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("《社会保险法》第五十八条", [("社会保险法", "第五十八条", "")]),
        (
            "《甲法》第一条：应当登记。\n"
            "《乙条例》（国务院令第1号）第十条之一第二款第（三）项 按《丙法》办理。",
            [
                ("甲法", "第一条", "应当登记"),
                ("乙条例（国务院令第1号）", "第十条之一第二款第（三）项", "按《丙法》办理"),
            ],
        ),
        ("《甲法》第一条、《乙法》第二条", [("甲法", "第一条", ""), ("乙法", "第二条", "")]),
        ("《甲法》第一条；《甲法》第一条", [("甲法", "第一条", "")]),
        ("1.《甲法》第一条、第三条\n2.《乙法》", [("甲法", "第一条、第三条", ""), ("乙法", "", "")]),
        ("省政府文件", [("省政府文件", "", "")]),
    ],
)
def test_citations(text: str, expected: list[tuple[str, str, str]]) -> None:
    assert _pairs(parse_citations(text)) == expected


def test_conflicting_texts_of_one_article_are_two_records_and_giants_are_bounded() -> None:
    one, other, same = (parse_citations(f"《甲法》第一条：{text}")[0] for text in ("登记", "备案", "登记"))
    assert one == same
    assert one.id != other.id
    assert len(parse_citations("《甲法》第一条：" + "长" * 30_000)[0].text) == MAX_ARTICLE_TEXT


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("福建省", "福建"),
        ("武夷山市", "武夷山"),
        ("小沧畲族乡", "小沧"),
        ("鼓东街道", "鼓东"),
        ("东侨开发区", "东侨开发区"),
        ("大帽山农场", "大帽山农场"),
        ("城区", "城区"),
        ("景宁畲族自治县", "景宁"),
        ("广西壮族自治区", "广西"),
        ("新疆维吾尔自治区", "新疆"),
    ],
)
def test_short_names(name: str, short: str) -> None:
    assert short_name(name) == short


def test_fujian_is_complete_and_read_as_people_do() -> None:
    divisions = fujian()
    levels = [division.level for division in divisions]
    assert [levels.count(level) for level in dict.fromkeys(levels)] == [1, 9, 84, 1113]
    assert missing_parents(divisions) == set()
    readings = {division.short_name: division.pinyin for division in divisions if len(division.code) == 6}
    assert (readings["福州"], readings["厦门"], readings["马尾"]) == ("fu zhou", "xia men", "ma wei")
    assert missing_parents([make_division("511602000000", "广安区")]) == {"511600"}
