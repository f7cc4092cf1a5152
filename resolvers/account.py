"""The signed-in citizen's own: `Viewer` is composed here from the parts of every noun; signing in and out."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import datetime
from typing import Annotated

import orjson
import strawberry
from strawberry.permission import BasePermission
from strawberry.types import Info

from domain.access import SIGNED_IN, Assurance, Role
from domain.account import CODE_LIFE, EndReason, Grant, UnknownSessionError
from domain.ids import InvalidNodeIdError, decode_node_id, encode_node_id
from loaders.catalogue_search import check_first
from operations import account as operations
from operations import privacy
from operations.account import Client, Identity, SignedIn
from resolvers.access import allow, public, viewer_of
from resolvers.account_types import (
    AccessConnection,
    AccessEdge,
    AccessEntryType,
    AccountPayload,
    AccountType,
    CitizenRecord,
    CodePayload,
    ConfirmationInput,
    DeletionPayload,
    DeviceInput,
    EndSessionInput,
    ExportPayload,
    GrantPayload,
    GrantRolesInput,
    RefreshSessionInput,
    RequestConfirmationInput,
    RequestSignInCodeInput,
    SessionPayload,
    SessionsPayload,
    SessionType,
    SetAddressInput,
    SignInInput,
    VerifyIdentityInput,
    WechatCodeInput,
)
from resolvers.agencies import ViewerAgencies
from resolvers.complaint_drafts import ViewerComplaintDrafts
from resolvers.complaints import ViewerComplaints
from resolvers.context import Context
from resolvers.devices import ViewerDevices
from resolvers.media import ViewerMedia
from resolvers.messages import ViewerMessages
from resolvers.mutations import refusable
from resolvers.node import PageInfo

_CURSOR = "AccessLogCursor"
_MAX_DEVICE_ID = 64
_MAX_LIST = 64
_SIGNED_IN: list[type[BasePermission]] = [allow(*SIGNED_IN)]
_PUBLIC: list[type[BasePermission]] = [public()]


def _identity(info: Info[Context, None]) -> Identity:
    return info.context.stores.identity


def _client(info: Info[Context, None], device: DeviceInput | None) -> Client:
    return Client(
        address=info.context.client_address(),
        language=info.context.language,
        device_id=device.device_id[:_MAX_DEVICE_ID] if device and device.device_id else None,
        device_name=device.device_name if device else None,
        platform=device.platform if device else None,
    )


async def _session_payload(info: Info[Context, None], work: Awaitable[SignedIn]) -> SessionPayload:
    now = info.context.now
    done, errors = await refusable(work, info.context.word)
    level = None if done is None else operations.level_of(done.account, done.session, now=now)
    return SessionPayload.of(done, errors, level, now)


async def _code_payload(info: Info[Context, None], work: Awaitable[None]) -> CodePayload:
    _, errors = await refusable(work, info.context.word)
    life_s = None if errors else int(CODE_LIFE.total_seconds())
    return CodePayload(is_sent=not errors, expires_in_s=life_s, user_errors=errors)


async def _open_sessions(info: Info[Context, None]) -> list[SessionType]:
    viewer, now = viewer_of(info), info.context.now
    sessions = await _identity(info).sessions.list_open(viewer.account_id, now=now)
    return [SessionType.of(session, viewer.session_id, now) for session in sessions[:_MAX_LIST]]


@strawberry.type
class ViewerAccount:
    """The account's part of Viewer."""

    @strawberry.field(description="What the viewer acts as.", permission_classes=_SIGNED_IN)
    def roles(self, info: Info[Context, None]) -> list[Role]:
        """List the roles in a fixed order."""
        viewer = viewer_of(info)
        return [role for role in Role if viewer.acts_as(role)]

    @strawberry.field(description="How sure it is who is asking, now.", permission_classes=_SIGNED_IN)
    def assurance(self, info: Info[Context, None]) -> Assurance:
        """Give the level that holds at the time of the request."""
        return viewer_of(info).level(info.context.now)

    @strawberry.field(
        description="When the access token runs out, UTC; refresh before.", permission_classes=_SIGNED_IN
    )
    def token_expires_at(self, info: Info[Context, None]) -> datetime:
        """Give the end of the access token."""
        return viewer_of(info).expires_at

    @strawberry.field(description="The viewer's account.", permission_classes=_SIGNED_IN)
    async def account(self, info: Info[Context, None]) -> AccountType:
        """Read the account. Raises: UnknownAccountError, AccountClosedError."""
        return AccountType(account=await _identity(info).accounts.get(viewer_of(info).account_id))

    @strawberry.field(description="The session of this request.", permission_classes=_SIGNED_IN)
    async def session(self, info: Info[Context, None]) -> SessionType:
        """Read the session. Raises: UnknownSessionError."""
        viewer = viewer_of(info)
        session = await _identity(info).sessions.find(viewer.session_id)
        if session is None:
            raise UnknownSessionError
        return SessionType.of(session, viewer.session_id, info.context.now)

    @strawberry.field(
        description="The open sessions of the account, at most 64, last used first.",
        permission_classes=_SIGNED_IN,
        metadata={"list_size": 20},
    )
    async def sessions(self, info: Info[Context, None]) -> list[SessionType]:
        """List the sessions."""
        return await _open_sessions(info)

    @strawberry.field(
        description="Who looked at the viewer's data, when and why, newest first; kept for three years.",
        permission_classes=_SIGNED_IN,
    )
    async def access_log(
        self,
        info: Info[Context, None],
        first: Annotated[int, strawberry.argument(description="How many, 1 to 100.")] = 20,
        after: Annotated[
            str | None,
            strawberry.argument(description="Cursor of the last entry seen; null for the first page."),
        ] = None,
    ) -> AccessConnection:
        """Page through the access log. Raises: InvalidPageSizeError, InvalidNodeIdError."""
        check_first(first)
        before = None
        if after is not None:
            kind, before = decode_node_id(after)
            if kind != _CURSOR:
                raise InvalidNodeIdError(id=after[:80])
        log = _identity(info).access_log
        found = await log.list_newest(viewer_of(info).account_id, first + 1, before)
        edges = [
            AccessEdge(cursor=encode_node_id(_CURSOR, entry.id), node=AccessEntryType.of(entry))
            for entry in found[:first]
        ]
        page = PageInfo(
            has_next_page=len(found) > first,
            has_previous_page=after is not None,
            start_cursor=edges[0].cursor if edges else None,
            end_cursor=edges[-1].cursor if edges else None,
        )
        return AccessConnection(edges=edges, page_info=page)


