"""What compiled code calls at run time: resolvers, batches and the completion of anything unusual.

Generated code handles well-behaved values only. Whatever else turns up (nulls, errors, awaitables, iterators,
classes not seen before) comes here, where each value is completed by the rules of the GraphQL specification.
An error is noted in `Run.failures` and a null left in its place; `engine.recovery` propagates it at the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast

from graphql import GraphQLError, GraphQLList, GraphQLNonNull, GraphQLObjectType, is_leaf_type
from graphql.execution.execute import default_type_resolver
from graphql.execution.executor import Executor, invalid_return_type_error
from graphql.execution.values import VariableValues
from graphql.pyutils import Undefined, gather_with_cancel, is_iterable
from graphql.type import GraphQLResolveInfoHelpers
from strawberry.execution import optimized_is_awaitable as is_awaitable
from strawberry.types.cast import TYPE_CAST_ATTRIBUTE

from engine import vetting
from engine.frames import PLACES, field_paths, level_paths
from engine.markers import FAILED, Batch, Failed, Items, Late, OddValueError, Rest
from engine.plan import (
    BATCH,
    PLAIN,
    TYPENAME,
    Column,
    FieldPlan,
    Frame,
    LevelFunction,
    LevelPlan,
    OperationPlan,
)
from engine.rows import written

_background: set[asyncio.Future[Any]] = set()


class Run:
    """The state of one execution."""

    __slots__ = (
        "__weakref__",
        "_helpers",
        "batches",
        "context",
        "extensions",
        "failures",
        "late",
        "notes",
        "plan",
        "ready",
        "root",
        "settings",
        "trace",
        "variable_values",
        "vars",
    )

    def __init__(
        self,
        plan: OperationPlan,
        variable_values: VariableValues,
        context: Any,
        root: Any,
        extensions: dict[str, Any] | None,
        settings: Any,
    ) -> None:
        self.plan = plan
        self.variable_values = variable_values
        self.vars = variable_values.coerced
        self.context = context
        self.root = root
        self.extensions = extensions
        self.failures: list[tuple[Frame, int, tuple[int, ...], Exception]] = []
        """(field frame, number of the value in it, list indices, what was raised)"""
        self.trace: list[tuple[Frame | None, FieldPlan, Column]] = []
        """What resolvers gave, so that errors can be put in order without calling them again."""
        self.batches: list[tuple[FieldPlan, Batch]] = []
        self.late = False
        """Whether anything was awaited, on which the order of errors depends."""
        self.ready: list[tuple[Frame | None, Column]] = []
        """Levels that took some objects from the fragment cache."""
        self.settings = settings
        self.notes: list[tuple[int, int, float]] | None = None
        self._helpers: GraphQLResolveInfoHelpers | None = None

    @property
    def helpers(self) -> GraphQLResolveInfoHelpers:
        """Return graphql-core's helpers for resolvers of this execution."""
        if self._helpers is None:
            helpers = Helpers()
            self._helpers = GraphQLResolveInfoHelpers(gather=helpers.gather, track=helpers.track)
        return self._helpers


class Helpers:
    """graphql-core's helpers for resolvers, one object for each execution.

    It does not refer to the run: in a cycle, everything a request made would wait for the garbage collector.
    """

    __slots__ = ("__weakref__",)

    def gather(self, values: Sequence[Awaitable[Any]]) -> Awaitable[list[Any]]:
        """Await several values as one piece of work (graphql-core's helper for resolvers)."""
        return gather_with_cancel(*values)

    def track(self, values: Sequence[Any]) -> None:
        """See to it that abandoned awaitables are still awaited (graphql-core's helper for resolvers)."""
        awaitables = [value for value in values if is_awaitable(value)]
        if awaitables:
            future = asyncio.gather(*awaitables, return_exceptions=True)
            _background.add(future)
            future.add_done_callback(_background.discard)


async def awaited(work: Column | Rest) -> Column:
    """Wait for a column that is not complete yet."""
    if isinstance(work, Rest):
        column: Column = await work
        return column
    return work


async def together(*awaitables: Awaitable[Any]) -> list[Any]:
    """Await all; when one is cancelled or breaks, cancel and await the others first."""
    tasks = [asyncio.ensure_future(awaitable) for awaitable in awaitables]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


