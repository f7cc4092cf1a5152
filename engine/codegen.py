"""Python source for the levels of an operation.

One function per level. Plain fields become attribute access with the type test of their scalar in place; only
a value that fails the test costs a call. Every other field becomes a column, completed level by level.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from time import perf_counter
from typing import Any

from graphql import is_leaf_type

from engine import batches, leaves, runtime
from engine.completions import completion_of
from engine.leaves import Known, LeafWriter
from engine.markers import Rest
from engine.plan import BATCH, PLAIN, RESOLVER, TYPENAME, FieldPlan, LevelFunction, LevelPlan
from engine.rows import row_class
from engine.typed import Typed, field_classes
from engine.vetting import declared_classes, is_steady

_NOTHING_KNOWN: Known = {}
_NO_VALUES: Mapping[int, str] = {}


class SourceWriter:
    """Write and load the functions of an operation's levels."""

    def __init__(self, *, timed: bool) -> None:
        self._timed = timed
        self._parts: list[str] = []
        self._names: dict[int, str] = {}
        self._leaves = LeafWriter(self._const)
        self.namespace: dict[str, Any] = {
            **leaves.NAMES,
            "Rest": Rest,
            "ask": batches.ask,
            "awaited": runtime.awaited,
            "call": runtime.call,
            "clock": perf_counter,
            "complete_batch": batches.complete_batch,
            "complete_column": runtime.complete_column,
            "pending": runtime.pending,
            "read": runtime.read,
            "slow_level": runtime.slow_level,
            "together": runtime.together,
        }

    def load(self, levels: list[LevelPlan], wrap: Callable[[LevelPlan], None]) -> str:
        """Compile the source of all levels, children first, and give each level its function."""
        for level in levels:
            self._write_level(level)
        source = "\n\n".join(self._parts) + "\n"
        exec(compile(source, "<graphql plan>", "exec"), self.namespace)  # noqa: S102 our own source
        for level in levels:
            level.run = level.plain_run = self._function(level, "level")
            wrap(level)
            if level.usual and level.run is level.plain_run:
                level.quick = self._function(level, "quick")
                level.quick_by_key = self.namespace.get(f"quick_by_key_{level.number}")
            for plan in level.fields:
                if plan.complete is None:
                    plan.complete = self.namespace.get(f"complete_{level.number}_{plan.order}")
        return source

    def _function(self, level: LevelPlan, kind: str) -> LevelFunction:
        """Give a function of a level as it is called: one that raises for anything odd is made safe."""
        function: LevelFunction = self.namespace[f"{kind}_{level.number}"]
        return partial(runtime.attempt, level, function) if level.is_flat else function

    def _const(self, value: Any, prefix: str) -> str:
        name = self._names.get(id(value))
        if name is None:
            name = f"{prefix}_{len(self._names)}"
            self._names[id(value)] = name
            self.namespace[name] = value
        return name

    # -- levels ----------------------------------------------------------------------------------------------

    def _write_level(self, level: LevelPlan) -> None:
        columns = [plan for plan in level.fields if not is_simple(plan)]
        cls = None if self._timed else _typed_class(level)
        if cls is not None:
            level.usual = frozenset({cls})
            if columns:
                self._write_quick_level_of_columns(level, columns, field_classes(cls))
            else:
                self._write_quick_level(level, field_classes(cls))
        for plan in columns:
            self._write_completion(level, plan)
        if columns:
            self._write_level_of_columns(level, columns)
            return
        lines = self._head(level)
        lines.append(f"    rows = {self._rows(level, columns)}")
        self._parts.append("\n".join([*lines, *self._note(level, "    "), "    return rows"]))

    def _head(self, level: LevelPlan) -> list[str]:
        """Write the first lines of a level; the usual objects are sent another way."""
        lines = [f"def level_{level.number}(objects, run, frame):", f'    """{level.type.name}"""']
        if level.usual:
            lines.append(f"    if {self._const(level.usual, 'usual')}.issuperset(map(type, objects)):")
            lines.append(f"        return quick_{level.number}(objects, run, frame)")
        lines += ["    started = clock()"] if self._timed else []
        return [*lines, *_bound(level)]

    def _write_level_of_columns(self, level: LevelPlan, columns: list[FieldPlan]) -> None:
        """Write a level that is done at once where nothing in it waits or is odd, and what it leaves else."""
        n, names = level.number, [f"c{plan.order}" for plan in columns]
        state = self._state(columns)
        lines = self._head(level)
        for plan in columns:
            lines += self._raw_column(level, plan)
        for plan in columns:
            lines += self._begun_column(level, plan)
        end = self._end(level, columns)
        if level.usual:
            self._parts.append("\n".join([f"def end_{n}({state}):", *_bound(level), *end]))
            end = [f"    return end_{n}({state})"]
        rest = [f"async def rest_{n}({state}):", *_bound(level), *self._awaited_columns(columns)]
        slow = self._slow(level, columns)
        rest += self._rows_of(level, columns, "    ", slow and f"await {slow}")
        given = ", ".join(["objects", *names])
        if not level.is_single:
            self._parts.append(f"def rows_{n}({given}):\n    return {self._rows(level, columns)}")
        self._parts += ["\n".join([*lines, *end]), "\n".join(rest)]

    def _end(self, level: LevelPlan, columns: list[FieldPlan]) -> list[str]:
        """Write the end of a level whose columns were begun."""
        complete = " is ".join([*(f"c{plan.order}.__class__" for plan in columns), "list"])
        rows = self._rows_of(level, columns, "        ", _later(self._slow(level, columns)))
        return [f"    if {complete}:", *rows, f"    return Rest(rest_{level.number}, {self._state(columns)})"]

    def _state(self, columns: list[FieldPlan]) -> str:
        """List what the rest of a level is given."""
        names = [f"c{plan.order}" for plan in columns]
        unsure = [f"r{plan.order}" for plan in columns if _is_unsure(plan)]
        return ", ".join(["objects", "run", "frame", *names, *unsure, *(["started"] if self._timed else [])])

    def _slow(self, level: LevelPlan, columns: list[FieldPlan]) -> str:
        """Write the call that completes a level one by one; empty where no leaf of it can be odd."""
        if not _has_leaves(level):
            return ""
        by_key = ", ".join(f"{plan.key!r}: c{plan.order}" for plan in columns)
        return f"slow_level({self._const(level, 'plan')}, objects, {{{by_key}}}, run, frame)"

    def _rows_of(self, level: LevelPlan, columns: list[FieldPlan], indent: str, slow: str) -> list[str]:
        """Write the return of a level's rows; with `slow` a leaf of it may be odd."""
        note = self._note(level, indent)
        given = ", ".join(["objects", *(f"c{plan.order}" for plan in columns)])
        work = self._rows(level, columns) if level.is_single else f"rows_{level.number}({given})"
        if not slow:
            return [f"{indent}rows = {work}", *note, f"{indent}return rows"]
        return [
            f"{indent}try:",
            f"{indent}    rows = {work}",
            f"{indent}except Exception:",
            f"{indent}    rows = {slow}",
            *note,
            f"{indent}return rows",
        ]

    def _note(self, level: LevelPlan, indent: str) -> list[str]:
        note = f"run.notes.append(({level.number}, len(objects), clock() - started))"
        return [indent + note] if self._timed else []

    # -- levels of objects whose leaves were looked at when they were made -----------------------------------

    def _write_quick_level(self, level: LevelPlan, known: Known) -> None:
        row = self._row(level, known)
        lines = [f"def quick_{level.number}(objects, run, frame):", *_bound(level)]
        self._parts.append("\n".join([*lines, f"    return {_of_each(level, row, [])}"]))
        if level.is_keyed:
            lines = [
                f"def quick_by_key_{level.number}(rows, objects):",
                "    for key, o in zip(rows, objects):",
            ]
            self._parts.append("\n".join([*lines, f"        rows[key] = {row}"]))

    def _write_quick_level_of_columns(self, level: LevelPlan, columns: list[FieldPlan], known: Known) -> None:
        """Write a level whose relations' rows are looked up by key where they stand in the row."""
        n, by_key = level.number, [plan for plan in columns if _is_keyed(plan, known)]
        others = [plan for plan in columns if plan not in by_key]
        lines = [f"def quick_{n}(objects, run, frame):", *_bound(level)]
        for plan in columns:
            lines += self._raw_column(level, plan)
        for plan in others:
            lines += self._begun_column(level, plan)
        ready = [" is ".join([*(f"r{plan.order}.__class__" for plan in by_key), "dict"])] if by_key else []
        if others:
            ready.append(" is ".join([*(f"c{plan.order}.__class__" for plan in others), "list"]))
        values = {plan.order: f"r{plan.order}[o.{plan.attribute}]" for plan in by_key}
        rows = _of_each(level, self._row(level, known, values), others)
        lines.append(f"    if {' and '.join(ready)}:")
        lines += ["        try:", f"            return {rows}"]
        lines += ["        except Exception:", "            pass"]
        for plan in by_key:
            lines += self._begun_column(level, plan)
        lines.append(f"    return end_{n}({self._state(columns)})")
        self._parts.append("\n".join(lines))

    def _raw_column(self, level: LevelPlan, plan: FieldPlan) -> list[str]:
        me, column = self._const(plan, "field"), f"r{plan.order}"
        if plan.kind == RESOLVER:
            return [f"    {column} = call({me}, objects, run, frame)"]
        if plan.kind == BATCH:
            key = f"o.{plan.attribute}" if plan.attribute else f"{self._const(plan.get, 'get')}(o)"
            keys = f"k{plan.order}"
            return [
                "    try:",
                f"        {keys} = {_of_each(level, key, [])}",
                "    except Exception:",
                f"        {keys} = None",
                f"    {column} = ask({me}, {keys}, objects, run, frame)",
            ]
        return [
            "    try:",
            f"        {column} = {_of_each(level, self._access(plan), [])}",
            "    except Exception:",
            f"        {column} = read({me}, objects)",
        ]

    def _begun_column(self, level: LevelPlan, plan: FieldPlan) -> list[str]:
        """Write the completion of a column: a list at once, or a `Rest`."""
        me, raw, column = self._const(plan, "field"), f"r{plan.order}", f"c{plan.order}"
        if plan.kind == BATCH:
            # Of a batch that was completed where it was asked there are rows by key.
            spread = f"[*map({raw}.__getitem__, k{plan.order})]"
            later = f"complete_batch({me}, {raw}, run, frame)"
            return [f"    {column} = {spread} if {raw}.__class__ is dict else {later}"]
        return [f"    {column} = complete_{level.number}_{plan.order}({raw}, run, [frame, {me}, None, None])"]

    def _awaited_columns(self, columns: list[FieldPlan]) -> list[str]:
        names = [f"c{plan.order}" for plan in columns]
        in_turn = [f"if {name}.__class__ is not list: {name} = await {name}" for name in names]
        if len(columns) == 1:
            return [f"    {in_turn[0]}"]
        work = ", ".join(f"awaited({name})" for name in names)
        at_once = f"{', '.join(names)} = await together({work})"
        known = sum(plan.suspends for plan in columns)
        unsure = [
            f"(c{plan.order}.__class__ is not list and pending(r{plan.order}))"
            for plan in columns
            if _is_unsure(plan)
        ]
        if known >= 2:
            return [f"    {at_once}"]
        if known + len(unsure) < 2:
            return [f"    {line}" for line in in_turn]
        count = " + ".join([*([str(known)] if known else []), *unsure])
        return [
            f"    if {count} > 1:",
            f"        {at_once}",
            "    else:",
            *(f"        {line}" for line in in_turn),
        ]

    def _row(
        self, level: LevelPlan, known: Known = _NOTHING_KNOWN, values: Mapping[int, str] = _NO_VALUES
    ) -> str:
        """Write the expression of a row; `values` are those of columns that are not called by their names."""
        written = []
        for plan in level.fields:
            if plan.kind == TYPENAME:
                written.append(repr(level.type.name))
            elif is_simple(plan):
                classes = known.get(plan.attribute or "", frozenset())
                written.append(self._leaves.known(plan.output, self._access(plan), classes))
            else:
                written.append(values.get(plan.order, _value_of(level, plan)))
        return f"{self._const(row_class(tuple(level.by_key)), 'Row')}({', '.join(written)})"

    def _rows(self, level: LevelPlan, columns: list[FieldPlan]) -> str:
        return _of_each(level, self._row(level), columns, with_objects=not columns or _has_leaves(level))

    def _access(self, plan: FieldPlan) -> str:
        if plan.attribute is not None:
            return f"o.{plan.attribute}"
        return f"{self._const(plan.get, 'get')}(o)"

    # -- columns ---------------------------------------------------------------------------------------------

    def _write_completion(self, level: LevelPlan, plan: FieldPlan) -> None:
        name = f"complete_{level.number}_{plan.order}"
        if not is_leaf_type(plan.named):
            plan.complete = self.namespace[name] = completion_of(plan)
            return
        lines = [
            f"def {name}(column, run, frame):",
            "    try:",
            f"        return [{self._leaves.checked(plan.output, 'q')} for q in column]",
            "    except Exception:",
            f"        return Rest(complete_column, {self._const(plan, 'field')}, column, run, frame)",
        ]
        self._parts.append("\n".join(lines))


