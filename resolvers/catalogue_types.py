"""GraphQL types of the catalogue.

Sources are the views of `loaders.catalogue_views`: every field is a plain attribute of them, so no field of a
page costs a call of its own.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any

import strawberry

from domain import catalogue as domain
from engine.vetting import source_classes
from loaders import catalogue_views as views
from resolvers.caching import CATALOGUE, STATUS, catalogue_entity
from resolvers.node import Node, PageInfo, Sourced, describe_enum

describe_enum(
    domain.Audience,
    "Whom an item serves (服务对象).",
    {
        "PERSON": "Natural persons (自然人).",
        "COMPANY": "Companies (企业法人).",
        "INSTITUTION": "Public institutions (事业法人).",
        "SOCIAL_ORGANISATION": "Social organisations (社会组织法人).",
        "UNINCORPORATED": "Businesses without legal personality (非法人企业).",
        "GOVERNMENT": "Administrative bodies (行政机关).",
        "OTHER": "Other organisations (其他组织).",
    },
)
describe_enum(
    domain.Level,
    "Level of government (行使层级).",
    {
        "NATION": "National (国家级).",
        "PROVINCE": "Province (省级).",
        "CITY": "City (市级).",
        "COUNTY": "County or district (县级).",
        "TOWNSHIP": "Township or street (镇、乡、街道级).",
        "VILLAGE": "Village or community (村、社区级).",
    },
)
describe_enum(
    domain.ItemType,
    "Kind of power or service (事项类型).",
    {
        "LICENCE": "Administrative licence (行政许可).",
        "PENALTY": "Administrative penalty (行政处罚).",
        "COERCION": "Coercive measure (行政强制).",
        "LEVY": "Levy (行政征收).",
        "PAYMENT": "Payment or benefit (行政给付).",
        "INSPECTION": "Inspection (行政检查).",
        "CONFIRMATION": "Confirmation (行政确认).",
        "REWARD": "Reward (行政奖励).",
        "RULING": "Ruling (行政裁决).",
        "OTHER_POWER": "Other administrative power (其他行政权力).",
        "PUBLIC_SERVICE": "Public service (公共服务).",
    },
)
describe_enum(
    domain.DayKind,
    "How days of a time limit are counted.",
    {"WORKING": "Working days (工作日).", "CALENDAR": "Calendar days (自然日)."},
)
describe_enum(
    domain.ProjectType,
    "Whether an item is done while one waits (办件类型).",
    {"IMMEDIATE": "Done at once (即办件).", "PROMISED": "Done within the promised limit (承诺件)."},
)
describe_enum(
    domain.MaterialNeed,
    "Whether a material must be handed in.",
    {
        "REQUIRED": "Necessary (必要).",
        "OPTIONAL": "Not necessary (非必要).",
        "LATER": "May follow later (容缺后补).",
    },
)
describe_enum(
    domain.MaterialFormat,
    "In what form a material is taken.",
    {"PAPER": "On paper (纸质).", "ELECTRONIC": "Electronic (电子化).", "BOTH": "Either (纸质/电子化)."},
)
describe_enum(
    domain.MaterialSource,
    "Who issues a material.",
    {
        "APPLICANT": "The applicant (申请人自备).",
        "GOVERNMENT": "A government body (政府部门核发).",
        "OTHER": "Somebody else (其他).",
    },
)
describe_enum(
    domain.ResultType,
    "What an item gives.",
    {
        "CERTIFICATE": "A licence or certificate (证照).",
        "APPROVAL": "An approval document (批文).",
        "OTHER": "Another result (其他).",
    },
)
describe_enum(
    domain.HandlingForm,
    "A way to hand in an application (办理形式).",
    {
        "WINDOW": "At a service window (窗口办理).",
        "ONLINE": "Online (网上办理).",
        "POST": "By post (快递申请).",
    },
)


@strawberry.type(
    description="One of the 21 categories of services.",
    directives=[catalogue_entity("code")],
)
class Category(Node):
    """Source: CategoryView."""

    is_type_of = source_classes(views.CategoryView)

    code: str = strawberry.field(description="Two digits, 01 to 21.")
    name: str = strawberry.field(description="Name in Chinese.")
    name_en: str = strawberry.field(description="Name in English.")
    item_count: int = strawberry.field(description="Number of items in use in this category.")


@strawberry.type(
    description="An administrative division: province, city, county or township.",
    directives=[catalogue_entity("index")],
)
class Division(Node):
    """Source: DivisionView."""

    is_type_of = source_classes(views.DivisionView)

    code: str = strawberry.field(
        description="GB/T 2260 code: 6 digits down to the county, 9 for a township (GB/T 10114)."
    )
    name: str = strawberry.field(description="Full name, such as 鼓楼区.")
    short_name: str = strawberry.field(description="Name as people say it, such as 鼓楼.")
    pinyin: str = strawberry.field(description="Syllables of the short name, separated by blanks.")
    level: domain.Level = strawberry.field(description="Level of the division.")
    parent: Division | None = strawberry.field(description="The division above; null for a province.")
    children: list[Division] = strawberry.field(description="The divisions right below, ordered by code.")
    item_count: int = strawberry.field(
        description="Number of items in use that are implemented in this very division."
    )


@strawberry.type(
    description="A unit that implements items in one division.",
    directives=[catalogue_entity("index")],
)
class Department(Node):
    """Source: DepartmentView."""

    is_type_of = source_classes(views.DepartmentView)

    name: str = strawberry.field(description="Name of the unit.")
    division: Division = strawberry.field(description="The division the unit works for.")
    item_count: int = strawberry.field(description="Number of items in use that the unit implements.")


@strawberry.type(description="A time limit.")
class TimeLimit:
    """Source: domain.catalogue.TimeLimit."""

    days: int = strawberry.field(description="Number of days; 0 means at once.")
    kind: domain.DayKind = strawberry.field(description="Working or calendar days.")
    note: str = strawberry.field(description="Explanation, empty when there is none.")


@strawberry.type(description="One thing to hand in.")
class Material:
    """Source: domain.catalogue.Material."""

    name: str = strawberry.field(description="Name of the material.")
    need: domain.MaterialNeed = strawberry.field(description="Whether it must be handed in.")
    format: domain.MaterialFormat = strawberry.field(description="In what form it is taken.")
    source: domain.MaterialSource = strawberry.field(description="Who issues it.")
    copies: int | None = strawberry.field(description="Number of copies; null when not stated.")
    note: str = strawberry.field(description="What to mind, empty when there is nothing.")


@strawberry.type(description="One step of the handling.")
class Step:
    """Source: domain.catalogue.Step."""

    name: str = strawberry.field(description="Name, such as 受理.")
    note: str = strawberry.field(description="What happens, empty when not stated.")
    days: float | None = strawberry.field(description="Days it takes; null when not stated.")


@strawberry.type(description="One fee.")
class Fee:
    """Source: domain.catalogue.Fee."""

    name: str = strawberry.field(description="Name of the fee.")
    standard: str = strawberry.field(description="The rule in words, as published.")
    basis: str = strawberry.field(description="Its legal basis, empty when not stated.")
    waivable: bool = strawberry.field(description="Whether it can be reduced or waived.")


@strawberry.type(
    description="One cited article of a law; the same article is the same object everywhere.",
    directives=[catalogue_entity("id")],
)
class LegalBasis(Node):
    """Source: LegalBasisView."""

    is_type_of = source_classes(views.LegalBasisView)

    law: str = strawberry.field(description="Name of the law or regulation.")
    article: str = strawberry.field(description="Article cited, empty when not stated.")
    text: str = strawberry.field(description="Text of the article, empty when not supplied.")


@strawberry.type(description="What one holds in the end.")
class ServiceResult:
    """Source: domain.catalogue.Result."""

    name: str = strawberry.field(description="Name of the certificate, approval or other result.")
    type: domain.ResultType = strawberry.field(description="Kind of result.")


@strawberry.type(description="Where to go, and when it is open.")
class Place:
    """Source: domain.catalogue.Place."""

    name: str = strawberry.field(description="Name of the hall or window.")
    address: str = strawberry.field(description="Address, empty when not stated.")
    hours: str = strawberry.field(description="Opening hours in words, empty when not stated.")
    phone: str = strawberry.field(description="Public telephone, empty when not stated.")


@strawberry.type(description="A question and its answer.")
class Faq:
    """Source: domain.catalogue.Faq."""

    question: str = strawberry.field(description="The question.")
    answer: str = strawberry.field(description="The answer.")


@strawberry.type(
    description="A government service item as one unit in one division implements it (政务服务事项).",
    directives=[catalogue_entity("index")],
)
class ServiceItem(Node):
    """Source: ItemView."""

    is_type_of = source_classes(views.ItemView)

    row_id: str = strawberry.field(description="The item's own id in the source system.")
    name: str = strawberry.field(description="Name of the item.")
    category: Category = strawberry.field(description="Its category.")
    division: Division = strawberry.field(description="The division it is implemented in.")
    department: Department = strawberry.field(description="The unit that implements it.")
    level: domain.Level = strawberry.field(description="Level of government that exercises it.")
    type: domain.ItemType = strawberry.field(description="Kind of power or service.")
    basic_code: str = strawberry.field(description="基本编码, 12 characters; empty when not stated.")
    implementation_code: str = strawberry.field(
        description="实施编码, 31 characters, not unique in real data; empty when not stated."
    )
    handling_code: str = strawberry.field(description="业务办理项编码, 33 characters; empty when not stated.")
    audiences: list[domain.Audience] = strawberry.field(description="Whom it serves.")
    theme_codes: list[str] = strawberry.field(
        description="National theme codes: N and three digits for persons, L for legal persons."
    )
    project_type: domain.ProjectType | None = strawberry.field(
        description="Done at once or within the promised limit; null when not stated."
    )
    legal_limit: TimeLimit | None = strawberry.field(
        description="Limit set by law (法定办结时限); null when not stated."
    )
    promised_limit: TimeLimit | None = strawberry.field(
        description="Limit the unit promises (承诺办结时限); null when not stated."
    )
    online_depth: int | None = strawberry.field(
        description="How deep it goes online, 1 to 4; 0 means not at all; null when not stated."
    )
    visits: int | None = strawberry.field(
        description="How often one must appear in person (到办事现场次数); null when not stated."
    )
    charges_fee: bool | None = strawberry.field(description="Whether it costs a fee; null when not stated.")
    handling_forms: list[domain.HandlingForm] = strawberry.field(
        description="Ways to hand in an application."
    )
    places: list[Place] = strawberry.field(description="Where to go.")
    online_url: str = strawberry.field(description="Where to apply on a computer; empty when not stated.")
    mobile_url: str = strawberry.field(description="Where to apply on a phone; empty when not stated.")
    consult: str = strawberry.field(description="How to ask (咨询方式); empty when not stated.")
    supervise: str = strawberry.field(description="How to complain (监督投诉方式); empty when not stated.")
    keywords: list[str] = strawberry.field(description="Other names that people use for it.")
    conditions: str = strawberry.field(description="Who may apply and when (受理条件).")
    materials: list[Material] = strawberry.field(description="What to hand in, in order.")
    steps: list[Step] = strawberry.field(description="Steps of the handling, in order.")
    fees: list[Fee] = strawberry.field(description="Fees; empty when free or not stated.")
    legal_bases: list[LegalBasis] = strawberry.field(description="Articles it rests on (设定依据).")
    results: list[ServiceResult] = strawberry.field(description="What one holds in the end.")
    faqs: list[Faq] = strawberry.field(description="Frequent questions.")
    special_procedure: str = strawberry.field(
        description="Hearings, expert reviews and the like; empty when there is none."
    )
    source: str = strawberry.field(description="Which upstream said so.")
    version: int = strawberry.field(description="Version of the row at its source.")
    effective_on: date | None = strawberry.field(description="First day it is valid; null when not stated.")
    updated_at: datetime | None = strawberry.field(
        description="When the source changed it, UTC; null when not stated."
    )

    @strawberry.field(
        description="Items that people who look at this one may need as well.", directives=[CATALOGUE]
    )
    def related(
        self: Any,
        first: Annotated[int, strawberry.argument(description="How many, 1 to 100.")] = 6,
    ) -> list[ServiceItem]:
        """List items like this one, offered to the same citizen."""
        related: list[ServiceItem] = self.snapshot.related(self, first)
        return related


@strawberry.type(description="How many hits a value has, whatever page is shown.")
class FacetCount:
    """Source: catalogue_search.FacetCount."""

    value: str = strawberry.field(description="The value to hand in as a filter.")
    label: str = strawberry.field(description="The value for people, in Chinese.")
    count: int = strawberry.field(description="Number of hits.")


@strawberry.type(description="Counts of the hits by category, level and so on.")
class ServiceItemFacets:
    """Source: catalogue_search.Facets."""

    categories: list[FacetCount] = strawberry.field(
        description="By category code.", metadata={"list_size": 21}
    )
    levels: list[FacetCount] = strawberry.field(description="By level.", metadata={"list_size": 6})
    divisions: list[FacetCount] = strawberry.field(
        description="By division: the level right below the filter's division, else the cities.",
        metadata={"list_size": 20},
    )
    departments: list[FacetCount] = strawberry.field(
        description="By unit, the 20 with the most hits.", metadata={"list_size": 20}
    )
    audiences: list[FacetCount] = strawberry.field(description="By audience.", metadata={"list_size": 7})
    online_depths: list[FacetCount] = strawberry.field(
        description="By online depth.", metadata={"list_size": 5}
    )


@strawberry.type(description="A part of a text that matches, in Unicode code points.")
class TextRange:
    """Source: a pair (start, end)."""

    start: int = strawberry.field(description="First code point.")
    end: int = strawberry.field(description="Code point after the last.")


@strawberry.type(description="One hit of a search.")
class ServiceItemEdge:
    """Source: catalogue_search.SearchHit."""

    cursor: str = strawberry.field(description="Hand it in as `after` to go on behind this hit.")
    node: ServiceItem = strawberry.field(description="The item.")
    highlights: list[TextRange] = strawberry.field(description="Where its name matches, in order.")


@strawberry.type(description="A page of hits.")
class ServiceItemSearch:
    """Source: catalogue_search.SearchPage."""

    total_count: int = strawberry.field(description="Number of hits over all pages, exact.")
    facets: ServiceItemFacets = strawberry.field(description="Counts over all hits.")
    edges: list[ServiceItemEdge] = strawberry.field(description="The hits of this page, best first.")
    page_info: PageInfo = strawberry.field(description="Where this page lies.")


@strawberry.type(description="A completion of what was typed.")
class ServiceItemSuggestion:
    """Source: catalogue_search.Suggestion."""

    text: str = strawberry.field(description="Full name to search for.")
    highlights: list[TextRange] = strawberry.field(description="Where it matches what was typed.")
    item_count: int = strawberry.field(description="Number of items of that name for the division.")


@strawberry.type(description="Which catalogue is served, and how far it can be trusted.", directives=[STATUS])
class CatalogueStatus(Sourced):
    """Source: loaders.catalogue.Freshness through `catalogue_status`."""

    version: int = strawberry.field(description="Version of the catalogue, growing with each publish.")
    built_at: datetime = strawberry.field(description="When this version was published, UTC.")
    age_s: int = strawberry.field(description="Seconds since the store last confirmed this version.")
    item_count: int = strawberry.field(description="Number of items in use.")


@strawberry.type(description="The first screen of the app in one piece.")
class Home:
    """Everything the first screen shows."""

    categories: list[Category] = strawberry.field(
        description="The 21 categories, in order.", metadata={"list_size": 21}
    )
    popular: list[ServiceItem] = strawberry.field(description="What people of the division look at most.")
    newest: list[ServiceItem] = strawberry.field(description="What changed last for the division.")
    catalogue_status: CatalogueStatus = strawberry.field(description="How fresh the catalogue is.")
