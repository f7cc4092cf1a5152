"""Small random catalogues for property tests, and plain rules to compare with."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import strategies as st

from domain.catalogue import (
    CATEGORIES,
    Audience,
    Department,
    Division,
    Guide,
    ItemType,
    LegalBasis,
    Level,
    Material,
    Place,
    ServiceItem,
    TimeLimit,
    level_of_division,
    parent_division_code,
)
from domain.text import compact, fold
from loaders.catalogue_snapshot import CatalogueSnapshot, SearchFilter, build_snapshot

BUILT_AT = datetime(2026, 11, 22, 8, tzinfo=UTC)
DIVISIONS = tuple(
    Division(code, name, level_of_division(code), parent_division_code(code), short, pinyin)
    for code, name, short, pinyin in (
        ("350000", "福建省", "福建", "fu jian"),
        ("350100", "福州市", "福州", "fu zhou"),
        ("350102", "鼓楼区", "鼓楼", "gu lou"),
        ("350102001", "鼓东街道", "鼓东", "gu dong"),
        ("350103", "台江区", "台江", "tai jiang"),
        ("350200", "厦门市", "厦门", "xia men"),
        ("350203", "思明区", "思明", "si ming"),
    )
)
DEPARTMENTS = tuple(
    Department(f"{division.code}-{key}", division.short_name + name, division.code)
    for division in DIVISIONS
    for key, name in (("gaj", "公安局"), ("rsj", "人社局"))
)
BASIS = LegalBasis("b1", "中华人民共和国社会保险法", "第五十八条", "登记")
GUIDES = {
    "g1": Guide(
        conditions="年满十六周岁", materials=(Material("居民身份证"),), legal_basis_ids=("b1", "unknown")
    ),
    "g2": Guide(conditions="任何人"),
}
PLACE = Place("服务中心", "八一七路1号", "9:00-17:00", "0591-12345")
_NAMES = (
    *("社会保障卡申领", "社会保障卡补领", "居民身份证首次申领", "居民身份证补领", "生育登记服务"),
    *("机动车驾驶证补换证", "公司设立登记", "食品经营许可（新办）", "ETC办理", "Ⅱ类器械备案"),
    *("65岁以上老年人优待", "A1驾驶证申领", "普通护照签发", "护照", "登记"),
)
names = st.one_of(
    st.sampled_from(_NAMES), st.text("社保卡证件登记申领补换户口AB1（）", min_size=1, max_size=8)
)


@st.composite
def items(draw: st.DrawFn, number: int) -> ServiceItem:
    division = draw(st.sampled_from(DIVISIONS))
    days = draw(st.none() | st.integers(0, 60))
    return ServiceItem(
        id=f"item-{number}",
        name=draw(names),
        category_code=draw(st.sampled_from(CATEGORIES)).code,
        division_code=division.code,
        department_id=f"{division.code}-{draw(st.sampled_from(('gaj', 'rsj')))}",
        level=division.level,
        type=draw(st.sampled_from(list(ItemType))),
        guide_id=draw(st.sampled_from(("g1", "g2", "missing"))),
        audiences=tuple(draw(st.lists(st.sampled_from(list(Audience)), max_size=3, unique=True))),
        promised_limit=None if days is None else TimeLimit(days),
        online_depth=draw(st.none() | st.integers(0, 4)),
        places=(PLACE,),
        keywords=tuple(draw(st.lists(st.sampled_from(("社保卡", "办证", "换证")), max_size=2, unique=True))),
        updated_at=draw(st.none() | st.integers(0, 900).map(lambda day: BUILT_AT - timedelta(days=day))),
    )


@st.composite
def catalogues(draw: st.DrawFn) -> list[ServiceItem]:
    return [draw(items(number)) for number in range(draw(st.integers(1, 40)))]


def filters() -> st.SearchStrategy[SearchFilter]:
    return st.builds(
        SearchFilter,
        category_codes=st.lists(st.sampled_from([c.code for c in CATEGORIES]), max_size=12).map(tuple),
        division_code=st.none() | st.sampled_from([division.code for division in DIVISIONS]),
        levels=st.lists(st.sampled_from(list(Level)[1:5]), max_size=2, unique=True).map(tuple),
        department_ids=st.lists(st.sampled_from([one.id for one in DEPARTMENTS]), max_size=6).map(tuple),
        audience=st.none() | st.sampled_from(list(Audience)),
        online_depth=st.none() | st.integers(0, 4),
    )


def snapshot_of(directory: Path, rows: Sequence[ServiceItem]) -> CatalogueSnapshot:
    build_snapshot(
        directory,
        version=7,
        built_at=BUILT_AT,
        divisions=DIVISIONS,
        departments=DEPARTMENTS,
        legal_bases=[BASIS],
        guides=GUIDES.items(),
        items=rows,
    )
    return CatalogueSnapshot.open(directory)


class Built:
    """A snapshot of random items in a directory of its own."""

    def __init__(self, rows: Sequence[ServiceItem]) -> None:
        self._scratch = tempfile.TemporaryDirectory()
        self._rows = rows

    def __enter__(self) -> CatalogueSnapshot:
        return snapshot_of(Path(self._scratch.name), self._rows)

    def __exit__(self, *_: object) -> None:
        self._scratch.cleanup()


def line(code: str | None) -> list[str]:
    """The division and those above it."""
    return [] if code is None else [code, *line(parent_division_code(code))]


def offered(item: ServiceItem, division_code: str | None) -> bool:
    """Whether a citizen of the division is offered the item."""
    return (
        division_code is None
        or item.division_code in line(division_code)
        or division_code in line(item.division_code)
    )


def passes(item: ServiceItem, wanted: SearchFilter) -> bool:
    """The filter, rule by rule."""
    return (
        offered(item, wanted.division_code)
        and (not wanted.category_codes or item.category_code in wanted.category_codes)
        and (not wanted.levels or item.level in wanted.levels)
        and (not wanted.department_ids or item.department_id in wanted.department_ids)
        and (wanted.audience is None or wanted.audience in item.audiences)
        and (
            wanted.online_depth is None
            or (item.online_depth is not None and item.online_depth >= wanted.online_depth)
        )
    )


def contains(item: ServiceItem, text: str) -> bool:
    """Whether the name has the text in it, folded."""
    return compact(fold(text)) in compact(fold(item.name))