@strawberry.type
class DeskCitizens:
    """The account's part of Desk."""

    @strawberry.field(
        description="The account of a phone number, masked; the citizen can read who looked, and why. "
        "Refused with UNKNOWN_ACCOUNT when there is none.",
        permission_classes=[allow(Role.DESK, Role.OPERATOR, level=Assurance.L2)],
    )
    async def citizen(
        self,
        info: Info[Context, None],
        phone: Annotated[str, strawberry.argument(description="Mobile number of the mainland.")],
        reason: Annotated[
            str, strawberry.argument(description="Why, for the citizen to read; 1 to 200 characters.")
        ],
    ) -> CitizenRecord | None:
        """Look up a citizen. Raises: the errors of `look_up_citizen`."""
        context = info.context
        viewer = viewer_of(info)
        return CitizenRecord.of(
            await operations.look_up_citizen(_identity(info), viewer, phone, reason, now=context.now)
        )


@strawberry.type
class SignInMutation:
    """Mutations about sessions."""

    @strawberry.mutation(
        description="Send a code to sign in with. The answer is the same whether the phone has an account.",
        permission_classes=_PUBLIC,
    )
    async def request_sign_in_code(
        self,
        info: Info[Context, None],
        input: Annotated[RequestSignInCodeInput, strawberry.argument(description="Where to send it.")],
    ) -> CodePayload:
        """Run `request_code`."""
        client = _client(info, input.device)
        work = operations.request_code(_identity(info), input.phone, client, now=info.context.now)
        return await _code_payload(info, work)

    @strawberry.mutation(
        description="Sign in with a phone number and its code; the first time makes the account.",
        permission_classes=_PUBLIC,
    )
    async def sign_in(
        self,
        info: Info[Context, None],
        input: Annotated[SignInInput, strawberry.argument(description="Phone and code.")],
    ) -> SessionPayload:
        """Run `sign_in`."""
        client = _client(info, input.device)
        work = operations.sign_in(_identity(info), input.phone, input.code, client, now=info.context.now)
        return await _session_payload(info, work)

    @strawberry.mutation(
        description="Sign in from a WeChat mini-program whose user is linked; WECHAT_NOT_LINKED otherwise.",
        permission_classes=_PUBLIC,
    )
    async def sign_in_by_wechat(
        self,
        info: Info[Context, None],
        input: Annotated[WechatCodeInput, strawberry.argument(description="The login code.")],
    ) -> SessionPayload:
        """Run `sign_in_by_wechat`."""
        client = _client(info, input.device)
        work = operations.sign_in_by_wechat(_identity(info), input.code, client, now=info.context.now)
        return await _session_payload(info, work)

    @strawberry.mutation(
        description="Exchange a refresh token for new tokens. Each is good once: one that is used again ends "
        "its session, so send one refresh at a time and store what comes back.",
        permission_classes=_PUBLIC,
    )
    async def refresh_session(
        self,
        info: Info[Context, None],
        input: Annotated[RefreshSessionInput, strawberry.argument(description="The token.")],
    ) -> SessionPayload:
        """Run `refresh`."""
        work = operations.refresh(_identity(info), input.refresh_token, now=info.context.now)
        return await _session_payload(info, work)

    @strawberry.mutation(description="End the session of this request.", permission_classes=_SIGNED_IN)
    async def sign_out(self, info: Info[Context, None]) -> SessionsPayload:
        """Run `end_session` for the viewer's own."""
        return await SignInMutation._end(info, viewer_of(info).session_id)

    @strawberry.mutation(
        description="End one of the viewer's sessions, as on a lost phone; it is refused within seconds.",
        permission_classes=_SIGNED_IN,
    )
    async def end_session(
        self,
        info: Info[Context, None],
        input: Annotated[EndSessionInput, strawberry.argument(description="Which.")],
    ) -> SessionsPayload:
        """Run `end_session`."""
        return await SignInMutation._end(info, input.session_id[:64])

    @strawberry.mutation(
        description="End all of the viewer's sessions, this one too.", permission_classes=_SIGNED_IN
    )
    async def sign_out_everywhere(self, info: Info[Context, None]) -> SessionsPayload:
        """Run `end_all_sessions`."""
        count = await operations.end_all_sessions(
            _identity(info), viewer_of(info).account_id, EndReason.SIGNED_OUT, now=info.context.now
        )
        return SessionsPayload(ended_count=count, sessions=await _open_sessions(info), user_errors=[])

    @staticmethod
    async def _end(info: Info[Context, None], session_id: str) -> SessionsPayload:
        work = operations.end_session(_identity(info), viewer_of(info), session_id, now=info.context.now)
        _, errors = await refusable(work, info.context.word)
        sessions = await _open_sessions(info)
        return SessionsPayload(ended_count=0 if errors else 1, sessions=sessions, user_errors=errors)


