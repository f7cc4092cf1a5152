"""What a citizen can do about their account: sign in, go on, confirm, prove who they are, end sessions.

Nothing here looks at accounts before a code was found right: a known phone and an unknown one take the same
steps and get the same answers.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from ipaddress import IPv6Address, ip_address
from typing import Final, Protocol

from msgspec import Struct
from redis.asyncio import Redis
from redis.exceptions import RedisError

from domain.access import Assurance, Role, Viewer
from domain.account import (
    CODE_LIFE,
    CODE_TRIES,
    MAX_SESSIONS,
    STRONG_LIFE,
    Account,
    AccountClosedError,
    CodeNotSentError,
    EndReason,
    Grant,
    IdentityAlreadyVerifiedError,
    IdentityMismatchError,
    IdentityServiceError,
    InvalidCodeError,
    Purpose,
    Session,
    SessionEndedError,
    SignInLockedError,
    TooManyRequestsError,
    UnknownAccountError,
    UnknownSessionError,
    WechatNotLinkedError,
    WechatSignInError,
    checked_grant,
    next_expiry,
    short_text,
    viewer_assurance,
)
from domain.identifiers import person_name, phone_number, resident_id
from notifications.live import publish_to, session_ended_topic
from operations.tokens import AccessToken, Issuer, KeyRing, issue
from store.access_log import AccessLog
from store.accounts import AccountStore
from store.agencies import AgencyStore
from store.codes import CodeStore, Verdict
from store.gate import Gate, Window
from store.secrets import SecretStore
from store.sessions import SessionStore, announce_ended

CHINA: Final = timedelta(hours=8)
MAX_ADDRESS: Final = 200
MAX_REASON: Final = 200


class CodeSender(Protocol):
    """What brings a code to a phone."""

    async def send_code(self, phone: str, code: str, language: str) -> object:
        """Send a code to 11 digits. Raises: OSError or TimeoutError when it could not be handed over."""


class WechatUser(Protocol):
    """Whom WeChat says a code belongs to."""

    @property
    def openid(self) -> str:
        """The user's id within this mini-program."""


class WechatLogin(Protocol):
    """WeChat's `code2session`."""

    async def code_to_session(self, code: str) -> WechatUser:
        """Exchange a mini-program's login code for its user. Raises: WechatSignInError."""


class IdentityRegister(Protocol):
    """What knows which name belongs to which resident id number."""

    async def matches(self, name: str, number: str) -> bool:
        """Tell whether they belong together. Raises: IdentityServiceError."""


class SignInLimits(Struct, frozen=True):
    """How often codes are sent and wrong codes forgiven, per phone, device and address.

    Many citizens share an address behind the networks of mobile operators: its limits are wide.
    """

    codes_per_phone: tuple[str, ...] = ("1 per 1 minute", "5 per 1 hour", "10 per 1 day")
    codes_per_device: tuple[str, ...] = ("10 per 1 hour",)
    codes_per_address: tuple[str, ...] = ("100 per 1 hour",)
    wrong_per_phone: tuple[str, ...] = ("10 per 1 hour",)
    wrong_per_device: tuple[str, ...] = ("20 per 1 hour",)
    wrong_per_address: tuple[str, ...] = ("100 per 1 hour",)
    verifications_per_account: tuple[str, ...] = ("20 per 1 day",)
    mismatches_per_account: tuple[str, ...] = ("5 per 1 day",)
    appointments_per_principal: tuple[str, ...] = ("50 per 1 day",)


class Client(Struct, frozen=True):
    """From where somebody signs in: the address, and what the app says about its device."""

    address: str
    language: str = "zh"
    device_id: str | None = None
    device_name: str | None = None
    platform: str | None = None


class Identity(Struct, frozen=True):
    """What signing in needs. `wechat` and `register` are None where the installation has none."""

    accounts: AccountStore
    sessions: SessionStore
    agencies: AgencyStore
    access_log: AccessLog
    codes: CodeStore
    gate: Gate
    secrets: SecretStore
    ring: KeyRing
    issuer: Issuer
    redis: Redis
    sms: CodeSender
    wechat: WechatLogin | None = None
    register: IdentityRegister | None = None
    limits: SignInLimits = SignInLimits()