async def outcomes(awaitables: list[Awaitable[Any]]) -> list[Any]:
    """Return a `Late` or `Failed` for each awaitable; they run at the same time."""
    if len(awaitables) == 1:
        try:
            return [Late(await awaitables[0])]
        except Exception as error:  # noqa: BLE001 whatever a resolver raises becomes the field's error
            return [Failed(error, late=True)]
    results = await asyncio.gather(*awaitables, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, Exception):
            raise result
    # A resolver that *returns* an exception instance is treated like one that raises it, by graphql-core too.
    return [Failed(r, late=True) if isinstance(r, Exception) else Late(r) for r in results]


# -- reading -------------------------------------------------------------------------------------------------


def read(plan: FieldPlan, objects: Column) -> Column:
    """Return the attribute of each object, `Failed` where reading raises."""
    column: Column = []
    for item in objects:
        try:
            column.append(plan.get(item))
        except Exception as error:  # noqa: BLE001
            column.append(Failed(error))
    return column


def make_info(plan: FieldPlan, run: Run, path: Any) -> Any:
    """Return the resolver's `info` at a path, of the class that strawberry's own executor uses."""
    operation = run.plan
    return tuple.__new__(
        operation.info_class,
        (
            *plan.info_head,
            path,
            operation.schema,
            operation.fragments,
            run.root,
            operation.operation,
            run.vars,
            run.context,
            is_awaitable,
            None,
            run.helpers,
            run.extensions,
        ),
    )


def call(plan: FieldPlan, objects: Column, run: Run, frame: Frame | None) -> Column:
    """Call the field's resolver for each object; the column is kept in the run's trace."""
    column: Column = []
    run.trace.append((frame, plan, column))
    arguments = plan.arguments
    kwargs: dict[str, Any] = {}
    fresh = arguments is not None and not plan.shares_arguments
    try:
        if arguments is not None and not fresh:
            kwargs = arguments(run)
    except Exception as error:  # noqa: BLE001
        column.extend(Failed(error) for _ in objects)
        return column
    direct = plan.direct
    if direct is not None and not plan.wants_info:
        for item in objects:
            try:
                if fresh:
                    kwargs = arguments(run)  # type: ignore[misc]
                column.append(direct(item, None, kwargs))
            except Exception as error:  # noqa: BLE001
                column.append(Failed(error))
        return column
    return _call_with_info(plan, objects, run, frame, kwargs if not fresh else None, column)


def _call_with_info(
    plan: FieldPlan,
    objects: Column,
    run: Run,
    frame: Frame | None,
    shared: dict[str, Any] | None,
    column: Column,
) -> Column:
    """Call the resolver of each object with an `info` of its own; `shared` are the arguments of them all."""
    resolve, direct = cast("Callable[..., Any]", plan.definition.resolve), plan.direct
    key, typename, head = plan.key, plan.parent.name, plan.info_head
    operation = run.plan
    tail = (
        operation.schema,
        operation.fragments,
        run.root,
        operation.operation,
        run.vars,
        run.context,
        is_awaitable,
        None,
        run.helpers,
        run.extensions,
    )
    new, info_class, path_class = tuple.__new__, operation.info_class, vetting.PATH
    for item, paths in zip(objects, level_paths(frame), strict=True):
        try:
            kwargs = plan.arguments(run) if shared is None else shared  # type: ignore[misc]
            info: Any = new(info_class, (*head, path_class(paths[0], key, typename), *tail))
            column.append(resolve(item, info, **kwargs) if direct is None else direct(item, info, kwargs))
        except Exception as error:  # noqa: BLE001
            column.append(Failed(error))
    return column


def pending(column: Any) -> bool:
    """Tell whether a raw column or batch holds something to await."""
    if column.__class__ is Batch:
        waiting: bool = column.waiting is not None
        return waiting
    return any(cls not in vetting.PLAIN_CLASSES and hasattr(cls, "__await__") for cls in {*map(type, column)})


# -- completion of columns -----------------------------------------------------------------------------------


