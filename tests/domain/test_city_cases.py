"""Classes, promised times, grid cells and the six steps of urban management."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.city_cases import (
    TRANSITIONS,
    CityAction,
    CityCase,
    CityEvent,
    CityRole,
    CityState,
    CityStepError,
    Reported,
    faults_of,
    following,
    role_for,
    seal,
    unit_after,
)
from domain.city_classes import (
    CityClass,
    CityKind,
    GridLevel,
    InvalidGridCodeError,
    LimitUnit,
    UnknownCityClassError,
    cells_of,
    division_of_cell,
    grid_level,
    read_city_classes,
)
from domain.complaints import Point
from domain.tables import InvalidTableError, Row
from domain.working_days import calendar_of
from loaders.city_classes import shipped_city_classes
from loaders.complaint_classes import shipped_classes

NOW = datetime(2026, 9, 28, 2, tzinfo=UTC)  # Monday, ten o'clock in Fujian
KEY = b"k" * 32
REPORTED = Reported("P0101", "350102001", "井盖没了", "350102001003", point=Point(119.3, 26.1))


def test_the_shipped_list_has_114_components_and_74_events() -> None:
    classes = shipped_city_classes()
    groups = Counter((each.kind, each.group) for each in classes.select())
    assert groups == {
        (CityKind.COMPONENT, "公用设施"): 40,
        (CityKind.COMPONENT, "交通设施"): 27,
        (CityKind.COMPONENT, "市容环境"): 20,
        (CityKind.COMPONENT, "园林绿化"): 15,
        (CityKind.COMPONENT, "其他"): 12,
        (CityKind.EVENT, "市容环境"): 20,
        (CityKind.EVENT, "宣传广告"): 8,
        (CityKind.EVENT, "施工管理"): 11,
        (CityKind.EVENT, "突发事件"): 13,
        (CityKind.EVENT, "街面秩序"): 18,
        (CityKind.EVENT, "其他"): 4,
    }
    assert (len(classes.select(CityKind.COMPONENT)), len(classes.select(CityKind.EVENT))) == (114, 74)
    assert len({each.name for each in classes.select(CityKind.COMPONENT)}) == 114
    assert sum(not each.is_certain for each in classes.select()) == 58
    for each in classes.select():
        shipped_classes().get(each.complaint_class)
    with pytest.raises(UnknownCityClassError):
        classes.get("P9999")


def test_promised_times_are_hours_or_working_days() -> None:
    calendar = calendar_of()

    def due(limit: int, unit: LimitUnit, start: datetime = NOW) -> datetime:
        return CityClass("1", CityKind.EVENT, "g", "n", limit, unit).due_at(start, calendar)

    assert due(4, LimitUnit.HOUR) == NOW + timedelta(hours=4)
    assert due(2, LimitUnit.DAY) == datetime(2026, 9, 30, 15, 59, 59, tzinfo=UTC)
    # National Day 2026: 1 to 7 October are off; 10 October, a Saturday, is worked.
    assert due(3, LimitUnit.DAY) == datetime(2026, 10, 8, 15, 59, 59, tzinfo=UTC)
    assert due(5, LimitUnit.DAY) == datetime(2026, 10, 10, 15, 59, 59, tzinfo=UTC)
    late = datetime(2026, 9, 28, 17, tzinfo=UTC)  # already Tuesday in Fujian
    assert due(1, LimitUnit.DAY, late) == datetime(2026, 9, 30, 15, 59, 59, tzinfo=UTC)


def test_cells_lie_within_cells() -> None:
    cells = cells_of("350102001003012")
    assert cells == ["350102001003012", "350102001003", "350102001", "350102", "350100"]
    assert [grid_level(code) for code in reversed(cells)] == list(GridLevel)
    assert division_of_cell(cells[0]) == "350102001"
    assert division_of_cell("350102") == "350102"
    for wrong in ("", "350000", "3501020", "350102000", "35010200100", "350102001003012001", "３５０１００"):
        with pytest.raises(InvalidGridCodeError):
            cells_of(wrong)


@pytest.mark.parametrize(
    ("changes", "column"),
    [
        ({"code": "X"}, "code"),
        ({"code": "P0101"}, "code"),
        ({"kind": "THING"}, "kind"),
        ({"limit": "0"}, "limit"),
        ({"limit": ""}, "limit"),
        ({"limit_unit": "WEEK"}, "limit_unit"),
        ({"name": ""}, "name"),
        ({"certain": "maybe"}, "certain"),
    ],
)
def test_a_wrong_table_says_where(changes: dict[str, str], column: str) -> None:
    good = {"code": "P0101", "kind": "EVENT", "group": "g", "name": "n", "limit": "1", "limit_unit": "DAY"}
    with pytest.raises(InvalidTableError) as refused:
        read_city_classes([Row(2, good), Row(3, good | {"code": "P0102"} | changes)])
    assert (refused.value.params["line"], refused.value.params["column"]) == (3, column)
    with pytest.raises(InvalidTableError):
        read_city_classes([])


def walk(actions: list[tuple[CityAction, CityRole]]) -> CityCase | None:
    """Take those steps that the table allows."""
    case: CityCase | None = None
    for number, (action, role) in enumerate(actions):
        state = case.state if case else None
        try:
            after = following(state, action, frozenset({role}))
        except CityStepError:
            assert role not in TRANSITIONS.get((state, action), (frozenset(), None))[0]
            continue
        version = case.version if case else 0
        event = CityEvent(
            version,
            action,
            after,
            NOW + timedelta(minutes=number),
            role,
            "a",
            "u0",
            "n",
            "u1" if action is CityAction.DISPATCH else None,
        )
        event = seal(KEY, "c1", REPORTED, case.events[-1] if case else None, event)
        events = (*case.events, event) if case else (event,)
        unit = unit_after(case.unit if case else None, event)
        case = CityCase("c1", REPORTED, after, version + 1, events, unit)
    return case


_STEPS = st.lists(st.tuples(st.sampled_from(list(CityAction)), st.sampled_from(list(CityRole))), max_size=60)


@given(_STEPS)
def test_no_path_leaves_the_table(actions: list[tuple[CityAction, CityRole]]) -> None:
    case = walk(actions)
    if case is None:
        return
    assert faults_of(KEY, case) == []
    working = {CityState.DISPATCHED, CityState.HANDLED, CityState.VERIFIED, CityState.CLOSED}
    assert (case.unit is not None) == (case.state in working)
    assert (case.dispatched_at is not None) == (case.state in working)
    assert (case.handled_at is not None) == (case.state in working - {CityState.DISPATCHED})


WHOLE = [
    (CityAction.REPORT, CityRole.COLLECTOR),
    (CityAction.FILE, CityRole.CENTRE),
    (CityAction.DISPATCH, CityRole.CENTRE),
    (CityAction.HANDLE, CityRole.UNIT),
    (CityAction.FAIL, CityRole.COLLECTOR),
    (CityAction.HANDLE, CityRole.UNIT),
    (CityAction.VERIFY, CityRole.COLLECTOR),
    (CityAction.CLOSE, CityRole.CENTRE),
]


def test_the_six_steps() -> None:
    case = walk(WHOLE)
    assert case is not None
    assert (case.state, case.version) == (CityState.CLOSED, 8)
    assert case.dispatched_at == NOW + timedelta(minutes=2)
    assert case.handled_at == NOW + timedelta(minutes=5)
    late = replace(case, due_at=NOW + timedelta(minutes=4))
    assert late.is_overdue(NOW)
    assert not replace(case, due_at=NOW + timedelta(minutes=5)).is_overdue(NOW + timedelta(days=9))
    assert role_for(CityState.HANDLED, CityAction.VERIFY, frozenset(CityRole)) is CityRole.CENTRE


@given(
    st.integers(0, 7), st.sampled_from(["at", "note", "account", "by_unit", "state", "seq", "drop", "report"])
)
def test_whatever_is_changed_is_found(index: int, what: str) -> None:
    case = walk(WHOLE)
    assert case is not None
    events = list(case.events)
    if what == "drop":
        del events[index]
    elif what == "report":
        case = replace(case, reported=replace(REPORTED, description="别的"))
    elif what == "at":
        events[index] = replace(events[index], at=events[index].at + timedelta(seconds=1))
    elif what == "seq":
        events[index] = replace(events[index], seq=99)
    elif what == "state":
        events[index] = replace(events[index], state=CityState.REJECTED)
    else:
        events[index] = replace(events[index], **{what: "x"})
    assert faults_of(KEY, replace(case, events=tuple(events)))
    assert faults_of(b"x" * 32, case)


def test_the_documented_table_is_the_real_one() -> None:
    text = (Path(__file__).parents[2] / "docs" / "city-cases.md").read_text("utf-8")
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")
    ]
    documented = {(row[0], row[1].split()[0], frozenset(row[2].split(", ")), row[3]) for row in rows[2:11]}
    assert documented == {
        (state or "", action, roles, after) for (state, action), (roles, after) in TRANSITIONS.items()
    }
