"""How long, for whom and by what an answer may be kept: declared in the schema, combined over a selection.

A plain field has the policy that it or its type declares, and otherwise that of the object it stands on. A
relation needs a declaration on itself or on the type it returns; a resolver, which may look at the viewer,
needs one on itself. Whatever has none is private and not kept. Where both a field and its type declare, the
more restrictive counts, and of an operation the most restrictive field. A field behind a permission or an
extension is private whatever it declares.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import strawberry
from graphql import GraphQLNamedType
from strawberry.schema_directive import Location

from engine.plan import BATCH, RESOLVER, TYPENAME, FieldPlan, LevelPlan


@strawberry.enum(description="Who may be given a kept answer.")
class CacheScope(Enum):
    """Who may be given a kept answer."""

    PUBLIC = "PUBLIC"
    PRIVATE = "PRIVATE"


@strawberry.schema_directive(
    locations=[Location.OBJECT, Location.INTERFACE, Location.UNION, Location.FIELD_DEFINITION],
    name="cacheControl",
    description="How long and for whom a value may be kept. The most restrictive of a selection counts.",
)
class CacheControl:
    """Declare a cache policy on a type or field, as `directives=[CacheControl(max_age=60, scope=...)]`."""

    max_age: int = strawberry.directive_field(name="maxAge", default=0)
    scope: CacheScope = strawberry.directive_field(name="scope", default=CacheScope.PRIVATE)
    stale_while_revalidate: int = strawberry.directive_field(name="staleWhileRevalidate", default=0)
    vary_language: bool = strawberry.directive_field(name="varyLanguage", default=False)
    snapshot: bool = strawberry.directive_field(name="snapshot", default=False)
    entity_key: str | None = strawberry.directive_field(name="entityKey", default=None)
    entity_version: str | None = strawberry.directive_field(name="entityVersion", default=None)


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """A combined policy. Ages are seconds; `max_age_s` 0 means that nothing is kept."""

    max_age_s: int = 0
    public: bool = False
    stale_s: int = 0
    language: bool = False
    snapshot: bool = False
    """Whether the value changes only when a new snapshot is published."""
    _header: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        value = "private, no-store"
        if self.is_cacheable:
            value = f"public, max-age={self.max_age_s}"
            if self.stale_s:
                value += f", stale-while-revalidate={self.stale_s}"
        object.__setattr__(self, "_header", value)

    @property
    def is_cacheable(self) -> bool:
        """Tell whether a shared cache may keep the value."""
        return self.public and self.max_age_s > 0

    def restrict(self, other: CachePolicy) -> CachePolicy:
        """Return the most restrictive of two policies."""
        return CachePolicy(
            min(self.max_age_s, other.max_age_s),
            self.public and other.public,
            min(self.stale_s, other.stale_s),
            self.language or other.language,
            self.snapshot and other.snapshot,
        )

    def header(self) -> str:
        """Return the `Cache-Control` value of an answer to GET."""
        return self._header


PRIVATE = CachePolicy()


def declared(definition: Any) -> CacheControl | None:
    """Return the directive on a strawberry type, union or field definition, if there is one."""
    for directive in getattr(definition, "directives", None) or ():
        if isinstance(directive, CacheControl):
            return directive
    return None


def policy_of(directive: CacheControl) -> CachePolicy:
    """Return the policy that a directive declares."""
    return CachePolicy(
        directive.max_age,
        directive.scope is CacheScope.PUBLIC,
        directive.stale_while_revalidate,
        directive.vary_language,
        directive.snapshot,
    )


def type_policy(type_: GraphQLNamedType) -> CachePolicy | None:
    """Return the policy declared on a GraphQL type."""
    directive = declared(type_.extensions.get("strawberry-definition"))
    return None if directive is None else policy_of(directive)


def level_policy(level: LevelPlan, inherited: CachePolicy) -> CachePolicy:
    """Return the most restrictive policy of a level's fields and everything below them."""
    own = type_policy(level.type)
    base = inherited if own is None else own
    result = own
    for plan in level.fields:
        if plan.kind != TYPENAME:
            policy = _field_policy(plan, base)
            result = policy if result is None else result.restrict(policy)
    return base if result is None else result


def _field_policy(plan: FieldPlan, base: CachePolicy) -> CachePolicy:
    definition: Any = plan.definition.extensions.get("strawberry-definition")
    directive = declared(definition)
    own = None if directive is None else policy_of(directive)
    returned = type_policy(plan.named)
    if getattr(definition, "extensions", None) or (plan.kind == RESOLVER and own is None):
        policy = PRIVATE
    elif own is not None:
        policy = own if returned is None else own.restrict(returned)
    elif returned is not None:
        policy = returned
    else:
        policy = PRIVATE if plan.kind == BATCH else base
    for level in plan.levels.values():
        policy = policy.restrict(level_policy(level, policy))
    return policy
