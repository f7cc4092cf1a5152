"""Calling a resolver without the wrappers that have nothing to do for it.

Strawberry puts every resolver behind its conversion of arguments, its extensions and its handlers of
exceptions. Where a field has no extension (a permission is one), no handler, and only arguments of built-in
scalars, the function itself gives the same answer.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from graphql import GraphQLField, GraphQLNonNull, GraphQLScalarType
from graphql.type.scalars import is_specified_scalar_type
from strawberry.schema.config import StrawberryConfig
from strawberry.types.field import StrawberryField

DirectCall = Callable[[Any, Any, dict[str, Any]], Any]
"""Called with the object, graphql-core's `info` (None where `wants_info` is false) and the arguments."""


def wants_info(own: StrawberryField) -> bool:
    """Tell whether the field's resolver asks for `info`."""
    return own.base_resolver is not None and own.base_resolver.info_parameter is not None


def direct_call(own: Any, definition: GraphQLField, config: StrawberryConfig) -> DirectCall | None:
    """Return a call of the field's own function, None where strawberry's wrapper has something to do."""
    if type(own) is not StrawberryField or own.base_resolver is None or own.extensions:
        return None
    resolver = own.base_resolver
    function = resolver.wrapped_func
    if not inspect.isfunction(function) or _has_handlers(definition.resolve):
        return None
    if own.is_async and not inspect.iscoroutinefunction(function):
        return None
    if not all(_is_builtin(argument.type) for argument in definition.args.values()):
        return None
    names = config.name_converter
    renamed = {names.get_graphql_name(each): each.python_name for each in own.arguments}
    if renamed.keys() != definition.args.keys():
        return None
    sources = [each.name for each in (resolver.parent_parameter, resolver.root_parameter) if each is not None]
    info_name = None if resolver.info_parameter is None else resolver.info_parameter.name
    takes_self = resolver.self_parameter is not None
    info_class = config.info_class

    if not sources and info_name is None and all(name == own_name for name, own_name in renamed.items()):
        if takes_self:
            return lambda source, _, given: function(source, **given)
        return lambda _source, _info, given: function(**given)

    def call(source: Any, info: Any, given: dict[str, Any]) -> Any:
        kwargs = {renamed[name]: value for name, value in given.items()}
        for name in sources:
            kwargs[name] = source
        if info_name is not None:
            kwargs[info_name] = info_class(_raw_info=info, _field=own)
        return function(source, **kwargs) if takes_self else function(**kwargs)

    return call


def _has_handlers(resolve: Any) -> bool:
    """Tell whether strawberry's wrapper has handlers of exceptions; it must be of the form that is known."""
    code = getattr(resolve, "__code__", None)
    if code is None or code.co_name not in ("_resolver", "_async_resolver"):
        return True
    if "field_exception_handlers" not in code.co_freevars:
        return True
    cell = resolve.__closure__[code.co_freevars.index("field_exception_handlers")]
    return bool(cell.cell_contents)


def _is_builtin(type_: Any) -> bool:
    inner = type_.of_type if isinstance(type_, GraphQLNonNull) else type_
    return isinstance(inner, GraphQLScalarType) and is_specified_scalar_type(inner)
