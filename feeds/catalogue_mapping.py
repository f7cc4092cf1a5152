"""Mapping files: how an upstream's columns become the catalogue's fields. TOML; see docs/import.md."""

from __future__ import annotations

from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from domain.catalogue import (
    AUDIENCE_BY_NAME,
    CATEGORY_BY_CODE,
    ITEM_TYPE_BY_CODE,
    LEVEL_BY_CODE,
    Audience,
    DayKind,
    HandlingForm,
    ItemType,
    Level,
    MaterialFormat,
    MaterialNeed,
    MaterialSource,
    ProjectType,
    ResultType,
)
from domain.errors import DomainError

SHIPPED = ("national", "sichuan_guangan", "uk_lgsl")
Columns = str | list[str]


class InvalidMappingError(DomainError):
    """A mapping file that does not exist or does not hold together; `reason` says why."""

    code = "INVALID_MAPPING"


class KeywordRule(Struct, frozen=True, forbid_unknown_fields=True):
    """Puts an item into a category when its name or its department's name holds one of the words."""

    category: str
    name: list[str] = []
    department: list[str] = []


class CategoryRules(Struct, frozen=True, forbid_unknown_fields=True):
    """How an item gets its category: by its themes, else by the first rule that fits, else the default."""

    rules: list[KeywordRule] = []
    default: str = "21"


class DeclaredDivision(Struct, frozen=True, forbid_unknown_fields=True):
    """A division that the mapping brings along."""

    code: str
    name: str


class DivisionRules(Struct, frozen=True, forbid_unknown_fields=True):
    """Where divisions come from: shipped tables, declared ones, and rows that name theirs."""

    tables: list[str] = []
    declared: list[DeclaredDivision] = []
    from_credit_code: bool = False


class ListRule(Struct, frozen=True, forbid_unknown_fields=True):
    """A nested list: the column that holds it and the names inside its elements."""

    column: Columns
    fields: dict[str, Columns]


class Mapping(Struct, frozen=True, forbid_unknown_fields=True):
    """A whole mapping; `fields` is our field -> column or columns, the first with a value wins."""

    name: Annotated[str, Meta(pattern=r"^[a-z0-9_-]{1,40}$")]
    feed: Annotated[str, Meta(pattern=r"^[a-z0-9_-]{1,40}$")]
    fields: dict[str, Columns]
    description: str = ""
    source: str = ""
    encoding: str = "utf-8"
    delimiter: Annotated[str, Meta(min_length=1, max_length=1)] = ","
    sheet: str = ""
    id_prefix: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{0,16}$")] = ""
    constants: dict[str, str] = {}
    values: dict[str, dict[str, str]] = {}
    lists: dict[str, ListRule] = {}
    category: CategoryRules = CategoryRules()
    division: DivisionRules = DivisionRules()


_FIELDS = """
id name type state operation version basic_code implementation_code handling_code division division_name level
department_code department_name audiences natural_themes legal_themes project_type legal_days legal_kind
legal_note promised_days promised_kind promised_note online is_online visits charges_fee handling_forms
place_name address hours phone consult supervise online_url mobile_url keywords conditions special_procedure
legal_basis flow result_name result_type effective_on updated_at source
"""
FIELDS = frozenset(_FIELDS.split())
LIST_FIELDS: dict[str, frozenset[str]] = {
    "materials": frozenset({"name", "need", "format", "source", "copies", "note", "order"}),
    "steps": frozenset({"name", "note", "days", "order"}),
    "fees": frozenset({"name", "standard", "basis", "waivable", "order"}),
    "faqs": frozenset({"question", "answer", "order"}),
}
_TYPE_NAMES = (
    "行政许可 行政处罚 行政强制 行政征收 行政给付 行政检查 行政确认 行政奖励 行政裁决 其他行政权力 公共服务"
)
_LEVEL_NAMES = (
    ("国家级", "国家", "中央"),
    ("省级", "省", "自治区", "直辖市"),
    ("市级", "市", "地市级", "设区的市"),
    ("县级", "县", "区县级", "县区级"),
    ("镇(乡、街道)级", "镇（乡、街道）级", "乡级", "镇级", "街道", "乡镇级", "镇街级"),
    ("村(社区)级", "村（社区）级", "村级", "社区"),
)
_LEVELS = LEVEL_BY_CODE | {
    name: level for names, level in zip(_LEVEL_NAMES, Level, strict=True) for name in names
}
_TYPES = (
    ITEM_TYPE_BY_CODE
    | {code.lstrip("0"): kind for code, kind in ITEM_TYPE_BY_CODE.items()}
    | dict(zip(_TYPE_NAMES.split(), ItemType, strict=True))
)


def _with_own(table: dict[str, Any], enum: type[StrEnum]) -> dict[str, Any]:
    return table | {member.value: member for member in enum}


