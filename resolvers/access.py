"""How a field says for whom it is; `domain.access.decide` decides when it is asked for.

Every field of Query, Mutation, Subscription, Viewer and Desk must say so, or the schema is not built.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, ClassVar, Final

import strawberry
from graphql import GraphQLObjectType
from strawberry.permission import BasePermission
from strawberry.schema_directive import Location
from strawberry.types import Info
from strawberry.types.field import StrawberryField

from domain.access import PUBLIC, Assurance, Role, Rule, UnauthenticatedError, Viewer, decide
from engine.policy import CacheScope, declared
from resolvers.context import Context
from resolvers.node import describe_enum

describe_enum(
    Role,
    "What somebody acts as; an account may hold several.",
    {
        "CITIZEN": "Uses the services for themselves.",
        "AGENT": "Acts for a company with a unified social credit code.",
        "DESK": "Staff of a unit, within a division.",
        "OPERATOR": "Installs, feeds and watches the system.",
    },
)
describe_enum(
    Assurance,
    "How sure it is who is asking; a higher level includes those below.",
    {
        "L1": "The phone number answered; reached by signing in.",
        "L2": "The real name was verified against the resident id number; reached by `verifyIdentity`.",
        "L3": "L2, and a fresh code a few minutes ago at most; reached by `confirmSession`.",
    },
)

_PUBLIC_KEY: Final = "is_public"
PUBLIC_FIELD: Final[Mapping[str, Any]] = {_PUBLIC_KEY: True}
"""Metadata of a public field that must stay free of permission classes, which the engine would call."""
GUARDED: Final = ("Query", "Mutation", "Subscription", "Viewer", "Desk")
"""The types whose every field must have a rule."""


@strawberry.schema_directive(
    locations=[Location.FIELD_DEFINITION],
    name="access",
    description="For whom a field is: any of the roles, at this level of assurance or above.",
)
class Access:
    """A rule, shown in the schema; no roles: for everybody, signed in or not."""

    roles: list[Role] = strawberry.directive_field(name="roles")
    level: Assurance = strawberry.directive_field(name="level", default=Assurance.L1)


class Allowed(BasePermission):
    """A permission that asks `decide`; made by `allow` and `public` only."""

    rule: ClassVar[Rule]

    def has_permission(self, source: Any, info: Info[Context, None], **kwargs: Any) -> bool:
        """Let the request's viewer pass. Raises: the errors of `decide`."""
        decide(self.rule, info.context.viewer, now=info.context.now)
        return True


@cache
def _permission(rule: Rule) -> type[Allowed]:
    roles = [role for role in Role if role in rule.roles]
    name = "Public" if rule.is_public else f"{''.join(role.name.title() for role in roles)}{rule.level.name}"
    directive = Access(roles=roles, level=rule.level)
    return type(name, (Allowed,), {"rule": rule, "_schema_directive": directive})


def allow(*roles: Role, level: Assurance = Assurance.L1) -> type[Allowed]:
    """Give the permission class for viewers with any of these roles, at this level or above.

    Raises: ValueError without a role; `allow(*SIGNED_IN)` is for everybody who is signed in.
    """
    if not roles:
        raise ValueError("allow() needs a role; public() is for everybody")
    return _permission(Rule(frozenset(roles), level))


def public() -> type[Allowed]:
    """Give the permission class for everybody, signed in or not."""
    return _permission(PUBLIC)


def viewer_of(info: Info[Context, None]) -> Viewer:
    """Give the viewer of a request that a rule has let pass. Raises: UnauthenticatedError."""
    viewer = info.context.viewer
    if viewer is None:
        raise UnauthenticatedError
    return viewer


def rule_of(field: StrawberryField) -> Rule | None:
    """Give the rule that a field declares; None when it declares none.

    A field whose values everybody's cache may keep is public.
    """
    for permission in field.permission_classes:
        if issubclass(permission, Allowed):
            return permission.rule
    cache_control = declared(field)
    kept_for_all = cache_control is not None and cache_control.scope is CacheScope.PUBLIC
    return PUBLIC if kept_for_all or field.metadata.get(_PUBLIC_KEY) else None


def rules(schema: strawberry.Schema) -> Iterator[tuple[str, Rule | None]]:
    """Yield `Type.field` and its rule for every field of the guarded types, and every other with a rule."""
    for name, type_ in sorted(schema._schema.type_map.items()):
        if not isinstance(type_, GraphQLObjectType) or name.startswith("__"):
            continue
        for field_name, field in sorted(type_.fields.items()):
            definition = field.extensions.get("strawberry-definition")
            rule = rule_of(definition) if isinstance(definition, StrawberryField) else None
            if name in GUARDED or (rule is not None and not rule.is_public):
                yield f"{name}.{field_name}", rule


def require_rules(schema: strawberry.Schema) -> strawberry.Schema:
    """Give a schema back in which every field of the guarded types says for whom it is.

    Raises: TypeError naming the fields that do not.
    """
    missing = [name for name, rule in rules(schema) if rule is None]
    if missing:
        raise TypeError(f"no rule says for whom these are: {', '.join(missing)}")
    return schema
