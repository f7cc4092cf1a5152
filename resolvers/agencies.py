"""Companies and their agents in GraphQL: what the viewer is to companies, and the agents of their company."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import strawberry
from strawberry.permission import BasePermission
from strawberry.types import Info

from domain.access import SIGNED_IN, Assurance, Role
from domain.agencies import Agency, AgencyState, CompanyAgent, UnknownAgentError
from domain.identifiers import mask_name, mask_phone
from domain.ids import InvalidNodeIdError, decode_node_id, encode_node_id
from operations import account as account_operations
from operations import agencies as operations
from operations.account import Identity
from resolvers.access import allow, viewer_of
from resolvers.account_types import SessionPayload
from resolvers.context import Context
from resolvers.messages import messages_of
from resolvers.mutations import UserError, refusable
from resolvers.node import describe_enum

_AGENT_ID = "CompanyAgent"
_COMPANY_CODE = "Unified social credit code of the company, 18 characters (GB 32100)."
_SIGNED_IN: list[type[BasePermission]] = [allow(*SIGNED_IN)]

describe_enum(
    AgencyState,
    "How far an appointment as agent of a company is; one that ended is gone.",
    {
        "OFFERED": "The agent has not accepted yet and may do nothing for the company.",
        "ACTIVE": "The agent acts for the company.",
    },
)


@strawberry.type(name="Agency", description="What the viewer is to one company.")
class AgencyType:
    """Shows an agency to the agent."""

    company_code: str = strawberry.field(description=_COMPANY_CODE)
    state: AgencyState = strawberry.field(description="Whether it was accepted.")
    is_principal: bool = strawberry.field(
        description="Whether the viewer appoints and dismisses other agents of the company."
    )
    since: datetime | None = strawberry.field(
        description="When it was offered, or accepted once it is active, UTC; null for a principal."
    )

    @classmethod
    def of(cls, agency: Agency) -> AgencyType:
        """Show an agency."""
        return cls(
            company_code=agency.company_code,
            state=agency.state,
            is_principal=agency.is_principal,
            since=agency.since,
        )


@strawberry.type(name="CompanyAgent", description="An agent as the company sees them.")
class CompanyAgentType:
    """Shows an agent to the principal, masked."""

    id: strawberry.ID = strawberry.field(description="For `dismissAgent`.")
    phone: str | None = strawberry.field(
        description="Mobile number, as 138****5678; null when none is known."
    )
    name: str | None = strawberry.field(
        description="Name, all but its last character hidden; null until the agent accepted."
    )
    state: AgencyState = strawberry.field(description="Whether the agent accepted.")
    is_principal: bool = strawberry.field(description="Whether they appoint and dismiss, too.")
    since: datetime | None = strawberry.field(
        description="When it was offered, or accepted once it is active, UTC; null for a principal."
    )

    @classmethod
    def of(cls, agent: CompanyAgent) -> CompanyAgentType:
        """Show an agent, masked."""
        return cls(
            id=strawberry.ID(encode_node_id(_AGENT_ID, agent.account_id)),
            phone=agent.phone and mask_phone(agent.phone),
            name=agent.name and mask_name(agent.name),
            state=agent.agency.state,
            is_principal=agent.agency.is_principal,
            since=agent.agency.since,
        )


@strawberry.input(description="Whom to appoint as agent of the viewer's company.")
class AppointAgentInput:
    """Of appointAgent."""

    phone: str = strawberry.field(description="Their mobile number of the mainland.")


@strawberry.input(description="Which agent.")
class DismissAgentInput:
    """Of dismissAgent."""

    agent_id: strawberry.ID = strawberry.field(description="Id of the agent, from `companyAgents`.")


@strawberry.input(description="Which company.")
class AgencyInput:
    """Of acceptAgency and endAgency."""

    company_code: str = strawberry.field(description=_COMPANY_CODE)


@strawberry.type(description="Result of appointAgent.")
class AppointAgentPayload:
    """The agent, or why not."""

    agent: CompanyAgentType | None = strawberry.field(description="As they stand now; null when refused.")
    user_errors: list[UserError] = strawberry.field(description="Why it was refused.")


@strawberry.type(description="Result of dismissAgent.")
class DismissAgentPayload:
    """What it was that ended, or why not."""

    ended: AgencyState | None = strawberry.field(
        description="ACTIVE: the agent's sessions ended, too; OFFERED: it was taken back; null when refused."
    )
    user_errors: list[UserError] = strawberry.field(description="Why it was refused.")


@strawberry.type(description="Result of endAgency.")
class EndAgencyPayload:
    """What it was that ended, or why not."""

    ended: AgencyState | None = strawberry.field(
        description="ACTIVE: all sessions of the viewer ended, sign in again; OFFERED: it was declined; null "
        "when refused."
    )
    user_errors: list[UserError] = strawberry.field(description="Why it was refused.")


def _identity(info: Info[Context, None]) -> Identity:
    return info.context.stores.identity


def _raw_agent_id(id: str) -> str:
    """Give the account of an agent's id. Raises: UnknownAgentError."""
    try:
        kind, raw = decode_node_id(id)
    except InvalidNodeIdError:
        raise UnknownAgentError(field="agentId") from None
    if kind != _AGENT_ID:
        raise UnknownAgentError(field="agentId")
    return raw


