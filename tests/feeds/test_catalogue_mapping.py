from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from import_world import row
from openpyxl import Workbook

from domain.catalogue import (
    Audience,
    DayKind,
    Faq,
    Fee,
    HandlingForm,
    ItemType,
    Level,
    Material,
    MaterialNeed,
    Place,
    ProjectType,
    Result,
    ResultType,
    Step,
    TimeLimit,
)
from feeds.catalogue_divisions import fujian
from feeds.catalogue_mapping import SHIPPED, InvalidMappingError, load_mapping
from feeds.catalogue_parse import RowError, RowParser
from feeds.catalogue_rows import RejectCode, UnreadableFileError, read_rows

MINIMAL = 'name = "m"\nfeed = "m"\n[fields]\nid = "i"\nname = "n"\n'


@pytest.fixture
def parser() -> RowParser:
    return RowParser(load_mapping("national"), fujian())


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_mappings_hold_together(name: str) -> None:
    assert load_mapping(name).name == name


@pytest.mark.parametrize(
    ("addition", "reason"),
    [
        ('colour = "c"\n', "unknown field colour"),
        ("[values.level]\nx = 'SEVENTH'\n", "values.level: SEVENTH is none of"),
        ("[category]\ndefault = '99'\n", "unknown category 99"),
        ("[lists.people]\ncolumn = 'x'\nfields = {}\n", "unknown list people"),
        ("[division]\ntables = ['mars']\n", "unknown division table mars"),
        ("[nonsense]\n", "nonsense"),
        ("[[", ""),
    ],
)
def test_broken_mappings_say_what_is_wrong(tmp_path: Path, addition: str, reason: str) -> None:
    path = tmp_path / "m.toml"
    path.write_text(MINIMAL + addition, encoding="utf-8")
    with pytest.raises(InvalidMappingError) as caught:
        load_mapping(path)
    assert reason in str(caught.value.params["reason"])


def test_a_missing_mapping_names_the_shipped_ones() -> None:
    with pytest.raises(InvalidMappingError, match="national, sichuan_guangan, uk_lgsl"):
        load_mapping("nowhere.toml")


