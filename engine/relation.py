"""A relation declared once: one batch call per level with the engine, a DataLoader per request without it."""

from __future__ import annotations

import asyncio
import inspect
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Iterable, MutableMapping, Sequence
from contextlib import suppress
from operator import attrgetter
from typing import Any
from weakref import ref

import strawberry
from graphql import (
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNamedType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLUnionType,
    get_named_type,
    is_introspection_type,
    is_leaf_type,
)
from strawberry.dataloader import DataLoader
from strawberry.types.field import StrawberryField
from strawberry.types.info import Info

RELATION = "engine.relation"
"""The key of a relation in the metadata of its strawberry field."""

Load = Callable[..., Sequence[Any] | Awaitable[Sequence[Any]]]

_CONTEXT_KEY = "engine.loaders"


class SharedLoader(DataLoader[Any, Any]):
    """A DataLoader whose values survive the cancellation of one of those who wait for them.

    A DataLoader gives all that ask for a key one future. A field that graphql-core cancels, because a sibling
    failed, must not take it away from the others, who would pass the cancellation on to the whole request.
    When all of them are cancelled the loading is, too.
    """

    def __init__(self, load_fn: Callable[[list[Any]], Awaitable[Sequence[Any]]]) -> None:
        super().__init__(load_fn=load_fn)
        self._waiting: Counter[Any] = Counter()

    async def wait(self, key: Any) -> Any:
        """Return the value of a key."""
        future = asyncio.ensure_future(self.load(key))
        self._waiting[future] += 1
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            if self._waiting[future] == 1:
                future.cancel()
            raise
        finally:
            self._waiting[future] -= 1


_Loaders = dict[Any, SharedLoader]
_loaders: dict[int, tuple[ref[Any], _Loaders]] = {}


class WrongCountError(Exception):
    """A loader gave another number of values than it was given keys."""


class Relation:
    """How the values of a field are loaded for many objects at once."""

    def __init__(
        self,
        name: str,
        load: Load,
        key: str | Sequence[str] | Callable[[Any], Any],
        timeout_s: float | None,
    ) -> None:
        self.name = name
        self.load = load
        self.key_of = _key_reader(key)
        self.key_attribute = key if isinstance(key, str) and key.isidentifier() else None
        """The attribute that is the key, where there is one."""
        self.timeout_s = timeout_s
        self.is_async = inspect.iscoroutinefunction(load)

    def is_batched(self, field: StrawberryField) -> bool:
        """Tell whether the engine may call the loader itself: not past permissions or extensions."""
        return not field.extensions and not field.permission_classes

    async def within_time(self, waiting: Awaitable[Any]) -> Any:
        """Wait for the loader, at most for the relation's time.

        Raises:
            TimeoutError: with a text for the field's error.
        """
        if self.timeout_s is None:
            return await waiting
        try:
            async with asyncio.timeout(self.timeout_s) as limit:
                return await waiting
        except TimeoutError:
            if limit.expired():
                raise TimeoutError(f"{self.name} took longer than {self.timeout_s:g} s") from None
            raise

    def wrong_count(self, expected: int, received: int) -> WrongCountError:
        """Return the error of a loader that gave a wrong number of values."""
        return WrongCountError(f"{self.name}: {expected} keys were asked for, {received} values came back")

    async def load_all(self, keys: list[Any], context: Any, arguments: dict[str, Any]) -> list[Any]:
        """Load values for the DataLoader."""
        result = self.load(keys, context, **arguments)
        values = list(await self.within_time(result)) if inspect.isawaitable(result) else list(result)
        if len(values) != len(keys):
            raise self.wrong_count(len(keys), len(values))
        return values

    def loader(self, info: Info[Any, Any], arguments: dict[str, Any]) -> SharedLoader:
        """Return the request's DataLoader for these arguments."""
        loaders = _request_loaders(info)
        key = (self, tuple(sorted((name, _hashable(value)) for name, value in arguments.items())))
        found = loaders.get(key)
        if found is None:
            context = info.context

            async def load(keys: list[Any]) -> list[Any]:
                return await self.load_all(keys, context, arguments)

            found = loaders[key] = SharedLoader(load_fn=load)
        return found