class SignedIn(Struct, frozen=True):
    """A session with its tokens; `refresh_token` is None where the session has a newer one than this call."""

    account: Account
    session: Session
    access: AccessToken
    refresh_token: str | None


# --- codes --------------------------------------------------------------------------------------------------


async def request_code(identity: Identity, phone: str, client: Client, *, now: datetime) -> None:
    """Send a code to sign in with to a phone, whether it has an account or not.

    Raises: InvalidPhoneError, TooManyRequestsError, SignInLockedError, CodeNotSentError.
    """
    await _send_code(identity, phone_number(phone), Purpose.SIGN_IN, client, now=now)


async def request_confirmation(identity: Identity, viewer: Viewer, client: Client, *, now: datetime) -> None:
    """Send a code to the viewer's own phone, to confirm something that matters.

    Raises: UnknownAccountError, TooManyRequestsError, SignInLockedError, CodeNotSentError.
    """
    account = await identity.accounts.get(viewer.account_id)
    await _send_code(identity, _phone_of(account), Purpose.CONFIRM, client, now=now)


async def _send_code(
    identity: Identity, phone: str, purpose: Purpose, client: Client, *, now: datetime
) -> None:
    pepper = await identity.secrets.get("codes")
    await _refuse_locked(identity, pepper, phone, client, now=now)
    limits = identity.limits
    windows = limit_windows(
        pepper,
        "codes",
        # Whoever has just signed in may confirm something at once.
        (limits.codes_per_phone, f"{purpose} {phone}"),
        (limits.codes_per_device, client.device_id),
        (limits.codes_per_address, network_of(client.address)),
    )
    wait_s = await identity.gate.enter(windows)
    if wait_s:
        raise TooManyRequestsError(seconds=wait_s)
    code = f"{secrets.randbelow(1_000_000):06}"
    key = _keyed(pepper, purpose, phone)
    await identity.codes.put(key, _keyed(pepper, key, code), now=now, life=CODE_LIFE)
    try:
        await identity.sms.send_code(phone, code, client.language)
    except (OSError, TimeoutError) as error:
        raise CodeNotSentError from error


async def _use_code(
    identity: Identity, phone: str, code: str, purpose: Purpose, client: Client, *, now: datetime
) -> None:
    """Use a code up, or count a wrong one. Raises: InvalidCodeError, SignInLockedError."""
    pepper = await identity.secrets.get("codes")
    await _refuse_locked(identity, pepper, phone, client, now=now)
    key = _keyed(pepper, purpose, phone)
    digest = _keyed(pepper, key, code.strip()[:20])
    verdict = await identity.codes.try_once(key, digest, now=now, most_tries=CODE_TRIES)
    if verdict is not Verdict.RIGHT:
        await identity.gate.enter(_wrong_windows(identity, pepper, phone, client))
        raise InvalidCodeError(field="code")


async def _refuse_locked(
    identity: Identity, pepper: bytes, phone: str, client: Client, *, now: datetime
) -> None:
    wait_s = await identity.gate.wait_s(_wrong_windows(identity, pepper, phone, client))
    if wait_s:
        until = (now + CHINA + timedelta(seconds=wait_s)).strftime("%H:%M")
        raise SignInLockedError(seconds=wait_s, until=until)


def _wrong_windows(identity: Identity, pepper: bytes, phone: str, client: Client) -> list[Window]:
    limits = identity.limits
    return limit_windows(
        pepper,
        "wrong",
        (limits.wrong_per_phone, phone),
        (limits.wrong_per_device, client.device_id),
        (limits.wrong_per_address, network_of(client.address)),
    )


def limit_windows(pepper: bytes, what: str, *parts: tuple[Sequence[str], str | None]) -> list[Window]:
    """Make windows whose keys tell nothing about the phone, device or address they count."""
    return [
        Window(limit, _keyed(pepper, what, str(place), value))
        for place, (limits, value) in enumerate(parts)
        if value
        for limit in limits
    ]