async def complete_column(plan: FieldPlan, column: Column, run: Run, frame: Frame) -> Column:
    """Complete any column of a field, whatever is in it."""
    column = await settle(plan, column, run, frame)
    plain = [value.value if value.__class__ is Late else value for value in column]
    if plan.complete is not None and _fits(plan, plain):
        return await awaited(plan.complete(plain, run, frame))
    where: list[tuple[int, tuple[int, ...]]] = [(i, ()) for i in range(len(column))]
    done = await complete_values(plan, plan.output, column, where, run, frame)
    return [None if value is FAILED else value for value in done]


def _fits(plan: FieldPlan, column: Column) -> bool:
    """Tell whether generated code completes the column (one level, only vetted classes, at most one list)."""
    level = plan.only_level
    if level is None or plan.list_depth > 1:
        return False
    classes = {*map(type, column)}
    if plan.list_depth:
        if not classes <= vetting.LISTS:
            return False
        classes = {type(item) for items in column for item in items}
    if not classes <= plan.fits:
        for cls in classes - plan.fits:
            vetting.vet(plan, cls, level)
    return classes <= plan.fits


async def settle(plan: FieldPlan, column: Column, run: Run, frame: Frame) -> Column:
    """Await what is awaitable in a column and read out its iterators; the trace gets the settled values."""
    # What a loader gave was awaited with its batch; like graphql-core, nothing is awaited twice.
    waiting = [] if plan.kind == BATCH else [i for i, value in enumerate(column) if is_awaitable(value)]
    settled = list(column)
    changed = bool(waiting)
    if waiting:
        run.late = True
        for i, outcome in zip(waiting, await outcomes([column[i] for i in waiting]), strict=True):
            settled[i] = outcome
    if plan.list_depth:
        for i, value in enumerate(settled):
            inner = value.value if value.__class__ is Late else value
            items = await _materialise(inner, plan.list_depth, run)
            if items is not inner:
                settled[i] = Late(items) if value.__class__ is Late else items
                changed = True
    if changed and frame[2] is None:
        if plan.kind == PLAIN:
            run.trace.append((frame[0], plan, settled))
        elif plan.kind != BATCH:
            column[:] = settled
    return settled


async def _materialise(value: Any, depth: int, run: Run) -> Any:
    """Return the value itself where it is a plain list, an `Items` for any other iterable."""
    cls = value.__class__
    if value is None or cls is Failed or cls is Items or isinstance(value, Exception):
        return value
    items: list[Any]
    error: Exception | None = None
    kind = "list"
    if cls is list or cls is tuple:
        items = list(value)
    elif hasattr(value, "__aiter__"):
        kind, run.late = "async", True
        items, error = await _drain(value)
    elif is_iterable(value):
        kind = "iterator"
        items = []
        try:
            items.extend(value)
        except Exception as raised:  # noqa: BLE001
            error = raised
    else:
        return value
    changed = kind != "list"
    waiting = [i for i, item in enumerate(items) if is_awaitable(item)]
    if waiting:
        run.late = changed = True
        for i, outcome in zip(waiting, await outcomes([items[i] for i in waiting]), strict=True):
            items[i] = outcome
    if depth > 1:
        for i, item in enumerate(items):
            inner = item.value if item.__class__ is Late else item
            below = await _materialise(inner, depth - 1, run)
            if below is not inner:
                items[i] = Late(below) if item.__class__ is Late else below
                changed = True
    return Items(items, error, kind) if changed else value


async def _drain(value: Any) -> tuple[list[Any], Exception | None]:
    items: list[Any] = []
    iterator = value.__aiter__()
    while True:
        try:
            items.append(await anext(iterator))
        except StopAsyncIteration:
            return items, None
        except Exception as error:  # noqa: BLE001
            return items, error


