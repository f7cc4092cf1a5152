"""Calendars and limits that an operator supplies as files."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from domain.complaint_limits import DEFAULT_RULES, InvalidLimitRulesError, LimitRule
from domain.complaints import Kind
from domain.working_days import calendar_of
from store.complaint_limits import load_limit_rules
from store.working_days import InvalidHolidaysError, load_calendar, parse_holidays

PUBLISHED = Path(__file__).parents[3] / "shared/data/holidays"
NOTICE = {
    "$schema": "https://example.org/schema.json",
    "year": 2027,
    "papers": ["https://example.org/notice"],
    "days": [
        {"name": "元旦", "date": "2026-12-31", "isOffDay": True},
        {"name": "元旦", "date": "2027-01-01", "isOffDay": True},
        {"name": "元旦", "date": "2027-01-03", "isOffDay": False},
    ],
}
RULES = """
[[rule]]
id = "fuzhou-noise"
kind = "COMPLAINT"
days = 5
valid_from = 2027-01-01
class_prefix = "03"
division = "350100"

[[rule]]
id = "convenience-2027"
kind = "COMPLAINT"
days = 2
valid_from = 2027-01-01
is_convenience = true
"""


def test_a_folder_of_notices(tmp_path: Path) -> None:
    (tmp_path / "2027.json").write_text(json.dumps(NOTICE))
    (tmp_path / "2028.json").write_text('{"year": 2028, "papers": [], "days": []}')
    calendar = load_calendar(tmp_path)
    assert calendar.is_published(2027)
    assert not calendar.is_published(2028)
    assert not calendar.is_working_day(date(2026, 12, 31))
    assert not calendar.is_working_day(date(2027, 1, 1))
    assert calendar.is_working_day(date(2027, 1, 3))
    assert load_calendar(None) == calendar_of()


@pytest.mark.skipif(
    not PUBLISHED.is_dir(), reason="the published calendars (shared/data/holidays) are not here"
)
def test_the_published_files_say_what_is_shipped() -> None:
    calendar = load_calendar(PUBLISHED)
    shipped = calendar_of()
    assert calendar.years == shipped.years
    for day in map(date.fromordinal, range(date(2007, 1, 1).toordinal(), date(2027, 6, 1).toordinal())):
        assert calendar.is_expected_working_day(day) is shipped.is_expected_working_day(day), day


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "Input data was truncated"),
        ('{"year": 2027}', "Object missing required field `days`"),
        ('{"year": "2027", "days": []}', "Expected `int`, got `str` - at `$.year`"),
        (
            '{"year": 2027, "days": [{"name": "元旦", "date": "2027-02-30", "isOffDay": true}]}',
            "Invalid RFC3339 encoded date - at `$.days[0].date`",
        ),
        (
            '{"year": 2027, "days": [{"name": "元旦", "date": "2025-01-01", "isOffDay": true}]}',
            "days[0] (2025-01-01) is not of the year 2027",
        ),
        (
            '{"year": 2027, "days": [{"name": "", "date": "2027-01-01", "isOffDay": true},'
            ' {"name": "", "date": "2027-01-01", "isOffDay": false}]}',
            "days[1] (2027-01-01) is there twice",
        ),
    ],
)
def test_notices_that_cannot_be_used(tmp_path: Path, content: str, reason: str) -> None:
    file = tmp_path / "2027.json"
    file.write_text(content)
    with pytest.raises(InvalidHolidaysError) as refusal:
        load_calendar(tmp_path)
    assert refusal.value.params == {"reason": f"{file}: {reason}"}


def test_files_that_are_not_there_or_too_large(tmp_path: Path) -> None:
    with pytest.raises(InvalidHolidaysError, match="there is no such folder"):
        load_calendar(tmp_path / "none")
    with pytest.raises(InvalidHolidaysError, match="No such file"):
        parse_holidays(tmp_path / "none.json")
    (tmp_path / "2027.json").write_text(" " * 1_000_001)
    with pytest.raises(InvalidHolidaysError, match="larger than 1000000 bytes"):
        load_calendar(tmp_path)


def test_a_file_of_limits(tmp_path: Path) -> None:
    file = tmp_path / "limits.toml"
    file.write_text(RULES)
    rules = load_limit_rules(file)
    assert rules.rules == (
        *DEFAULT_RULES,
        LimitRule("fuzhou-noise", Kind.COMPLAINT, 5, date(2027, 1, 1), class_prefix="03", division="350100"),
        LimitRule("convenience-2027", Kind.COMPLAINT, 2, date(2027, 1, 1), is_convenience=True),
    )
    at = datetime(2027, 2, 1, tzinfo=UTC)
    assert rules.limit_for(Kind.COMPLAINT, "0301", False, "350102", at=at).id == "fuzhou-noise"
    assert load_limit_rules(None).rules == DEFAULT_RULES


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("[[rule]]", "[[rule]", "Expected ']]' at the end of an array declaration (at line 2, column 7)"),
        ("days = 5", "days = 0", "Expected `int` >= 1 - at `$.rule[0].days`"),
        ('kind = "COMPLAINT"', 'kind = "WISH"', "Invalid enum value 'WISH' - at `$.rule[0].kind`"),
        ("valid_from = 2027-01-01", "", "Object missing required field `valid_from` - at `$.rule[0]`"),
        ('division = "350100"', 'where = "35"', "Object contains unknown field `where` - at `$.rule[0]`"),
        ('id = "fuzhou-noise"', 'id = "help"', "help: two rules have this id"),
    ],
)
def test_files_of_limits_that_cannot_be_used(tmp_path: Path, old: str, new: str, reason: str) -> None:
    file = tmp_path / "limits.toml"
    file.write_text(RULES.replace(old, new, 1))
    with pytest.raises(InvalidLimitRulesError) as refusal:
        load_limit_rules(file)
    assert refusal.value.params == {"reason": f"{file}: {reason}"}


def test_a_file_of_limits_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidLimitRulesError, match=r"none\.toml: No such file"):
        load_limit_rules(tmp_path / "none.toml")
