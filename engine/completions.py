"""Completion of a field's column where its values are well-behaved objects of one type, or lists of them.

What generated code would do here is the same for every field, so these are closures: less to compile.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import islice

from engine.frames import LISTS as LISTS_KIND
from engine.frames import SAME
from engine.plan import Column, FieldPlan, Frame, LevelPlan
from engine.runtime import Run, complete_column, slow_level
from engine.vetting import LISTS

Completion = Callable[[Column, Run, Frame], Awaitable[Column]]


def completion_of(plan: FieldPlan) -> Completion:
    """Return the completion of a field whose values are objects."""
    child = plan.only_level
    if child is None or plan.list_depth > 1:
        return _any(plan)
    return _lists(plan, child) if plan.list_depth else _objects(plan, child)


def _any(plan: FieldPlan) -> Completion:
    async def complete(column: Column, run: Run, frame: Frame) -> Column:
        return await complete_column(plan, column, run, frame)

    return complete


def _objects(plan: FieldPlan, child: LevelPlan) -> Completion:
    fits = plan.fits

    async def complete(column: Column, run: Run, frame: Frame) -> Column:
        if not {*map(type, column)} <= fits:
            return await complete_column(plan, column, run, frame)
        below: Frame = [frame, SAME, None, None]
        rows: Column
        if child.is_async:
            rows = await child.run(column, run, below)
            return rows
        try:
            rows = child.run(column, run, below)
        except Exception:  # noqa: BLE001 completed one by one, where each error finds its field
            rows = await slow_level(child, column, {}, run, below)
        return rows

    return complete


def _lists(plan: FieldPlan, child: LevelPlan) -> Completion:
    fits = plan.fits

    async def complete(column: Column, run: Run, frame: Frame) -> Column:
        if not {*map(type, column)} <= LISTS:
            return await complete_column(plan, column, run, frame)
        one = len(column) == 1
        objects = column[0] if one else [each for items in column for each in items]
        if not {*map(type, objects)} <= fits:
            return await complete_column(plan, column, run, frame)
        below: Frame = [frame, LISTS_KIND, column, None]
        if child.is_async:
            rows = await child.run(objects, run, below)
        else:
            try:
                rows = child.run(objects, run, below)
            except Exception:  # noqa: BLE001 as above
                rows = await slow_level(child, objects, {}, run, below)
        if one:
            return [rows]
        remaining = iter(rows)
        return [[*islice(remaining, len(items))] for items in column]

    return complete