async def complete_values(
    plan: FieldPlan,
    type_: Any,
    values: Column,
    where: list[tuple[int, tuple[int, ...]]],
    run: Run,
    frame: Frame,
) -> Column:
    """Complete values of one type, each at its place; `FAILED` where an error was noted."""
    non_null = isinstance(type_, GraphQLNonNull)
    inner: Any = type_.of_type if non_null else type_
    done: Column = [None] * len(values)
    live: list[int] = []
    clean: Column = []
    for n, value in enumerate(values):
        if value.__class__ is Late:
            value = value.value  # noqa: PLW2901
        if value.__class__ is Failed or isinstance(value, Exception):
            error: Exception = value.error if isinstance(value, Failed) else value
            run.failures.append((frame, *where[n], error))
            done[n] = FAILED
        elif value is not None and value is not Undefined:
            live.append(n)
            clean.append(value)
    if live:
        spots = [where[n] for n in live]
        if isinstance(inner, GraphQLList):
            completed = await _complete_lists(plan, inner, clean, spots, run, frame)
        elif is_leaf_type(inner):
            completed = await _complete_leaves(inner, clean, spots, run, frame)
        else:
            completed = await _complete_objects(plan, clean, spots, run, frame)
        for n, result in zip(live, completed, strict=True):
            done[n] = result
    if non_null:
        for n, result in enumerate(done):
            if result is None:
                message = (
                    f"Cannot return null for non-nullable field {plan.parent}.{plan.nodes[0].name.value}."
                )
                run.failures.append((frame, *where[n], TypeError(message)))
                done[n] = FAILED
    return done


async def _complete_lists(
    plan: FieldPlan,
    type_: Any,
    values: Column,
    where: list[tuple[int, tuple[int, ...]]],
    run: Run,
    frame: Frame,
) -> Column:
    items: Column = []
    spots: list[tuple[int, tuple[int, ...]]] = []
    sizes: list[int | Exception] = []
    for value, (i, indices) in zip(values, where, strict=True):
        if value.__class__ is Items:
            content: Any = value.items
        elif is_iterable(value):
            content = list(value)
        else:
            name = f"{plan.parent}.{plan.nodes[0].name.value}"
            sizes.append(GraphQLError(f"Expected Iterable, but did not find one for field '{name}'."))
            continue
        sizes.append(len(content))
        items.extend(content)
        spots.extend((i, (*indices, k)) for k in range(len(content)))
    done = iter(await complete_values(plan, type_.of_type, items, spots, run, frame))
    results: Column = []
    for value, spot, size in zip(values, where, sizes, strict=True):
        if isinstance(size, Exception):
            run.failures.append((frame, *spot, size))
            results.append(FAILED)
            continue
        rows = [next(done) for _ in range(size)]
        if value.__class__ is Items and value.error is not None:
            run.failures.append((frame, *spot, value.error))
            results.append(FAILED)
        else:
            results.append([None if row is FAILED else row for row in rows])
    return results


async def _complete_leaves(
    type_: Any, values: Column, where: list[tuple[int, tuple[int, ...]]], run: Run, frame: Frame
) -> Column:
    results: Column = []
    for value, spot in zip(values, where, strict=True):
        try:
            results.append(Executor.complete_leaf_value(type_, value))
        except Exception as error:  # noqa: BLE001
            run.failures.append((frame, *spot, error))
            results.append(FAILED)
    waiting = [i for i, result in enumerate(results) if is_awaitable(result)]
    if waiting:
        # A scalar may be written by a coroutine function; graphql-core awaits what it returns.
        run.late = True
        for i, outcome in zip(waiting, await outcomes([results[i] for i in waiting]), strict=True):
            results[i] = FAILED if outcome.__class__ is Failed else outcome.value
            if outcome.__class__ is Failed:
                run.failures.append((frame, *where[i], outcome.error))
    return [result if result is FAILED else written(result) for result in results]


async def _complete_objects(
    plan: FieldPlan, values: Column, where: list[tuple[int, tuple[int, ...]]], run: Run, frame: Frame
) -> Column:
    results: Column = [FAILED] * len(values)
    groups: dict[int, tuple[LevelPlan, list[int]]] = {}
    for n, value in enumerate(values):
        level = plan.classes.get(value.__class__)
        if level is None:
            try:
                level = await _find_level(plan, value, where[n], run, frame)
            except Exception as error:  # noqa: BLE001
                run.failures.append((frame, *where[n], error))
                continue
        groups.setdefault(level.number, (level, []))[1].append(n)
    work = [
        run_level(level, [values[n] for n in chosen], run, [frame, PLACES, [where[n] for n in chosen], None])
        for level, chosen in groups.values()
    ]
    if len(work) > 1 and plan.suspends:
        rows = await together(*work)
    else:
        rows = [await one for one in work]
    for (_, chosen), done in zip(groups.values(), rows, strict=True):
        for n, row in zip(chosen, done, strict=True):
            results[n] = row
    return results


