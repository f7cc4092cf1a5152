"""Variables and arguments: the common case read quickly, all others by graphql-core's own coercion."""

from __future__ import annotations

import datetime
import decimal
import enum
import uuid
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from graphql import (
    GraphQLError,
    GraphQLField,
    GraphQLNonNull,
    GraphQLScalarType,
    GraphQLSchema,
    OperationDefinitionNode,
    ValueNode,
    VariableNode,
    type_from_ast,
)
from graphql.execution.values import VariableValues, get_argument_values, get_variable_values
from graphql.language import FieldNode, NameNode
from graphql.pyutils import Undefined
from graphql.type.scalars import is_specified_scalar_type

if TYPE_CHECKING:
    from engine.runtime import Run

_CLASSES: dict[str, type] = {"Int": int, "String": str, "ID": str, "Float": float, "Boolean": bool}
_IMMUTABLE = (
    *(str, int, float, bool, bytes, type(None), enum.Enum),
    *(datetime.datetime, datetime.date, datetime.time, decimal.Decimal, uuid.UUID),
)
_INT_MAX, _INT_MIN = 2_147_483_647, -2_147_483_648
_MAX_ERRORS = 50
_new_values = tuple.__new__  # without the Python function that a named tuple has for it

Coerced = VariableValues | list[GraphQLError]


def is_immutable(value: Any) -> bool:
    """Tell whether a value can be handed to several resolvers without one changing it for the others."""
    return isinstance(value, _IMMUTABLE)


class VariableReader:
    """Coerce the variables of one operation."""

    def __init__(self, schema: GraphQLSchema, operation: OperationDefinitionNode, *, exact: bool) -> None:
        self._schema = schema
        self._definitions = operation.variable_definitions or ()
        self._checks: list[tuple[str, type, bool, Any]] | None = None if exact else self._common_checks()

    def read(self, variables: Mapping[str, Any] | None) -> Coerced:
        """Return the coerced variables or the request errors, as graphql-core has them."""
        given = variables if variables is not None else {}
        if self._checks is not None:
            coerced: dict[str, Any] = {}
            for name, cls, nullable, default in self._checks:
                value: Any = given.get(name, Undefined)
                kind: Any = value.__class__
                if kind is cls:
                    if cls is int:
                        if not _INT_MIN <= value <= _INT_MAX:
                            break
                    elif cls is float and value - value != 0.0:
                        break
                    coerced[name] = value
                elif value is Undefined:
                    if default is not Undefined:
                        coerced[name] = default
                    elif not nullable:
                        break
                elif value is None and nullable:
                    coerced[name] = None
                else:
                    break
            else:
                return _new_values(VariableValues, ({}, coerced))
        return get_variable_values(self._schema, self._definitions, dict(given), max_errors=_MAX_ERRORS)

    def _common_checks(self) -> list[tuple[str, type, bool, Any]] | None:
        checks = []
        for definition in self._definitions:
            type_: Any = type_from_ast(self._schema, definition.type)
            nullable = not isinstance(type_, GraphQLNonNull)
            inner = type_ if nullable else type_.of_type
            if not (isinstance(inner, GraphQLScalarType) and is_specified_scalar_type(inner)):
                return None
            default: Any = Undefined
            if definition.default_value is not None:
                values = get_variable_values(self._schema, [definition], {})
                if isinstance(values, list):
                    return None
                default = values.coerced.get(definition.variable.name.value, Undefined)
            checks.append((definition.variable.name.value, _CLASSES[inner.name], nullable, default))
        return checks


def has_nested_variables(operation_and_fragments: list[Any]) -> bool:
    """Tell whether a variable stands inside a list or object literal, where its source matters."""
    stack: list[tuple[Any, bool]] = [(node, False) for node in operation_and_fragments]
    while stack:
        node, inside = stack.pop()
        if isinstance(node, VariableNode):
            if inside:
                return True
            continue
        literal = inside or (isinstance(node, ValueNode) and not isinstance(node, VariableNode))
        for key in node.keys:
            child = getattr(node, key, None)
            if isinstance(child, list | tuple):
                stack.extend((each, literal) for each in child)
            elif child is not None and hasattr(child, "keys") and key != "loc":
                stack.append((child, literal))
    return False


def argument_reader(
    definition: GraphQLField, node: FieldNode
) -> tuple[Callable[[Run], dict[str, Any]] | None, bool]:
    """Return a reader of the field's arguments and whether one reading may serve several objects.

    None stands for a field without arguments.
    """
    if not definition.args and not node.arguments:
        return None, True
    direct = _direct_arguments(definition, node)

    def read(run: Run) -> dict[str, Any]:
        return get_argument_values(definition, node, run.variable_values)

    if direct is None:
        return read, False
    fixed, named = direct

    def read_direct(run: Run) -> dict[str, Any]:
        kwargs = dict(fixed)
        coerced = run.vars
        for out_name, variable, non_null in named:
            value = coerced.get(variable, Undefined)
            if value is Undefined or (value is None and non_null):
                return get_argument_values(definition, node, run.variable_values)
            kwargs[out_name] = value
        return kwargs

    return read_direct, True


def _direct_arguments(
    definition: GraphQLField, node: FieldNode
) -> tuple[dict[str, Any], list[tuple[str, str, bool]]] | None:
    """Return constant arguments and those that are one scalar variable each; None if others occur."""
    nodes = {argument.name.value: argument.value for argument in node.arguments or ()}
    named: list[tuple[str, str, bool]] = []
    constants = []
    for name, argument in definition.args.items():
        value = nodes.get(name)
        if isinstance(value, VariableNode):
            inner = argument.type.of_type if isinstance(argument.type, GraphQLNonNull) else argument.type
            if not (isinstance(inner, GraphQLScalarType) and is_specified_scalar_type(inner)):
                return None
            out_name = argument.out_name or name
            named.append((out_name, value.name.value, isinstance(argument.type, GraphQLNonNull)))
        else:
            constants.append(name)
    pruned = GraphQLField(definition.type, {name: definition.args[name] for name in constants})
    try:
        fixed = get_argument_values(pruned, node, VariableValues({}, {}))
    except Exception:  # noqa: BLE001 reported at run time, once for each place
        return None
    if not all(is_immutable(value) for value in fixed.values()):
        return None
    # Where a variable is left out, the argument's own default is used: it must be safe to share, too.
    for name in definition.args:
        if name not in constants and not is_immutable(_default_of(definition, name)):
            return None
    return fixed, named


def _default_of(definition: GraphQLField, name: str) -> Any:
    argument = definition.args[name]
    if isinstance(argument.type, GraphQLNonNull):
        return None
    alone = GraphQLField(definition.type, {name: argument})
    value = get_argument_values(
        alone, FieldNode(name=NameNode(value="_"), arguments=()), VariableValues({}, {})
    )
    return next(iter(value.values()), None)