def test_a_full_row_becomes_an_item_with_its_guide(parser: RowParser) -> None:
    parsed = parser.parse(
        row(
            1,
            task_name=" 社会保障卡&amp;amp;申领<br>\x07",
            corp_topic_type="035,999",
            server_type="自然人,企业法人",
            project_type="2",
            anticipate_day="20",
            anticipate_type="工作日",
            promise_day=5.0,
            promise_type="自然日",
            online_handle_depth="Ⅳ级",
            limit_scene_num="1次",
            is_fee="1",
            handle_type="窗口办理,网上办理",
            transact_addr="甲路1号<br/>乙路2号",
            transact_time="9:00-17:00",
            link_addr="https://a.example/x?a=1&amp;b=2",
            mobile_terminal_url="javascript:alert(1)",
            keywords="办社保卡;社保卡",
            accept_condition="年满十六周岁",
            handle_flow=[{"step_name": "受理", "order_num": 2}, {"step_name": "收件", "order_num": 1}],
            fee=[{"fee_name": "工本费", "fee_stand": "每证10元", "is_desc": "1"}],
            qa=[{"question": "多久？", "answer": "五天。"}, {"question": "", "answer": "无"}],
            result_name="社会保障卡",
            result_type="10",
            plan_effective_date="2024-03-01",
            cd_time="2026-01-02 03:04:05",
        )
    )
    item, guide = parsed.item, parsed.shared.guide
    assert (item.name, item.category_code, item.division_code) == ("社会保障卡&申领", "02", "350102")
    assert item.department_id == "350102-11350102MB0000001A"
    assert (item.level, item.type, item.project_type) == (
        Level.COUNTY,
        ItemType.PUBLIC_SERVICE,
        ProjectType.PROMISED,
    )
    assert item.audiences == (Audience.PERSON, Audience.COMPANY)
    assert item.theme_codes == ("N085", "L035", "L999")
    assert item.legal_limit == TimeLimit(20)
    assert item.promised_limit == TimeLimit(5, DayKind.CALENDAR)
    assert (item.online_depth, item.visits, item.charges_fee) == (4, 1, True)
    assert item.handling_forms == (HandlingForm.WINDOW, HandlingForm.ONLINE)
    name = "鼓楼区人力资源和社会保障局"
    assert item.places == (Place(name, "甲路1号", "9:00-17:00"), Place(name, "乙路2号", "9:00-17:00"))
    assert (item.online_url, item.mobile_url) == ("https://a.example/x?a=1&b=2", "")
    assert item.keywords == ("办社保卡", "社保卡")
    assert str(item.effective_on) == "2024-03-01"
    assert str(item.updated_at) == "2026-01-01 19:04:05+00:00"
    assert guide.conditions == "年满十六周岁"
    assert guide.materials == (Material("居民身份证", MaterialNeed.REQUIRED),)
    assert guide.steps == (Step("收件"), Step("受理"))
    assert guide.fees == (Fee("工本费", "每证10元", "", True),)
    assert guide.faqs == (Faq("多久？", "五天。"),)
    assert guide.results == (Result("社会保障卡", ResultType.CERTIFICATE),)
    assert guide.legal_basis_ids == tuple(basis.id for basis in parsed.shared.legal_bases)
    assert parser.dropped == Counter({"mobile_url": 1})


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"row_guid": ""}, RejectCode.MISSING_VALUE, "id"),
        ({"row_guid": "a b"}, RejectCode.INVALID_VALUE, "id"),
        ({"row_guid": "x" * 65}, RejectCode.INVALID_VALUE, "id"),
        ({"task_name": "<p> </p>"}, RejectCode.MISSING_VALUE, "name"),
        ({"task_name": "长" * 301}, RejectCode.TOO_LONG, "name"),
        ({"task_type": "77"}, RejectCode.INVALID_VALUE, "type"),
        ({"use_level": "9"}, RejectCode.INVALID_VALUE, "level"),
        ({"dept_name": None}, RejectCode.MISSING_VALUE, "department_name"),
        ({"area_code": "999999", "dept_code": ""}, RejectCode.UNKNOWN_DIVISION, "division"),
        ({"area_code": "", "dept_code": ""}, RejectCode.MISSING_VALUE, "division"),
        ({"task_version": "new"}, RejectCode.INVALID_VALUE, "version"),
    ],
)
def test_rows_that_cannot_be_items(
    parser: RowParser, changes: dict[str, object], code: RejectCode, field: str
) -> None:
    with pytest.raises(RowError) as caught:
        parser.parse(row(1, **changes))
    assert (caught.value.code, caught.value.field) == (code, field)


def test_divisions_come_from_the_nearest_column_or_the_credit_code(parser: RowParser) -> None:
    def division(**changes: object) -> str:
        return parser.parse(row(1, **changes)).item.division_code

    assert division(town_code="350102001000") == "350102001"
    assert division(village_code="350102001005", town_code="") == "350102001"
    assert division(area_code="", dept_code="11350203MB0000001A") == "350203"
    assert division(area_code="350104888000", area_name="新设街道") == "350104888"
    assert [each.name for each in parser.new_divisions.values()] == ["新设街道"]


def test_unknown_optional_values_are_dropped_and_counted(parser: RowParser) -> None:
    item = parser.parse(
        row(1, anticipate_day="很快", limit_scene_num="-1", user_topic_type="085,777", server_type="外星人")
    ).item
    assert (item.legal_limit, item.visits, item.theme_codes, item.audiences) == (None, None, ("N085",), ())
    assert parser.dropped == Counter({"legal_days": 1, "visits": 1, "natural_themes": 1, "audiences": 1})


def test_categories_prefer_a_theme_that_says_something(parser: RowParser) -> None:
    def category(**changes: object) -> str:
        return parser.parse(row(1, **changes)).item.category_code

    assert category(user_topic_type="999", corp_topic_type="110") == "03"
    assert category(user_topic_type="998") == "21"
    assert category(user_topic_type="") == "21"