async def _find_level(
    plan: FieldPlan, value: Any, where: tuple[int, tuple[int, ...]], run: Run, frame: Frame
) -> LevelPlan:
    """Return the level of the value's runtime type, by the schema's own `resolve_type` and `is_type_of`."""
    level = plan.castable.get(value.__class__)
    if level is not None and TYPE_CAST_ATTRIBUTE not in value.__dict__:
        return level
    named: Any = plan.named
    info = make_info(plan, run, field_paths(frame)[where[0]][0])
    if not isinstance(named, GraphQLObjectType):
        name = (named.resolve_type or default_type_resolver)(value, info, named)
        if is_awaitable(name):
            run.late = True
            name = await cast("Awaitable[Any]", name)
        checker: Any = SimpleNamespace(schema=run.plan.schema)
        runtime_type = Executor.ensure_valid_runtime_type(checker, name, named, plan.details, info, value)
    else:
        runtime_type = named
    if runtime_type.is_type_of:
        fits = runtime_type.is_type_of(value, info)
        if is_awaitable(fits):
            run.late = True
            fits = await cast("Awaitable[bool]", fits)
        if not fits:
            raise invalid_return_type_error(runtime_type, value, plan.details)
    level = plan.levels[runtime_type.name]
    vetting.vet(plan, value.__class__, level)
    return level


# -- levels --------------------------------------------------------------------------------------------------


async def run_level(level: LevelPlan, objects: Column, run: Run, frame: Frame | None) -> Column:
    """Complete the selection of a level for its objects."""
    return await awaited(level.run(objects, run, frame))


def attempt(
    level: LevelPlan, work: LevelFunction, objects: Column, run: Run, frame: Frame | None
) -> Column | Rest:
    """Run the function of a level that has nothing but leaves, which raises for anything odd."""
    try:
        return work(objects, run, frame)
    except Exception:  # noqa: BLE001 completed one by one, where each error finds its field
        return Rest(slow_level, level, objects, {}, run, frame)


async def slow_level(
    level: LevelPlan, objects: Column, columns: Mapping[str, Column], run: Run, frame: Frame | None
) -> Column:
    """Complete a level whose plain fields misbehave: attribute by attribute, nothing else is read again."""
    rows: Column = [{} for _ in objects]
    for plan in level.fields:
        column = columns.get(plan.key)
        if column is None:
            if plan.kind == TYPENAME:
                column = [level.type.name] * len(rows)
            else:
                column = await complete_column(plan, read(plan, objects), run, [frame, plan, None, None])
        for row, value in zip(rows, column, strict=True):
            row[plan.key] = value
    return rows


# -- leaves --------------------------------------------------------------------------------------------------


def leaf(value: Any, type_: Any) -> Any:
    """Return the serialised value of a non-null leaf.

    Raises:
        OddValueError: for anything that needs the slow path.
    """
    if value.__class__ not in vetting.PLAIN_CLASSES and vetting.is_odd(value):
        raise OddValueError
    result = type_.coerce_output_value(value)
    if result.__class__ not in vetting.PLAIN_CLASSES and vetting.is_odd(result):
        raise OddValueError
    return written(result)


def nullable_leaf(value: Any, type_: Any) -> Any:
    """Return the serialised value of a nullable leaf; raises as `leaf` does."""
    return None if value is None else leaf(value, type_)


def leaf_list(value: Any, type_: Any) -> Any:
    """Return the serialised lists of leaves of a type; raises as `leaf` does."""
    inner = type_
    if isinstance(type_, GraphQLNonNull):
        inner = type_.of_type
        if value is None:
            raise OddValueError
    elif value is None:
        return None
    if isinstance(inner, GraphQLList):
        if value.__class__ not in vetting.LISTS:
            raise OddValueError
        items: Any = value
        return [leaf_list(item, inner.of_type) for item in items]
    return leaf(value, inner)
