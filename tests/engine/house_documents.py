"""Random documents and variables over any schema, drawn so that hypothesis can shrink them.

Values come from pools by the name of what they are for, so that most of them mean something.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from graphql import (
    DocumentNode,
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNamedType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLUnionType,
    OperationDefinitionNode,
    Undefined,
    get_named_type,
    is_leaf_type,
    parse,
    type_from_ast,
)
from hypothesis import strategies as st

Pools = Mapping[str, Sequence[Any]]

_SCALARS: dict[str, Sequence[Any]] = {
    "Int": (0, 1, 2, 7, -1, 100, 101, 2**31, "1", 1.5),
    "Float": (0, 1.5, -3, 118.1, "x"),
    "String": ("", "a", "登记", "長" * 5, "\u0000", 7),
    "Boolean": (True, False, "yes"),
    "ID": ("", "x", 5, 1.5),
}


class Case(NamedTuple):
    """A document with its variables."""

    text: str
    variables: dict[str, Any]


class Literal(str):
    """The name of an enum's value, which a document writes without quotes."""

    __slots__ = ()


def written(value: Any) -> str:
    """Write a value as a document does."""
    if isinstance(value, Literal):
        return str(value)
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {written(part)}" for name, part in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)


class Values:
    """Draw values of input types."""

    def __init__(self, draw: Any, pools: Pools) -> None:
        self._draw = draw
        self._pools = pools

    def below(self, bound: int) -> int:
        """Draw a number from 0 to bound - 1; the first is the simplest."""
        drawn: int = self._draw(st.integers(0, bound - 1))
        return drawn

    def pick(self, choices: Sequence[Any]) -> Any:
        """Draw one of the choices; the first is the simplest."""
        return choices[self.below(len(choices))]

    def of(self, name: str, type_: Any) -> Any:
        """Draw a value for what is called `name`, mostly one that the type allows."""
        if isinstance(type_, GraphQLNonNull):
            return None if self.below(40) == 39 else self._given(name, type_.of_type)
        return None if self.below(8) == 7 else self._given(name, type_)

    def _given(self, name: str, type_: Any) -> Any:
        if isinstance(type_, GraphQLList):
            if self.below(10) == 9:
                return self.of(name, type_.of_type)
            return [self.of(name, type_.of_type) for _ in range(self.below(4))]
        if isinstance(type_, GraphQLInputObjectType):
            return {
                part: self.of(part, field.type)
                for part, field in type_.fields.items()
                if _is_required(field) or self.below(3) == 2
            }
        if isinstance(type_, GraphQLEnumType):
            return Literal(self.pick([*type_.values, "NO_SUCH_VALUE"]))
        general = _SCALARS.get(type_.name, ("2026-11-22", "2026-11-22T08:00:00Z", 1))
        special = self._pools.get(name)
        return self.pick(special) if special and self.below(8) < 7 else self.pick(general)


