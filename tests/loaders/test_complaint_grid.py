"""Public complaints on the map: cells and filters against counting one by one."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, date, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.complaint_publication import PublicComplaint, PublicState
from domain.complaints import Kind, Point
from loaders.complaint_grid import MAX_CELLS, Grid, facet_of, row_of

AT = datetime(2026, 3, 2, tzinfo=UTC)
OPEN = (PublicState.RECEIVED, PublicState.IN_PROGRESS)
WHOLE = (Point(-180, -90), Point(180, 90))

_complaints = st.builds(
    PublicComplaint,
    id=st.sampled_from([f"{number:016}" for number in range(12)]),
    version=st.just(1),
    published_at=st.just(AT),
    submitted_on=st.just(date(2026, 3, 2)),
    text=st.just("路灯不亮"),
    kind=st.sampled_from(Kind),
    state=st.sampled_from(PublicState),
    division_code=st.just("350102"),
    class_code=st.sampled_from([None, "0101", "0102", "9901"]),
    point=st.sampled_from(
        [
            None,
            Point(119.296, 26.087),
            Point(119.297, 26.087),
            Point(118.1, 24.48),
            Point(-180, -90),
            Point(180, 90),
        ]
    ),
)


@given(
    st.lists(st.lists(st.tuples(_complaints, st.booleans()), max_size=8), max_size=5),
    st.sampled_from([None, "01", "99", "02"]),
    st.sampled_from([None, *Kind]),
    st.sampled_from([None, True, False]),
    st.integers(0, 20),
)
@settings(max_examples=150, deadline=None)
def test_a_view_counts_what_is_there(
    changes: list[list[tuple[PublicComplaint, bool]]],
    group: str | None,
    kind: Kind | None,
    is_open: bool | None,
    zoom: int,
) -> None:
    grid, there = Grid(), {}
    for some in changes:
        grid = grid.with_rows([row_of(each.id, None if gone else each) for each, gone in some])
        for each, gone in some:
            there[each.id] = None if gone else each
    shown = [
        each
        for each in there.values()
        if each is not None
        and each.point is not None
        and (group is None or (each.class_code or "")[:2] == group)
        and kind in {None, each.kind}
        and is_open in {None, each.state in OPEN}
    ]
    cells = grid.view(*WHOLE, zoom, facet_of(group, kind, is_open))
    assert sum(cell.count for cell in cells) == len(shown)
    for cell in cells:
        west, south = cell.point.longitude - cell.side / 2, cell.point.latitude - cell.side / 2
        inside = [
            each
            for each in shown
            if each.point is not None
            and west - 1e-6 <= each.point.longitude <= west + cell.side
            and south - 1e-6 <= each.point.latitude <= south + cell.side
        ]
        assert len(inside) >= cell.count > 0
    assert len(grid) == sum(each is not None and each.point is not None for each in there.values())
    assert [Grid(grid.parts).view(*WHOLE, 3)] == [grid.view(*WHOLE, 3)]


def test_a_view_is_of_its_bounds_and_zoom() -> None:
    dice = random.Random(1)
    rows, points = [], []
    for number in range(4_000):
        point = Point(round(dice.uniform(119.2, 119.4), 3), round(dice.uniform(26.0, 26.2), 3))
        points.append(point)
        shown = PublicComplaint(
            id=f"{number:016}",
            version=1,
            published_at=AT,
            submitted_on=AT.date(),
            text="",
            kind=Kind.HELP,
            state=PublicState.CLOSED,
            division_code="350102",
            point=point,
        )
        rows.append(row_of(shown.id, shown))
    grid = Grid().with_rows(rows)
    assert [cell.count for cell in grid.view(*WHOLE, 5)] == [4_000]
    city = grid.view(Point(119.2, 26.0), Point(119.4, 26.2), 12)
    assert {cell.side for cell in city} == {0.01}
    assert [cell.count for cell in city] == sorted([cell.count for cell in city], reverse=True)
    exact = Counter((int(p.longitude * 100 + 1e-6), int(p.latitude * 100 + 1e-6)) for p in points)
    assert len(city) == len(exact)
    assert sum(cell.count for cell in city) == 4_000
    assert city[0].count == max(exact.values())
    block = grid.view(Point(119.301, 26.101), Point(119.309, 26.109), 12)
    assert [cell.count for cell in block] == [exact[(11930, 2610)]]
    fine = grid.view(Point(119.2, 26.0), Point(119.4, 26.2), 18)
    assert {cell.side for cell in fine} == {0.01}, "too many cells of the finest grid"
    near = grid.view(Point(119.25, 26.05), Point(119.35, 26.15), 18)
    assert {cell.side for cell in near} == {0.002}
    assert len(near) == MAX_CELLS
    assert grid.view(Point(100, 20), Point(101, 21), 12) == []
