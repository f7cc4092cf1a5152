"""Companies and their agents: who may appoint, what an appointment goes through, and why one is refused.

An operator names the first agent of a company, its legal representative as a rule; that one is a principal
and appoints others, who must accept. Whoever was appointed so appoints nobody.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Final

from msgspec import Struct

from domain.errors import DomainError

MAX_AGENTS: Final = 50
"""Agents of one company, those included that have not accepted yet."""
MAX_OFFERS: Final = 20
"""Appointments that one account can leave unanswered."""


class MayNotAppointError(DomainError):
    """The viewer is no principal of the company: only those whom an operator named appoint and dismiss."""

    code = "MAY_NOT_APPOINT"


class TooManyAgentsError(DomainError):
    """The company has `maximum` agents already."""

    code = "TOO_MANY_AGENTS"


class AgentNotAvailableError(DomainError):
    """The account has too many appointments unanswered, or is being deleted: which is not told."""

    code = "AGENT_NOT_AVAILABLE"


class UnknownAgentError(DomainError):
    """The company has appointed no such agent."""

    code = "UNKNOWN_AGENT"


class AgencyNotFoundError(DomainError):
    """The viewer neither acts for the company nor was appointed by it."""

    code = "AGENCY_NOT_FOUND"


class AgentElsewhereError(DomainError):
    """The viewer acts for another company, and for one at a time only."""

    code = "AGENT_ELSEWHERE"


class AgencyState(StrEnum):
    """How far an appointment is; one that ended is gone."""

    OFFERED = "OFFERED"
    """The agent has not accepted yet and may do nothing for the company."""
    ACTIVE = "ACTIVE"


class Agency(Struct, frozen=True):
    """What an account is to a company; `since`: offered or accepted, UTC, None where an operator did it."""

    company_code: str
    state: AgencyState
    is_principal: bool
    since: datetime | None


class CompanyAgent(Struct, frozen=True):
    """The same as the company sees it, with personal data in the clear; `name` None until it was accepted."""

    account_id: str
    phone: str | None
    name: str | None
    agency: Agency
