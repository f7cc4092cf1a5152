"""The snapshot by example: details, tiers, divisions, cursors, overlays, lists, damage."""

from __future__ import annotations

import base64
import json
import time
from datetime import timedelta
from pathlib import Path

import msgspec
import numpy as np
import pytest
from catalogue_world import BASIS, BUILT_AT, DEPARTMENTS, DIVISIONS, GUIDES, PLACE, snapshot_of

from domain.catalogue import Audience, ItemType, Level, ServiceItem, TimeLimit
from domain.text import fold, fold_with_offsets, latin_spelling, terms
from loaders.catalogue_match import Match
from loaders.catalogue_search import highlights
from loaders.catalogue_snapshot import (
    CatalogueSnapshot,
    DuplicateItemError,
    InvalidCursorError,
    InvalidPageSizeError,
    SearchFilter,
    SearchQuery,
    SnapshotUnreadableError,
    Sort,
    TextRange,
    TextTooLongError,
    UnknownDivisionError,
    build_snapshot,
)


def _item(item_id: str, name: str, division: str = "350102", **fields: object) -> ServiceItem:
    level = {2: Level.PROVINCE, 4: Level.CITY}.get(len(division.rstrip("0")), Level.COUNTY)
    values: dict[str, object] = {
        "id": item_id,
        "name": name,
        "category_code": "02",
        "division_code": division,
        "department_id": f"{division}-rsj",
        "level": Level.TOWNSHIP if len(division) == 9 else level,
        "type": ItemType.PUBLIC_SERVICE,
        "guide_id": "g1",
        "places": (PLACE,),
    }
    return ServiceItem(**{**values, **fields})  # type: ignore[arg-type]


FULL = _item(
    "full",
    "社会保障卡申领",
    category_code="02",
    basic_code="002014001000",
    audiences=(Audience.PERSON,),
    theme_codes=("N085",),
    promised_limit=TimeLimit(5),
    online_depth=4,
    visits=1,
    charges_fee=False,
    online_url="https://zwfw.example/1",
    consult="0591-1",
    supervise="12345",
    keywords=("办社保卡",),
    source="demo",
    version=3,
    effective_on=(BUILT_AT - timedelta(days=9)).date(),
    updated_at=BUILT_AT - timedelta(days=3),
)
ROWS = (
    FULL,
    _item("city", "社会保障卡申领", "350100"),
    _item("province", "社会保障卡申领", "350000"),
    _item("town", "社会保障卡申领", "350102001"),
    _item("elsewhere", "社会保障卡申领", "350203"),
    _item("lost", "社会保障卡补领", promised_limit=TimeLimit(1), keywords=("社保卡",)),
    _item("inside", "电子社会保障卡签发", updated_at=BUILT_AT),
    _item("identity", "居民身份证首次申领", category_code="08", department_id="350102-gaj"),
    _item("renewal", "居民身份证补领", category_code="08", department_id="350102-gaj"),
    _item("licence", "机动车驾驶证补换证", category_code="12", department_id="350102-gaj"),
    _item("old", "65岁以上老年人优待证办理", category_code="13"),
    _item("toll", "ETC办理", category_code="12"),
    _item("device", "Ⅱ类医疗器械经营备案", category_code="16"),
)


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> CatalogueSnapshot:
    return snapshot_of(tmp_path_factory.mktemp("snapshot"), ROWS)


def _found(
    snapshot: CatalogueSnapshot, text: str, division: str | None = "350102", sort: Sort = Sort.RELEVANCE
) -> list[str]:
    page = snapshot.search(SearchQuery(text, SearchFilter(division_code=division), sort))
    return [edge.node.id for edge in page.edges]


def _marked(snapshot: CatalogueSnapshot, text: str) -> str:
    edge = snapshot.search(SearchQuery(text, SearchFilter(division_code="350102"))).edges[0]
    name = edge.node.name
    return "|".join(name[part.start : part.end] for part in edge.highlights)


