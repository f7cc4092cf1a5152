"""GraphQL types of accounts and sessions; personal data is masked unless its owner, verified, asks for it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import strawberry
from strawberry.types import Info

from domain.access import SIGNED_IN, Assurance, Role, Rule, decide
from domain.account import Account, Session
from domain.identifiers import mask_address, mask_name, mask_phone, mask_resident_id
from operations.account import SignedIn
from resolvers.context import Context
from resolvers.mutations import UserError
from resolvers.node import PageInfo
from store.access_log import AccessEntry

_OWNER_IN_FULL = Rule(SIGNED_IN, Assurance.L2)
_Full = Annotated[
    bool, strawberry.argument(description="Unmasked; needs assurance L2, else ASSURANCE_TOO_LOW.")
]


@strawberry.type(name="Account", description="The viewer's own account; personal data is masked by default.")
class AccountType:
    """Shows a domain Account to its owner, to nobody else."""

    account: strawberry.Private[Account]

    def _shown(
        self, info: Info[Context, None], value: str | None, masked: str | None, full: bool
    ) -> str | None:
        if not full:
            return masked
        decide(_OWNER_IN_FULL, info.context.viewer, now=info.context.now)
        return value

    @strawberry.field(description="Mobile number, 11 digits, as 138****5678; null when none is known.")
    def phone(self, info: Info[Context, None], full: _Full = False) -> str | None:
        """Show the phone number."""
        value = self.account.phone
        return self._shown(info, value, value and mask_phone(value), full)

    @strawberry.field(description="Real name, all but its last character hidden; null below L2.")
    def name(self, info: Info[Context, None], full: _Full = False) -> str | None:
        """Show the name."""
        value = self.account.name
        return self._shown(info, value, value and mask_name(value), full)

    @strawberry.field(description="Resident id number, as 350*************1X; null below L2.")
    def resident_id(self, info: Info[Context, None], full: _Full = False) -> str | None:
        """Show the resident id number."""
        value = self.account.resident_id
        return self._shown(info, value, value and mask_resident_id(value), full)

    @strawberry.field(
        description="Postal address, all but its first characters hidden; null when none is set."
    )
    def address(self, info: Info[Context, None], full: _Full = False) -> str | None:
        """Show the address."""
        value = self.account.address
        return self._shown(info, value, value and mask_address(value), full)

    @strawberry.field(description="Level that the account has reached for good: L1, or L2 when verified.")
    def assurance(self) -> Assurance:
        """Give the level."""
        return self.account.assurance

    @strawberry.field(description="What the account may act as.")
    def roles(self) -> list[Role]:
        """List the roles in a fixed order."""
        return [role for role in Role if role in self.account.roles]

    @strawberry.field(description="Unified social credit code that an agent acts for; null for others.")
    def company_code(self) -> str | None:
        """Give the company."""
        return self.account.company_code

    @strawberry.field(description="Whether a WeChat user is linked, so that `signInByWechat` works.")
    def is_wechat_linked(self) -> bool:
        """Tell whether WeChat is linked."""
        return self.account.wechat_openid is not None

    @strawberry.field(description="When the account was made, UTC.")
    def created_at(self) -> datetime:
        """Give the instant."""
        return self.account.created_at

    @strawberry.field(description="When the real name was verified, UTC; null below L2.")
    def verified_at(self) -> datetime | None:
        """Give the instant."""
        return self.account.verified_at


@strawberry.type(name="Session", description="One sign-in on one device.")
class SessionType:
    """Shows a domain Session to its owner."""

    id: strawberry.ID = strawberry.field(description="Id of the session, for `endSession`.")
    device_name: str | None = strawberry.field(description="What the app called the device; null if nothing.")
    platform: str | None = strawberry.field(description="Platform that the app named; null if none.")
    is_current: bool = strawberry.field(description="Whether this request belongs to it.")
    created_at: datetime = strawberry.field(description="When the sign-in was, UTC.")
    last_used_at: datetime = strawberry.field(description="When its tokens were last refreshed, UTC.")
    expires_at: datetime = strawberry.field(
        description="When it ends unless it is used, UTC: 30 days after its last use, 180 after the sign-in."
    )
    ends_soon: bool = strawberry.field(description="Whether it ends within 3 days: warn the citizen.")
    strong_until: datetime | None = strawberry.field(
        description="Until when L3 holds for a verified person, UTC; null when there was no recent code."
    )

    @classmethod
    def of(cls, session: Session, current: str | None, now: datetime) -> SessionType:
        """Show a session; `current` is the id of the request's own."""
        return cls(
            id=strawberry.ID(session.id),
            device_name=session.device_name,
            platform=session.platform,
            is_current=session.id == current,
            created_at=session.created_at,
            last_used_at=session.refreshed_at,
            expires_at=session.expires_at,
            ends_soon=session.ends_soon(now),
            strong_until=session.strong_until,
        )


