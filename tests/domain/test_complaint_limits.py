"""Limits of complaints: which rule decides, and rules that do not hold together."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from domain.complaint_limits import DEFAULT_RULES, InvalidLimitRulesError, LimitRule, limit_rules
from domain.complaints import Kind

NEW_YEAR = date(2026, 1, 1)
RULES = limit_rules(
    [
        LimitRule("complaint-2026", Kind.COMPLAINT, 9, NEW_YEAR),
        LimitRule("fuzhou", Kind.COMPLAINT, 8, NEW_YEAR, division="350100"),
        LimitRule("gulou", Kind.COMPLAINT, 7, date(2025, 1, 1), division="350102"),
        LimitRule("noise", Kind.COMPLAINT, 6, NEW_YEAR, class_prefix="03"),
        LimitRule("noise-night", Kind.COMPLAINT, 5, NEW_YEAR, date(2026, 7, 1), class_prefix="0301"),
        LimitRule("street", Kind.COMPLAINT, 4, NEW_YEAR, class_prefix="03", division="350102001"),
    ]
)


@pytest.mark.parametrize(
    ("class_code", "is_convenience", "division", "at", "rule"),
    [
        (None, False, "350200", "2026-03-01", "complaint-2026"),
        (None, False, "350200", "2025-12-31", "complaint"),
        ("0999", False, "350105", "2026-03-01", "fuzhou"),
        ("0999", False, "350105", "2025-03-01", "complaint"),
        ("0999", False, "350102", "2026-03-01", "gulou"),  # narrower, though older
        ("0999", False, "350102003", "2026-03-01", "gulou"),
        ("0302", False, "350102", "2026-03-01", "noise"),  # what it is about goes before where it is
        ("0301", False, "350102", "2026-03-01", "noise-night"),
        ("0301", False, "350102", "2026-07-01", "noise"),  # the other has ended
        ("0302", False, "350102001", "2026-03-01", "street"),
        ("0302", True, "350102001", "2026-03-01", "complaint-convenience"),
    ],
)
def test_the_rule_that_says_most_decides(
    class_code: str | None, is_convenience: bool, division: str, at: str, rule: str
) -> None:
    instant = datetime.fromisoformat(at).replace(hour=2, tzinfo=UTC)
    assert RULES.limit_for(Kind.COMPLAINT, class_code, is_convenience, division, at=instant).id == rule
    assert RULES.limit_for(Kind.HELP, class_code, is_convenience, division, at=instant).id == "help"


def test_a_rule_begins_at_midnight_in_shanghai() -> None:
    before, after = datetime(2025, 12, 31, 15, 59, tzinfo=UTC), datetime(2025, 12, 31, 16, 0, tzinfo=UTC)
    assert RULES.limit_for(Kind.COMPLAINT, None, False, "350200", at=before).id == "complaint"
    assert RULES.limit_for(Kind.COMPLAINT, None, False, "350200", at=after).id == "complaint-2026"


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        ([LimitRule("help", Kind.HELP, 4, NEW_YEAR)], "help: two rules have this id"),
        (
            [LimitRule("a", Kind.HELP, 4, NEW_YEAR), LimitRule("b", Kind.HELP, 5, NEW_YEAR)],
            "b: for the same as a, from the same day",
        ),
        ([LimitRule("a", Kind.HELP, 4, NEW_YEAR, NEW_YEAR)], "a: it ends before it begins"),
    ],
)
def test_rules_that_do_not_hold_together(rules: list[LimitRule], reason: str) -> None:
    with pytest.raises(InvalidLimitRulesError) as refusal:
        limit_rules(rules)
    assert refusal.value.params == {"reason": reason}


def test_the_ground_has_every_kind() -> None:
    assert {rule.kind for rule in DEFAULT_RULES if rule.is_convenience is None} == set(Kind)
    assert limit_rules().rules == DEFAULT_RULES
