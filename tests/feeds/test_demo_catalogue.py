from __future__ import annotations

from collections import Counter
from pathlib import Path

import orjson
import pytest

from domain.catalogue import CATEGORY_BY_CODE, CATEGORY_BY_THEME, Level
from feeds.demo.catalogue import basic_items, count_rows, generate, generate_to_file
from feeds.demo.offices import Province, credit_check, office_patterns, organisation_check


def test_check_characters_follow_the_standards() -> None:
    # Published codes: 阿里巴巴（中国）有限公司, 福建省人民政府办公厅's form with a computed end.
    assert credit_check("91330100799655058") == "B"
    assert organisation_check("79965505") == "8"


def test_the_basic_items_hold_together() -> None:
    items = basic_items()
    assert len(items) >= 1_200
    assert len({item.name for item in items}) == len(items)
    assert len({item.code for item in items}) == len(items)
    assert {len(item.code) for item in items} == {12}
    assert {item.office for item in items} <= set(office_patterns())
    assert Counter(item.code[2:4] for item in items).keys() == CATEGORY_BY_CODE.keys()
    for item in items:
        themes = {"N" + code for code in item.shared["user_topic_type"].split(",") if code}
        themes |= {"L" + code for code in item.shared["corp_topic_type"].split(",") if code}
        assert {CATEGORY_BY_THEME[theme].code for theme in themes} == {item.code[2:4]}, item.name


def test_the_whole_province_is_believable() -> None:
    assert 110_000 <= count_rows() <= 140_000
    ids = set()
    levels: Counter[str] = Counter()
    digits: set[str] = set()
    for row in generate():
        ids.add(row["row_guid"])
        levels[row["use_level"]] += 1
        assert not row["area_code"].startswith("350527")
        code = row["dept_code"]
        assert len(row["task_code"]) == 31
        assert row["task_handle_item"].startswith(row["task_code"])
        if code not in digits:
            digits.add(code)
            assert credit_check(code[:17]) == code[17]
            assert organisation_check(code[8:16]) == code[16]
        if (
            row["promise_day"] is not None
            and row["anticipate_day"]
            and row["promise_type"] == row["anticipate_type"]
        ):
            assert row["promise_day"] <= row["anticipate_day"], row["task_name"]
    assert len(ids) == count_rows()
    assert set(levels) == {"2", "3", "4", "5"}


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    assert generate_to_file(tmp_path / "a.jsonl", 7, limit=800) == 800
    generate_to_file(tmp_path / "b.jsonl", 7, limit=800)
    generate_to_file(tmp_path / "c.jsonl", 8, limit=800)
    one, same, other = ((tmp_path / name).read_bytes() for name in ("a.jsonl", "b.jsonl", "c.jsonl"))
    assert one == same
    assert one != other
    first = [orjson.loads(line) for line in one.splitlines()]
    assert first == list(generate(7, limit=800))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl", "b.jsonl", "c.jsonl"]


@pytest.mark.parametrize(
    ("key", "division", "name"),
    [
        ("rsj", "350000", "福建省人力资源和社会保障厅"),
        ("rsj", "350100", "福州市人力资源和社会保障局"),
        ("rsj", "350102", "鼓楼区人力资源和社会保障局"),
        ("zz", "350102001", "鼓东街道便民服务中心"),
        ("sw", "350100", "国家税务总局福州市税务局"),
        ("gaj", "350102", "福州市公安局鼓楼分局"),
        ("gaj", "350121", "闽侯县公安局"),
        ("gaj", "350102001", "福州市公安局鼓楼分局鼓东派出所"),
    ],
)
def test_departments_are_called_as_they_are(key: str, division: str, name: str) -> None:
    province = Province(1)
    place = next(each for each in province.divisions if each.code == division)
    office = province.office(key, place)
    assert office.name == name
    assert office.phone.startswith("0591-90")
    assert office.address.startswith("福建省")
    assert len(province.by_level[Level.COUNTY]) == 83
