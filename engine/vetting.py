"""Which classes complete without a look at the instance.

`is_type_of` and `resolve_type` may look at anything. Where strawberry wrote them, or the schema's author with
`source_classes`, the answer depends on the class alone and is asked once per class.
"""

from __future__ import annotations

import datetime
import decimal
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from graphql import GraphQLInterfaceType, GraphQLObjectType, GraphQLUnionType
from graphql.pyutils import Path, Undefined
from strawberry.types.base import StrawberryObjectDefinition, get_object_definition
from strawberry.types.cast import TYPE_CAST_ATTRIBUTE

from engine.markers import Batch, Failed, Items, Late
from engine.plan import FieldPlan, LevelPlan

PATH = Path
LISTS: frozenset[type] = frozenset({list, tuple})
PLAIN_CLASSES: frozenset[type] = frozenset(
    {
        *(str, int, float, bool, bytes, list, tuple, dict, set, frozenset),
        *(datetime.datetime, datetime.date, datetime.time, datetime.timedelta),
        *(decimal.Decimal, uuid.UUID),
    }
)
"""Classes known to be neither awaitable nor an error nor null."""
_MARKERS: frozenset[type] = frozenset({Failed, Late, Items, Batch, type(None), type(Undefined)})
_MOST_CLASSES = 256
"""Per field: classes made at run time must not fill the memory."""


def source_classes(*classes: type) -> Callable[[Any, Any], bool]:
    """Return an `is_type_of` that accepts instances of these classes; compiled code asks once per class.

    Use it as `is_type_of = source_classes(ItemView)` in the body of a strawberry type whose objects are not
    instances of the type itself. A class named here may have a `__getattr__`, for fields that are made when
    they are asked for; everything else about an instance must be decided by its class.
    """

    def is_type_of(value: Any, _info: Any) -> bool:
        return isinstance(value, classes)

    is_type_of.source_classes = classes  # type: ignore[attr-defined]
    return is_type_of


def is_odd(value: Any) -> bool:
    """Tell whether a leaf's value is an error, an awaitable, null or a marker."""
    return (
        value.__class__ in _MARKERS
        or isinstance(value, Exception)
        or value is Undefined
        or hasattr(value, "__await__")
    )


def vet(plan: FieldPlan, cls: type, level: LevelPlan) -> None:
    """Remember the level of a class, for instances of which the schema found it, where the class decides."""
    declared = any(cls in declared_classes(each.type) for each in plan.levels.values())
    if len(plan.classes) + len(plan.castable) >= _MOST_CLASSES or not is_steady(cls, declared=declared):
        return
    named: Any = plan.named
    castable = False
    if isinstance(named, GraphQLObjectType):
        if named.is_type_of is not None:
            if not _decided_by_class(named, cls):
                return
            castable = _is_generated(named)
    elif isinstance(named, GraphQLInterfaceType | GraphQLUnionType):
        if not _abstract_decided_by_class(named, cls, plan):
            return
        castable = True
    if castable and cls.__dictoffset__:
        plan.castable[cls] = level
        return
    plan.classes[cls] = level
    if level is plan.only_level:
        plan.fits.add(cls)


def declared_classes(type_: GraphQLObjectType) -> tuple[type, ...]:
    """Return the classes that the author of a type declared with `source_classes`."""
    classes: tuple[type, ...] = getattr(type_.is_type_of, "source_classes", ())
    return classes


def is_steady(cls: type, *, declared: bool) -> bool:
    """Tell whether the instances of a class are objects, and what they seem to be, by their class alone."""
    return not (
        cls in _MARKERS
        or issubclass(cls, Exception)
        or hasattr(cls, "__await__")
        or (hasattr(cls, "__getattr__") and not declared)
        or cls.__getattribute__ is not object.__getattribute__
        or hasattr(cls, TYPE_CAST_ATTRIBUTE)
        or "__class__" in vars(cls)
    )


def _is_generated(type_: GraphQLObjectType) -> bool:
    name = getattr(type_.is_type_of, "__qualname__", "")
    return name.endswith("_get_is_type_of.<locals>.is_type_of")


def _decided_by_class(type_: GraphQLObjectType, cls: type) -> bool:
    """Tell whether `is_type_of` looks at the class alone and accepts it."""
    if type_.is_type_of is None:
        return True
    classes = declared_classes(type_)
    if classes:
        return issubclass(cls, classes)
    if not _is_generated(type_):
        return False
    definition = type_.extensions.get("strawberry-definition")
    if not isinstance(definition, StrawberryObjectDefinition) or definition.concrete_of is not None:
        return False
    return issubclass(cls, (definition.origin, *(each.origin for each in definition.interfaces)))


def _abstract_decided_by_class(
    named: GraphQLInterfaceType | GraphQLUnionType, cls: type, plan: FieldPlan
) -> bool:
    """Tell whether strawberry's own `resolve_type` gives one answer for the class."""
    definition = named.extensions.get("strawberry-definition")
    if isinstance(named, GraphQLInterfaceType) and (
        not isinstance(definition, StrawberryObjectDefinition) or definition.resolve_type is not None
    ):
        return False
    if issubclass(cls, Mapping) or any(f"_{base.__name__}__typename" in vars(base) for base in cls.__mro__):
        return False
    own = get_object_definition(cls)
    if own is not None and (own.is_graphql_generic or own.concrete_of is not None):
        return False
    levels = [plan.levels[name] for name in plan.levels]
    return all(_looks_at_class(level.type) for level in levels)


def _looks_at_class(type_: GraphQLObjectType) -> bool:
    if type_.is_type_of is None:
        return True
    if declared_classes(type_):
        return True
    definition = type_.extensions.get("strawberry-definition")
    generic = isinstance(definition, StrawberryObjectDefinition) and definition.concrete_of is not None
    return _is_generated(type_) and not generic
