"""Python expressions for the leaves of rows: the values of scalars and enums as JSON has them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime
from enum import Enum
from types import NoneType
from typing import Any

from graphql import GraphQLEnumType, GraphQLList, GraphQLNonNull, GraphQLScalarType
from graphql.type.scalars import is_specified_scalar_type
from strawberry.schema.types import base_scalars

from engine.rows import Instants
from engine.runtime import leaf, leaf_list, nullable_leaf
from engine.vetting import LISTS

_STRING_LIKE = frozenset({"String", "ID"})
_BUILTIN: dict[str, type] = {"String": str, "ID": str, "Int": int, "Float": float, "Boolean": bool}
# Of GraphQL's 32 bits those that CPython compares quickly; the others take the call.
_INT_RANGE = (-1_073_741_823, 1_073_741_823)

Known = Mapping[str, frozenset[type]]
"""The classes of the values of fields, for those fields whose values were looked at before."""
NAMES: Mapping[str, Any] = {
    "LISTS": LISTS,
    "STRINGS": frozenset({str}),
    "UTC": UTC,
    "datetime": datetime,
    "instants": Instants(),
    "leaf": leaf,
    "leaf_list": leaf_list,
    "nullable_leaf": nullable_leaf,
}
"""What the expressions call by name."""


class LeafWriter:
    """Write expressions; `const` gives the name under which the code finds a value."""

    def __init__(self, const: Callable[[Any, str], str]) -> None:
        self._const = const

    def checked(self, type_: Any, expression: str) -> str:
        """Return an expression for the serialised value; it raises for anything but the usual."""
        non_null = isinstance(type_, GraphQLNonNull)
        inner: Any = type_.of_type if non_null else type_
        if isinstance(inner, GraphQLList):
            return self._list_value(type_, inner, expression)
        kind = self._const(inner, "type")
        bound = f"(v := {expression})"
        if isinstance(inner, GraphQLScalarType) and is_specified_scalar_type(inner):
            test = _builtin_test(inner.name)
            if non_null:
                return f"(v if {test.replace('v.', f'{bound}.', 1)} else leaf(v, {kind}))"
            return f"(v if {bound} is None or {test} else leaf(v, {kind}))"
        if _is_instant(inner):
            usual = f"{bound if non_null else 'v'}.__class__ is datetime and v.tzinfo is UTC"
            checked = f"instants[v] if {usual} else leaf(v, {kind})"
            return f"({checked})" if non_null else f"(None if {bound} is None else {checked})"
        cls, written = self._usual(inner)
        if written is None:
            return f"{'' if non_null else 'nullable_'}leaf({expression}, {kind})"
        test = f"{bound if non_null else 'v'}.__class__ is {self._const(cls, 'class')}"
        checked = f"{written.format('v')} if {test} else leaf(v, {kind})"
        return f"({checked})" if non_null else f"(None if {bound} is None else {checked})"

    def known(self, type_: Any, expression: str, classes: frozenset[type]) -> str:
        """Return what `checked` does for a value of a `Typed` object's field; no classes are all."""
        non_null = isinstance(type_, GraphQLNonNull)
        inner: Any = type_.of_type if non_null else type_
        may_be_none = NoneType in classes
        if len(classes - {NoneType}) != 1 or (may_be_none and non_null):
            return self.checked(type_, expression)
        (cls,) = classes - {NoneType}
        if isinstance(inner, GraphQLScalarType) and is_specified_scalar_type(inner):
            return expression if _BUILTIN[inner.name] is cls else self.checked(type_, expression)
        usual, written = (datetime, "instants[{}]") if _is_instant(inner) else self._usual(inner)
        if usual is not cls or written is None:
            return self.checked(type_, expression)
        if may_be_none:
            return f"(None if (v := {expression}) is None else {written.format('v')})"
        return written.format(expression)

    def _usual(self, type_: Any) -> tuple[type | None, str | None]:
        """Return the class of an enum's or a date's usual values and the expression that serialises `{}`.

        Both are None for all other types.
        """
        if isinstance(type_, GraphQLEnumType):
            found = _enum_names(type_)
            if found is not None:
                cls, names = found
                is_same = len(names) == len(cls) and all(name == given for name, given in names.items())
                return cls, "{}._name_" if is_same else f"{self._const(names, 'names')}[{{}}._name_]"
        definition = type_.extensions.get("strawberry-definition")
        return (date, "{}.isoformat()") if definition is base_scalars.DateDefinition else (None, None)

    def _list_value(self, type_: Any, inner: GraphQLList[Any], expression: str) -> str:
        otherwise = f"leaf_list(v, {self._const(type_, 'type')})"
        item: Any = inner.of_type
        bare = item.of_type if isinstance(item, GraphQLNonNull) else item
        if isinstance(bare, GraphQLScalarType) and bare.name in _STRING_LIKE and bare is not item:
            test = f"(v := {expression}).__class__ in LISTS and {{*map(type, v)}} <= STRINGS"
            return f"([*v] if {test} else {otherwise})"
        return otherwise.replace("(v,", f"({expression},", 1)


def _is_instant(type_: Any) -> bool:
    return type_.extensions.get("strawberry-definition") is base_scalars.DateTimeDefinition


def _builtin_test(name: str) -> str:
    test = f"v.__class__ is {_BUILTIN[name].__name__}"
    if name == "Int":
        return f"{test} and {_INT_RANGE[0]} <= v <= {_INT_RANGE[1]}"
    return f"{test} and v - v == 0.0" if name == "Float" else test


def _enum_names(type_: GraphQLEnumType) -> tuple[type[Enum], dict[str, str]] | None:
    """Return the enum class and the GraphQL name of each member, None where members do not say it."""
    cls = getattr(type_, "wrapped_cls", None)
    if cls is None:
        return None
    names: dict[str, str] = {}
    for member in cls:
        # A member that is not in the schema is reported when it turns up.
        with suppress(Exception):
            names[member.name] = type_.coerce_output_value(member)
    return cls, names
