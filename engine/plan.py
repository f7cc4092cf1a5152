"""The plan of a compiled operation: levels (one per runtime type and place) made of fields."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from graphql import (
    FieldNode,
    GraphQLField,
    GraphQLList,
    GraphQLNamedType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLSchema,
    OperationDefinitionNode,
)
from graphql.execution.collect_fields import FieldDetails

if TYPE_CHECKING:
    from engine.markers import Rest
    from engine.policy import CachePolicy
    from engine.relation import Relation
    from engine.runtime import Run

PLAIN, RESOLVER, BATCH, TYPENAME = "plain", "resolver", "batch", "typename"

Frame = list[Any]
"""Where the objects of a level come from; read by `engine.frames` only."""

Column = list[Any]
"""One value per object of a level."""


LevelFunction = Callable[[Column, "Run", Frame | None], "Column | Rest"]
"""Completes the selection of a level for objects that stand at a frame."""


class UnsupportedError(Exception):
    """Say why a document runs on graphql-core instead of compiled code."""


@dataclass(slots=True, eq=False)
class FieldPlan:
    """One response key of one level: how it is read and how its value is completed."""

    key: str
    order: int
    kind: str
    parent: GraphQLObjectType
    definition: GraphQLField
    details: list[FieldDetails]
    nodes: list[FieldNode]
    output: GraphQLOutputType
    named: GraphQLNamedType
    list_depth: int
    get: Callable[[Any], Any]
    attribute: str | None
    relation: Relation | None
    arguments: Callable[[Run], dict[str, Any]] | None
    shares_arguments: bool
    levels: dict[str, LevelPlan] = field(default_factory=dict)
    only_level: LevelPlan | None = None
    """The level of a field of object type, None for the others."""
    fits: set[type] = field(default_factory=set)
    """Classes whose every instance completes on the one level of this field."""
    classes: dict[type, LevelPlan] = field(default_factory=dict)
    castable: dict[type, LevelPlan] = field(default_factory=dict)
    complete: Callable[[Column, Run, Frame], Column | Rest] | None = None
    suspends: bool = False
    """Whether the field or anything under it is known to wait for something."""
    shared: bool = False
    """Whether equal keys may share one completed value (nothing below calls a resolver)."""
    info_head: tuple[Any, ...] = ()
    direct: Callable[[Any, Any, dict[str, Any]], Any] | None = None
    """The resolver without strawberry's wrappers, where these have nothing to do."""
    wants_info: bool = True


@dataclass(slots=True, eq=False)
class LevelPlan:
    """The fields selected on one runtime type at one place of the operation."""

    number: int
    type: GraphQLObjectType
    fields: list[FieldPlan] = field(default_factory=list)
    by_key: dict[str, FieldPlan] = field(default_factory=dict)
    run: LevelFunction = field(default=lambda *_: [])
    """Gives the rows, or a `Rest` where something has to wait or is odd."""
    plain_run: LevelFunction = field(default=lambda *_: [])
    """`run` without the fragment cache in front."""
    usual: frozenset[Any] = frozenset()
    """The class of `engine.typed` whose objects the quick ways take, where there is one."""
    quick: LevelFunction | None = None
    """Does what `run` does for objects of the usual class, without a look at their leaves."""
    quick_by_key: Callable[[dict[Any, Any], Column], None] | None = None
    """Puts the rows of a flat level's usual objects into a dict that has their keys, in order; raises for
    anything odd."""
    is_keyed: bool = False
    """Whether a relation asks for `quick_by_key`."""
    is_flat: bool = False
    """Whether every field is a leaf read from its object."""
    is_single: bool = False
    """Whether it always has one object: no list and no relation is above it."""
    suspends: bool = False
    pure: bool = True
    """Whether nothing at or below this level calls a resolver."""
    fragment: FragmentKey | None = None


@dataclass(slots=True, frozen=True)
class FragmentKey:
    """What identifies the stored JSON of one entity under one selection."""

    selection: str
    identity: Callable[[Any], Any]
    variables: tuple[str, ...]
    language: bool


@dataclass(slots=True, eq=False)
class OperationPlan:
    """A compiled operation for one combination of its `@skip`/`@include` values."""

    schema: GraphQLSchema
    operation: OperationDefinitionNode
    fragments: dict[str, Any]
    fragment_details: dict[str, Any]
    root: LevelPlan
    steps: list[LevelPlan]
    """The root level, or one level per root field of a mutation, run in order."""
    levels: list[LevelPlan]
    source: str
    info_class: type
    executor_class: type
    policy: CachePolicy
    waits: bool
    """Whether something is known to wait, or has extensions that may."""


def attribute_getter(name: str) -> Callable[[Any], Any]:
    """Return a reader of the attribute."""
    return attrgetter(name)


def list_depth(type_: GraphQLOutputType) -> int:
    """Return how many lists are wrapped around the named type."""
    depth = 0
    node: Any = type_
    while isinstance(node, GraphQLNonNull | GraphQLList):
        depth += isinstance(node, GraphQLList)
        node = node.of_type
    return depth
