"""Python source for the levels of an operation.

One function per level. Plain fields become attribute access with the type test of their scalar in place; only
a value that fails the test costs a call. Every other field becomes a column, completed level by level.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime
from time import perf_counter
from types import NoneType
from typing import Any

from graphql import (
    GraphQLEnumType,
    GraphQLFloat,
    GraphQLInt,
    GraphQLList,
    GraphQLNonNull,
    GraphQLScalarType,
    is_leaf_type,
)
from graphql.type.scalars import is_specified_scalar_type
from strawberry.schema.types import base_scalars

from engine import batches, runtime
from engine.completions import completion_of
from engine.markers import Rest
from engine.plan import BATCH, PLAIN, RESOLVER, TYPENAME, FieldPlan, LevelPlan
from engine.rows import Instants, row_class
from engine.typed import Typed, field_classes
from engine.vetting import LISTS, declared_classes

_STRING_LIKE = frozenset({"String", "ID"})
_BUILTIN: dict[str, type] = {"String": str, "ID": str, "Int": int, "Float": float, "Boolean": bool}
# Of GraphQL's 32 bits those that CPython compares quickly; the others take the call.
_INT_RANGE = (-1_073_741_823, 1_073_741_823)
_INSTANTS = Instants()


class SourceWriter:
    """Write and load the functions of an operation's levels."""

    def __init__(self, *, timed: bool) -> None:
        self._timed = timed
        self._parts: list[str] = []
        self._names: dict[int, str] = {}
        self.namespace: dict[str, Any] = {
            "LISTS": LISTS,
            "Rest": Rest,
            "STRINGS": frozenset({str}),
            "UTC": UTC,
            "ask": batches.ask,
            "awaited": runtime.awaited,
            "call": runtime.call,
            "clock": perf_counter,
            "complete_batch": batches.complete_batch,
            "complete_column": runtime.complete_column,
            "datetime": datetime,
            "instants": _INSTANTS,
            "leaf": runtime.leaf,
            "leaf_list": runtime.leaf_list,
            "nullable_leaf": runtime.nullable_leaf,
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
            level.run = level.plain_run = self.namespace[f"level_{level.number}"]
            level.keyed = self.namespace.get(f"keyed_{level.number}")
            wrap(level)
            for plan in level.fields:
                if plan.complete is None:
                    plan.complete = self.namespace.get(f"complete_{level.number}_{plan.order}")
        return source

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
        for plan in columns:
            self._write_completion(level, plan)
        if columns:
            self._write_level_of_columns(level, columns)
            return
        lines = [f"def level_{level.number}(objects, run, frame):", f'    """{level.type.name}"""']
        if self._timed:
            lines.append("    started = clock()")
        lines.append(f"    rows = {self._rows(level, columns)}")
        self._parts.append("\n".join([*lines, *self._note(level, "    "), "    return rows"]))
        if level.is_keyed and not self._timed:
            row = f"{{key: {self._row(level)} for key, o in zip(keys, objects)}}"
            self._parts.append(f"def keyed_{level.number}(keys, objects):\n    return {row}")

    def _write_level_of_columns(self, level: LevelPlan, columns: list[FieldPlan]) -> None:
        """Write a level that is done at once where nothing in it waits or is odd, and what it leaves else."""
        n, names = level.number, [f"c{plan.order}" for plan in columns]
        unsure = [f"r{plan.order}" for plan in columns if _is_unsure(plan)]
        given = ", ".join(["objects", *names])
        started = ["started"] if self._timed else []
        state = ", ".join(["objects", "run", "frame", *names, *unsure, *started])
        if _has_leaves(level):
            columns_by_key = ", ".join(
                f"{plan.key!r}: {name}" for plan, name in zip(columns, names, strict=True)
            )
            slow = f"slow_level({self._const(level, 'plan')}, objects, {{{columns_by_key}}}, run, frame)"
        else:
            slow = ""
        self._parts.append(f"def rows_{n}({given}):\n    return {self._rows(level, columns)}")
        lines = [f"def level_{n}(objects, run, frame):", f'    """{level.type.name}"""']
        lines += ["    started = clock()"] if self._timed else []
        for plan in columns:
            lines += self._raw_column(plan)
        for plan in columns:
            lines += self._begun_column(level, plan)
        complete = " is ".join([*(f"{name}.__class__" for name in names), "list"])
        later = slow and f"Rest({slow.replace('(', ', ', 1)}"
        lines += [f"    if {complete}:", *self._rows_of(level, given, "        ", later)]
        lines.append(f"    return Rest(rest_{n}, {state})")
        rest = [f"async def rest_{n}({state}):", *self._awaited_columns(columns)]
        rest += self._rows_of(level, given, "    ", slow and f"await {slow}")
        self._parts += ["\n".join(lines), "\n".join(rest)]

    def _rows_of(self, level: LevelPlan, given: str, indent: str, slow: str) -> list[str]:
        """Write the return of a level's rows; with `slow` a leaf of it may be odd."""
        note = self._note(level, indent)
        work = f"rows_{level.number}({given})"
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

    def _raw_column(self, plan: FieldPlan) -> list[str]:
        me, column = self._const(plan, "field"), f"r{plan.order}"
        if plan.kind == RESOLVER:
            return [f"    {column} = call({me}, objects, run, frame)"]
        if plan.kind == BATCH:
            if plan.attribute is None:
                return [f"    {column} = ask({me}, None, objects, run, frame)"]
            return [
                "    try:",
                f"        keys = [o.{plan.attribute} for o in objects]",
                "    except Exception:",
                "        keys = None",
                f"    {column} = ask({me}, keys, objects, run, frame)",
            ]
        return [
            "    try:",
            f"        {column} = [{self._access(plan)} for o in objects]",
            "    except Exception:",
            f"        {column} = read({me}, objects)",
        ]

    def _begun_column(self, level: LevelPlan, plan: FieldPlan) -> list[str]:
        """Write the completion of a column: a list at once, or a `Rest`."""
        me, raw, column = self._const(plan, "field"), f"r{plan.order}", f"c{plan.order}"
        if plan.kind == BATCH:
            # A batch that was completed where it was asked comes as a list.
            begun = f"{raw} if {raw}.__class__ is list else complete_batch({me}, {raw}, run, frame)"
            return [f"    {column} = {begun}"]
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

    def _row(self, level: LevelPlan) -> str:
        """Write the expression of a row, a quicker one for objects whose values were looked at before."""
        cls = _typed_class(level)
        checked = self._row_of(level, {})
        quick = self._row_of(level, field_classes(cls)) if cls is not None else checked
        if quick == checked:
            return checked
        given = ", ".join(["o", *(f"v{plan.order}" for plan in level.fields if not is_simple(plan))])
        self._parts.append(f"def row_{level.number}({given}):\n    return {checked}")
        return f"{quick} if type(o) is {self._const(cls, 'class')} else row_{level.number}({given})"

    def _row_of(self, level: LevelPlan, known: Mapping[str, frozenset[type]]) -> str:
        values = []
        for plan in level.fields:
            if plan.kind == TYPENAME:
                values.append(repr(level.type.name))
            elif is_simple(plan):
                classes = known.get(plan.attribute or "", frozenset())
                values.append(self._known_value(plan.output, self._access(plan), classes))
            else:
                values.append(f"v{plan.order}")
        return f"{self._const(row_class(tuple(level.by_key)), 'Row')}({', '.join(values)})"

    def _rows(self, level: LevelPlan, columns: list[FieldPlan]) -> str:
        names = [f"c{plan.order}" for plan in columns]
        values = [f"v{plan.order}" for plan in columns]
        if not columns:
            loop = "for o in objects"
        elif not _has_leaves(level):
            given = f"zip({', '.join(names)})" if len(columns) > 1 else names[0]
            loop = f"for {', '.join(values)} in {given}"
        else:
            loop = f"for o, {', '.join(values)} in zip(objects, {', '.join(names)})"
        return f"[{self._row(level)} {loop}]"

    # -- columns ---------------------------------------------------------------------------------------------

    def _write_completion(self, level: LevelPlan, plan: FieldPlan) -> None:
        name = f"complete_{level.number}_{plan.order}"
        if not is_leaf_type(plan.named):
            plan.complete = self.namespace[name] = completion_of(plan)
            return
        lines = [
            f"def {name}(column, run, frame):",
            "    try:",
            f"        return [{self._value(plan.output, 'q')} for q in column]",
            "    except Exception:",
            f"        return Rest(complete_column, {self._const(plan, 'field')}, column, run, frame)",
        ]
        self._parts.append("\n".join(lines))

    # -- values ----------------------------------------------------------------------------------------------

    def _access(self, plan: FieldPlan) -> str:
        if plan.attribute is not None:
            return f"o.{plan.attribute}"
        return f"{self._const(plan.get, 'get')}(o)"

    def _value(self, type_: Any, expression: str) -> str:
        """Return an expression for the serialised value; it raises for anything but the usual."""
        non_null = isinstance(type_, GraphQLNonNull)
        inner: Any = type_.of_type if non_null else type_
        if isinstance(inner, GraphQLList):
            return self._list_value(type_, inner, expression)
        kind = self._const(inner, "type")
        bound = f"(v := {expression})"
        if isinstance(inner, GraphQLScalarType) and is_specified_scalar_type(inner):
            test = _builtin_test(inner.name)
            if non_null:
                return f"(v if {test.replace('v.', f'{bound}.', 1)} else leaf(v, {kind}))"
            return f"(v if {bound} is None or {test} else leaf(v, {kind}))"
        if _is_instant(inner):
            usual = f"{bound if non_null else 'v'}.__class__ is datetime and v.tzinfo is UTC"
            checked = f"instants[v] if {usual} else leaf(v, {kind})"
            return f"({checked})" if non_null else f"(None if {bound} is None else {checked})"
        cls, expression_of = self._usual(inner)
        if expression_of is None:
            return f"{'' if non_null else 'nullable_'}leaf({expression}, {kind})"
        test = f"{bound if non_null else 'v'}.__class__ is {self._const(cls, 'class')}"
        checked = f"{expression_of} if {test} else leaf(v, {kind})"
        return f"({checked})" if non_null else f"(None if {bound} is None else {checked})"

    def _known_value(self, type_: Any, expression: str, classes: frozenset[type]) -> str:
        """Return what `_value` does for a value of one of these classes; none are all."""
        non_null = isinstance(type_, GraphQLNonNull)
        inner: Any = type_.of_type if non_null else type_
        if classes and isinstance(inner, GraphQLScalarType) and is_specified_scalar_type(inner):
            cls = _BUILTIN[inner.name]
            if cls in (str, bool) and classes <= ({cls} if non_null else {cls, NoneType}):
                return expression
        if len(classes) != 1:
            return self._value(type_, expression)
        cls, kind = next(iter(classes)), self._const(inner, "type")
        if inner is GraphQLInt and cls is int:
            return f"(v if {_INT_RANGE[0]} <= (v := {expression}) <= {_INT_RANGE[1]} else leaf(v, {kind}))"
        if inner is GraphQLFloat and cls is float:
            return f"(v if (v := {expression}) - v == 0.0 else leaf(v, {kind}))"
        if _is_instant(inner) and cls is datetime:
            return f"(instants[v] if (v := {expression}).tzinfo is UTC else leaf(v, {kind}))"
        usual, expression_of = self._usual(inner)
        if usual is cls and expression_of is not None:
            return expression_of.replace("v.", f"{expression}.", 1)
        return self._value(type_, expression)

    def _usual(self, type_: Any) -> tuple[type | None, str | None]:
        """Return the class of an enum's or a date's usual values and the expression that serialises one."""
        if isinstance(type_, GraphQLEnumType):
            found = _enum_names(type_)
            if found is not None:
                cls, names = found
                return cls, f"{self._const(names, 'names')}[v._name_]"
        definition = type_.extensions.get("strawberry-definition")
        return (date, "v.isoformat()") if definition is base_scalars.DateDefinition else (None, None)

    def _list_value(self, type_: Any, inner: GraphQLList[Any], expression: str) -> str:
        otherwise = f"leaf_list(v, {self._const(type_, 'type')})"
        item: Any = inner.of_type
        bare = item.of_type if isinstance(item, GraphQLNonNull) else item
        if isinstance(bare, GraphQLScalarType) and bare.name in _STRING_LIKE and bare is not item:
            test = f"(v := {expression}).__class__ in LISTS and {{*map(type, v)}} <= STRINGS"
            return f"([*v] if {test} else {otherwise})"
        return otherwise.replace("(v,", f"({expression},", 1)


def is_simple(plan: FieldPlan) -> bool:
    """Tell whether a field is written into the row expression itself."""
    return plan.kind == TYPENAME or (plan.kind == PLAIN and is_leaf_type(plan.named))


def _has_leaves(level: LevelPlan) -> bool:
    return any(is_simple(plan) and plan.kind != TYPENAME for plan in level.fields)


def _is_unsure(plan: FieldPlan) -> bool:
    """Tell whether a column may hold something to wait for though nothing says so."""
    return not plan.suspends and plan.kind in (RESOLVER, BATCH)


def _typed_class(level: LevelPlan) -> type[Typed] | None:
    """Return the one class of a level's usual objects, where its values are looked at when they are made."""
    classes = declared_classes(level.type)
    return classes[0] if len(classes) == 1 and issubclass(classes[0], Typed) else None


def _is_instant(type_: Any) -> bool:
    return type_.extensions.get("strawberry-definition") is base_scalars.DateTimeDefinition


def _builtin_test(name: str) -> str:
    test = f"v.__class__ is {_BUILTIN[name].__name__}"
    if name == "Int":
        return f"{test} and {_INT_RANGE[0]} <= v <= {_INT_RANGE[1]}"
    return f"{test} and v - v == 0.0" if name == "Float" else test


def _enum_names(type_: GraphQLEnumType) -> tuple[type, dict[str, str]] | None:
    """Return the enum class and the GraphQL name of each member, None where members do not say it."""
    cls = getattr(type_, "wrapped_cls", None)
    if cls is None:
        return None
    names: dict[str, str] = {}
    for member in cls:
        # A member that is not in the schema is reported when it turns up.
        with suppress(Exception):
            names[member.name] = type_.coerce_output_value(member)
    return cls, names
