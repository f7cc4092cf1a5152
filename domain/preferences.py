"""What a citizen wants to be told, how and when: consents, digests, quiet hours. Rules only.

The inbox is no channel: whatever is for an account is in its inbox.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, time, timedelta, timezone
from enum import StrEnum
from typing import Annotated, Final

from msgspec import Meta, Struct, field
from msgspec.structs import replace

from domain.errors import DomainError
from domain.message_texts import Language

SHANGHAI: Final = timezone(timedelta(hours=8), "Asia/Shanghai")
"""China has one time all year round."""
DIGEST_AT: Final = time(9, 0)
DIGEST_WEEKDAY: Final = 0
DAY_MINUTES: Final = 24 * 60


class MessageKind(StrEnum):
    """What messages are about; the values are the tags of their payloads (domain.message_texts)."""

    APPLICATION_PROGRESS = "APPLICATION_PROGRESS"
    COMPLAINT_STEP = "COMPLAINT_STEP"
    BUS_ARRIVING = "BUS_ARRIVING"
    AIR_QUALITY = "AIR_QUALITY"
    WARNING = "WARNING"
    AUTHORITY = "AUTHORITY"
    SYSTEM = "SYSTEM"


class NotificationWay(StrEnum):
    """A way out of the app, for which a citizen may be asked."""

    PUSH = "PUSH"
    WECHAT = "WECHAT"
    SMS = "SMS"


class Digest(StrEnum):
    """Whether messages of a kind are told one by one or counted."""

    AT_ONCE = "AT_ONCE"
    DAILY = "DAILY"
    WEEKLY = "WEEKLY"


BY_DEFAULT: Final = frozenset({NotificationWay.PUSH, NotificationWay.WECHAT})
"""Ways that need no consent of ours: the phone, or WeChat, has asked the citizen already."""
NEVER_COUNTED: Final = frozenset({MessageKind.BUS_ARRIVING, MessageKind.WARNING})
"""Kinds that are worthless by the time of a digest."""


class PreferencesConflictError(DomainError):
    """The preferences were changed meanwhile; `current` is their version now."""

    code = "PREFERENCES_CONFLICT"


class InvalidQuietHoursError(DomainError):
    """Quiet hours begin and end at different minutes of a day."""

    code = "INVALID_QUIET_HOURS"


class DigestNotPossibleError(DomainError):
    """Messages of this kind are worthless by the time of a digest."""

    code = "DIGEST_NOT_POSSIBLE"


class Consent(Struct, frozen=True):
    """What a citizen said about one kind and one way, and when, UTC."""

    is_given: bool
    at: datetime


class QuietHours(Struct, frozen=True):
    """From one minute of the day until before another, in Asia/Shanghai; over midnight when it ends first."""

    start: Annotated[int, Meta(ge=0, lt=DAY_MINUTES)]
    end: Annotated[int, Meta(ge=0, lt=DAY_MINUTES)]


class Preferences(Struct, frozen=True, omit_defaults=True):
    """What one account wants; `version` 0: it has never said.

    `consents` by kind and way, `digests` by kind; what is missing is as it is for everybody. `language` is
    that in which it was said last, in which text messages come: a phone number has no locale.
    """

    version: int = 0
    consents: dict[MessageKind, dict[NotificationWay, Consent]] = field(default_factory=dict)
    digests: dict[MessageKind, Digest] = field(default_factory=dict)
    quiet_hours: QuietHours | None = None
    updated_at: datetime | None = None
    language: Language = Language.ZH


class KindChange(Struct, frozen=True):
    """What is to change about one kind; None leaves the digest as it is."""

    kind: MessageKind
    consents: Mapping[NotificationWay, bool] = {}
    digest: Digest | None = None


class Plan(StrEnum):
    """What becomes of one message on one way."""

    SEND = "SEND"
    HOLD = "HOLD"
    """Send at the end of the quiet hours."""
    DIGEST = "DIGEST"
    """Count in the digest that goes out at an instant."""
    DROP = "DROP"


class Decision(Struct, frozen=True):
    """A plan, and until when it holds or at what time the digest is due."""

    plan: Plan
    at: datetime | None = None


SEND: Final = Decision(Plan.SEND)
DROP: Final = Decision(Plan.DROP)


def check_quiet_hours(hours: QuietHours) -> QuietHours:
    """Return quiet hours that begin and end at different minutes of a day.

    Raises: InvalidQuietHoursError.
    """
    if hours.start == hours.end or not (0 <= hours.start < DAY_MINUTES and 0 <= hours.end < DAY_MINUTES):
        raise InvalidQuietHoursError(field="quietHours")
    return hours


def is_given(preferences: Preferences, kind: MessageKind, way: NotificationWay) -> bool:
    """Tell whether messages of a kind may go out on a way."""
    consent = preferences.consents.get(kind, {}).get(way)
    return way in BY_DEFAULT if consent is None else consent.is_given


def kinds_allowed(preferences: Preferences, way: NotificationWay) -> list[MessageKind]:
    """List the kinds of messages that may go out on a way."""
    return [kind for kind in MessageKind if is_given(preferences, kind, way)]


def digest_of(preferences: Preferences, kind: MessageKind) -> Digest:
    """Tell how messages of a kind are told."""
    return preferences.digests.get(kind, Digest.AT_ONCE)


def change_kinds(preferences: Preferences, changes: tuple[KindChange, ...], *, now: datetime) -> Preferences:
    """Apply changes; a consent that says what it said before keeps the time at which it was given.

    Raises: DigestNotPossibleError.
    """
    consents = {kind: dict(ways) for kind, ways in preferences.consents.items()}
    digests = dict(preferences.digests)
    for change in changes:
        for way, given in change.consents.items():
            known = consents.setdefault(change.kind, {})
            if way not in known or known[way].is_given != given:
                known[way] = Consent(given, now)
        if change.digest is not None:
            if change.kind in NEVER_COUNTED and change.digest is not Digest.AT_ONCE:
                raise DigestNotPossibleError(field="kinds", kind=change.kind.value)
            digests[change.kind] = change.digest
    return replace(preferences, consents=consents, digests=digests)


def quiet_until(hours: QuietHours | None, now: datetime) -> datetime | None:
    """Give the instant at which quiet hours that hold now end, UTC; None outside of them."""
    if hours is None:
        return None
    local = now.astimezone(SHANGHAI)
    minute = local.hour * 60 + local.minute
    if hours.start < hours.end:
        is_quiet = hours.start <= minute < hours.end
    else:
        is_quiet = minute >= hours.start or minute < hours.end
    if not is_quiet:
        return None
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    end = midnight + timedelta(minutes=hours.end)
    if end <= local:
        end += timedelta(days=1)
    return end.astimezone(now.tzinfo)


def digest_at(digest: Digest, hours: QuietHours | None, now: datetime) -> datetime:
    """Give the next time of a digest, UTC: nine in the morning, on Mondays when weekly; later if it is quiet.

    Raises: ValueError for what is told at once.
    """
    if digest is Digest.AT_ONCE:
        raise ValueError("what is told at once has no digest")
    local = now.astimezone(SHANGHAI)
    due = local.replace(hour=DIGEST_AT.hour, minute=DIGEST_AT.minute, second=0, microsecond=0)
    if due <= local:
        due += timedelta(days=1)
    if digest is Digest.WEEKLY:
        due += timedelta(days=(DIGEST_WEEKDAY - due.weekday()) % 7)
    due = due.astimezone(now.tzinfo)
    return quiet_until(hours, due) or due


def decide(
    kind: MessageKind, *, urgent: bool, preferences: Preferences, now: datetime
) -> dict[NotificationWay, Decision]:
    """Say for each way what becomes of a message now.

    A refused way is never used. What is urgent passes digests and quiet hours.
    """
    decision = _when(kind, urgent, preferences, now)
    return {way: decision if is_given(preferences, kind, way) else DROP for way in NotificationWay}


def decide_notice(
    ways: frozenset[NotificationWay], *, preferences: Preferences, now: datetime
) -> dict[NotificationWay, Decision]:
    """Say what becomes of a digest itself, which was counted for these ways: quiet hours hold it, too.

    A way that was refused for every kind since then is not used.
    """
    quiet = quiet_until(preferences.quiet_hours, now)
    decision = SEND if quiet is None else Decision(Plan.HOLD, quiet)
    return {
        way: decision if way in ways and kinds_allowed(preferences, way) else DROP for way in NotificationWay
    }


def _when(kind: MessageKind, urgent: bool, preferences: Preferences, now: datetime) -> Decision:
    if urgent:
        return SEND
    digest = digest_of(preferences, kind)
    if digest is not Digest.AT_ONCE and kind not in NEVER_COUNTED:
        return Decision(Plan.DIGEST, digest_at(digest, preferences.quiet_hours, now))
    quiet = quiet_until(preferences.quiet_hours, now)
    return SEND if quiet is None else Decision(Plan.HOLD, quiet)