def test_an_item_keeps_every_field(snapshot: CatalogueSnapshot) -> None:
    view = snapshot.item("full")
    assert view is not None
    assert {name: getattr(view, name) for name in ServiceItem.__struct_fields__} == msgspec.structs.asdict(
        FULL
    )
    assert (view.category.name, view.division.name, view.department.name) == (
        "社会保险",
        "鼓楼区",
        "鼓楼人社局",
    )
    assert (view.conditions, view.materials) == (GUIDES["g1"].conditions, GUIDES["g1"].materials)
    assert [(basis.id, basis.law) for basis in view.legal_bases] == [(BASIS.id, BASIS.law)]
    assert view.row_id == "full"
    assert base64.urlsafe_b64decode(view.node_id + "==") == b"ServiceItem:full"
    with pytest.raises(AttributeError, match="colour"):
        _ = view.colour


def test_items_keep_the_order_asked_for(snapshot: CatalogueSnapshot) -> None:
    assert [one and one.id for one in snapshot.items(["town", "nothing", "full"])] == ["town", None, "full"]


def test_divisions_form_a_tree_with_their_own_counts(snapshot: CatalogueSnapshot) -> None:
    city = snapshot.division("350100")
    assert city is not None
    assert [child.code for child in city.children] == ["350102", "350103"]
    assert city.parent is not None
    assert (city.parent.code, city.parent.parent, city.item_count) == ("350000", None, 1)
    assert [root.code for root in snapshot.roots] == ["350000"]
    assert sum(division.item_count for division in snapshot.divisions) == len(ROWS)
    assert len(snapshot.departments) == len(DEPARTMENTS)


def test_the_own_division_comes_first_then_those_above_then_those_below(snapshot: CatalogueSnapshot) -> None:
    assert _found(snapshot, "社会保障卡申领") == ["full", "city", "province", "town"]


@pytest.mark.parametrize(
    ("typed", "first"),
    [
        ("社会保障卡申领", "full"),
        ("社保卡", "lost"),  # its keyword is exactly that
        ("办社保卡", "full"),
        ("申领 社保卡", "full"),
        ("身份证补办", "renewal"),
        ("补办身份证", "renewal"),
        ("身份證補領", "renewal"),
        ("驾照", "licence"),
        ("shehuibaozhangkashenling", "full"),
        ("shbzksl", "full"),
        ("sfz", "renewal"),
        ("jiashizheng", "licence"),
        ("jiashizhen", "licence"),
        ("居民身份正补领", "renewal"),
        ("居民身证补领", "renewal"),
        ("居民身份份证补领", "renewal"),
        ("居民份身证补领", "renewal"),
        ("65岁老年证", "old"),
        ("etc", "toll"),
        ("ＥＴＣ", "toll"),
        ("II类医疗器械", "device"),
        ("鼓楼区身份证补领", "renewal"),
        ("gulou shenfenzhengbuling", "renewal"),
        ("公安局 驾驶证", "licence"),
        ("怎么办理电子社会保障卡", "inside"),
    ],
)
def test_what_people_type(snapshot: CatalogueSnapshot, typed: str, first: str) -> None:
    assert _found(snapshot, typed)[0] == first


def test_prefix_comes_before_inside(snapshot: CatalogueSnapshot) -> None:
    assert _found(snapshot, "社会保障卡") == ["lost", "full", "city", "province", "town", "inside"]


def test_a_division_in_the_text_wins_over_the_filter(snapshot: CatalogueSnapshot) -> None:
    assert _found(snapshot, "厦门 社会保障卡申领", "350102") == ["province", "elsewhere"]
    assert _found(snapshot, "思明区", None) == ["elsewhere", "province"]


@pytest.mark.parametrize(
    ("typed", "marked"),
    [
        ("保障卡申领", "保障卡申领"),
        ("驾照", "机动车驾驶证"),
        ("etc", "ETC"),
        ("II类", "Ⅱ类"),
        ("shenfenzheng", "居民身份证"),
        ("shbzksl", "社会保障卡申领"),
    ],
)
def test_highlights(snapshot: CatalogueSnapshot, typed: str, marked: str) -> None:
    assert _marked(snapshot, typed) == marked


def test_sorts(snapshot: CatalogueSnapshot) -> None:
    assert _found(snapshot, "社会保障卡", sort=Sort.NEWEST)[:2] == ["inside", "full"]
    assert _found(snapshot, "社会保障卡", sort=Sort.PROMISED_DAYS)[:2] == ["lost", "full"]
    assert _found(snapshot, "社会保障卡", sort=Sort.NAME)[0] == "inside"  # dian zi