@strawberry.type
class ViewerAgencies:
    """The agencies' part of Viewer."""

    @strawberry.field(
        description="The company that the viewer acts for, one at most, then those that have appointed the "
        "viewer and wait for an answer, at most 20.",
        permission_classes=_SIGNED_IN,
        metadata={"list_size": 5},
    )
    async def agencies(self, info: Info[Context, None]) -> list[AgencyType]:
        """List what the viewer is to companies."""
        found = await _identity(info).agencies.list_for_account(viewer_of(info).account_id)
        return [AgencyType.of(agency) for agency in found]

    @strawberry.field(
        description="The agents of the viewer's company, at most 50, then who has not accepted yet. "
        "MAY_NOT_APPOINT for agents who are no principals.",
        permission_classes=[allow(Role.AGENT, level=Assurance.L2)],
        metadata={"list_size": 20},
    )
    async def company_agents(self, info: Info[Context, None]) -> list[CompanyAgentType]:
        """List the agents. Raises: MayNotAppointError."""
        agents = await operations.list_agents(_identity(info), viewer_of(info))
        return [CompanyAgentType.of(agent) for agent in agents]


@strawberry.type
class AgenciesMutation:
    """The agencies' part of Mutation."""

    @strawberry.mutation(
        description="Appoint an agent of the viewer's company, who must accept; again changes nothing. For "
        "principals with a fresh code.",
        permission_classes=[allow(Role.AGENT, level=Assurance.L3)],
    )
    async def appoint_agent(
        self,
        info: Info[Context, None],
        input: Annotated[AppointAgentInput, strawberry.argument(description="Whom.")],
    ) -> AppointAgentPayload:
        """Run `appoint`."""
        identity, outbox, now = _identity(info), messages_of(info).outbox, info.context.now
        work = operations.appoint(identity, outbox, viewer_of(info), input.phone, now=now)
        agent, errors = await refusable(work, info.context.word)
        shown = None if agent is None else CompanyAgentType.of(agent)
        return AppointAgentPayload(agent=shown, user_errors=errors)

    @strawberry.mutation(
        description="Dismiss an agent of the viewer's company whom a principal appointed, or take the "
        "appointment back. The agent's sessions end at once. For principals with a fresh code.",
        permission_classes=[allow(Role.AGENT, level=Assurance.L3)],
    )
    async def dismiss_agent(
        self,
        info: Info[Context, None],
        input: Annotated[DismissAgentInput, strawberry.argument(description="Which.")],
    ) -> DismissAgentPayload:
        """Run `dismiss`."""
        identity, outbox, now = _identity(info), messages_of(info).outbox, info.context.now

        async def dismiss() -> AgencyState:
            account_id = _raw_agent_id(input.agent_id)
            return await operations.dismiss(identity, outbox, viewer_of(info), account_id, now=now)

        ended, errors = await refusable(dismiss(), info.context.word)
        return DismissAgentPayload(ended=ended, user_errors=errors)

    @strawberry.mutation(
        description="Act for a company that has appointed the viewer, for one at a time. Use the new access "
        "token.",
        permission_classes=[allow(*SIGNED_IN, level=Assurance.L2)],
    )
    async def accept_agency(
        self,
        info: Info[Context, None],
        input: Annotated[AgencyInput, strawberry.argument(description="Which company.")],
    ) -> SessionPayload:
        """Run `accept`."""
        now = info.context.now
        work = operations.accept(_identity(info), viewer_of(info), input.company_code, now=now)
        done, errors = await refusable(work, info.context.word)
        level = None if done is None else account_operations.level_of(done.account, done.session, now=now)
        return SessionPayload.of(done, errors, level, now)

    @strawberry.mutation(
        description="Decline an appointment, or act for a company no more: then all sessions of the viewer "
        "end, for their tokens speak for it.",
        permission_classes=_SIGNED_IN,
    )
    async def end_agency(
        self,
        info: Info[Context, None],
        input: Annotated[AgencyInput, strawberry.argument(description="Which company.")],
    ) -> EndAgencyPayload:
        """Run `end_agency`."""
        work = operations.end_agency(
            _identity(info), viewer_of(info), input.company_code, now=info.context.now
        )
        ended, errors = await refusable(work, info.context.word)
        return EndAgencyPayload(ended=ended, user_errors=errors)