def _keyed(pepper: bytes, *parts: str) -> str:
    return hmac.new(pepper, "\x00".join(parts).encode(), hashlib.sha256).hexdigest()


def network_of(address: str) -> str:
    """Give what limits count an address as: an IPv4 address itself, of IPv6 the network of 64 bits."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(parsed, IPv6Address):
        return str(parsed.ipv4_mapped or IPv6Address(int(parsed) >> 64 << 64))
    return str(parsed)


def _phone_of(account: Account) -> str:
    if account.phone is None:
        raise UnknownAccountError
    return account.phone


# --- sessions -----------------------------------------------------------------------------------------------


async def sign_in(identity: Identity, phone: str, code: str, client: Client, *, now: datetime) -> SignedIn:
    """Sign in with the code that was sent to a phone; the first time makes the account.

    Raises: InvalidPhoneError, InvalidCodeError, SignInLockedError, AccountClosedError.
    """
    number = phone_number(phone)
    await _use_code(identity, number, code, Purpose.SIGN_IN, client, now=now)
    account = await identity.accounts.find_or_create_by_phone(number, now=now)
    return await _open_session(identity, account, client, strong=True, now=now)


async def sign_in_by_wechat(
    identity: Identity, login_code: str, client: Client, *, now: datetime
) -> SignedIn:
    """Sign in with the login code of a mini-program whose user an account has been linked to.

    Raises: WechatSignInError, WechatNotLinkedError, AccountClosedError.
    """
    openid = await _openid_of(identity, login_code)
    account = await identity.accounts.find_by_wechat(openid)
    if account is None:
        raise WechatNotLinkedError
    if account.closed_at is not None:
        raise AccountClosedError
    return await _open_session(identity, account, client, strong=False, now=now)


async def link_wechat(identity: Identity, viewer: Viewer, login_code: str) -> None:
    """Link the user of a mini-program to the viewer's account.

    Raises: WechatSignInError, WechatTakenError, UnknownAccountError.
    """
    await identity.accounts.link_wechat(viewer.account_id, await _openid_of(identity, login_code))


async def _openid_of(identity: Identity, login_code: str) -> str:
    if identity.wechat is None:
        raise WechatSignInError
    return (await identity.wechat.code_to_session(short_text(login_code, 128, "code"))).openid


async def _open_session(
    identity: Identity, account: Account, client: Client, *, strong: bool, now: datetime
) -> SignedIn:
    others = await identity.sessions.list_open(account.id, now=now)
    await _end(
        identity, account.id, [each.id for each in others[MAX_SESSIONS - 1 :]], EndReason.TOO_MANY, now
    )
    session = Session(
        id=secrets.token_hex(12),
        account_id=account.id,
        seed=secrets.token_bytes(16),
        generation=1,
        created_at=now,
        refreshed_at=now,
        expires_at=next_expiry(now, now),
        device_name=client.device_name[:60] if client.device_name else None,
        platform=client.platform[:20] if client.platform else None,
        strong_until=now + STRONG_LIFE if strong else None,
    )
    await identity.sessions.insert(session)
    return await _signed_in(identity, account, session, now=now)


async def _signed_in(identity: Identity, account: Account, session: Session, *, now: datetime) -> SignedIn:
    access = await issue(identity.ring, identity.issuer, account, session, now=now)
    return SignedIn(account, session, access, await _refresh_token(identity, session, session.generation))


async def _refresh_token(identity: Identity, session: Session, generation: int) -> str:
    pepper = await identity.secrets.get("refresh")
    head = f"{session.id}.{generation}"
    return f"{head}.{_keyed(pepper, head, session.seed.hex())}"


async def refresh(identity: Identity, token: str, *, now: datetime) -> SignedIn:
    """Exchange a refresh token for new tokens. A token that comes a second time ends its session.

    Whoever has the second copy, the citizen or a thief: both must sign in anew (RFC 9700, 4.14.2).
    Raises: SessionEndedError.
    """
    session_id, _, rest = token[:200].partition(".")
    number = rest.partition(".")[0]
    session = await identity.sessions.find(session_id)
    if session is None or not (number.isascii() and number.isdigit()) or len(number) > 9:
        raise SessionEndedError
    expected = await _refresh_token(identity, session, int(number))
    if not hmac.compare_digest(expected.encode(), token.encode()) or not session.is_open(now):
        raise SessionEndedError
    # An older generation, or this one used by somebody else just now: the token has two holders.
    newest = int(number) == session.generation
    advanced = await identity.sessions.advance(session, now=now) if newest else None
    if advanced is None:
        await _end(identity, session.account_id, [session.id], EndReason.REFRESH_REUSED, now)
        raise SessionEndedError
    account = await identity.accounts.find(session.account_id)
    if account is None or account.closed_at is not None:
        raise SessionEndedError
    return await _signed_in(identity, account, advanced, now=now)


async def end_session(identity: Identity, viewer: Viewer, session_id: str, *, now: datetime) -> None:
    """End one of the viewer's sessions; the one of the request is signed out.

    Raises: UnknownSessionError.
    """
    own = session_id == viewer.session_id
    reason = EndReason.SIGNED_OUT if own else EndReason.REVOKED
    if not await _end(identity, viewer.account_id, [session_id], reason, now):
        raise UnknownSessionError


async def end_all_sessions(identity: Identity, account_id: str, reason: EndReason, *, now: datetime) -> int:
    """End every open session of an account; count them."""
    sessions = await identity.sessions.list_open(account_id, now=now)
    return len(await _end(identity, account_id, [session.id for session in sessions], reason, now))


async def _end(
    identity: Identity, account_id: str, session_ids: Sequence[str], reason: EndReason, now: datetime
) -> list[str]:
    ended = await identity.sessions.end(account_id, session_ids, reason, now=now)
    try:
        await announce_ended(identity.redis, ended)
        if ended:
            await publish_to(identity.redis, [session_ended_topic(each) for each in ended], b"")
    except RedisError:
        # The end is stored; every process polls for it and needs no hint.
        return ended
    return ended


async def adopt_outside(
    identity: Identity,
    issuer: str,
    subject: str,
    session_name: str,
    assurance: Assurance,
    *,
    expires_at: datetime,
    now: datetime,
) -> Viewer:
    """Give the viewer of a checked token of an outside issuer; the first time makes account and session.

    `session_name` is the issuer's own name of its session. Its word counts up to L2; roles are given here.
    Raises: SessionEndedError, AccountClosedError.
    """
    account = await identity.accounts.find_or_create_external(issuer, subject, now=now)
    pepper = await identity.secrets.get("refresh")
    session = await identity.sessions.adopt(
        Session(
            id="o" + _keyed(pepper, "outside", issuer, subject, session_name)[:23],
            account_id=account.id,
            seed=secrets.token_bytes(16),
            generation=0,
            created_at=now,
            refreshed_at=now,
            expires_at=expires_at,
        )
    )
    if not session.is_open(now):
        raise SessionEndedError
    return Viewer(
        account_id=account.id,
        session_id=session.id,
        roles=account.roles,
        assurance=max(account.assurance, min(assurance, Assurance.L2)),
        expires_at=expires_at,
        company_code=account.company_code,
        unit=account.unit,
        division_code=account.division_code,
    )


# --- levels and roles ---------------------------------------------------------------------------------------


async def use_confirmation(
    identity: Identity, viewer: Viewer, code: str, client: Client, *, now: datetime
) -> Account:
    """Use up the code that was sent to confirm something, and give the viewer's account.

    Raises: UnknownAccountError, AccountClosedError, InvalidCodeError, SignInLockedError.
    """
    account = await identity.accounts.get(viewer.account_id)
    await _use_code(identity, _phone_of(account), code, Purpose.CONFIRM, client, now=now)
    return account


async def confirm_session(
    identity: Identity, viewer: Viewer, code: str, client: Client, *, now: datetime
) -> SignedIn:
    """Make the viewer's session strong for some minutes, which is L3 for a verified person.

    Raises: InvalidCodeError, SignInLockedError, UnknownSessionError, UnknownAccountError.
    """
    account = await use_confirmation(identity, viewer, code, client, now=now)
    if not await identity.sessions.strengthen(viewer.session_id, now + STRONG_LIFE):
        raise UnknownSessionError
    return await reissue(identity, account, viewer, now=now)


async def verify_identity(
    identity: Identity, viewer: Viewer, name: str, number: str, *, now: datetime
) -> SignedIn:
    """Raise the viewer's account to L2 when the register says that name and resident id belong together.

    Raises: InvalidNameError, InvalidResidentIdError, IdentityAlreadyVerifiedError, IdentityMismatchError,
    IdentityTakenError, IdentityServiceError, TooManyRequestsError.
    """
    clean_name, clean_number = person_name(name), resident_id(number, today=(now + CHINA).date())
    account = await identity.accounts.get(viewer.account_id)
    if account.assurance >= Assurance.L2:
        raise IdentityAlreadyVerifiedError
    if identity.register is None:
        raise IdentityServiceError
    pepper = await identity.secrets.get("codes")
    limits = identity.limits
    tries = limit_windows(pepper, "verify", (limits.verifications_per_account, account.id))
    # A register that is away costs nobody the tries that are there against guessing.
    wrong = limit_windows(pepper, "mismatch", (limits.mismatches_per_account, account.id))
    wait_s = await identity.gate.wait_s(wrong) or await identity.gate.enter(tries)
    if wait_s:
        raise TooManyRequestsError(seconds=wait_s)
    if not await identity.register.matches(clean_name, clean_number):
        await identity.gate.enter(wrong)
        raise IdentityMismatchError
    await identity.accounts.verify(account.id, clean_name, clean_number, now=now)
    return await reissue(identity, await identity.accounts.get(account.id), viewer, now=now)


async def reissue(identity: Identity, account: Account, viewer: Viewer, *, now: datetime) -> SignedIn:
    """Issue an access token that says what has changed; the refresh token stays."""
    session = await identity.sessions.find(viewer.session_id)
    if session is None or not session.is_open(now):
        raise UnknownSessionError
    access = await issue(identity.ring, identity.issuer, account, session, now=now)
    return SignedIn(account, session, access, None)


async def set_address(identity: Identity, viewer: Viewer, address: str | None) -> None:
    """Write the viewer's postal address, at most 200 characters; None removes it.

    Raises: TextTooLongError, UnknownAccountError.
    """
    text = None if address is None else short_text(address, MAX_ADDRESS, "address")
    await identity.accounts.set_address(viewer.account_id, text)


async def grant_roles(identity: Identity, phone: str, grant: Grant, *, now: datetime) -> Account:
    """Give the account of a phone these roles in place of its own, and end its sessions, which had the old.

    The account is made when the phone has none, so that staff can be appointed before they sign in.
    Raises: InvalidPhoneError, InvalidGrantError, InvalidCompanyCodeError, InvalidDivisionCodeError,
    AccountClosedError.
    """
    checked = checked_grant(grant)
    account = await identity.accounts.find_or_create_by_phone(phone_number(phone), now=now)
    await identity.accounts.grant(account.id, checked)
    await end_all_sessions(identity, account.id, EndReason.ROLES_CHANGED, now=now)
    return await identity.accounts.get(account.id)


async def look_up_citizen(
    identity: Identity, viewer: Viewer, phone: str, reason: str, *, now: datetime
) -> Account:
    """Give staff the account of a phone, having written down for the citizen who looked and why.

    Raises: InvalidPhoneError, TextTooLongError, UnknownAccountError.
    """
    why = short_text(reason, MAX_REASON, "reason")
    account = await identity.accounts.find_by_phone(phone_number(phone))
    if account is None or account.closed_at is not None:
        raise UnknownAccountError
    role = Role.DESK if viewer.acts_as(Role.DESK) else Role.OPERATOR
    await identity.access_log.record(account.id, viewer, role, ("name", "phone"), why, now=now)
    return account


def level_of(account: Account, session: Session, *, now: datetime) -> Assurance:
    """Give the level that a session of an account has now."""
    return viewer_assurance(account.assurance, session.strong_until, now)