def test_views_bring_an_item_and_its_name_forward(snapshot: CatalogueSnapshot) -> None:
    popular = snapshot.with_overlay(
        revision=4, withdrawn=frozenset(), popularity={"old": 500.0, "nobody": 3.0}
    )
    assert popular.revision == 4
    assert snapshot.revision == 0
    assert popular.popular("350102", None, 3)[0].id == "old"
    assert snapshot.popular("350102", None, 3)[0].id != "old"
    assert popular.popular(None, "13", 5) == [popular.item("old")]


def test_popular_lists_each_service_once(snapshot: CatalogueSnapshot) -> None:
    listed = [item.name for item in snapshot.popular("350102001", None, 20)]
    assert len(listed) == len(set(listed)) == 9
    assert snapshot.newest("350102", None, 2) == [snapshot.item("inside"), snapshot.item("full")]


@pytest.mark.parametrize(
    ("division", "shown"),
    [("350102001", "town"), ("350102", "full"), ("350100", "city"), ("350000", "province")],
)
def test_lists_show_the_nearest_implementation(
    snapshot: CatalogueSnapshot, division: str, shown: str
) -> None:
    for listed in (snapshot.popular(division, None, 20), snapshot.newest(division, None, 20)):
        assert [item.id for item in listed if item.name == "社会保障卡申领"] == [shown]


def test_legal_bases_are_found_by_id(snapshot: CatalogueSnapshot) -> None:
    basis = snapshot.legal_basis(BASIS.id)
    assert basis is not None
    assert (basis.law, basis.article) == (BASIS.law, BASIS.article)
    assert snapshot.legal_basis("unknown") is None


def test_related_items_are_alike_and_offered_to_the_same_citizen(snapshot: CatalogueSnapshot) -> None:
    item = snapshot.item("full")
    assert item is not None
    assert [one.id for one in snapshot.related(item, 5)] == ["lost", "inside"]


def test_suggestions_count_what_the_division_has(snapshot: CatalogueSnapshot) -> None:
    listed = snapshot.suggest("shehuibaozhangka", "350102", 5)
    assert {one.text: one.item_count for one in listed} == {
        "社会保障卡补领": 1,
        "社会保障卡申领": 4,
        "电子社会保障卡签发": 1,
    }
    assert snapshot.suggest("社会保障卡申", None, 5)[0].highlights == [TextRange(0, 6)]
    assert snapshot.suggest("", None, 5) == []


def test_a_withdrawn_item_is_gone_and_comes_back(snapshot: CatalogueSnapshot) -> None:
    without = snapshot.with_overlay(revision=1, withdrawn=frozenset({"full", "unknown"}), popularity={})
    assert without.item("full") is None
    assert _found(without, "社会保障卡申领") == ["city", "province", "town"]
    again = without.with_overlay(revision=2, withdrawn=frozenset(), popularity={})
    assert _found(again, "社会保障卡申领")[0] == "full"


def test_a_cursor_says_why_it_is_refused(snapshot: CatalogueSnapshot) -> None:
    page = snapshot.search(SearchQuery("社会保障卡", first=1))
    cursor = page.page_info.end_cursor
    assert cursor is not None
    reasons = {}
    foreign = base64.urlsafe_b64encode(msgspec.msgpack.encode((9, 0, 1, "x"))).decode().rstrip("=")
    damaged = base64.urlsafe_b64encode(msgspec.msgpack.encode((1, 0, "x"))).decode().rstrip("=")
    for name, after, sort in (
        ("sort", cursor, Sort.NAME),
        ("form", "§§", Sort.RELEVANCE),
        ("version", foreign, Sort.RELEVANCE),
        ("damaged", damaged, Sort.RELEVANCE),
    ):
        with pytest.raises(InvalidCursorError) as caught:
            snapshot.search(SearchQuery("社会保障卡", sort=sort, after=after))
        reasons[name] = caught.value.params["reason"]
    assert reasons == {"sort": "SORT", "form": "FORM", "version": "VERSION", "damaged": "FORM"}


def test_a_cursor_survives_the_next_version(snapshot: CatalogueSnapshot, tmp_path: Path) -> None:
    query = SearchQuery("", sort=Sort.NAME, first=4)
    page = snapshot.search(query)
    newer = snapshot_of(tmp_path / "newer", (*ROWS, _item("first of all", "安全生产许可")))
    after = SearchQuery("", sort=Sort.NAME, first=100, after=page.page_info.end_cursor)
    assert [edge.node.id for edge in newer.search(after).edges] == [
        edge.node.id for edge in snapshot.search(after).edges
    ]