@strawberry.type(name="AccessLogEntry", description="One look of somebody at the viewer's data.")
class AccessEntryType:
    """Shows an AccessEntry to the citizen whose data it was."""

    at: datetime = strawberry.field(description="When, UTC.")
    role: Role = strawberry.field(description="As what they looked.")
    unit: str | None = strawberry.field(description="For which unit; null when for none.")
    fields: list[str] = strawberry.field(description="Which data they were shown.")
    reason: str = strawberry.field(description="Why, in their words.")

    @classmethod
    def of(cls, entry: AccessEntry) -> AccessEntryType:
        """Show an entry."""
        return cls(
            at=entry.at, role=entry.role, unit=entry.unit, fields=list(entry.fields), reason=entry.reason
        )


@strawberry.type(name="AccessLogEdge", description="One entry in a list.")
class AccessEdge:
    """One place in an AccessConnection."""

    cursor: str = strawberry.field(description="Hand it in as `after` to go on behind this entry.")
    node: AccessEntryType = strawberry.field(description="The entry.")


@strawberry.type(
    name="AccessLogConnection", description="A page of who looked at the viewer's data, newest first."
)
class AccessConnection:
    """A page of the access log."""

    edges: list[AccessEdge] = strawberry.field(description="The entries of this page.")
    page_info: PageInfo = strawberry.field(description="Where this page lies.")


@strawberry.type(
    name="CitizenRecord", description="What staff see of a citizen: masked, and written down for them."
)
class CitizenRecord:
    """Shows an account to staff."""

    phone: str | None = strawberry.field(
        description="Mobile number, as 138****5678; null when none is known."
    )
    name: str | None = strawberry.field(description="Name, all but its last character hidden; null below L2.")
    assurance: Assurance = strawberry.field(description="Level that the account has reached for good.")
    roles: list[Role] = strawberry.field(description="What the account may act as.")
    created_at: datetime = strawberry.field(description="When the account was made, UTC.")

    @classmethod
    def of(cls, account: Account) -> CitizenRecord:
        """Show an account, masked."""
        return cls(
            phone=account.phone and mask_phone(account.phone),
            name=account.name and mask_name(account.name),
            assurance=account.assurance,
            roles=[role for role in Role if role in account.roles],
            created_at=account.created_at,
        )


@strawberry.type(description="Whether a code is on its way.")
class CodePayload:
    """Of requestSignInCode and requestConfirmationCode."""

    is_sent: bool = strawberry.field(description="Whether a code was handed to the mobile network.")
    expires_in_s: int | None = strawberry.field(
        description="How long it is good, in seconds; null if not sent."
    )
    user_errors: list[UserError] = strawberry.field(description="Why not; empty when it was sent.")


@strawberry.type(description="Tokens of a session, or why there are none.")
class SessionPayload:
    """Of every mutation that gives tokens."""

    access_token: str | None = strawberry.field(
        description="Send it as `Authorization: Bearer …`; null when refused."
    )
    access_token_expires_at: datetime | None = strawberry.field(
        description="When it runs out, UTC, ten minutes on at most; null when refused."
    )
    refresh_token: str | None = strawberry.field(
        description="Good once, for `refreshSession`; null when refused, or when the one you have stays good."
    )
    session: SessionType | None = strawberry.field(description="The session; null when refused.")
    assurance: Assurance | None = strawberry.field(description="The level it has now; null when refused.")
    account: AccountType | None = strawberry.field(description="The account; null when refused.")
    user_errors: list[UserError] = strawberry.field(description="Why not; empty when it was done.")

    @classmethod
    def of(
        cls, done: SignedIn | None, errors: list[UserError], assurance: Assurance | None, now: datetime
    ) -> SessionPayload:
        """Show what signing in gave."""
        if done is None:
            return cls(
                access_token=None,
                access_token_expires_at=None,
                refresh_token=None,
                session=None,
                assurance=None,
                account=None,
                user_errors=errors,
            )
        return cls(
            access_token=done.access.token,
            access_token_expires_at=done.access.expires_at,
            refresh_token=done.refresh_token,
            session=SessionType.of(done.session, done.session.id, now),
            assurance=assurance,
            account=AccountType(account=done.account),
            user_errors=errors,
        )


@strawberry.type(description="The viewer's open sessions after a change.")
class SessionsPayload:
    """Of signOut, endSession and signOutEverywhere."""

    ended_count: int = strawberry.field(description="How many sessions were ended.")
    sessions: list[SessionType] = strawberry.field(description="Those that are still open, last used first.")
    user_errors: list[UserError] = strawberry.field(description="Why not; empty when it was done.")


