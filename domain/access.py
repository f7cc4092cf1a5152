"""Who is asking: roles, levels of assurance, and the viewer of one request."""

from __future__ import annotations

from datetime import datetime
from enum import IntEnum, StrEnum

from msgspec import Struct


class Role(StrEnum):
    """What somebody acts as; an account may hold several, a request uses all of them."""

    CITIZEN = "CITIZEN"
    AGENT = "AGENT"
    """Acts for a company with a unified social credit code."""
    DESK = "DESK"
    """Staff of a unit, within a division."""
    OPERATOR = "OPERATOR"


class Assurance(IntEnum):
    """How sure it is who is asking."""

    L1 = 1
    """The phone number answered."""
    L2 = 2
    """The real name was verified against the resident id number."""
    L3 = 3
    """L2, and a strong check a short time ago."""


class Viewer(Struct, frozen=True):
    """The signed-in account behind one request, as its token and its session say.

    `company_code` is the unified social credit code that an agent acts for; `unit` and `division_code` are
    the scope of desk staff. `expires_at` is the end of the access token, UTC.
    """

    account_id: str
    session_id: str
    roles: frozenset[Role]
    assurance: Assurance
    expires_at: datetime
    company_code: str | None = None
    unit: str | None = None
    division_code: str | None = None