def _read(path: Path, content: bytes, **changes: object) -> list[tuple[int, object]]:
    path.write_bytes(content)
    mapping = load_mapping("uk_lgsl")
    rows = read_rows(path, path.name, mapping)
    return [(each.line, each.reject.code if each.reject else each.values) for each in rows]


HEADER = "LGSL,Description\n"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"\xef\xbb\xbfLGSL,Description\r\n1,a\r\n", [(2, {"LGSL": "1", "Description": "a"})]),
        (
            HEADER.encode() + b'1,"a\nb"\n2,c\n',
            [(3, {"LGSL": "1", "Description": "a\nb"}), (4, {"LGSL": "2", "Description": "c"})],
        ),
        (HEADER.encode() + b"1,a,b\n\n", [(2, RejectCode.WRONG_COLUMN_COUNT)]),
        (
            HEADER.encode() + b"1,\xff\xfe\n2,b\n",
            [(2, RejectCode.INVALID_ENCODING), (3, {"LGSL": "2", "Description": "b"})],
        ),
        (
            HEADER.encode() + b"1," + b"x" * (9 << 20) + b"\n2,b\n",
            [(2, RejectCode.LINE_TOO_LONG), (3, {"LGSL": "2", "Description": "b"})],
        ),
    ],
)
def test_csv_rows(tmp_path: Path, content: bytes, expected: list[tuple[int, object]]) -> None:
    assert _read(tmp_path / "a.csv", content) == expected


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"LGSL,Description,LGSL\n", "columns named twice: LGSL"),
        (b"LGSL,Title\n", "no column Description for name"),
        ("编号,名称\n".encode("gb18030"), "gb18030"),
    ],
)
def test_csv_files_that_cannot_be_read(tmp_path: Path, content: bytes, reason: str) -> None:
    with pytest.raises(UnreadableFileError) as caught:
        _read(tmp_path / "a.csv", content)
    assert reason in str(caught.value.params["reason"])


def test_json_lines_survive_pages_giants_and_garbage(tmp_path: Path) -> None:
    content = (
        b'\xef\xbb\xbf{"a":1}\r\n<html>502</html>\n\n[1]\n{"a":"'
        + b"x" * (9 << 20)
        + b'"}\n{"a":2}\n{"a":\xff}'
    )
    assert _read(tmp_path / "a.jsonl", content) == [
        (1, {"a": 1}),
        (2, RejectCode.NOT_JSON),
        (4, RejectCode.NOT_AN_OBJECT),
        (5, RejectCode.LINE_TOO_LONG),
        (6, {"a": 2}),
        (7, RejectCode.NOT_JSON),
    ]


def test_reading_goes_on_at_a_position(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a":1}\n{"a":2}\n{"a":3}\n')
    mapping = load_mapping("uk_lgsl")
    first = next(read_rows(path, "a", mapping))
    rest = read_rows(path, "a", mapping, start=first.position, line=first.line)
    assert [(each.line, each.values) for each in rest] == [(2, {"a": 2}), (3, {"a": 3})]


def test_workbooks(tmp_path: Path) -> None:
    book = Workbook()
    sheet = book.active
    for cells in (["LGSL", "Description", None], [1, "a", None], [None, None, None], [2.0, "b", "x"]):
        sheet.append(cells)
    book.save(tmp_path / "a.xlsx")
    rows = list(read_rows(tmp_path / "a.xlsx", "a", load_mapping("uk_lgsl")))
    assert [(each.line, each.values) for each in rows] == [
        (2, {"LGSL": 1, "Description": "a"}),
        (4, {"LGSL": 2, "Description": "b"}),
    ]
    (tmp_path / "b.xlsx").write_bytes(b"no archive")
    with pytest.raises(UnreadableFileError):
        list(read_rows(tmp_path / "b.xlsx", "b", load_mapping("uk_lgsl")))