@strawberry.type(description="The viewer's account after a change.")
class AccountPayload:
    """Of linkWechat and setAddress."""

    account: AccountType | None = strawberry.field(description="The account; null when refused.")
    user_errors: list[UserError] = strawberry.field(description="Why not; empty when it was done.")


@strawberry.type(description="Everything that is kept about the viewer.")
class ExportPayload:
    """Of exportAccount."""

    document: str | None = strawberry.field(
        description="A JSON object of lists by collection, instants in UTC; null when refused."
    )
    user_errors: list[UserError] = strawberry.field(description="Why not; empty when it was done.")


@strawberry.type(description="Whether the account is deleted.")
class DeletionPayload:
    """Of deleteAccount."""

    is_deleted: bool = strawberry.field(description="Whether nothing about the viewer is kept any more.")
    user_errors: list[UserError] = strawberry.field(description="Why not; empty when it was done.")


@strawberry.type(description="Roles after a change.")
class GrantPayload:
    """Of grantRoles."""

    citizen: CitizenRecord | None = strawberry.field(description="The account, masked; null when refused.")
    user_errors: list[UserError] = strawberry.field(description="Why not; empty when it was done.")


@strawberry.input(description="The device that is asked from.")
class DeviceInput:
    """Part of other inputs."""

    device_id: str | None = strawberry.field(
        default=None, description="Id of the installation, at most 64 characters; limits are counted by it."
    )
    device_name: str | None = strawberry.field(
        default=None, description="What the list of sessions calls the device, at most 60 characters."
    )
    platform: str | None = strawberry.field(
        default=None, description="Such as ios, android, wechat; at most 20 characters."
    )


@strawberry.input(description="Where to send a code to sign in with.")
class RequestSignInCodeInput:
    """Of requestSignInCode."""

    phone: str = strawberry.field(description="Mobile number of the mainland; +86 and blanks are accepted.")
    device: DeviceInput | None = strawberry.field(default=None, description="The device; null when unknown.")


@strawberry.input(description="A phone number and the code that was sent to it.")
class SignInInput:
    """Of signIn."""

    phone: str = strawberry.field(description="Mobile number of the mainland; +86 and blanks are accepted.")
    code: str = strawberry.field(description="The 6 digits, good for 5 minutes and 5 tries.")
    device: DeviceInput | None = strawberry.field(default=None, description="The device; null when unknown.")


@strawberry.input(description="A login code of a mini-program.")
class WechatCodeInput:
    """Of signInByWechat and linkWechat."""

    code: str = strawberry.field(description="What `wx.login` gave, at most 128 characters.")
    device: DeviceInput | None = strawberry.field(default=None, description="The device; null when unknown.")


@strawberry.input(description="A refresh token.")
class RefreshSessionInput:
    """Of refreshSession."""

    refresh_token: str = strawberry.field(description="The newest of the session; each is good once.")


@strawberry.input(description="Which session to end.")
class EndSessionInput:
    """Of endSession."""

    session_id: strawberry.ID = strawberry.field(description="Id from `viewer.sessions`.")


@strawberry.input(description="Where a confirmation is asked from.")
class RequestConfirmationInput:
    """Of requestConfirmationCode."""

    device: DeviceInput | None = strawberry.field(default=None, description="The device; null when unknown.")


@strawberry.input(description="The code that `requestConfirmationCode` has sent.")
class ConfirmationInput:
    """Of confirmSession, exportAccount and deleteAccount."""

    code: str = strawberry.field(description="The 6 digits, good for 5 minutes and 5 tries.")
    device: DeviceInput | None = strawberry.field(default=None, description="The device; null when unknown.")


@strawberry.input(description="Who the viewer is.")
class VerifyIdentityInput:
    """Of verifyIdentity."""

    name: str = strawberry.field(description="Real name as on the id card, 2 to 50 characters.")
    resident_id: str = strawberry.field(description="Resident id number, 18 characters (GB 11643).")


@strawberry.input(description="A postal address.")
class SetAddressInput:
    """Of setAddress."""

    address: str | None = strawberry.field(description="At most 200 characters; null removes it.")


@strawberry.input(description="The roles an account gets in place of those it has.")
class GrantRolesInput:
    """Of grantRoles."""

    phone: str = strawberry.field(
        description="Mobile number of the account; one is made where there is none."
    )
    roles: list[Role] = strawberry.field(description="All the roles it is to have, at least one.")
    company_code: str | None = strawberry.field(
        default=None, description="Unified social credit code (GB 32100); with AGENT only."
    )
    unit: str | None = strawberry.field(
        default=None, description="Unit, at most 100 characters; with DESK only."
    )
    division_code: str | None = strawberry.field(
        default=None, description="Division within which staff work, 6 or 9 digits; with DESK only."
    )
