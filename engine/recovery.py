"""Turn the failures noted during a run into graphql-core's answer: its errors in its order, its nulls.

Where nothing was awaited, or only one place failed, the order is that of the document and is worked out here.
Otherwise graphql-core's order depends on when each coroutine resumed; then its own executor completes what
the resolvers gave, without calling any of them again, and its answer is the answer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Iterator
from typing import Any, NamedTuple, cast

from graphql import (
    ExecutionResult,
    FieldNode,
    GraphQLError,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    located_error,
)
from graphql.execution.execute import default_field_resolver, default_type_resolver
from graphql.execution.middleware import MiddlewareManager
from graphql.pyutils import Path
from strawberry.execution import optimized_is_awaitable as is_awaitable

from engine.frames import extend, field_paths, level_paths
from engine.markers import Failed, Items, Late
from engine.plan import BATCH, FieldPlan, LevelPlan
from engine.relation import SharedLoader
from engine.rows import plain
from engine.runtime import Run

_LAST = 1 << 60


class _Step(NamedTuple):
    key: str | int
    order: int
    nullable: bool


class _Failure(NamedTuple):
    steps: list[_Step]
    path: Path
    nodes: list[FieldNode]
    error: Exception


async def recover(run: Run, data: dict[str, Any] | None) -> tuple[dict[str, Any] | None, list[GraphQLError]]:
    """Return the data with its nulls and the errors in their order."""
    failures = _failures(run)
    if run.late and len(failures) > 1:
        result = await _replay(run)
        return result.data, list(result.errors or ())
    return _propagate(failures, data)


def nulls_root(run: Run) -> bool:
    """Tell whether a failure noted so far makes the whole of `data` null."""
    return any(not any(step.nullable for step in failure.steps) for failure in _failures(run))


def _failures(run: Run) -> list[_Failure]:
    found = []
    for frame, number, indices, error in run.failures:
        plan: FieldPlan = frame[1]
        for base in field_paths(frame)[number]:
            path = extend(base, indices)
            found.append(_Failure(_steps(run.plan.root, path), path, plan.nodes, error))
    return found


def _steps(root: LevelPlan, path: Path) -> list[_Step]:
    """Walk the plan along a path; a step knows its place among its siblings and whether it may be null."""
    links: list[Path] = []
    link: Path | None = path
    while link is not None:
        links.append(link)
        link = link.prev
    steps: list[_Step] = []
    level: LevelPlan | None = root
    plan: FieldPlan | None = None
    type_: Any = None
    for each in reversed(links):
        if isinstance(each.key, str):
            if plan is not None:
                level = plan.levels[str(each.typename)]
            plan = cast("LevelPlan", level).by_key[each.key]
            type_, order = plan.output, plan.order
        else:
            type_, order = _bare(type_).of_type, each.key
        steps.append(_Step(each.key, order, not isinstance(type_, GraphQLNonNull)))
    return steps


def _bare(type_: Any) -> GraphQLList[Any]:
    bare: GraphQLList[Any] = type_.of_type if isinstance(type_, GraphQLNonNull) else type_
    return bare


def _propagate(
    failures: list[_Failure], data: dict[str, Any] | None
) -> tuple[dict[str, Any] | None, list[GraphQLError]]:
    # The end of an iterator fails after its items did, hence the mark behind the steps of a shorter path.
    failures = sorted(failures, key=lambda failure: [*(step.order for step in failure.steps), _LAST])
    nulled: set[tuple[str | int, ...]] = set()
    errors: list[GraphQLError] = []
    for failure in failures:
        keys = tuple(step.key for step in failure.steps)
        if any(keys[:n] in nulled for n in range(len(keys) + 1)):
            continue
        errors.append(located_error(failure.error, failure.nodes, list(keys)))
        depth = len(keys)
        while depth and not failure.steps[depth - 1].nullable:
            depth -= 1
        nulled.add(keys[:depth])
        if depth == 0:
            data = None
        elif data is not None:
            _set_null(data, keys[:depth])
    return data, errors


def _set_null(data: Any, keys: tuple[str | int, ...]) -> None:
    for key in keys[:-1]:
        data = data[key]
        if data is None:
            return
    data[keys[-1]] = None


# -- completing again what the resolvers gave ----------------------------------------------------------------


async def _replay(run: Run) -> ExecutionResult:
    plan = run.plan
    script = _Script(run)
    executor_class: Any = type("Replay", (_ReplayMixin, plan.executor_class), {})
    executor = executor_class(
        plan.schema,
        plan.fragments,
        plan.fragment_details,
        run.root,
        run.context,
        plan.operation,
        run.variable_values,
        default_field_resolver,
        default_type_resolver,
        default_field_resolver,
        False,
        MiddlewareManager(script),
        is_awaitable,
        operation_extensions=run.extensions,
    )
    executor.ready = script.ready
    result = executor.execute_operation()
    finished: ExecutionResult = await result if is_awaitable(result) else result
    return finished


class _ReplayMixin:
    ready: dict[Path, Any]

    def complete_object_value(
        self, return_type: GraphQLObjectType, details: Any, info: Any, path: Path, result: Any, position: Any
    ) -> Any:
        if path in self.ready:
            return self.ready[path]
        return super().complete_object_value(  # type: ignore[misc]
            return_type, details, info, path, result, position
        )


class _Script:
    """What each resolver gave, by response path."""

    def __init__(self, run: Run) -> None:
        self._given: dict[Path, Any] = {}
        self._batched: dict[Path, tuple[SharedLoader, Any]] = {}
        self.ready: dict[Path, Any] = {}
        for level_frame, plan, column in run.trace:
            for paths, value in zip(level_paths(level_frame), column, strict=False):
                for path in paths:
                    self._given[Path(path, plan.key, plan.parent.name)] = value
        self._read_batches(run)
        for level_frame, rows in run.ready:
            for paths, row in zip(level_paths(level_frame), rows, strict=True):
                if row is not None:
                    self.ready.update((path, plain(row)) for path in paths if path is not None)

    def _read_batches(self, run: Run) -> None:
        loaders: dict[Any, tuple[SharedLoader, dict[Any, Any]]] = {}
        for plan, batch in run.batches:
            identity = (plan.relation, repr(sorted(batch.arguments.items())))
            if identity not in loaders:
                loaders[identity] = _replaying_loader()
            loader, values = loaders[identity]
            values.update(zip(batch.unique, batch.values, strict=False))
            for paths, key in zip(level_paths(batch.frame), batch.keys, strict=True):
                for path in paths:
                    self._batched[Path(path, plan.key, plan.parent.name)] = (loader, key)

    def resolve(self, next_: Any, source: Any, info: Any, **arguments: Any) -> Any:
        path = info.path
        if path in self._given:
            return _again(self._given[path])
        if path in self._batched:
            return _LoadAgain(*self._batched[path])
        return next_(source, info, **arguments)


def _replaying_loader() -> tuple[SharedLoader, dict[Any, Any]]:
    values: dict[Any, Any] = {}

    async def load(keys: list[Any]) -> list[Any]:
        return [value.error if (value := values[key]).__class__ is Failed else value for key in keys]

    return SharedLoader(load_fn=load), values


class _LoadAgain:
    """An awaitable that nobody has to await: graphql-core drops those of fields that it cancelled."""

    __slots__ = ("_key", "_loader")

    def __init__(self, loader: SharedLoader, key: Any) -> None:
        self._loader = loader
        self._key = key

    def __await__(self) -> Generator[Any, None, Any]:
        return self._load().__await__()

    async def _load(self) -> Any:
        if self._key.__class__ is Failed:
            raise self._key.error
        if self._key is None:
            return None
        value = await self._loader.wait(self._key)
        return _again(value) if value.__class__ is Items else value


class _Later:
    """An awaitable of a recorded value; like `_LoadAgain` it may be dropped."""

    __slots__ = ("_value",)

    def __init__(self, value: Any) -> None:
        self._value = value

    def __await__(self) -> Generator[Any, None, Any]:
        return self._give().__await__()

    async def _give(self) -> Any:
        if self._value.__class__ is Failed:
            raise self._value.error
        return _again(self._value)


def _again(value: Any) -> Any:
    """Give a recorded value as its resolver did: by raising, as an awaitable, as an iterator."""
    if value.__class__ is Failed:
        if value.late:
            return _Later(value)
        raise value.error
    if value.__class__ is Late:
        return _Later(value.value)
    if value.__class__ is Items:
        if value.kind == "list":
            return [_item(each) for each in value.items]
        return _async_items(value) if value.kind == "async" else _items(value)
    return value


def _item(value: Any) -> Any:
    return _Later(value) if value.__class__ is Failed else _again(value)


def _items(value: Items) -> Iterator[Any]:
    for each in value.items:
        yield _item(each)
    if value.error is not None:
        raise value.error


async def _async_items(value: Items) -> AsyncIterator[Any]:
    for each in value.items:
        yield _item(each)
    if value.error is not None:
        raise value.error


__all__ = ["BATCH", "nulls_root", "recover"]