@strawberry.type
class AccountMutation(SignInMutation):
    """Mutations about the account, beside those about sessions."""

    @strawberry.mutation(
        description="Send a code to the viewer's own phone, for whatever takes a confirmation code.",
        permission_classes=_SIGNED_IN,
    )
    async def request_confirmation_code(
        self,
        info: Info[Context, None],
        input: Annotated[RequestConfirmationInput, strawberry.argument(description="From where.")],
    ) -> CodePayload:
        """Run `request_confirmation`."""
        client = _client(info, input.device)
        work = operations.request_confirmation(_identity(info), viewer_of(info), client, now=info.context.now)
        return await _code_payload(info, work)

    @strawberry.mutation(
        description="Make the session strong for 5 minutes, which is L3 for a verified person. Use the new "
        "access token from then on.",
        permission_classes=_SIGNED_IN,
    )
    async def confirm_session(
        self,
        info: Info[Context, None],
        input: Annotated[ConfirmationInput, strawberry.argument(description="The code.")],
    ) -> SessionPayload:
        """Run `confirm_session`."""
        client, viewer = _client(info, input.device), viewer_of(info)
        work = operations.confirm_session(_identity(info), viewer, input.code, client, now=info.context.now)
        return await _session_payload(info, work)

    @strawberry.mutation(
        description="Reach L2: real name and resident id number are verified. Use the new access token.",
        permission_classes=_SIGNED_IN,
    )
    async def verify_identity(
        self,
        info: Info[Context, None],
        input: Annotated[VerifyIdentityInput, strawberry.argument(description="Name and number.")],
    ) -> SessionPayload:
        """Run `verify_identity`."""
        identity, viewer = _identity(info), viewer_of(info)
        work = operations.verify_identity(
            identity, viewer, input.name, input.resident_id, now=info.context.now
        )
        return await _session_payload(info, work)

    @strawberry.mutation(
        description="Link the user of a WeChat mini-program, to sign in without a code from then on.",
        permission_classes=_SIGNED_IN,
    )
    async def link_wechat(
        self,
        info: Info[Context, None],
        input: Annotated[WechatCodeInput, strawberry.argument(description="The login code.")],
    ) -> AccountPayload:
        """Run `link_wechat`."""
        work = operations.link_wechat(_identity(info), viewer_of(info), input.code)
        return await AccountMutation._changed(info, work)

    @strawberry.mutation(
        description="Set or remove the viewer's postal address.",
        permission_classes=[allow(*SIGNED_IN, level=Assurance.L2)],
    )
    async def set_address(
        self,
        info: Info[Context, None],
        input: Annotated[SetAddressInput, strawberry.argument(description="The address.")],
    ) -> AccountPayload:
        """Run `set_address`."""
        work = operations.set_address(_identity(info), viewer_of(info), input.address)
        return await AccountMutation._changed(info, work)

    @staticmethod
    async def _changed(info: Info[Context, None], work: Awaitable[None]) -> AccountPayload:
        _, errors = await refusable(work, info.context.word)
        if errors:
            return AccountPayload(account=None, user_errors=errors)
        account = await _identity(info).accounts.get(viewer_of(info).account_id)
        return AccountPayload(account=AccountType(account=account), user_errors=[])

    @strawberry.mutation(
        description="Give everything that is kept about the viewer; needs a confirmation code.",
        permission_classes=_SIGNED_IN,
    )
    async def export_account(
        self,
        info: Info[Context, None],
        input: Annotated[ConfirmationInput, strawberry.argument(description="The code.")],
    ) -> ExportPayload:
        """Run `export_account`."""
        context, stores = info.context, info.context.stores
        client, viewer = _client(info, input.device), viewer_of(info)
        work = privacy.export_account(
            stores.identity, stores.personal, viewer, input.code, client, now=context.now
        )
        found, errors = await refusable(work, context.word)
        document = None if found is None else orjson.dumps(found, default=str).decode()
        return ExportPayload(document=document, user_errors=errors)

    @strawberry.mutation(
        description="Delete the account and everything about it, at once and for good; needs a confirmation "
        "code. All sessions end.",
        permission_classes=_SIGNED_IN,
    )
    async def delete_account(
        self,
        info: Info[Context, None],
        input: Annotated[ConfirmationInput, strawberry.argument(description="The code.")],
    ) -> DeletionPayload:
        """Run `delete_account`."""
        context, stores = info.context, info.context.stores
        client, viewer = _client(info, input.device), viewer_of(info)
        work = privacy.delete_account(
            stores.identity, stores.personal, viewer, input.code, client, now=context.now
        )
        _, errors = await refusable(work, context.word)
        return DeletionPayload(is_deleted=not errors, user_errors=errors)

    @strawberry.mutation(
        description="Give an account other roles; its sessions end. For operators with a fresh code.",
        permission_classes=[allow(Role.OPERATOR, level=Assurance.L3)],
    )
    async def grant_roles(
        self,
        info: Info[Context, None],
        input: Annotated[GrantRolesInput, strawberry.argument(description="Whom and which.")],
    ) -> GrantPayload:
        """Run `grant_roles`."""
        grant = Grant(frozenset(input.roles), input.company_code, input.unit, input.division_code)
        work = operations.grant_roles(_identity(info), input.phone, grant, now=info.context.now)
        account, errors = await refusable(work, info.context.word)
        return GrantPayload(
            citizen=None if account is None else CitizenRecord.of(account), user_errors=errors
        )


@strawberry.type(name="Viewer", description="Everything about whoever is signed in.")
class ViewerQuery(
    ViewerAccount,
    ViewerAgencies,
    ViewerDevices,
    ViewerMedia,
    ViewerMessages,
    ViewerComplaints,
    ViewerComplaintDrafts,
):
    """Composed from the parts of every noun."""


@strawberry.type
class AccountQuery:
    """The account's part of the root of Query."""

    @strawberry.field(
        description="Whoever is signed in; null, with the error UNAUTHENTICATED, when nobody is.",
        permission_classes=_SIGNED_IN,
    )
    def viewer(self) -> ViewerQuery | None:
        """Lead to the viewer's own."""
        return ViewerQuery()
