"""The catalogue of government service items: its frozen types and code tables.

Sources: the national exchange tables for service items (field names in comments), GB/T 2260 and GB/T 10114
for division codes. An item is one *implementation*: the same basic item exists once per unit and division.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from enum import StrEnum

from msgspec import Struct

from domain.errors import DomainError


class Audience(StrEnum):
    """Whom an item serves (服务对象)."""

    PERSON = "PERSON"  # 自然人
    COMPANY = "COMPANY"  # 企业法人
    INSTITUTION = "INSTITUTION"  # 事业法人
    SOCIAL_ORGANISATION = "SOCIAL_ORGANISATION"  # 社会组织法人
    UNINCORPORATED = "UNINCORPORATED"  # 非法人企业
    GOVERNMENT = "GOVERNMENT"  # 行政机关
    OTHER = "OTHER"  # 其他组织


class Level(StrEnum):
    """The level of government that exercises an item (行使层级), highest first."""

    NATION = "NATION"
    PROVINCE = "PROVINCE"
    CITY = "CITY"
    COUNTY = "COUNTY"
    TOWNSHIP = "TOWNSHIP"
    VILLAGE = "VILLAGE"


class ItemType(StrEnum):
    """The kind of power or service (事项类型), by the national two-digit code."""

    LICENCE = "LICENCE"  # 01 行政许可
    PENALTY = "PENALTY"  # 02 行政处罚
    COERCION = "COERCION"  # 03 行政强制
    LEVY = "LEVY"  # 04 行政征收
    PAYMENT = "PAYMENT"  # 05 行政给付
    INSPECTION = "INSPECTION"  # 06 行政检查
    CONFIRMATION = "CONFIRMATION"  # 07 行政确认
    REWARD = "REWARD"  # 08 行政奖励
    RULING = "RULING"  # 09 行政裁决
    OTHER_POWER = "OTHER_POWER"  # 10 其他行政权力
    PUBLIC_SERVICE = "PUBLIC_SERVICE"  # 20 公共服务


ITEM_TYPE_BY_CODE: dict[str, ItemType] = dict(
    zip(("01", "02", "03", "04", "05", "06", "07", "08", "09", "10", "20"), ItemType, strict=True)
)
LEVEL_BY_CODE: dict[str, Level] = dict(zip("123456", Level, strict=True))
AUDIENCE_BY_NAME: dict[str, Audience] = dict(
    zip(
        ("自然人", "企业法人", "事业法人", "社会组织法人", "非法人企业", "行政机关", "其他组织"),
        Audience,
        strict=True,
    )
)


class DayKind(StrEnum):
    """How the days of a time limit are counted."""

    WORKING = "WORKING"  # 工作日
    CALENDAR = "CALENDAR"  # 自然日


class ProjectType(StrEnum):
    """Whether an item is done while one waits (办件类型)."""

    IMMEDIATE = "IMMEDIATE"  # 1 即办件
    PROMISED = "PROMISED"  # 2 承诺件


class MaterialNeed(StrEnum):
    """Whether a material must be handed in (材料必要性)."""

    REQUIRED = "REQUIRED"  # 1 必要
    OPTIONAL = "OPTIONAL"  # 2 非必要
    LATER = "LATER"  # 3 容缺后补


class MaterialFormat(StrEnum):
    """In what form a material is taken."""

    PAPER = "PAPER"
    ELECTRONIC = "ELECTRONIC"
    BOTH = "BOTH"


class MaterialSource(StrEnum):
    """Who issues a material (来源渠道)."""

    APPLICANT = "APPLICANT"  # 10 申请人自备
    GOVERNMENT = "GOVERNMENT"  # 20 政府部门核发
    OTHER = "OTHER"  # 99


class ResultType(StrEnum):
    """What one holds in the end (办理结果类型)."""

    CERTIFICATE = "CERTIFICATE"  # 10 证照
    APPROVAL = "APPROVAL"  # 20 批文
    OTHER = "OTHER"  # 30


class HandlingForm(StrEnum):
    """A way to hand in an application (办理形式)."""

    WINDOW = "WINDOW"  # 窗口办理
    ONLINE = "ONLINE"  # 网上办理
    POST = "POST"  # 快递申请


class TimeLimit(Struct, frozen=True):
    """A time limit: `days` of `kind`; 0 days means at once."""

    days: int
    kind: DayKind = DayKind.WORKING
    note: str = ""


class Material(Struct, frozen=True):
    """One thing to hand in."""

    name: str
    need: MaterialNeed = MaterialNeed.REQUIRED
    format: MaterialFormat = MaterialFormat.BOTH
    source: MaterialSource = MaterialSource.APPLICANT
    copies: int | None = None
    note: str = ""


class Step(Struct, frozen=True):
    """One step of the handling, in order (收件 受理 审查 决定 制证 送达)."""

    name: str
    note: str = ""
    days: float | None = None


class Fee(Struct, frozen=True):
    """One fee row; `standard` is the rule in words, as published."""

    name: str
    standard: str = ""
    basis: str = ""
    waivable: bool = False


class Faq(Struct, frozen=True):
    """A question and its answer."""

    question: str
    answer: str


class Result(Struct, frozen=True):
    """What an item gives."""

    name: str
    type: ResultType = ResultType.OTHER


class Place(Struct, frozen=True):
    """Where to go, and when it is open."""

    name: str
    address: str = ""
    hours: str = ""
    phone: str = ""


class LegalBasis(Struct, frozen=True):
    """One cited article; the same article is stored once. `id` is `legal_basis_id(...)`."""

    id: str
    law: str
    article: str = ""
    text: str = ""


class Guide(Struct, frozen=True):
    """What the implementations of a basic item usually share; stored once per distinct content."""

    conditions: str = ""
    materials: tuple[Material, ...] = ()
    steps: tuple[Step, ...] = ()
    fees: tuple[Fee, ...] = ()
    legal_basis_ids: tuple[str, ...] = ()
    results: tuple[Result, ...] = ()
    faqs: tuple[Faq, ...] = ()
    special_procedure: str = ""


class ServiceItem(Struct, frozen=True):
    """One implementation of a service item, without its guide (`guide_id` names that)."""

    id: str  # row_guid / item_id: the only unique key in real data; 1-64 characters
    name: str  # task_name
    category_code: str
    division_code: str
    department_id: str
    level: Level  # use_level
    type: ItemType  # task_type
    guide_id: str
    basic_code: str = ""  # catalog_code, 12 characters
    implementation_code: str = ""  # task_code, 31 characters
    handling_code: str = ""  # task_handle_item, 33 characters
    audiences: tuple[Audience, ...] = ()
    theme_codes: tuple[str, ...] = ()  # "N085" natural person, "L035" legal person
    project_type: ProjectType | None = None
    legal_limit: TimeLimit | None = None  # anticipate_day
    promised_limit: TimeLimit | None = None  # promise_day
    online_depth: int | None = None  # 1-4 for I-IV; 0 means not online; None means not stated
    visits: int | None = None  # limit_scene_num
    charges_fee: bool | None = None
    handling_forms: tuple[HandlingForm, ...] = ()
    places: tuple[Place, ...] = ()
    online_url: str = ""
    mobile_url: str = ""
    consult: str = ""  # link_way
    supervise: str = ""  # supervise_way
    keywords: tuple[str, ...] = ()  # other names that people use, searched like the name
    source: str = ""  # which upstream said so
    version: int = 1  # task_version
    effective_on: date | None = None
    updated_at: datetime | None = None


class Department(Struct, frozen=True):
    """A unit that implements items in one division."""

    id: str
    name: str
    division_code: str
    credit_code: str = ""  # 18 characters, GB 32100


class Division(Struct, frozen=True):
    """An administrative division. `code`: 6 digits down to the county, 9 for a township."""

    code: str
    name: str
    level: Level
    parent_code: str | None
    short_name: str = ""  # as people say it: 福州, 鼓楼
    pinyin: str = ""  # syllables with blanks: "fu zhou"


class Category(Struct, frozen=True):
    """One of the 21 categories a citizen sees, with the national themes it gathers."""

    code: str
    name: str
    name_en: str
    natural_themes: tuple[str, ...]
    legal_themes: tuple[str, ...]


def _category(code: str, name: str, name_en: str, natural: str, legal: str) -> Category:
    return Category(code, name, name_en, tuple(natural.split()), tuple(legal.split()))


# Six names are the province's own; every theme of the national list falls into exactly one of the 21.
CATEGORIES: tuple[Category, ...] = (
    _category("01", "环境信息", "Environment", "130", "095 100 105"),
    _category("02", "社会保险", "Social insurance", "085 150", "035"),
    _category("03", "医疗卫生", "Health", "145", "110"),
    _category("04", "出境入境", "Entry and exit", "105", "070"),
    _category("05", "司法公证", "Justice and notaries", "120", "155"),
    _category("06", "纳税缴费", "Taxes and fees", "055", "025"),
    _category("07", "婚育收养", "Marriage, birth and adoption", "005 060", ""),
    _category("08", "户籍证件", "Residence and documents", "010 090", ""),
    _category("09", "教育科技", "Education, science and IP", "020 125", "115 125"),
    _category("10", "就业创业", "Work and qualifications", "030 050", "030"),
    _category("11", "住房不动产", "Housing, land and property", "070 075 045", "085 050"),
    _category("12", "交通出行", "Transport", "095", "090"),
    _category("13", "民政优抚", "Civil affairs and veterans", "065 025 155 015", "130"),
    _category("14", "文体旅游", "Culture, sports and tourism", "135 100", "120 170"),
    _category("15", "企业开办注销", "Starting and closing a company", "035", "005 165 020"),
    _category("16", "准营资质", "Business permits and quality", "040", "010 015 135 140"),
    _category("17", "投资商贸", "Investment and trade", "", "040 045 055 060 065"),
    _category("18", "农林牧渔", "Farming, forestry and fishery", "", "075"),
    _category("19", "公共安全", "Public safety and consumers", "115 110", "145 150"),
    _category("20", "公用事业", "Public utilities", "140", "160"),
    _category("21", "综合服务", "Other services", "998 999", "998 999"),
)
CATEGORY_BY_CODE: dict[str, Category] = {category.code: category for category in CATEGORIES}
CATEGORY_BY_THEME: dict[str, Category] = {
    kind + theme: category
    for category in CATEGORIES
    for kind, themes in (("N", category.natural_themes), ("L", category.legal_themes))
    for theme in themes
}


class InvalidDivisionCodeError(DomainError):
    """A division code that is not 2, 4, 6, 9 or 12 digits, or contradicts itself."""

    code = "INVALID_DIVISION_CODE"


_DIVISION_CODE = re.compile(r"\d{2}|\d{4}|\d{6}|\d{9}|\d{12}", re.ASCII)


def division_code(text: str) -> str:
    """Bring a division code to the house's form: 6 digits down to the county, 9 for a township.

    Takes 2, 4, 6, 9 or 12 digits (12: the statistical form with trailing zeros).
    Raises: InvalidDivisionCodeError. Source: GB/T 2260, GB/T 10114.
    """
    code = text.strip()
    if not _DIVISION_CODE.fullmatch(code):
        raise InvalidDivisionCodeError(code=code[:20])
    padded = code.ljust(12, "0")
    if padded[9:] != "000":
        raise InvalidDivisionCodeError(code=code)
    return padded[:6] if padded[6:9] == "000" else padded[:9]


def level_of_division(code: str) -> Level:
    """Tell the level from a code in the house's form."""
    if len(code) == 9:
        return Level.TOWNSHIP
    if code.endswith("0000"):
        return Level.PROVINCE
    return Level.CITY if code.endswith("00") else Level.COUNTY


def parent_division_code(code: str) -> str | None:
    """Give the code one level up, None for a province; `code` is in the house's form."""
    match level_of_division(code):
        case Level.TOWNSHIP:
            return code[:6]
        case Level.COUNTY:
            return code[:4] + "00"
        case Level.CITY:
            return code[:2] + "0000"
        case _:
            return None
