"""What companies and their agents do: appoint, accept, decline, lay down, dismiss.

An appointment is told to the agent and stands in their access log, as does its end. With that all sessions of
the agent end, so that no token speaks for the company any more.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from domain.access import Role, Viewer
from domain.account import AccountClosedError, EndReason, TooManyRequestsError
from domain.agencies import (
    MAX_AGENTS,
    Agency,
    AgencyNotFoundError,
    AgencyState,
    AgentElsewhereError,
    AgentNotAvailableError,
    CompanyAgent,
    MayNotAppointError,
    TooManyAgentsError,
    UnknownAgentError,
)
from domain.identifiers import company_code, phone_number
from domain.message_texts import SystemEvent, SystemNotice
from notifications.outbox import Outbox
from operations.account import Identity, SignedIn, end_all_sessions, limit_windows, reissue
from operations.messages import send_message

_APPOINTED: Final = "委任为企业代理人 Appointed as agent of"
_DISMISSED: Final = "解除企业代理人 Dismissed as agent of"


async def list_agents(identity: Identity, viewer: Viewer) -> list[CompanyAgent]:
    """List the agents of the viewer's company and those who have not accepted yet.

    Raises: MayNotAppointError.
    """
    return await identity.agencies.list_for_company(await _company_of(identity, viewer))


async def appoint(
    identity: Identity, outbox: Outbox, viewer: Viewer, phone: str, *, now: datetime
) -> CompanyAgent:
    """Appoint the account of a phone as agent of the viewer's company; again changes nothing.

    The account is made when the phone has none: who is appointed tells nothing about who has an account.
    Raises: InvalidPhoneError, MayNotAppointError, TooManyRequestsError, TooManyAgentsError,
    AgentNotAvailableError.
    """
    number = phone_number(phone)
    code = await _company_of(identity, viewer)
    pepper = await identity.secrets.get("codes")
    limits = identity.limits.appointments_per_principal
    windows = limit_windows(pepper, "appoint", (limits, viewer.account_id))
    if wait_s := await identity.gate.enter(windows):
        raise TooManyRequestsError(seconds=wait_s)
    try:
        account = await identity.accounts.find_or_create_by_phone(number, now=now)
    except AccountClosedError:
        raise AgentNotAvailableError(field="phone") from None
    agents = await identity.agencies.list_for_company(code)
    known = next((agent for agent in agents if agent.account_id == account.id), None)
    if known is not None:
        return known
    if len(agents) >= MAX_AGENTS:
        raise TooManyAgentsError(maximum=MAX_AGENTS)
    if not await identity.agencies.offer(account.id, code, now=now):
        raise AgentNotAvailableError(field="phone")
    await _tell(identity, outbox, viewer, account.id, code, SystemEvent.AGENT_APPOINTED, now=now)
    return CompanyAgent(account.id, number, None, Agency(code, AgencyState.OFFERED, False, now))


async def dismiss(
    identity: Identity, outbox: Outbox, viewer: Viewer, account_id: str, *, now: datetime
) -> AgencyState:
    """Dismiss an agent of the viewer's company, or take back what was not accepted yet; tell which it was.

    Raises: MayNotAppointError, UnknownAgentError.
    """
    code = await _company_of(identity, viewer)
    ended = await identity.agencies.end(account_id, code, principals=False)
    if ended is None:
        raise UnknownAgentError(field="agentId")
    if ended is AgencyState.ACTIVE:
        await end_all_sessions(identity, account_id, EndReason.ROLES_CHANGED, now=now)
    await _tell(identity, outbox, viewer, account_id, code, SystemEvent.AGENT_DISMISSED, now=now)
    return ended


async def accept(identity: Identity, viewer: Viewer, code: str, *, now: datetime) -> SignedIn:
    """Act for a company that appointed the viewer; the access token that this gives says so. Again: the same.

    Raises: InvalidCompanyCodeError, AgencyNotFoundError, AgentElsewhereError.
    """
    company = company_code(code)
    if not await identity.agencies.accept(viewer.account_id, company, now=now):
        mine = await identity.agencies.list_for_account(viewer.account_id)
        states = {agency.company_code: agency.state for agency in mine}
        if company not in states:
            raise AgencyNotFoundError(field="companyCode")
        if states[company] is AgencyState.OFFERED:
            raise AgentElsewhereError(field="companyCode")
    return await reissue(identity, await identity.accounts.get(viewer.account_id), viewer, now=now)


async def end_agency(identity: Identity, viewer: Viewer, code: str, *, now: datetime) -> AgencyState:
    """Decline an appointment, or lay an agency down: then all sessions end. Tell which it was.

    Raises: InvalidCompanyCodeError, AgencyNotFoundError.
    """
    ended = await identity.agencies.end(viewer.account_id, company_code(code), principals=True)
    if ended is None:
        raise AgencyNotFoundError(field="companyCode")
    if ended is AgencyState.ACTIVE:
        await end_all_sessions(identity, viewer.account_id, EndReason.ROLES_CHANGED, now=now)
    return ended


async def _company_of(identity: Identity, viewer: Viewer) -> str:
    """Give the company whose principal the viewer is, now and not only by their token."""
    for agency in await identity.agencies.list_for_account(viewer.account_id):
        if agency.is_principal and agency.company_code == viewer.company_code:
            return agency.company_code
    raise MayNotAppointError


async def _tell(
    identity: Identity,
    outbox: Outbox,
    viewer: Viewer,
    account_id: str,
    code: str,
    event: SystemEvent,
    *,
    now: datetime,
) -> None:
    appointed = event is SystemEvent.AGENT_APPOINTED
    reason = f"{_APPOINTED if appointed else _DISMISSED} {code}"
    await identity.access_log.record(account_id, viewer, Role.AGENT, ("phone",), reason, now=now)
    key = f"agency:{account_id}:{code}:{event}:{int(now.timestamp() * 1000)}"
    await send_message(outbox, account_id, SystemNotice(event, code), key, now=now)
