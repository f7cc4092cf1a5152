"""Who may see what: every role, level and moment, and the default."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.access import (
    PUBLIC,
    Assurance,
    AssuranceTooLowError,
    ForbiddenError,
    Role,
    Rule,
    UnauthenticatedError,
    Viewer,
    decide,
    is_within,
)

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
viewers = st.builds(
    Viewer,
    account_id=st.just("a"),
    session_id=st.just("s"),
    roles=st.frozensets(st.sampled_from(Role)),
    assurance=st.sampled_from(Assurance),
    expires_at=st.sampled_from([NOW, NOW + timedelta(seconds=1), NOW - timedelta(days=1)]),
    company_code=st.sampled_from([None, "91350100M000100Y43"]),
    unit=st.sampled_from([None, "12345"]),
    division_code=st.sampled_from([None, "350100"]),
    strong_until=st.sampled_from([None, NOW, NOW + timedelta(minutes=1)]),
)
rules = st.builds(Rule, st.frozensets(st.sampled_from(Role)), st.sampled_from(Assurance))


@given(rules, st.none() | viewers)
def test_only_whom_a_rule_names_passes(rule: Rule, viewer: Viewer | None) -> None:
    decide(PUBLIC, viewer, now=NOW)
    if viewer is None or viewer.expires_at <= NOW:
        expected: type[Exception] | None = UnauthenticatedError
    else:
        effective = set(viewer.roles)
        if viewer.company_code is None:
            effective.discard(Role.AGENT)
        if viewer.unit is None or viewer.division_code is None:
            effective.discard(Role.DESK)
        l3 = viewer.assurance is Assurance.L3 and viewer.strong_until != NOW
        level = 3 if l3 else min(viewer.assurance, 2)
        expected = ForbiddenError if not effective & rule.roles else None
        if expected is None and level < rule.level:
            expected = AssuranceTooLowError
    if expected is None:
        decide(rule, viewer, now=NOW)
        return
    with pytest.raises(expected):
        decide(rule, viewer, now=NOW)


@given(viewers)
def test_without_a_rule_nobody_passes(viewer: Viewer) -> None:
    with pytest.raises((ForbiddenError, UnauthenticatedError)):
        decide(None, viewer, now=NOW)
    with pytest.raises(UnauthenticatedError):
        decide(None, None, now=NOW)


def test_a_level_that_is_too_low_says_how_to_reach_it() -> None:
    viewer = Viewer("a", "s", frozenset({Role.CITIZEN}), Assurance.L1, NOW + timedelta(minutes=1))
    with pytest.raises(AssuranceTooLowError) as caught:
        decide(Rule(frozenset({Role.CITIZEN}), Assurance.L2), viewer, now=NOW)
    assert caught.value.params == {"required": "L2", "current": "L1", "reach_by": "verifyIdentity"}


@pytest.mark.parametrize(
    ("division", "scope", "inside"),
    [
        ("350102", "350000", True),
        ("350102", "350100", True),
        ("350102001", "350102", True),
        ("350102001", "350102001", True),
        ("350102002", "350102001", False),
        ("350200", "350100", False),
        ("350100", "350102", False),
        ("360100", "350000", False),
    ],
)
def test_scopes_of_divisions(division: str, scope: str, inside: bool) -> None:
    assert is_within(division, scope) is inside
