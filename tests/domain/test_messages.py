"""Payloads, transitions, retries: rules of messages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.ids import SHARDS, new_id, shard_of
from domain.message_texts import (
    MAX_PRIVATE_CHARS,
    MAX_PUBLIC_CHARS,
    MAX_TITLE_CHARS,
    AirLevel,
    AirQuality,
    AnyPayload,
    ApplicationProgress,
    ApplicationStep,
    AuthorityNotice,
    BusArriving,
    ComplaintProgress,
    ComplaintStage,
    Hazard,
    Language,
    PublicWarning,
    SystemEvent,
    SystemNotice,
    WarningColour,
)
from domain.messages import (
    TRANSITIONS,
    Audience,
    Campaign,
    Counts,
    InvalidAudienceError,
    InvalidMessageError,
    InvalidTopicError,
    MessageState,
    Step,
    StepNotAllowedError,
    count_states,
    due_part,
    new_message,
    next_state,
    retry_delay_s,
)

NOW = datetime(2026, 11, 22, 4, tzinfo=UTC)
SECRET = "林小明"
PAYLOADS: list[AnyPayload] = [
    *(ApplicationProgress("a1", f"{SECRET}的低保金", step, SECRET) for step in ApplicationStep),
    *(ComplaintProgress("c1", SECRET, stage, SECRET, SECRET) for stage in ComplaintStage),
    BusArriving("r1", "1路", "s1", SECRET, 3),
    *(SystemNotice(event, SECRET) for event in SystemEvent),
]
PUBLIC: list[AnyPayload] = [
    *(AirQuality("p1", "福州", 180, level, "PM2.5") for level in AirLevel),
    *(PublicWarning("w1", hazard, WarningColour.RED, "厦门", "省气象台", "请留在室内") for hazard in Hazard),
    AuthorityNotice("省卫健委", "接种", "开始接种", "详情"),
]


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda payload: type(payload).__name__)
@pytest.mark.parametrize("language", Language)
def test_the_push_has_no_personal_data_and_the_app_has_all(payload: AnyPayload, language: Language) -> None:
    public, private = payload.public(language), payload.private(language)
    assert SECRET not in public.title + public.body
    assert SECRET in private.body
    assert public.body
    assert public.title


@pytest.mark.parametrize("payload", [*PAYLOADS, *PUBLIC], ids=lambda payload: type(payload).__name__)
def test_texts_differ_by_language_and_payloads_survive_storing(payload: AnyPayload) -> None:
    if not isinstance(payload, AuthorityNotice):
        assert payload.public(Language.ZH) != payload.public(Language.EN)
    assert msgspec.convert(msgspec.to_builtins(payload), AnyPayload) == payload


@given(
    st.builds(
        AuthorityNotice,
        authority=st.text(min_size=1, max_size=80),
        title=st.text(min_size=1, max_size=40),
        summary=st.text(min_size=1, max_size=150),
        body=st.text(min_size=1, max_size=1800),
    )
    | st.builds(
        PublicWarning,
        warning_id=st.just("w"),
        hazard=st.sampled_from(Hazard),
        colour=st.sampled_from(WarningColour),
        place_name=st.text(min_size=1, max_size=80),
        issuer=st.text(min_size=1, max_size=80),
        advice=st.none() | st.text(min_size=1, max_size=150),
    ),
    st.sampled_from(Language),
)
def test_texts_are_bounded(payload: AnyPayload, language: Language) -> None:
    public, private = payload.public(language), payload.private(language)
    assert len(public.title) <= MAX_TITLE_CHARS
    assert len(public.body) <= MAX_PUBLIC_CHARS
    assert len(private.body) <= MAX_PRIVATE_CHARS


def test_payloads_out_of_bounds_are_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        new_message("m", AirQuality("p", "x" * 81, 10, AirLevel.GOOD), Audience.of_account("a"), "k", now=NOW)
    with pytest.raises(msgspec.ValidationError):
        new_message("m", AirQuality("p", "x", 501, AirLevel.GOOD), Audience.of_account("a"), "k", now=NOW)


def test_the_language_of_a_locale() -> None:
    assert [Language.of_locale(text) for text in ("en-US", "EN", "zh-CN", "fr", "english")] == [
        Language.EN,
        Language.EN,
        Language.ZH,
        Language.ZH,
        Language.ZH,
    ]


def test_every_transition_and_no_other() -> None:
    for state in MessageState:
        for step in Step:
            expected = TRANSITIONS.get((state, step))
            if expected is None:
                with pytest.raises(StepNotAllowedError) as error:
                    next_state(state, step)
                assert error.value.params == {"state": state.value, "step": step.value}
            else:
                assert next_state(state, step) is expected
    ends = {MessageState.CANCELLED, MessageState.EXPIRED}
    assert not any(state in ends for state, _ in TRANSITIONS)


@pytest.mark.parametrize("topic", ["division:350100", "route:5-上行", "x:1", "stop:", f"stop:{'1' * 65}"])
def test_topics(topic: str) -> None:
    if topic == "division:350100":
        assert Audience.of_topics((topic, topic)).topics == (topic,)
    else:
        with pytest.raises(InvalidTopicError):
            Audience.of_topics((topic,))


def test_audiences_and_bounds_of_messages() -> None:
    payload = SystemNotice(SystemEvent.EXPORT_READY)
    for audience in (Audience(), Audience(account="a", topics=("stop:1",))):
        with pytest.raises(InvalidAudienceError):
            new_message("m", payload, audience, "k", now=NOW)
    one = Audience.of_account("a")
    with pytest.raises(InvalidMessageError):
        new_message("m", payload, one, "", now=NOW)
    with pytest.raises(InvalidMessageError):
        new_message("m", payload, one, "k", now=NOW, expires_at=NOW)
    with pytest.raises(InvalidMessageError):
        new_message("m", payload, one, "k", now=NOW, campaign=Campaign("c", window_s=8 * 86_400))
    with pytest.raises(InvalidTopicError):
        Audience.of_topics(tuple(f"stop:{number}" for number in range(65)))


def test_a_bus_alert_lives_five_minutes_and_red_warnings_are_urgent() -> None:
    one = Audience.of_account("a")
    bus = new_message("m", BusArriving("r", "1路", "s", "站", 2), one, "k", now=NOW)
    assert bus.expires_at == NOW + timedelta(minutes=5)
    assert not bus.is_expired(NOW + timedelta(seconds=299))
    assert bus.is_expired(NOW + timedelta(seconds=300))
    for colour in WarningColour:
        warning = PublicWarning("w", Hazard.FLOOD, colour, "福州", "水利厅")
        urgent = new_message("m", warning, one, "k", now=NOW).urgent
        assert urgent is (colour in {WarningColour.ORANGE, WarningColour.RED})


@given(st.integers(1, 50), st.none() | st.floats(0, 4000), st.floats(0, 1, exclude_max=True))
def test_retries_wait_longer_and_never_less_than_asked(
    attempts: int, asked: float | None, jitter: float
) -> None:
    delay = retry_delay_s(attempts, asked, jitter)
    assert delay >= (asked or 0)
    assert delay >= min(2.0 ** (attempts - 1), 900) / 2
    assert delay <= max(min(2.0 ** (attempts - 1), 900), (asked or 0) * 1.1)


def test_parts_are_spread_over_the_window() -> None:
    message = new_message(
        "m",
        SystemNotice(SystemEvent.EXPORT_READY),
        Audience.of_topics(("stop:1",)),
        "k",
        now=NOW,
        campaign=Campaign("c", window_s=3600),
    )
    assert message.state is MessageState.DRAFT
    assert due_part(message, NOW) == NOW
    begun = msgspec.structs.replace(message, started_at=NOW, splits=4)
    dues = [due_part(msgspec.structs.replace(begun, done=done), NOW) - NOW for done in range(4)]
    assert dues == [timedelta(minutes=15 * part) for part in range(4)]


@given(st.datetimes(datetime(2000, 1, 1), datetime(2200, 1, 1)), st.timedeltas(timedelta(milliseconds=1)))
def test_ids_sort_by_time(at: datetime, later: timedelta) -> None:
    first = at.replace(tzinfo=UTC)
    if first.year + later.days // 365 < 2300:
        assert new_id(first) < new_id(first + later)
    assert len(new_id(first)) == 26


@given(st.text(max_size=40))
def test_shards_are_stable_and_in_range(account: str) -> None:
    assert 0 <= shard_of(account) < SHARDS
    assert shard_of(account) == shard_of(account)


def test_states_are_counted_by_name() -> None:
    counts = count_states({"Q": 1, "S": 3, "F": 2, "H": 0})
    assert counts == Counts(waiting=1, sent=3, failed=2)
    assert (counts.open, counts.total) == (1, 6)