class Writer(Values):
    """Write one query."""

    def __init__(self, draw: Any, schema: GraphQLSchema, pools: Pools, budget: int) -> None:
        super().__init__(draw, pools)
        self._schema = schema
        self._budget = budget
        self._count = 0
        self._definitions: list[str] = []
        self._variables: dict[str, Any] = {}
        self._fragments: list[tuple[str, GraphQLNamedType, str]] = []

    def query(self) -> Case:
        """Write a query with up to two fragments."""
        composites = [
            type_
            for name, type_ in self._schema.type_map.items()
            if isinstance(type_, GraphQLObjectType | GraphQLInterfaceType) and not name.startswith("__")
        ]
        for number in range(self.below(3)):
            type_ = self.pick(composites)
            self._fragments.append((f"F{number}", type_, self._selection(type_, 2)))
        root = self._schema.query_type
        assert root is not None
        body = self._selection(root, 4)
        parts = [f"query Q({', '.join(self._definitions)})" if self._definitions else "query Q", body]
        # A fragment that nobody spreads is an error; one that is spread brings those that it spreads.
        for name, type_, selection in reversed(self._fragments):
            if any(f"...{name}" in part for part in parts):
                parts.append(f"fragment {name} on {type_.name} {selection}")
        return Case(" ".join(parts), self._variables)

    def _selection(self, type_: Any, depth: int) -> str:
        return "{ " + " ".join(self._part(type_, depth) for _ in range(self.below(4) + 1)) + " }"

    def _part(self, type_: Any, depth: int) -> str:
        self._budget -= 1
        kind = self.below(14)
        if kind == 13:
            return f"__typename{self._directive()}"
        if kind == 12 and self._fragments:
            # Fragments spread earlier ones only: no cycles.
            fitting = [name for name, on, _ in self._fragments if self._overlaps(on, type_)]
            if fitting:
                return f"...{self.pick(fitting)}{self._directive()}"
        if kind == 11 or isinstance(type_, GraphQLUnionType):
            return self._inline(type_, depth)
        if isinstance(type_, GraphQLInterfaceType) and kind > 6:
            return self._inline(type_, depth)
        deep = depth > 0 and self._budget > 0
        fields = [each for each in type_.fields.items() if deep or is_leaf_type(get_named_type(each[1].type))]
        return self._field(*self.pick(fields), depth) if fields else "__typename"

    def _inline(self, type_: Any, depth: int) -> str:
        on = type_
        if isinstance(type_, GraphQLInterfaceType | GraphQLUnionType):
            on = self.pick(self._schema.get_possible_types(type_))
        elif type_.interfaces and self.below(2):
            on = self.pick(type_.interfaces)
        return f"... on {on.name}{self._directive()} {self._selection(on, depth)}"

    def _overlaps(self, left: Any, right: Any) -> bool:
        def possible(type_: Any) -> set[str]:
            if isinstance(type_, GraphQLObjectType):
                return {type_.name}
            return {each.name for each in self._schema.get_possible_types(type_)}

        return bool(possible(left) & possible(right))

    def _field(self, name: str, field: GraphQLField, depth: int) -> str:
        given = self._arguments(field)
        alias = ""
        if given or self.below(12) == 11:
            # Of its own, so that calls with other arguments do not collide.
            self._count += 1
            alias = f"a{self._count}: "
        named = get_named_type(field.type)
        below = "" if is_leaf_type(named) else f" {self._selection(named, depth - 1)}"
        return f"{alias}{name}{given}{self._directive()}{below}"

    def _arguments(self, field: GraphQLField) -> str:
        given = []
        for name, argument in field.args.items():
            if not _is_required(argument) and self.below(3) == 0:
                continue
            value = self.of(name, argument.type)
            given.append(f"{name}: {self._variable(argument.type, value) or written(value)}")
        return f"({', '.join(given)})" if given else ""

    def _variable(self, type_: Any, value: Any) -> str | None:
        """Pass a value as a variable, at times as its default, at times not at all; None: write it here."""
        way = self.below(6)
        if way < 3:
            return None
        self._count += 1
        name = f"v{self._count}"
        has_default = way == 5
        self._definitions.append(f"${name}: {type_}" + (f" = {written(value)}" if has_default else ""))
        left_out = self.below(3) < 2 if has_default else way == 4 and self.below(10) == 9
        if not left_out:
            self._variables[name] = value
        return f"${name}"

    def _directive(self) -> str:
        way = self.below(16)
        if way < 13:
            return ""
        name = self.pick(("include", "skip"))
        if way == 13:
            return f" @{name}(if: {written(bool(self.below(2)))})"
        self._count += 1
        self._definitions.append(f"$b{self._count}: Boolean!")
        self._variables[f"b{self._count}"] = bool(self.below(2))
        return f" @{name}(if: $b{self._count})"


def _is_required(given: GraphQLArgument | Any) -> bool:
    return isinstance(given.type, GraphQLNonNull) and given.default_value is Undefined


@st.composite
def queries(draw: Any, schema: GraphQLSchema, pools: Pools) -> Case:
    """Draw a query over a schema with its variables."""
    return Writer(draw, schema, pools, budget=25).query()


@st.composite
def variables_for(draw: Any, schema: GraphQLSchema, pools: Pools, text: str) -> Case:
    """Draw variables for the only operation of a document."""
    values = Values(draw, pools)
    variables = {}
    for node in operation_of(parse(text)).variable_definitions or ():
        name = node.variable.name.value
        type_ = type_from_ast(schema, node.type)
        if (isinstance(type_, GraphQLNonNull) and node.default_value is None) or values.below(3):
            variables[name] = values.of(name, type_)
    return Case(text, variables)


def operation_of(document: DocumentNode) -> OperationDefinitionNode:
    """Give the only operation of a document."""
    (operation,) = (node for node in document.definitions if isinstance(node, OperationDefinitionNode))
    return operation
