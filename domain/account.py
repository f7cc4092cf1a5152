"""Accounts and sessions: what they hold, how long they last, and why something about them is refused."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from msgspec import Struct

from domain.access import Assurance, Role
from domain.catalogue import division_code
from domain.errors import DomainError, UpstreamFailure
from domain.identifiers import company_code

CODE_LIFE: Final = timedelta(minutes=5)
CODE_TRIES: Final = 5
STRONG_LIFE: Final = timedelta(minutes=5)
ACCESS_LIFE: Final = timedelta(minutes=10)
SESSION_IDLE: Final = timedelta(days=30)
SESSION_LIFE: Final = timedelta(days=180)
SESSION_WARNING: Final = timedelta(days=3)
"""How long before its end a session is said to end soon."""
MAX_SESSIONS: Final = 20
"""Most open sessions of an account; the one unused for longest makes room."""


class InvalidCodeError(DomainError):
    """The code is wrong, used, too old, or was never sent: which of these is not told."""

    code = "INVALID_CODE"


class TooManyRequestsError(DomainError):
    """Asked too often; `seconds` until it may be tried again."""

    code = "TOO_MANY_REQUESTS"


class SignInLockedError(DomainError):
    """Too many wrong codes: sign-in is locked for `seconds`, until `until`."""

    code = "SIGN_IN_LOCKED"


class CodeNotSentError(DomainError):
    """The code could not be handed to the mobile network."""

    code = "CODE_NOT_SENT"


class SessionEndedError(DomainError):
    """The refresh token is wrong or used, or its session has ended."""

    code = "SESSION_ENDED"


class UnknownSessionError(DomainError):
    """The account has no open session of this id."""

    code = "UNKNOWN_SESSION"


class UnknownAccountError(DomainError):
    """There is no such account."""

    code = "UNKNOWN_ACCOUNT"


class AccountClosedError(DomainError):
    """The account is being deleted."""

    code = "ACCOUNT_CLOSED"


class IdentityMismatchError(DomainError):
    """Name and resident id number do not belong together."""

    code = "IDENTITY_MISMATCH"


class IdentityTakenError(DomainError):
    """The person has verified another account."""

    code = "IDENTITY_TAKEN"


class IdentityAlreadyVerifiedError(DomainError):
    """The account belongs to a verified person already."""

    code = "IDENTITY_ALREADY_VERIFIED"


class IdentityServiceError(DomainError):
    """Identities cannot be verified at present; `failure` says, not to the client, whether waiting helps."""

    code = "IDENTITY_SERVICE_UNAVAILABLE"

    def __init__(self, failure: UpstreamFailure = UpstreamFailure.PERMANENT) -> None:
        super().__init__()
        self.failure = failure


class WechatSignInError(DomainError):
    """WeChat did not confirm who this is, or cannot be asked."""

    code = "WECHAT_SIGN_IN_FAILED"


class WechatNotLinkedError(DomainError):
    """No account is linked to this WeChat user: sign in by phone once and link it."""

    code = "WECHAT_NOT_LINKED"


class WechatTakenError(DomainError):
    """This WeChat user is linked to another account."""

    code = "WECHAT_TAKEN"


class InvalidGrantError(DomainError):
    """Roles without the scope they need, or none; `reason` says which."""

    code = "INVALID_GRANT"


class TextTooLongError(DomainError):
    """A text with more than `maximum` characters, or none."""

    code = "INVALID_TEXT"


class Purpose(StrEnum):
    """What a code is good for; a code for one purpose does not serve another."""

    SIGN_IN = "SIGN_IN"
    CONFIRM = "CONFIRM"


class Account(Struct, frozen=True, kw_only=True):
    """An account, its personal data in the clear; never log one.

    `phone` are 11 digits; None for an account of an outside issuer that told none. `name`, `resident_id`:
    None below L2. `company_code`: for whom an agent acts; `unit` and `division_code`: the scope of staff.
    """

    id: str
    created_at: datetime
    phone: str | None = None
    name: str | None = None
    resident_id: str | None = None
    address: str | None = None
    wechat_openid: str | None = None
    roles: frozenset[Role] = frozenset({Role.CITIZEN})
    assurance: Assurance = Assurance.L1
    company_code: str | None = None
    unit: str | None = None
    division_code: str | None = None
    verified_at: datetime | None = None
    closed_at: datetime | None = None


class Grant(Struct, frozen=True):
    """The roles of an account with their scope."""

    roles: frozenset[Role]
    company_code: str | None = None
    unit: str | None = None
    division_code: str | None = None


def checked_grant(grant: Grant) -> Grant:
    """Give a grant back whose roles have the scope they need, its codes in the house's form.

    Raises: InvalidGrantError, domain.identifiers.InvalidCompanyCodeError,
    domain.catalogue.InvalidDivisionCodeError.
    """
    if not grant.roles:
        raise InvalidGrantError(reason="no role", field="roles")
    if (Role.AGENT in grant.roles) != (grant.company_code is not None):
        raise InvalidGrantError(reason="AGENT and a company code go together", field="companyCode")
    if (Role.DESK in grant.roles) != (grant.unit is not None and grant.division_code is not None):
        raise InvalidGrantError(reason="DESK goes with a unit and a division", field="unit")
    return Grant(
        roles=grant.roles,
        company_code=None if grant.company_code is None else company_code(grant.company_code),
        unit=None if grant.unit is None else short_text(grant.unit, 100, "unit"),
        division_code=None if grant.division_code is None else division_code(grant.division_code),
    )


def short_text(text: str, maximum: int, field: str) -> str:
    """Give a text without blanks around it. Raises: TextTooLongError when it is empty or too long."""
    trimmed = text.strip()
    if not 0 < len(trimmed) <= maximum:
        raise TextTooLongError(field=field, maximum=maximum)
    return trimmed


class EndReason(StrEnum):
    """Why a session ended."""

    SIGNED_OUT = "SIGNED_OUT"
    REVOKED = "REVOKED"
    REFRESH_REUSED = "REFRESH_REUSED"
    ROLES_CHANGED = "ROLES_CHANGED"
    TOO_MANY = "TOO_MANY"
    ACCOUNT_DELETED = "ACCOUNT_DELETED"


class Session(Struct, frozen=True, kw_only=True):
    """One sign-in on one device. `generation` counts its refresh tokens; only the newest is good.

    `expires_at` moves with every refresh, by `SESSION_IDLE`, up to `created_at + SESSION_LIFE`.
    """

    id: str
    account_id: str
    seed: bytes
    generation: int
    created_at: datetime
    refreshed_at: datetime
    expires_at: datetime
    device_name: str | None = None
    platform: str | None = None
    strong_until: datetime | None = None
    ended_at: datetime | None = None
    end_reason: EndReason | None = None

    def is_open(self, now: datetime) -> bool:
        """Tell whether the session can be used."""
        return self.ended_at is None and now < self.expires_at

    def ends_soon(self, now: datetime) -> bool:
        """Tell whether the citizen should be warned that the session ends."""
        return self.is_open(now) and self.expires_at - now <= SESSION_WARNING


def next_expiry(created_at: datetime, now: datetime) -> datetime:
    """Give when a session ends that is used now."""
    return min(now + SESSION_IDLE, created_at + SESSION_LIFE)


def viewer_assurance(assurance: Assurance, strong_until: datetime | None, now: datetime) -> Assurance:
    """Give the level of a session: L3 only for a verified person with a strong check still good."""
    strong = strong_until is not None and now < strong_until
    return Assurance.L3 if assurance is Assurance.L2 and strong else assurance