# What upstream writes -> our value. Source: the code tables of the national exchange tables.
VALUES: dict[str, dict[str, Any]] = {
    "type": _with_own(_TYPES, ItemType),
    "level": _with_own(_LEVELS, Level),
    "audience": _with_own(AUDIENCE_BY_NAME | {"社会组织": Audience.SOCIAL_ORGANISATION}, Audience),
    "project_type": _with_own(
        {
            "1": ProjectType.IMMEDIATE,
            "即办件": ProjectType.IMMEDIATE,
            "2": ProjectType.PROMISED,
            "承诺件": ProjectType.PROMISED,
        },
        ProjectType,
    ),
    "day_kind": _with_own(
        {
            "1": DayKind.WORKING,
            "工作日": DayKind.WORKING,
            "个工作日": DayKind.WORKING,
            "2": DayKind.CALENDAR,
            "自然日": DayKind.CALENDAR,
            "天": DayKind.CALENDAR,
        },
        DayKind,
    ),
    "handling_form": _with_own(
        {
            "窗口办理": HandlingForm.WINDOW,
            "网上办理": HandlingForm.ONLINE,
            "快递申请": HandlingForm.POST,
            "1": HandlingForm.WINDOW,
            "2": HandlingForm.ONLINE,
            "3": HandlingForm.POST,
        },
        HandlingForm,
    ),
    "result_type": _with_own(
        {
            "10": ResultType.CERTIFICATE,
            "证照": ResultType.CERTIFICATE,
            "20": ResultType.APPROVAL,
            "批文": ResultType.APPROVAL,
            "30": ResultType.OTHER,
            "其他": ResultType.OTHER,
        },
        ResultType,
    ),
    "material_need": _with_own(
        {
            "1": MaterialNeed.REQUIRED,
            "必要": MaterialNeed.REQUIRED,
            "2": MaterialNeed.OPTIONAL,
            "非必要": MaterialNeed.OPTIONAL,
            "3": MaterialNeed.LATER,
            "容缺后补": MaterialNeed.LATER,
        },
        MaterialNeed,
    ),
    "material_format": _with_own(
        {
            "1": MaterialFormat.PAPER,
            "纸质": MaterialFormat.PAPER,
            "2": MaterialFormat.ELECTRONIC,
            "电子化": MaterialFormat.ELECTRONIC,
            "3": MaterialFormat.BOTH,
            "纸质/电子化": MaterialFormat.BOTH,
        },
        MaterialFormat,
    ),
    "material_source": _with_own(
        {
            "10": MaterialSource.APPLICANT,
            "申请人自备": MaterialSource.APPLICANT,
            "20": MaterialSource.GOVERNMENT,
            "政府部门核发": MaterialSource.GOVERNMENT,
            "99": MaterialSource.OTHER,
            "其他": MaterialSource.OTHER,
        },
        MaterialSource,
    ),
    "state": {"在用": "IN_USE", "1": "IN_USE", "正常": "IN_USE", "IN_USE": "IN_USE"}
    | dict.fromkeys(("停用", "取消", "暂停", "注销", "撤销", "0", "2", "3", "WITHDRAWN"), "WITHDRAWN"),
    "operation": {"I": "UPSERT", "U": "UPSERT", "D": "DELETE", "UPSERT": "UPSERT", "DELETE": "DELETE"},
    "flag": dict.fromkeys(("1", "是", "有", "true", "True", "TRUE", "Y", "y", "收费"), True)
    | dict.fromkeys(("0", "否", "无", "false", "False", "FALSE", "N", "n", "2", "不收费"), False),
    "online": {"0": 0}
    | {
        spelling: depth
        for depth, names in enumerate(("1 I Ⅰ 一", "2 II Ⅱ 二", "3 III Ⅲ 三", "4 IV Ⅳ 四"), 1)
        for name in names.split()
        for spelling in (name, name + "级")
    },
}


def load_mapping(name: str | Path) -> Mapping:
    """Read a mapping: the name of a shipped one, or a path.

    Raises: InvalidMappingError, which names the file and what is wrong.
    """
    path = Path(name)
    try:
        if str(name) in SHIPPED:
            content = files("feeds.mappings").joinpath(f"{name}.toml").read_bytes()
        else:
            content = path.read_bytes()
        mapping = msgspec.toml.decode(content, type=Mapping)
    except OSError as error:
        known = ", ".join(SHIPPED)
        reason = f"{error.strerror or error}; shipped mappings: {known}"
        raise InvalidMappingError(mapping=str(name), reason=reason) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidMappingError(mapping=str(name), reason=str(error)) from error
    _check(mapping, str(name))
    return mapping


def _check(mapping: Mapping, name: str) -> None:
    problems = [f"unknown field {field}" for field in sorted({*mapping.fields, *mapping.constants} - FIELDS)]
    problems += [f"missing field {field}" for field in ("id", "name") if field not in mapping.fields]
    for group, rule in mapping.lists.items():
        if group not in LIST_FIELDS:
            problems.append(f"unknown list {group}")
        else:
            problems += [
                f"unknown field {group}.{field}" for field in sorted({*rule.fields} - LIST_FIELDS[group])
            ]
    problems += [f"unknown values.{target}" for target in sorted({*mapping.values} - {*VALUES, *FIELDS})]
    categories = {rule.category for rule in mapping.category.rules} | {mapping.category.default}
    problems += [f"unknown category {code}" for code in sorted(categories - {*CATEGORY_BY_CODE})]
    for target, table in mapping.values.items():
        allowed = {str(value) for value in VALUES.get(target, {}).values()}
        for value in sorted(
            {*table.values()} - allowed - {*VALUES.get(target, {})} if target in VALUES else ()
        ):
            problems.append(f"values.{target}: {value} is none of {', '.join(sorted(allowed))}")
    problems += [f"unknown division table {table}" for table in mapping.division.tables if table != "fujian"]
    if problems:
        raise InvalidMappingError(mapping=name, reason="; ".join(problems))