def test_bounds(snapshot: CatalogueSnapshot) -> None:
    for first in (0, 101):
        with pytest.raises(InvalidPageSizeError):
            snapshot.search(SearchQuery(first=first))
    with pytest.raises(TextTooLongError):
        snapshot.search(SearchQuery("证" * 301))
    with pytest.raises(UnknownDivisionError):
        snapshot.search(SearchQuery("", SearchFilter(division_code="999999")))


def test_a_damaged_or_unfinished_snapshot_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "snapshot"
    snapshot_of(directory, ROWS)
    with (directory / "items.text.npy").open("ab") as file:
        file.write(b"x")
    with pytest.raises(SnapshotUnreadableError) as caught:
        CatalogueSnapshot.open(directory)
    assert caught.value.params == {"reason": "file", "file": "items.text.npy"}
    manifest = json.loads((directory / "manifest.json").read_text())
    (directory / "manifest.json").write_text(json.dumps({**manifest, "format": 99}))
    with pytest.raises(SnapshotUnreadableError):
        CatalogueSnapshot.open(directory)
    (directory / "manifest.json").unlink()
    with pytest.raises(SnapshotUnreadableError):
        CatalogueSnapshot.open(directory)


def test_an_id_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DuplicateItemError):
        snapshot_of(tmp_path / "twice", (FULL, FULL))


def test_an_empty_catalogue_opens(tmp_path: Path) -> None:
    empty = snapshot_of(tmp_path / "empty", ())
    page = empty.search(SearchQuery("社保"))
    assert (page.total_count, page.edges, page.facets.categories) == (0, [], [])
    assert empty.popular("350102", None, 5) == []
    assert empty.suggest("社保", None, 5) == []


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    for name, rows in (("one", ROWS), ("other", ROWS)):
        snapshot_of(tmp_path / name, rows)
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert [(tmp_path / "one" / name).read_bytes() for name in files] == [
        (tmp_path / "other" / name).read_bytes() for name in files
    ]


def test_unknown_divisions_and_departments_are_added(tmp_path: Path) -> None:
    build_snapshot(
        tmp_path,
        version=1,
        built_at=BUILT_AT,
        divisions=DIVISIONS[:1],
        departments=[],
        legal_bases=[],
        guides=[],
        items=[_item("far", "公证", "511602")],
    )
    far = CatalogueSnapshot.open(tmp_path).item("far")
    assert far is not None
    assert (far.division.name, far.department.name, far.department.division.code) == (
        "511602",
        "511602-rsj",
        "511602",
    )
    assert far.division.parent is not None
    assert far.division.parent.code == "511600"


@pytest.mark.alone
def test_an_overlay_is_cheap(tmp_path: Path) -> None:
    rows = [_item(f"n{number}", f"事项{number % 700}", "350102") for number in range(20_000)]
    snapshot = snapshot_of(tmp_path, rows)
    start = time.perf_counter()
    snapshot.with_overlay(
        revision=1,
        withdrawn=frozenset(f"n{number}" for number in range(200)),
        popularity={f"n{number}": 5.0 for number in range(1_000)},
    )
    assert time.perf_counter() - start < 0.2  # a tenth of it when nothing else runs


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("ＡＢＣ（新）", "abc(新)"),
        ("Ⅱ类", "ii类"),
        ("身份證", "身份证"),
        ("ｶ", "カ"),
        ("Lǚ", "lu"),
        ("\u200b证", "证"),
    ],
)
def test_folding(text: str, folded: str) -> None:
    assert fold(text) == folded
    assert fold_with_offsets(text)[0] == folded


def test_terms_and_spelling() -> None:
    assert terms("社保卡、补办 a1") == ["社保卡", "补办", "a1"]
    assert latin_spelling("she bao") == "shebao"
    assert latin_spelling("65岁") is None
    assert latin_spelling("65") is None


def test_a_needle_that_folds_to_nothing_is_not_looked_for(snapshot: CatalogueSnapshot) -> None:
    record = snapshot.tables.text(0)
    match = Match(np.zeros(1, np.uint8), ("", record.name[:2]))
    assert highlights(record, match) == [TextRange(0, 2)]
    assert highlights(record, Match(np.zeros(1, np.uint8), ("",))) == []
