"""The tree of units: reading a table, who is responsible, who is above whom."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.catalogue import Level
from domain.complaint_classes import ClassList, ComplaintClass
from domain.tables import InvalidTableError, read_table
from domain.unit_tables import COLUMNS, REQUIRED, read_units, write_units
from domain.units import Duty, Outcome, SuggestedFor, Unit, UnitKind, UnitTree, UnknownUnitError, experience

HEADER = "id,name,kind,division_code,parent_id,is_environmental,is_active,duties\n"
TABLE = (
    HEADER
    + """p,省中心,CENTRE,350000,,,,
c,福州中心,CENTRE,350100,,,,
k,鼓楼中心,CENTRE,350102,,,,
pg,省政府,GOVERNMENT,350000,,,,
kg,鼓楼区政府,GOVERNMENT,350102,pg,,,
cgj,福州城管委,DEPARTMENT,350100,,,,01;02;0302
kcgj,鼓楼城管局,DEPARTMENT,350102,cgj,,,01;0302
env,福州环保局,DEPARTMENT,350100,,1,,03
town,鼓东街道,GOVERNMENT,350102001,kg,,,0109
old,旧局,DEPARTMENT,350102,cgj,,0,0101
oldest,旧股,DEPARTMENT,350102,old,,,*@350100
"""
)
CLASSES = ClassList(
    [
        ComplaintClass("01", None, "市容", ""),
        ComplaintClass("0101", "01", "垃圾", ""),
        ComplaintClass("0109", "01", "乱堆", ""),
        ComplaintClass("03", None, "环境", "", is_environmental=True),
        ComplaintClass("0302", "03", "油烟", "", is_environmental=True),
        ComplaintClass("99", None, "其他", ""),
        ComplaintClass("9901", "99", "其他", ""),
    ]
)


def tree(text: str = TABLE) -> UnitTree:
    return read_units(read_table(text, COLUMNS, REQUIRED))


def suggested(division: str, code: str, past: dict[str, Outcome] | None = None) -> list[str]:
    return [each.unit.id for each in tree().responsible(CLASSES, code, division, past)]


def test_the_longest_prefix_then_the_nearest_level_comes_first() -> None:
    assert suggested("350102001", "0109") == ["town", "kcgj", "cgj", "oldest"]
    assert suggested("350102", "0101") == ["kcgj", "cgj", "oldest"]
    assert suggested("350100", "0101") == ["cgj", "oldest"]
    assert suggested("350200", "0101") == ["pg"]


def test_environmental_classes_go_to_the_environmental_authority() -> None:
    found = tree().responsible(CLASSES, "0302", "350102001")
    assert [(each.unit.id, each.reason) for each in found[:2]] == [
        ("env", SuggestedFor.ENVIRONMENTAL_AUTHORITY),
        ("kcgj", SuggestedFor.DUTY),
    ]
    bad = {"env": Outcome(0, 1_000), "kcgj": Outcome(1_000, 0)}
    assert suggested("350102001", "0302", bad)[0] == "env"


def test_without_any_duty_the_government_is_asked() -> None:
    no_duties = UnitTree(
        Unit(each.id, each.name, each.kind, each.division_code, parent_id=each.parent_id)
        for each in tree().all
    )
    found = no_duties.responsible(CLASSES, "9901", "350102001")
    assert [(each.unit.id, each.reason) for each in found] == [("town", SuggestedFor.GOVERNMENT)]
    assert UnitTree([]).responsible(CLASSES, "9901", "350102") == []


def test_experience_moves_units_and_brings_new_ones() -> None:
    assert suggested("350102", "0101", {"kcgj": Outcome(0, 9), "cgj": Outcome(9, 0)})[0] == "cgj"
    assert "pg" not in suggested("350102", "0101", {"pg": Outcome(2, 0)})
    found = tree().responsible(CLASSES, "0101", "350102", {"pg": Outcome(3, 0), "p": Outcome(9, 0)})
    assert [each.reason for each in found if each.unit.id == "pg"] == [SuggestedFor.EXPERIENCE]
    assert "p" not in [each.unit.id for each in found]
    assert "old" not in suggested("350102", "0101", {"old": Outcome(99, 0), "nobody": Outcome(9, 0)})


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_more_answers_never_lower_and_more_returns_never_raise(answered: int, returned: int) -> None:
    now = experience(Outcome(answered, returned))
    assert -6 <= now <= 6
    assert experience(Outcome(answered + 1, returned)) >= now >= experience(Outcome(answered, returned + 1))


def test_escalation_goes_up_to_the_highest_centre() -> None:
    units = tree()

    def way(unit_id: str) -> list[str]:
        found = []
        while (above := units.next_level_up(unit_id)) is not None:
            unit_id = above.id
            found.append(unit_id)
        return found

    assert way("town") == ["kg", "pg", "p"]
    assert way("oldest") == ["cgj", "c", "p"]  # past the closed unit
    assert way("k") == ["c", "p"]
    assert way("p") == []
    assert way("nobody") == []


@settings(max_examples=50)
@given(st.lists(st.sampled_from(["a", "b", "c", "d"]), min_size=4, max_size=4), st.booleans())
def test_escalation_ends_whatever_the_parents_are(parents: list[str], is_active: bool) -> None:
    units = UnitTree(
        Unit(key, key, UnitKind.DEPARTMENT, "350100", parent_id=parent, is_active=is_active)
        for key, parent in zip("abcd", parents, strict=True)
    )
    for key in "abcd":
        above = units.next_level_up(key)
        assert above is None or (is_active and above.id != key)


def test_finding_units() -> None:
    units = tree()
    assert units.get("cgj").level is Level.CITY
    for missing in ("old", "nobody"):
        with pytest.raises(UnknownUnitError):
            units.get(missing)
    assert [unit.id for unit in units.children("cgj")] == ["kcgj", "old"]
    centre = units.centre("350102001")
    assert centre is not None
    assert centre.id == "k"
    assert units.is_centre("k")
    assert not units.is_centre("kg")
    assert not units.is_centre(None)
    assert [unit.id for unit in units.select("350102")] == ["k", "kcgj", "kg", "oldest"]
    assert [unit.id for unit in units.select("350100", UnitKind.CENTRE, below=True)] == ["c", "k"]
    authority = units.environmental_authority("350102")
    assert authority is not None
    assert authority.id == "env"
    assert units.environmental_authority("350200") is None
    assert units.get("oldest").duties == (Duty("", "350100"),)


def test_what_is_written_reads_back_the_same() -> None:
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS)
    writer.writeheader()
    writer.writerows(write_units(tree()))
    assert tree(out.getvalue()).all == tree().all


@pytest.mark.parametrize(
    ("row", "line", "column"),
    [
        ("x y,名,CENTRE,350200,,,,", 2, "id"),
        (",名,CENTRE,350200,,,,", 2, "id"),
        ("x,,CENTRE,350200,,,,", 2, "name"),
        ("x,名,OFFICE,350200,,,,", 2, "kind"),
        ("x,名,CENTRE,3502001,,,,", 2, "division_code"),
        ("x,名,CENTRE,350200,y,,,", 2, "parent_id"),
        ("x,名,CENTRE,350200,x,,,", 2, "parent_id"),
        ("x,名,CENTRE,350200,,vielleicht,,", 2, "is_environmental"),
        ("x,名,CENTRE,350200,,,,1", 2, "duties"),
        ("x,名,CENTRE,350200,,,,01@9", 2, "duties"),
        ("x,名,CENTRE,350200,,,,01;01", 2, "duties"),
        ("x,名,CENTRE,350200,,,,,,", 2, "*"),
        ('x,"名,CENTRE,350200,,,,', 2, "*"),
        ("x,名,CENTRE,350200,,,,\nx,名,CENTRE,350300,,,,", 3, "id"),
        ("x,名,CENTRE,350200,,,,\n\ny,名,CENTRE,350200,,,,", 4, "division_code"),
        ("", 1, "id"),
    ],
)
def test_a_wrong_table_says_where(row: str, line: int, column: str) -> None:
    with pytest.raises(InvalidTableError) as refused:
        tree(HEADER + row)
    assert (refused.value.params["line"], refused.value.params["column"]) == (line, column)


@pytest.mark.parametrize("header", ["id,name,kind", "id,name,kind,division_code,x", "id,id,name,kind", ""])
def test_a_wrong_header_is_refused(header: str) -> None:
    with pytest.raises(InvalidTableError) as refused:
        tree(header + "\n")
    assert refused.value.params["line"] == 1


def test_two_units_that_are_above_each_other_are_refused() -> None:
    with pytest.raises(InvalidTableError) as refused:
        tree(HEADER + "x,名,DEPARTMENT,350200,y,,,\ny,名,DEPARTMENT,350200,x,,,\n")
    assert refused.value.params["column"] == "parent_id"
