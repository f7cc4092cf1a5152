"""Properties of the snapshot's search over random catalogues, against plain rules."""

from __future__ import annotations

from catalogue_world import Built, catalogues, contains, filters, names, passes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.catalogue import ServiceItem
from domain.text import compact, fold
from loaders.catalogue_snapshot import SearchFilter, SearchHit, SearchPage, SearchQuery, Sort

fast = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def _ids(hits: list[SearchHit]) -> list[str]:
    return [hit.node.id for hit in hits]


def _all_pages(search: object, query: SearchQuery, first: int) -> list[SearchPage]:
    pages = []
    after = None
    while True:
        page = search(SearchQuery(query.text, query.filter, query.sort, first, after))  # type: ignore[operator]
        pages.append(page)
        if not page.page_info.has_next_page:
            return pages
        after = page.page_info.end_cursor


@fast
@given(catalogues(), st.data())
def test_every_item_is_found_first_by_its_full_name(rows: list[ServiceItem], data: st.DataObject) -> None:
    item = data.draw(st.sampled_from(rows))
    with Built(rows) as snapshot:
        page = snapshot.search(SearchQuery(item.name, first=100))
        same = {row.id for row in rows if compact(fold(row.name)) == compact(fold(item.name))}
        assert set(_ids(page.edges)[: len(same)]) == same


@fast
@given(catalogues(), filters())
def test_totals_and_facets_equal_a_plain_filter(rows: list[ServiceItem], wanted: SearchFilter) -> None:
    with Built(rows) as snapshot:
        page = snapshot.search(SearchQuery("", wanted, first=100))
        expected = {row.id for row in rows if passes(row, wanted)}
        assert set(_ids(page.edges)) == expected
        assert page.total_count == len(expected)
        without = {
            "categories": SearchFilter(
                (),
                wanted.division_code,
                wanted.levels,
                wanted.department_ids,
                wanted.audience,
                wanted.online_depth,
            ),
            "levels": SearchFilter(
                wanted.category_codes,
                wanted.division_code,
                (),
                wanted.department_ids,
                wanted.audience,
                wanted.online_depth,
            ),
        }
        facets = page.facets
        for name, key in (("categories", "category_code"), ("levels", "level")):
            kept = [getattr(row, key) for row in rows if passes(row, without[name])]
            assert {count.value: count.count for count in getattr(facets, name)} == {
                value: kept.count(value) for value in kept
            }


@fast
@given(catalogues(), filters())
def test_facets_sum_up_to_the_total_without_their_own_filter(
    rows: list[ServiceItem], wanted: SearchFilter
) -> None:
    plain = SearchFilter(division_code=wanted.division_code)
    with Built(rows) as snapshot:
        page = snapshot.search(SearchQuery("", plain))
        facets = page.facets
        assert sum(count.count for count in facets.categories) == page.total_count
        assert sum(count.count for count in facets.levels) == page.total_count
        kept = [row for row in rows if passes(row, plain)]
        assert sum(count.count for count in facets.departments) == page.total_count
        assert sum(count.count for count in facets.audiences) == sum(len(row.audiences) for row in kept)
        assert sum(count.count for count in facets.online_depths) == sum(
            row.online_depth is not None for row in kept
        )
        shown = {count.value: count.count for count in facets.divisions}
        for code, count in shown.items():
            assert count == sum(row.division_code == code or row.division_code.startswith(
                code.rstrip("0") if len(code) == 6 else code) for row in kept)  # fmt: skip


@fast
@given(catalogues(), filters(), st.sampled_from(list(Sort)), st.integers(1, 7), st.one_of(st.just(""), names))
def test_pages_give_every_hit_once_in_one_order(
    rows: list[ServiceItem], wanted: SearchFilter, sort: Sort, first: int, text: str
) -> None:
    with Built(rows) as snapshot:
        query = SearchQuery(text, wanted, sort, 100)
        whole = snapshot.search(query)
        paged = [key for page in _all_pages(snapshot.search, query, first) for key in _ids(page.edges)]
        assert paged == _ids(whole.edges)
        assert len(paged) == len(set(paged)) == whole.total_count


@fast
@given(catalogues(), st.data(), filters())
def test_an_overlay_equals_a_rebuild_without_the_withdrawn(
    rows: list[ServiceItem], data: st.DataObject, wanted: SearchFilter
) -> None:
    gone = frozenset(data.draw(st.lists(st.sampled_from([row.id for row in rows]), unique=True)))
    text = data.draw(st.one_of(st.just(""), names))
    kept = [row for row in rows if row.id not in gone]
    with Built(rows) as snapshot, Built(kept) as rebuilt:
        before = _ids(snapshot.search(SearchQuery("", first=100)).edges)
        overlaid = snapshot.with_overlay(revision=2, withdrawn=gone, popularity={})
        query = SearchQuery(text, wanted, Sort.NAME, 100)
        ours, theirs = overlaid.search(query), rebuilt.search(query)
        # A better tier of a withdrawn name hides the slips of others until the next build.
        literal = {row.id for row in kept if not text or contains(row, text)}
        assert [key for key in _ids(ours.edges) if key in literal] == [
            key for key in _ids(theirs.edges) if key in literal
        ]
        if not text:
            assert ours.facets == theirs.facets
        assert overlaid.item_count == rebuilt.item_count == len(kept)
        assert [c.item_count for c in overlaid.categories] == [c.item_count for c in rebuilt.categories]
        assert [d.item_count for d in overlaid.divisions] == [d.item_count for d in rebuilt.divisions]
        assert [d.item_count for d in overlaid.departments] == [d.item_count for d in rebuilt.departments]
        assert all(overlaid.item(key) is None for key in gone)
        assert _ids(snapshot.search(SearchQuery("", first=100)).edges) == before


@fast
@given(catalogues(), st.text(max_size=30), filters())
def test_any_text_gives_a_page_and_highlights_inside_the_name(
    rows: list[ServiceItem], text: str, wanted: SearchFilter
) -> None:
    with Built(rows) as snapshot:
        page = snapshot.search(SearchQuery(text, wanted))
        assert len(page.edges) == min(20, page.total_count)
        for edge in page.edges:
            end = 0
            for part in edge.highlights:
                assert end <= part.start < part.end <= len(edge.node.name)
                end = part.end


@fast
@given(catalogues(), st.data())
def test_literal_hits_equal_a_scan(rows: list[ServiceItem], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(rows)).name
    start = data.draw(st.integers(0, len(name) - 1))
    text = name[start : data.draw(st.integers(start + 1, len(name)))]
    with Built(rows) as snapshot:
        found = set(_ids(snapshot.search(SearchQuery(text, first=100)).edges))
        if compact(fold(text)):
            assert {row.id for row in rows if contains(row, text)} <= found