def is_simple(plan: FieldPlan) -> bool:
    """Tell whether a field is written into the row expression itself."""
    return plan.kind == TYPENAME or (plan.kind == PLAIN and is_leaf_type(plan.named))


def _has_leaves(level: LevelPlan) -> bool:
    return any(is_simple(plan) and plan.kind != TYPENAME for plan in level.fields)


def _of_each(
    level: LevelPlan, expression: str, columns: list[FieldPlan], *, with_objects: bool = True
) -> str:
    """Write the list of an expression of each object `o` of a level and of the values of its columns."""
    if level.is_single:
        return f"[{expression}]"
    values = [*(["o"] if with_objects else []), *(_value_of(level, plan) for plan in columns)]
    lists = [*(["objects"] if with_objects else []), *(f"c{plan.order}" for plan in columns)]
    given = ", ".join(lists)
    return f"[{expression} for {', '.join(values)} in {given if len(lists) == 1 else f'zip({given})'}]"


def _value_of(level: LevelPlan, plan: FieldPlan) -> str:
    """Write the value of a column for an object."""
    return f"c{plan.order}[0]" if level.is_single else f"v{plan.order}"


def _bound(level: LevelPlan) -> list[str]:
    """Name the object of a level that has but one."""
    return ["    (o,) = objects"] if level.is_single else []


def _is_keyed(plan: FieldPlan, known: Known) -> bool:
    """Tell whether reading and hashing the keys of a relation cannot fail."""
    return plan.kind == BATCH and plan.attribute in known


def _later(slow: str) -> str:
    """Write a call as one that is done when it is awaited."""
    return slow and f"Rest({slow.replace('(', ', ', 1)}"


def _is_unsure(plan: FieldPlan) -> bool:
    """Tell whether a column may hold something to wait for though nothing says so."""
    return not plan.suspends and plan.kind in (RESOLVER, BATCH)


def _typed_class(level: LevelPlan) -> type[Typed] | None:
    """Return the one class of a level's usual objects, where its values are looked at when they are made."""
    classes = declared_classes(level.type)
    if len(classes) != 1 or not issubclass(classes[0], Typed) or not is_steady(classes[0], declared=True):
        return None
    return classes[0]
