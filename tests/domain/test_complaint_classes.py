"""The list of classes: its shape, reading a table of one's own, guessing by words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.complaint_classes import UnknownClassError, read_classes
from domain.tables import InvalidTableError, Row
from loaders.complaint_classes import shipped_classes

ROW = {"code": "0101", "parent": "01", "name": "垃圾清运", "name_en": "Waste"}
GROUP = {"code": "01", "parent": "", "name": "市容环卫", "name_en": "City"}


def test_the_shipped_list_has_two_levels() -> None:
    classes = shipped_classes()
    assert (len(classes.groups), len(classes)) == (18, 194)
    for group in classes.groups:
        assert 6 <= len(classes.children(group.code)) <= 14
        for each in classes.children(group.code):
            assert each.keywords
            assert each.duty
            assert classes.get(each.code) is each
    environmental = [each.code for each in classes.all if each.is_environmental]
    assert {code[:2] for code in environmental} == {"03"}
    assert sum(each.is_convenience for each in classes.all) == 25


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("楼下烧烤店油烟味很大，天天晚上排烟", "0302"),
        ("小区外面工地半夜施工，打桩声太吵睡不着", "0305"),
        ("路灯坏了一个星期，晚上不亮很危险", "0203"),
        ("人行道的井盖缺失，差点摔倒", "0202"),
        ("家里突然停水，一直没水用", "0401"),
        ("公司拖欠工资三个月不发工资", "0901"),
        ("健身房跑路，会员卡不退款", "1204"),
        ("化工厂偷排污水，河水发黑有死鱼", "0308"),
        ("小区门口每天有人违停，挡路", "0603"),
        ("电梯困人，一个月坏了三次", "0709"),
        ("公交车等了四十分钟，班次太少", "0501"),
        ("孩子上小学划片不清楚，怎么入学", "1101"),
        ("医保报销比例，异地就医怎么备案", "1005"),
        ("开发商逾期交房一年", "0706"),
        ("邻居遛狗不牵绳，大型犬很吓人", "1307"),
        ("快递不送货上门，都放驿站", "1703"),
        ("消防通道被杂物堵塞，有火灾隐患", "1811"),
        ("办低保需要什么条件", "1401"),
        ("養老保險的退休金什麼時候發", "0905"),
    ],
)
def test_a_text_suggests_its_class_first(text: str, code: str) -> None:
    assert shipped_classes().suggest(text)[0] == code


@given(st.text(max_size=60), st.integers(1, 20))
def test_suggestions_are_distinct_classes(text: str, first: int) -> None:
    classes = shipped_classes()
    found = classes.suggest(text, first)
    assert len(found) == len(set(found)) <= min(first, 10)
    assert all(classes.get(code).parent_code for code in found)


def test_a_text_without_any_word_suggests_nothing() -> None:
    assert shipped_classes().suggest("你好") == []
    assert shipped_classes().suggest("") == []


def test_groups_and_unknown_codes_are_no_class_of_a_complaint() -> None:
    for code in ("01", "9999", ""):
        with pytest.raises(UnknownClassError):
            shipped_classes().get(code)
    assert not shipped_classes().is_environmental("9999")
    assert shipped_classes().find("9999") is None


@pytest.mark.parametrize(
    ("rows", "line", "column"),
    [
        ([], 1, "code"),
        ([GROUP, ROW | {"name": " "}], 3, "name"),
        ([GROUP, ROW | {"code": "01A1"}], 3, "code"),
        ([GROUP, ROW | {"parent": "02"}], 3, "parent"),
        ([ROW], 2, "parent"),
        ([GROUP, ROW, ROW], 4, "code"),
        ([GROUP, ROW | {"is_convenience": "ja"}], 3, "is_convenience"),
        ([GROUP, ROW | {"name": "长" * 41}], 3, "name"),
    ],
)
def test_a_wrong_table_says_where(rows: list[dict[str, str]], line: int, column: str) -> None:
    with pytest.raises(InvalidTableError) as refused:
        read_classes(Row(line, values) for line, values in enumerate(rows, 2))
    assert (refused.value.params["line"], refused.value.params["column"]) == (line, column)
