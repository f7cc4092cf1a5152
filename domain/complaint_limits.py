"""How many working days a complaint may take: rules by kind, class, convenience list, division and time."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from typing import Annotated, Final

from msgspec import Meta, Struct

from domain.access import is_within
from domain.complaints import Kind
from domain.errors import DomainError
from domain.preferences import SHANGHAI

MAX_LIMIT_DAYS: Final = 90


class InvalidLimitRulesError(DomainError):
    """Rules for limits that do not hold together; `reason` says which and why."""

    code = "INVALID_LIMIT_RULES"


class LimitRule(Struct, frozen=True, forbid_unknown_fields=True):
    """One version of one limit, in working days, for complaints that begin on `valid_from` or later.

    It is for complaints of `kind` whose class begins with `class_prefix` and that are on the convenience
    list (便民服务事项清单) or not as `is_convenience` says (None: either), in `division` (GB/T 2260, 6 or 9
    digits) or below it (None: everywhere), until the day before `valid_until` (None: without end).
    """

    id: Annotated[str, Meta(min_length=1, max_length=64)]
    kind: Kind
    days: Annotated[int, Meta(ge=1, le=MAX_LIMIT_DAYS)]
    valid_from: date
    valid_until: date | None = None
    class_prefix: Annotated[str, Meta(pattern="^[0-9A-Z]{0,8}$")] = ""
    is_convenience: bool | None = None
    division: Annotated[str, Meta(pattern="^([0-9]{6}|[0-9]{9})$")] | None = None

    def fits(
        self, kind: Kind, class_code: str | None, is_convenience: bool, division: str, day: date
    ) -> bool:
        """Tell whether the rule is for a complaint; a complaint without class fits rules without one."""
        return (
            kind is self.kind
            and (class_code or "").startswith(self.class_prefix)
            and self.is_convenience in {None, is_convenience}
            and (self.division is None or is_within(division, self.division))
            and self.valid_from <= day
            and (self.valid_until is None or day < self.valid_until)
        )

    def rank(self) -> tuple[bool, int, int, date]:
        """Give the rank among rules that fit: what it is about, before where, before the newest."""
        return (
            self.is_convenience is not None,
            len(self.class_prefix),
            _depth(self.division),
            self.valid_from,
        )


def _depth(division: str | None) -> int:
    """Count the digits that say where a division is: 350000 has two."""
    if division is None:
        return 0
    if len(division) == 9:
        return 9
    return 2 if division.endswith("0000") else 4 if division.endswith("00") else 6


_ALWAYS: Final = date.min
DEFAULT_RULES: Final = (
    LimitRule("consult", Kind.CONSULT, 2, _ALWAYS),
    LimitRule("complaint", Kind.COMPLAINT, 10, _ALWAYS),
    LimitRule("complaint-convenience", Kind.COMPLAINT, 3, _ALWAYS, is_convenience=True),
    LimitRule("suggestion", Kind.SUGGESTION, 5, _ALWAYS),
    LimitRule("help", Kind.HELP, 3, _ALWAYS),
)
"""The limits of the provincial platform: the ground that every set of rules stands on."""


class LimitRules(Struct, frozen=True):
    """All versions of all limits; made by `limit_rules`, so that every complaint has one."""

    rules: tuple[LimitRule, ...]

    def limit_for(
        self, kind: Kind, class_code: str | None, is_convenience: bool, division: str, *, at: datetime
    ) -> LimitRule:
        """Find the rule for a complaint whose clock begins at an instant.

        Of the rules that fit, one for the convenience list (or for what is not on it) goes before one for
        either; then the longest class prefix, the narrowest division and the newest decide.
        """
        day = at.astimezone(SHANGHAI).date()
        fitting = (r for r in self.rules if r.fits(kind, class_code, is_convenience, division, day))
        return max(fitting, key=LimitRule.rank)


def limit_rules(extra: Iterable[LimitRule] = ()) -> LimitRules:
    """Put an operator's rules upon those of the province.

    Raises: InvalidLimitRulesError when two rules have one id or are for the same from the same day, or when a
    rule ends before it begins.
    """
    rules = (*DEFAULT_RULES, *extra)
    ids: set[str] = set()
    places: dict[object, str] = {}
    for rule in rules:
        if rule.id in ids:
            raise InvalidLimitRulesError(reason=f"{rule.id}: two rules have this id")
        ids.add(rule.id)
        if rule.valid_until is not None and rule.valid_until <= rule.valid_from:
            raise InvalidLimitRulesError(reason=f"{rule.id}: it ends before it begins")
        place = (rule.kind, rule.class_prefix, rule.is_convenience, rule.division, rule.valid_from)
        if place in places:
            raise InvalidLimitRulesError(
                reason=f"{rule.id}: for the same as {places[place]}, from the same day"
            )
        places[place] = rule.id
    return LimitRules(rules)
