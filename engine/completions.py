"""Completion of a field's column where its values are well-behaved objects of one type, or lists of them.

What generated code would do here is the same for every field, so these are closures: less to compile.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

from engine.frames import LISTS as LISTS_KIND
from engine.frames import SAME
from engine.markers import Rest
from engine.plan import Column, FieldPlan, Frame, LevelPlan
from engine.runtime import Run, complete_column
from engine.vetting import LISTS

Completion = Callable[[Column, Run, Frame], Column | Rest]


def completion_of(plan: FieldPlan) -> Completion:
    """Return the completion of a field whose values are objects."""
    child = plan.only_level
    if child is None or plan.list_depth > 1:
        return _any(plan)
    return _lists(plan, child) if plan.list_depth else _objects(plan, child)


def _any(plan: FieldPlan) -> Completion:
    def complete(column: Column, run: Run, frame: Frame) -> Column | Rest:
        return Rest(complete_column, plan, column, run, frame)

    return complete


def _objects(plan: FieldPlan, child: LevelPlan) -> Completion:
    fits = plan.fits

    def complete(column: Column, run: Run, frame: Frame) -> Column | Rest:
        below: Frame = [frame, SAME, None, None]
        if child.quick is not None and child.usual.issuperset(map(type, column)):
            return child.quick(column, run, below)
        if not fits.issuperset(map(type, column)):
            return Rest(complete_column, plan, column, run, frame)
        return child.run(column, run, below)

    return complete


def _lists(plan: FieldPlan, child: LevelPlan) -> Completion:
    fits = plan.fits

    def complete(column: Column, run: Run, frame: Frame) -> Column | Rest:
        if not LISTS.issuperset(map(type, column)):
            return Rest(complete_column, plan, column, run, frame)
        one = len(column) == 1
        objects = column[0] if one else [each for items in column for each in items]
        below: Frame = [frame, LISTS_KIND, column, None]
        if child.quick is not None and child.usual.issuperset(map(type, objects)):
            rows = child.quick(objects, run, below)
        elif fits.issuperset(map(type, objects)):
            rows = child.run(objects, run, below)
        else:
            return Rest(complete_column, plan, column, run, frame)
        if isinstance(rows, Rest):
            return Rest(_split_later, rows, column)
        return [rows] if one else _split(rows, column)

    return complete


def _split(rows: Column, column: Column) -> Column:
    remaining = iter(rows)
    return [[*islice(remaining, len(items))] for items in column]


async def _split_later(rows: Rest, column: Column) -> Column:
    return _split(await rows, column)
