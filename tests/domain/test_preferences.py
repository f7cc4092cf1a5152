"""Quiet hours, digests and consents, for every kind, minute and preference there is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.preferences import (
    BY_DEFAULT,
    NEVER_COUNTED,
    SHANGHAI,
    Consent,
    Decision,
    Digest,
    DigestNotPossibleError,
    InvalidQuietHoursError,
    KindChange,
    MessageKind,
    NotificationWay,
    Plan,
    Preferences,
    QuietHours,
    change_kinds,
    check_quiet_hours,
    decide,
    decide_notice,
    digest_at,
    quiet_until,
)

NOW = datetime(2026, 11, 22, 4, tzinfo=UTC)  # Sunday noon in Fujian
NIGHT = QuietHours(22 * 60 + 30, 7 * 60)
MINUTE = timedelta(minutes=1)
TICK = timedelta(microseconds=1)

minutes = st.integers(0, 1439)
hours = st.tuples(minutes, minutes).filter(lambda both: both[0] != both[1]).map(lambda b: QuietHours(*b))
instants = st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))
kinds = st.sampled_from(list(MessageKind))
ways = st.sampled_from(list(NotificationWay))
consents = st.builds(Consent, st.booleans(), st.just(NOW))
preferences = st.builds(
    Preferences,
    version=st.integers(0, 5),
    consents=st.dictionaries(kinds, st.dictionaries(ways, consents)),
    digests=st.dictionaries(kinds, st.sampled_from(list(Digest))),
    quiet_hours=st.none() | hours,
)


def local(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=SHANGHAI).astimezone(UTC)


def is_quiet(wanted: QuietHours | None, instant: datetime) -> bool:
    """Say it minute by minute, in another way than the rule does."""
    if wanted is None:
        return False
    there = instant.astimezone(timezone(timedelta(hours=8)))
    minute = there.hour * 60 + there.minute
    length = (wanted.end - wanted.start) % 1440
    return (minute - wanted.start) % 1440 < length


@given(kinds, st.booleans(), preferences, instants)
def test_nothing_is_sent_in_quiet_hours_unless_it_is_urgent(
    kind: MessageKind, urgent: bool, wanted: Preferences, now: datetime
) -> None:
    decisions = decide(kind, urgent=urgent, preferences=wanted, now=now)
    assert set(decisions) == set(NotificationWay)
    for way, decision in decisions.items():
        said = wanted.consents.get(kind, {}).get(way)
        allowed = said.is_given if said is not None else way in BY_DEFAULT
        assert (decision.plan is Plan.DROP) == (not allowed)
        if not allowed:
            continue
        if urgent:
            assert decision == Decision(Plan.SEND)
        elif decision.plan is Plan.SEND:
            assert not is_quiet(wanted.quiet_hours, now)
        else:
            assert decision.at is not None
            assert decision.at > now
            assert not is_quiet(wanted.quiet_hours, decision.at)


@given(hours, instants)
def test_a_hold_ends_exactly_with_the_quiet_hours(wanted: QuietHours, now: datetime) -> None:
    until = quiet_until(wanted, now)
    assert (until is not None) == is_quiet(wanted, now)
    if until is None:
        return
    assert until.utcoffset() == timedelta(0)
    there = until.astimezone(SHANGHAI)
    assert (there.hour * 60 + there.minute, there.second, there.microsecond) == (wanted.end, 0, 0)
    assert now < until <= now + timedelta(minutes=(wanted.end - wanted.start) % 1440)
    assert not is_quiet(wanted, until)
    assert is_quiet(wanted, until - TICK)
    wholly_quiet = Preferences(quiet_hours=wanted)
    held = decide(MessageKind.SYSTEM, urgent=False, preferences=wholly_quiet, now=now)
    assert held[NotificationWay.PUSH] == Decision(Plan.HOLD, until)
    again = decide(MessageKind.SYSTEM, urgent=False, preferences=wholly_quiet, now=until)
    assert again[NotificationWay.PUSH] == Decision(Plan.SEND)


@given(st.sampled_from([Digest.DAILY, Digest.WEEKLY]), st.none() | hours, instants)
def test_a_digest_is_due_within_its_period_and_outside_of_quiet_hours(
    digest: Digest, wanted: QuietHours | None, now: datetime
) -> None:
    due = digest_at(digest, wanted, now)
    assert now < due <= now + timedelta(days=2 if digest is Digest.DAILY else 8)
    assert not is_quiet(wanted, due)
    if wanted is None:
        there = due.astimezone(SHANGHAI)
        assert (there.hour, there.minute, there.second, there.microsecond) == (9, 0, 0, 0)
        assert digest is Digest.DAILY or there.weekday() == 0


def test_times_of_a_night() -> None:
    for now, until in (
        ("2026-11-22 22:29:59", None),
        ("2026-11-22 22:30", "2026-11-23 07:00"),
        ("2026-11-22 23:59:59", "2026-11-23 07:00"),
        ("2026-11-23 00:00", "2026-11-23 07:00"),
        ("2026-11-23 06:59:59", "2026-11-23 07:00"),
        ("2026-11-23 07:00", None),
        ("2026-12-31 23:00", "2027-01-01 07:00"),
    ):
        assert quiet_until(NIGHT, local(now)) == (local(until) if until else None)
    assert quiet_until(QuietHours(720, 840), local("2026-11-22 13:00")) == local("2026-11-22 14:00")
    assert quiet_until(QuietHours(600, 0), local("2026-11-22 23:00")) == local("2026-11-23 00:00")
    assert quiet_until(None, NOW) is None


def test_times_of_digests() -> None:
    assert digest_at(Digest.DAILY, None, NOW) == local("2026-11-23 09:00")
    assert digest_at(Digest.DAILY, None, local("2026-11-23 08:59")) == local("2026-11-23 09:00")
    assert digest_at(Digest.DAILY, None, local("2026-11-23 09:00")) == local("2026-11-24 09:00")
    assert digest_at(Digest.WEEKLY, None, local("2026-11-23 09:00")) == local("2026-11-30 09:00")
    assert digest_at(Digest.WEEKLY, None, NOW) == local("2026-11-23 09:00")
    assert digest_at(Digest.DAILY, QuietHours(480, 600), NOW) == local("2026-11-23 10:00")
    with pytest.raises(ValueError, match="no digest"):
        digest_at(Digest.AT_ONCE, None, NOW)


def test_what_cannot_wait_is_never_counted() -> None:
    for kind in MessageKind:
        wanted = Preferences(digests={kind: Digest.DAILY})
        plan = decide(kind, urgent=False, preferences=wanted, now=NOW)[NotificationWay.PUSH].plan
        assert plan is (Plan.SEND if kind in NEVER_COUNTED else Plan.DIGEST)


def test_a_digest_itself_goes_where_it_was_counted_for_and_keeps_quiet_hours() -> None:
    push = frozenset({NotificationWay.PUSH})
    sent = decide_notice(push, preferences=Preferences(), now=NOW)
    assert {way: each.plan.value for way, each in sent.items()} == {
        "PUSH": "SEND",
        "WECHAT": "DROP",
        "SMS": "DROP",
    }
    night = local("2026-11-22 23:00")
    held = decide_notice(push, preferences=Preferences(quiet_hours=NIGHT), now=night)
    assert held[NotificationWay.PUSH] == Decision(Plan.HOLD, local("2026-11-23 07:00"))


def test_a_consent_keeps_the_time_at_which_it_was_given() -> None:
    first = change_kinds(
        Preferences(),
        (KindChange(MessageKind.AIR_QUALITY, {NotificationWay.SMS: True}, Digest.DAILY),),
        now=NOW,
    )
    assert first.consents == {MessageKind.AIR_QUALITY: {NotificationWay.SMS: Consent(True, NOW)}}
    assert first.digests == {MessageKind.AIR_QUALITY: Digest.DAILY}
    same = change_kinds(
        first, (KindChange(MessageKind.AIR_QUALITY, {NotificationWay.SMS: True}),), now=NOW + MINUTE
    )
    assert same == first
    ended = change_kinds(
        first, (KindChange(MessageKind.AIR_QUALITY, {NotificationWay.SMS: False}),), now=NOW + MINUTE
    )
    assert ended.consents == {MessageKind.AIR_QUALITY: {NotificationWay.SMS: Consent(False, NOW + MINUTE)}}
    assert first.consents == {MessageKind.AIR_QUALITY: {NotificationWay.SMS: Consent(True, NOW)}}


def test_what_cannot_be() -> None:
    for kind in NEVER_COUNTED:
        with pytest.raises(DigestNotPossibleError) as refused:
            change_kinds(Preferences(), (KindChange(kind, {}, Digest.WEEKLY),), now=NOW)
        assert refused.value.params == {"field": "kinds", "kind": kind.value}
    for start, end in ((60, 60), (-1, 5), (5, 1440)):
        with pytest.raises(InvalidQuietHoursError):
            check_quiet_hours(QuietHours(start, end))
    assert check_quiet_hours(NIGHT) == NIGHT