def relation(
    load: Load,
    *,
    key: str | Sequence[str] | Callable[[Any], Any],
    name: str | None = None,
    description: str | None = None,
    timeout_s: float | None = None,
    graphql_type: Any = None,
    permission_classes: list[Any] | None = None,
    deprecation_reason: str | None = None,
    directives: Sequence[object] = (),
    extensions: list[Any] | None = None,
) -> Any:
    """Return a strawberry field whose values are loaded for all objects of a level at once.

    `load(keys, context)` is given the distinct keys and returns a value, None or an exception for each, in
    order; it may be async. `key` is the attribute (or attributes, or a function) that gives an object's key;
    None means that there is nothing to load. Further keyword parameters of `load` become arguments of the
    field. `timeout_s` (seconds) turns a slow batch into the error of this field alone.
    """
    spec = Relation(getattr(load, "__name__", "relation"), load, key, timeout_s)

    async def resolve(root: Any, info: Info[Any, Any], **arguments: Any) -> Any:
        value = spec.key_of(root)
        return None if value is None else await spec.loader(info, arguments).wait(value)

    parameters = list(inspect.signature(load).parameters.values())
    extra = [each for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY]
    reserved = [
        inspect.Parameter("root", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Any),
        inspect.Parameter("info", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Info),
    ]
    resolve.__signature__ = inspect.Signature([*reserved, *extra])  # type: ignore[attr-defined]
    resolve.__annotations__ = {"root": Any, "info": Info} | {each.name: each.annotation for each in extra}
    resolve.__module__ = load.__module__
    field: Any = strawberry.field(
        resolver=resolve,
        name=name,
        description=description,
        permission_classes=permission_classes,
        deprecation_reason=deprecation_reason,
        metadata={RELATION: spec},
        directives=directives,
        extensions=extensions,
        graphql_type=graphql_type,
    )
    return field


def relation_of(field: StrawberryField) -> Relation | None:
    """Return the relation that a strawberry field was declared with."""
    metadata: Any = field.metadata
    found: Relation | None = metadata.get(RELATION) if metadata else None
    return found


def _key_reader(key: str | Sequence[str] | Callable[[Any], Any]) -> Callable[[Any], Any]:
    if callable(key):
        return key
    return attrgetter(key) if isinstance(key, str) else attrgetter(*key)


def _hashable(value: Any) -> Hashable:
    if isinstance(value, list | tuple):
        return tuple(_hashable(each) for each in value)
    return value if isinstance(value, Hashable) else repr(value)


def _request_loaders(info: Info[Any, Any]) -> _Loaders:
    """Return the DataLoaders of the request: with its context, or with the execution if it cannot hold them.

    Contexts are told apart by identity: two requests may well have equal ones.
    """
    context = info.context
    if isinstance(context, MutableMapping):
        found: _Loaders = context.setdefault(_CONTEXT_KEY, {})
        return found
    helper: Any = info._raw_info.async_helpers.gather
    for owner in (context, helper.__self__):
        entry = _loaders.get(id(owner))
        if entry is not None:
            return entry[1]
        if owner is None:
            continue
        with suppress(TypeError):
            return _loaders.setdefault(id(owner), (ref(owner, _forgetter(id(owner))), {}))[1]
    raise TypeError(f"{type(context).__name__} cannot be weakly referenced")


def _forgetter(number: int, loaders: dict[int, Any] = _loaders) -> Callable[[Any], None]:
    """Return what forgets an owner's loaders when it is gone; it must work while the interpreter ends."""

    def forget(_: Any) -> None:
        loaders.pop(number, None)

    return forget


def unbatched_fields(schema: strawberry.Schema, *, allowed: Iterable[str] = ()) -> list[str]:
    """Return `Type.field` for each field reachable through a list that is neither plain nor a relation.

    Each of them is called once per object of a list. `allowed` names those that are meant to be.
    """
    graph = schema._schema
    skipped = set(allowed)
    found: dict[str, None] = {}
    seen: set[tuple[str, bool]] = set()
    roots = [graph.query_type, graph.mutation_type, graph.subscription_type]
    stack: list[tuple[GraphQLNamedType, bool]] = [(root, False) for root in roots if root is not None]
    while stack:
        type_, listed = stack.pop()
        if (type_.name, listed) in seen or is_introspection_type(type_):
            continue
        seen.add((type_.name, listed))
        if isinstance(type_, GraphQLUnionType | GraphQLInterfaceType):
            stack.extend((each, listed) for each in graph.get_possible_types(type_))
        if not isinstance(type_, GraphQLObjectType):
            continue
        for name, field in type_.fields.items():
            label = f"{type_.name}.{name}"
            if listed and label not in skipped and not _is_plain_or_batched(field):
                found[label] = None
            named = get_named_type(field.type)
            if not is_leaf_type(named):
                stack.append((named, listed or _has_list(field.type)))
    return sorted(found)


def _has_list(type_: Any) -> bool:
    while isinstance(type_, GraphQLNonNull):
        type_ = type_.of_type
    return isinstance(type_, GraphQLList)


def _is_plain_or_batched(field: GraphQLField) -> bool:
    own = field.extensions.get("strawberry-definition")
    if not isinstance(own, StrawberryField):
        return False
    if getattr(field.resolve, "__name__", "") == "_get_basic_result":
        return True
    relation = relation_of(own)
    return relation is not None and relation.is_batched(own)
