"""Who is asking, and who may see or do what: roles, levels of assurance, rules, one place that decides.

A rule names the roles it is for and the level it needs. What has no rule is for nobody.
"""

from __future__ import annotations

from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Final

from msgspec import Struct

from domain.errors import DomainError


class UnauthenticatedError(DomainError):
    """Nobody is signed in, or the token has run out meanwhile."""

    code = "UNAUTHENTICATED"


class ForbiddenError(DomainError):
    """The viewer's roles do not allow this."""

    code = "FORBIDDEN"


class AssuranceTooLowError(DomainError):
    """The viewer's identity is not sure enough; `required` says the level, `reach_by` the mutation."""

    code = "ASSURANCE_TOO_LOW"


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


REACHED_BY: Final = {
    Assurance.L1: "signIn",
    Assurance.L2: "verifyIdentity",
    Assurance.L3: "confirmSession",
}
"""The mutation that leads to a level."""


class Viewer(Struct, frozen=True):
    """The signed-in account behind one request, as its token and its session say.

    `company_code` is the unified social credit code that an agent acts for; `unit` and `division_code` are
    the scope of desk staff. `expires_at` is the end of the access token, UTC. `strong_until` is the end of
    L3, after which L2 remains; None means that the level holds as long as the token.
    """

    account_id: str
    session_id: str
    roles: frozenset[Role]
    assurance: Assurance
    expires_at: datetime
    company_code: str | None = None
    unit: str | None = None
    division_code: str | None = None
    strong_until: datetime | None = None

    def level(self, now: datetime) -> Assurance:
        """Give the level of assurance that holds now."""
        ended = self.strong_until is not None and now >= self.strong_until
        return Assurance.L2 if self.assurance is Assurance.L3 and ended else self.assurance

    def acts_as(self, role: Role) -> bool:
        """Tell whether the viewer holds a role together with the scope without which it means nothing."""
        if role not in self.roles:
            return False
        if role is Role.AGENT:
            return self.company_code is not None
        if role is Role.DESK:
            return self.unit is not None and self.division_code is not None
        return True


class Rule(Struct, frozen=True):
    """For whom something is: any of `roles`, at `level` or above; or for everybody, signed in or not."""

    roles: frozenset[Role] = frozenset()
    level: Assurance = Assurance.L1
    is_public: bool = False


PUBLIC: Final = Rule(is_public=True)
SIGNED_IN: Final = frozenset(Role)
"""All roles: for everybody who is signed in."""


def decide(rule: Rule | None, viewer: Viewer | None, *, now: datetime) -> None:
    """Let a viewer pass, or refuse; without a rule everybody is refused.

    Raises: UnauthenticatedError, ForbiddenError, AssuranceTooLowError.
    """
    if rule is not None and rule.is_public:
        return
    if viewer is None or now >= viewer.expires_at:
        raise UnauthenticatedError
    if rule is None or not any(viewer.acts_as(role) for role in rule.roles):
        raise ForbiddenError
    if viewer.level(now) < rule.level:
        raise AssuranceTooLowError(
            required=rule.level.name, current=viewer.level(now).name, reach_by=REACHED_BY[rule.level]
        )


def is_within(division_code: str, scope: str) -> bool:
    """Tell whether a division (6 or 9 digits) is the scope's own or lies below it (GB/T 2260's digits)."""
    return division_code.startswith(prefix_of(scope))


def prefix_of(scope: str) -> str:
    """Give the digits with which the codes of all divisions within a scope begin."""
    if len(scope) != 6:
        return scope
    return scope[:2] if scope.endswith("0000") else scope[:4] if scope.endswith("00") else scope
