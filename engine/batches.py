"""Relations at run time: one call of a loader per level, values completed once per distinct key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from graphql import GraphQLNonNull
from strawberry.execution import optimized_is_awaitable as is_awaitable

from engine.markers import Batch, Failed, Rest
from engine.plan import Column, FieldPlan, Frame
from engine.relation import Relation
from engine.runtime import Run, awaited, complete_column, complete_values, settle


def ask(
    plan: FieldPlan, keys: Column | None, objects: Column, run: Run, frame: Frame | None
) -> Batch | dict[Any, Any]:
    """Ask a relation's loader once for the distinct keys of a level; complete at once what is well-behaved.

    `keys` are those of the objects, None where they could not be read. Rows by key come back where the loader
    gave plain objects with plain leaves, else a batch to complete.
    """
    relation = cast("Relation", plan.relation)
    run.late = True
    kwargs: dict[str, Any] = {}
    odd = False
    try:
        if plan.arguments is not None:
            kwargs = plan.arguments(run)
        if keys is None:
            keys = [*map(relation.key_of, objects)]
        unique = dict.fromkeys(keys)
    except Exception:  # noqa: BLE001
        keys, unique = _read_keys(plan, relation.key_of, objects, run)
        odd = True
    gaps = None in unique
    if gaps:
        del unique[None]
        odd = odd or isinstance(plan.output, GraphQLNonNull)
    batch = Batch(keys, unique, frame, kwargs, gaps or odd)
    run.batches.append((plan, batch))
    if unique:
        try:
            result: Any = relation.load([*unique], run.context, **kwargs)
            if result.__class__ is list:
                batch.values = result
                if not odd and len(result) == len(unique) and (rows := _rows_by_key(plan, batch, run)):
                    return {**rows, None: None} if gaps else rows
            elif is_awaitable(result):
                batch.waiting = result
            else:
                batch.values = list(result)
        except Exception as error:  # noqa: BLE001
            batch.fail(error)
    return batch


def _rows_by_key(plan: FieldPlan, batch: Batch, run: Run) -> dict[Any, Any] | None:
    """Return the rows of distinct values by key, None where the general way has to complete them."""
    child, values = plan.only_level, batch.values
    if child is None or not child.is_flat or child.fragment is not None or plan.list_depth or not plan.shared:
        return None
    if child.quick_by_key is not None and child.usual.issuperset(map(type, values)):
        try:
            child.quick_by_key(batch.unique, values)
        except Exception:  # noqa: BLE001 in the general way each error finds its field
            return None
        return batch.unique
    if not plan.fits.issuperset(map(type, values)):
        return None
    rows = child.run(values, run, None)
    return None if isinstance(rows, Rest) else dict(zip(batch.unique, rows, strict=True))


def _read_keys(
    plan: FieldPlan, key_of: Callable[[Any], Any], objects: Column, run: Run
) -> tuple[Column, dict[Any, None]]:
    """Read keys one by one; `Failed` for an object whose key cannot be read or whose arguments are wrong."""
    keys: Column = []
    unique: dict[Any, None] = {}
    for item in objects:
        try:
            if plan.arguments is not None:
                plan.arguments(run)
            key = key_of(item)
            unique[key] = None
        except Exception as error:  # noqa: BLE001
            key = Failed(error)
        keys.append(key)
    return keys, unique


async def answer(plan: FieldPlan, batch: Batch) -> None:
    """Wait for a batch; an error or a timeout becomes the error of every value in it."""
    relation = cast("Relation", plan.relation)
    if batch.waiting is not None:
        try:
            batch.values = list(await relation.within_time(batch.waiting))
        except Exception as error:  # noqa: BLE001
            batch.fail(error)
        batch.waiting = None
    if len(batch.values) != len(batch.unique):
        batch.fail(relation.wrong_count(len(batch.unique), len(batch.values)))


def complete_batch(plan: FieldPlan, batch: Batch, run: Run, level_frame: Frame | None) -> Column | Rest:
    """Complete a relation's column, at once where its values are there and well-behaved."""
    values = batch.values
    ready = batch.waiting is None and len(values) == len(batch.unique) and not batch.gaps and plan.shared
    if not ready or plan.complete is None or not plan.fits.issuperset(map(type, values)):
        return Rest(_complete_batch, plan, batch, run, level_frame)
    rows = plan.complete(values, run, [level_frame, plan, (batch.keys, batch.unique), None])
    if isinstance(rows, Rest):
        return Rest(_spread_later, rows, batch)
    return _spread(rows, batch)


def _spread(rows: Column, batch: Batch) -> Column:
    """Give each object the row of its key."""
    return [*map(dict(zip(batch.unique, rows, strict=True)).__getitem__, batch.keys)]


async def _spread_later(rows: Rest, batch: Batch) -> Column:
    return _spread(await rows, batch)


async def _complete_batch(plan: FieldPlan, batch: Batch, run: Run, level_frame: Frame | None) -> Column:
    """Complete a relation's column: once per distinct key where nothing below calls a resolver."""
    if batch.waiting is not None or len(batch.values) != len(batch.unique):
        await answer(plan, batch)
    keys, values = batch.keys, batch.values
    frame: Frame = [level_frame, plan, (keys, batch.unique), None]
    quick = plan.complete is not None and {*map(type, values)} <= plan.fits
    if not quick:
        values = batch.values = await settle(plan, values, run, frame)
    if plan.shared and not batch.gaps:
        if quick and plan.complete is not None:
            rows = await awaited(plan.complete(values, run, frame))
        else:
            rows = await complete_column(plan, values, run, frame)
        return _spread(rows, batch)
    known = dict(zip(batch.unique, values, strict=True))
    known[None] = None
    column = [key if key.__class__ is Failed else known[key] for key in keys]
    if plan.shared:
        return await _complete_shared_with_gaps(plan, batch, column, run, frame)
    return await complete_column(plan, column, run, [level_frame, plan, None, None])


async def _complete_shared_with_gaps(
    plan: FieldPlan, batch: Batch, column: Column, run: Run, frame: Frame
) -> Column:
    """Complete a shared relation where some objects have no key (null) or an unreadable one (an error)."""
    rows = await complete_column(plan, batch.values, run, frame)
    found: dict[Any, Any] = dict(zip(batch.unique, rows, strict=True))
    gaps = [i for i, key in enumerate(batch.keys) if key is None or key.__class__ is Failed]
    own: Frame = [frame[0], plan, None, None]
    await complete_values(plan, plan.output, [column[i] for i in gaps], [(i, ()) for i in gaps], run, own)
    return [None if key is None or key.__class__ is Failed else found[key] for key in batch.keys]
