"""Bounds on what one request may ask for, each checked before any resolver runs.

Nothing here expands a fragment: depth, aliases, fields and cost of a fragment are computed once and reused,
so a document that would expand to 2^100 fields is refused as fast as a small one. Nothing recurses deeper
than `MAX_NESTING`, whatever the client sends.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    ListValueNode,
    ObjectValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    ValueNode,
    VariableNode,
    get_named_type,
    get_nullable_type,
    is_list_type,
)
from msgspec import Struct

from api.errors import RequestError

MAX_NESTING: Final = 100  # selection sets inside each other, fragments included: bounds recursion
MAX_REPEATS: Final = 2_000  # pairs of fields that validation must compare because they share a response name
CHARS_PER_TOKEN: Final = 20
MAX_PAGE: Final = 100  # the house's cap on `first` and `last`
DEFAULT_LIST_SIZE: Final = 10  # of a list that neither an argument nor its field's metadata sizes
PAGE_ARGUMENTS: Final = ("first", "last")
LIST_ARGUMENTS: Final = ("ids",)
_INTROSPECTION_COST: Final = {"__schema": 1_000, "__type": 50}


class Limits(Struct, frozen=True):
    """The bounds of one installation; see `settings.Settings` for each."""

    max_tokens: int
    max_depth: int
    max_aliases: int
    max_cost: int
    max_list: int
    max_variable_depth: int

    @property
    def max_chars(self) -> int:
        """Longest document in characters: a token is rarely longer than `CHARS_PER_TOKEN`."""
        return self.max_tokens * CHARS_PER_TOKEN


# --- the shape of a document, before validation ------------------------------------------------------------


class Shape(Struct, frozen=True):
    """What a selection set amounts to with all fragments expanded."""

    depth: int
    aliases: int
    fields: int


class _ShapeReader:
    """Measure definitions of one document; fragments once each."""

    def __init__(self, document: DocumentNode, limits: Limits) -> None:
        self._limits = limits
        self._fragments = fragments_of(document)
        self._known: dict[str, Shape] = {}
        self._open: set[str] = set()

    def read(self, selection_set: SelectionSetNode, nesting: int = 1) -> Shape:
        if nesting > MAX_NESTING:
            raise RequestError("QUERY_TOO_DEEP", limit=self._limits.max_depth)
        depth = aliases = fields = 0
        for selection in selection_set.selections:
            if isinstance(selection, FragmentSpreadNode):
                shape = self.fragment(selection.name.value, nesting + 1)
            elif isinstance(selection, InlineFragmentNode):
                shape = self.read(selection.selection_set, nesting + 1)
            else:
                shape = self._field(cast("FieldNode", selection), nesting)
            depth = max(depth, shape.depth)
            aliases += shape.aliases
            fields += shape.fields
        return Shape(depth, aliases, fields)

    def _field(self, node: FieldNode, nesting: int) -> Shape:
        for argument in node.arguments or ():
            check_literal(argument.value, argument.name.value, self._limits)
        aliases = 1 if node.alias else 0
        if node.selection_set is None:
            return Shape(1, aliases, 1)
        below = self.read(node.selection_set, nesting + 1)
        # Tools need deep introspection; its nesting has a rule of its own in graphql-core.
        depth = 1 if node.name.value in _INTROSPECTION_COST else below.depth + 1
        return Shape(depth, aliases + below.aliases, 1 + below.fields)

    def fragment(self, name: str, nesting: int = 1) -> Shape:
        if name in self._known:
            return self._known[name]
        definition = self._fragments.get(name)
        if definition is None:
            return Shape(0, 0, 0)  # validation names the unknown fragment
        if name in self._open:
            raise RequestError("FRAGMENT_CYCLE", name=name[:80])
        self._open.add(name)
        shape = self._known[name] = self.read(definition.selection_set, nesting)
        self._open.discard(name)
        return shape


def fragments_of(document: DocumentNode) -> dict[str, FragmentDefinitionNode]:
    """Give the fragments of a document by name."""
    return {
        node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)
    }


def check_shape(document: DocumentNode, limits: Limits) -> None:
    """Refuse a parsed document that is too deep, too wide or too repetitive to validate and run.

    Raises: RequestError.
    """
    reader = _ShapeReader(document, limits)
    roots: list[SelectionSetNode] = []
    for definition in document.definitions:
        if isinstance(definition, OperationDefinitionNode):
            shape = reader.read(definition.selection_set)
        elif isinstance(definition, FragmentDefinitionNode):
            shape = reader.fragment(definition.name.value)
        else:
            continue  # validation says that only operations and fragments are executable
        roots.append(definition.selection_set)
        if shape.depth > limits.max_depth:
            raise RequestError("QUERY_TOO_DEEP", limit=limits.max_depth)
        if shape.aliases > limits.max_aliases:
            raise RequestError("TOO_MANY_ALIASES", limit=limits.max_aliases)
        if shape.fields > limits.max_cost:
            raise RequestError("QUERY_TOO_COSTLY", cost=_shown(shape.fields), limit=limits.max_cost)
    _check_repeats(roots, fragments_of(document), 2 * limits.max_cost)


def _check_repeats(
    roots: Iterable[SelectionSetNode], fragments: Mapping[str, FragmentDefinitionNode], max_visits: int
) -> None:
    """Bound the work of the rule that fields of one response name must be mergeable, which is quadratic."""
    pairs = visits = 0
    stack: list[list[SelectionSetNode]] = [[root] for root in roots]
    while stack:
        groups: dict[str, list[FieldNode]] = {}
        seen: set[str] = set()
        pending = stack.pop()
        while pending:
            for selection in pending.pop().selections:
                visits += 1
                if isinstance(selection, FieldNode):
                    groups.setdefault((selection.alias or selection.name).value, []).append(selection)
                elif isinstance(selection, InlineFragmentNode):
                    pending.append(selection.selection_set)
                elif isinstance(selection, FragmentSpreadNode):
                    name = selection.name.value
                    if name not in seen and name in fragments:
                        seen.add(name)
                        pending.append(fragments[name].selection_set)
        for nodes in groups.values():
            pairs += len(nodes) * (len(nodes) - 1) // 2
            below = [node.selection_set for node in nodes if node.selection_set]
            if below:
                stack.append(below)
        if pairs > MAX_REPEATS or visits > max_visits:
            raise RequestError("TOO_MANY_REPEATED_FIELDS")


def check_literal(value: ValueNode, name: str, limits: Limits) -> None:
    """Refuse a literal whose lists are too long or whose nesting is too deep. Raises: RequestError."""
    stack = [(value, 1)]
    while stack:
        node, depth = stack.pop()
        if isinstance(node, ListValueNode):
            if len(node.values) > limits.max_list:
                raise RequestError("LIST_TOO_LONG", name=name[:80], limit=limits.max_list)
            children: Iterable[ValueNode] = node.values
        elif isinstance(node, ObjectValueNode):
            children = (field.value for field in node.fields)
        else:
            continue
        if depth > limits.max_variable_depth:
            raise RequestError("VARIABLES_TOO_DEEP", limit=limits.max_variable_depth)
        stack.extend((child, depth + 1) for child in children)


def check_variables(variables: Mapping[str, Any], limits: Limits) -> None:
    """Refuse variables with lists too long or nesting too deep. Raises: RequestError."""
    stack: list[tuple[str, Any, int]] | None = None
    for name, value in variables.items():
        if value.__class__ is list or value.__class__ is dict:
            stack = stack or []
            stack.append((name, value, 1))
    while stack:
        name, value, depth = stack.pop()
        if len(value) > limits.max_list:
            raise RequestError("LIST_TOO_LONG", name=name[:80], limit=limits.max_list)
        if depth > limits.max_variable_depth:
            raise RequestError("VARIABLES_TOO_DEEP", limit=limits.max_variable_depth)
        children = value.values() if value.__class__ is dict else value
        stack.extend(
            (name, child, depth + 1)
            for child in children
            if child.__class__ is list or child.__class__ is dict
        )


# --- the cost of an operation, after validation ----------------------------------------------------------


class _Size(Struct, frozen=True, eq=False):
    """How long a list gets when a variable says so: `first` counts as itself, a list as its length."""

    variable: str
    default: int
    cap: int

    def of(self, variables: Mapping[str, Any]) -> int:
        value = variables.get(self.variable, self.default)
        if isinstance(value, list):
            return len(value)
        return value if isinstance(value, int) and value > 0 else self.default


class Cost:
    """A cost that may depend on variables: `base` plus each size times the cost of what it multiplies.

    `highest` is the cost with every variable at its cap, `lowest` that with every list by variable empty.
    """

    __slots__ = ("base", "highest", "lowest", "parts")
    highest: int
    lowest: int

    def __init__(self, base: int, parts: tuple[tuple[int | _Size, Cost], ...]) -> None:
        self.base = base
        self.parts = parts
        self.highest = base + sum(
            (size if isinstance(size, int) else size.cap) * cost.highest for size, cost in parts
        )
        self.lowest = base + sum(size * cost.lowest for size, cost in parts if isinstance(size, int))

    def of(self, variables: Mapping[str, Any], known: dict[int, int] | None = None) -> int:
        """Compute the cost for these variables; shared parts once."""
        known = {} if known is None else known
        total = known.get(id(self))
        if total is None:
            total = self.base
            for size, cost in self.parts:
                total += (size if isinstance(size, int) else size.of(variables)) * cost.of(variables, known)
            known[id(self)] = total
        return total


class OperationCost(Struct, frozen=True, eq=False):
    """The compiled limits of one operation; `check` is cheap when nothing depends on variables."""

    cost: Cost
    pages: tuple[_Size, ...]
    limits: Limits

    def check_fixed(self) -> None:
        """Refuse an operation that is too costly whatever its variables say. Raises: RequestError."""
        if self.cost.lowest > self.limits.max_cost:
            raise RequestError("QUERY_TOO_COSTLY", cost=_shown(self.cost.lowest), limit=self.limits.max_cost)

    def check(self, variables: Mapping[str, Any]) -> None:
        """Refuse pages that are too large and variables that make the operation too costly.

        Raises: RequestError.
        """
        for page in self.pages:
            value = variables.get(page.variable)
            if value.__class__ is int and value > page.cap:
                raise RequestError("LIST_TOO_LONG", name=page.variable, limit=page.cap)
        if self.cost.highest > self.limits.max_cost:
            cost = self.cost.of(variables)
            if cost > self.limits.max_cost:
                raise RequestError("QUERY_TOO_COSTLY", cost=_shown(cost), limit=self.limits.max_cost)


class CostReader:
    """Compute costs of validated operations.

    A field costs 1, or `cost` of its metadata. Below a list it counts once for each element: as many as
    `first`, `last` or `ids` say, else `list_size` of the field's metadata, else `DEFAULT_LIST_SIZE`. A
    size given to an object, as to a connection, is that of the lists right in it.
    """

    def __init__(self, schema: GraphQLSchema, document: DocumentNode, limits: Limits) -> None:
        self._schema = schema
        self._limits = limits
        self._fragments = fragments_of(document)
        self._known: dict[str, Cost] = {}
        self._defaults: dict[str, Any] = {}
        self._pages: list[_Size] = []

    def read(self, operation: OperationDefinitionNode) -> OperationCost:
        """Compile the limits of one operation. Raises: RequestError for literal sizes beyond their cap."""
        self._known.clear()
        self._pages = []
        self._defaults = {
            definition.variable.name.value: _literal_size(definition.default_value)
            for definition in operation.variable_definitions or ()
            if definition.default_value is not None
        }
        root = cast("GraphQLObjectType", self._schema.get_root_type(operation.operation))  # validated
        cost = self._selection(operation.selection_set, root, None)
        return OperationCost(cost, tuple(self._pages), self._limits)

    def _selection(
        self, selection_set: SelectionSetNode, parent: GraphQLNamedType, page: int | _Size | None
    ) -> Cost:
        base = 0
        parts: list[tuple[int | _Size, Cost]] = []
        for selection in selection_set.selections:
            if isinstance(selection, FieldNode):
                weight, part = self._field(selection, parent, page)
                base += weight
                if part is not None:
                    parts.append(part)
            elif isinstance(selection, InlineFragmentNode):
                condition = selection.type_condition
                inner = self._schema.type_map[condition.name.value] if condition else parent
                parts.append((1, self._selection(selection.selection_set, inner, page)))
            elif isinstance(selection, FragmentSpreadNode):
                parts.append((1, self._fragment(selection.name.value, page)))
        constant = [(size, cost) for size, cost in parts if isinstance(size, int) and not cost.parts]
        base += sum(size * cost.base for size, cost in constant)
        rest = tuple(part for part in parts if not (isinstance(part[0], int) and not part[1].parts))
        return Cost(base, rest)

    def _fragment(self, name: str, page: int | _Size | None) -> Cost:
        # Where a page is asked for, the same fragment costs as much as the page is large.
        key = f"{name}\0{page if isinstance(page, int) or page is None else page.variable}"
        if key not in self._known:
            definition = self._fragments[name]
            parent = self._schema.type_map[definition.type_condition.name.value]
            self._known[key] = self._selection(definition.selection_set, parent, page)
        return self._known[key]

    def _field(
        self, node: FieldNode, parent: GraphQLNamedType, page: int | _Size | None
    ) -> tuple[int, tuple[int | _Size, Cost] | None]:
        name = node.name.value
        if name in _INTROSPECTION_COST:
            return _INTROSPECTION_COST[name], None
        if not isinstance(parent, GraphQLObjectType | GraphQLInterfaceType) or name not in parent.fields:
            return 1, None  # __typename
        field = parent.fields[name]
        metadata = _metadata(field)
        weight = int(metadata.get("cost", 1))
        if node.selection_set is None:
            return weight, None
        named = get_named_type(field.type)
        is_list = is_list_type(get_nullable_type(field.type))
        size = self._size(node, field, metadata)
        if not is_list:
            return weight, (1, self._selection(node.selection_set, named, size))
        if size is None:
            size = DEFAULT_LIST_SIZE if page is None else page
        return weight, (size, self._selection(node.selection_set, named, None))

    def _size(self, node: FieldNode, field: GraphQLField, metadata: Mapping[str, Any]) -> int | _Size | None:
        given = {argument.name.value: argument.value for argument in node.arguments or ()}
        sizes = [
            self._argument_size(argument, given[argument], field, cap)
            for names, cap in ((PAGE_ARGUMENTS, MAX_PAGE), (LIST_ARGUMENTS, self._limits.max_list))
            for argument in names
            if argument in given and argument in field.args
        ]
        for size in sizes:
            if size is not None:
                return size
        for argument in PAGE_ARGUMENTS:
            if argument in field.args and isinstance(default := field.args[argument].default_value, int):
                return default
        size = metadata.get("list_size")
        return int(size) if size is not None else None

    def _argument_size(
        self, name: str, value: ValueNode, field: GraphQLField, cap: int
    ) -> int | _Size | None:
        if isinstance(value, VariableNode):
            variable = value.name.value
            default = self._defaults.get(variable)
            if default is None:
                declared = field.args[name].default_value
                default = declared if isinstance(declared, int) else min(cap, DEFAULT_LIST_SIZE)
            size = _Size(variable, default, cap)
            self._pages.append(size)
            return size
        literal = _literal_size(value)
        if literal is not None and literal > cap:
            raise RequestError("LIST_TOO_LONG", name=name, limit=cap)
        return literal if literal is not None and literal >= 0 else None


def _literal_size(value: ValueNode | None) -> int | None:
    if isinstance(value, IntValueNode):
        # A number of more digits than any page is too large, and Python refuses to read very long ones.
        return int(value.value) if len(value.value) <= 9 else 10**9
    if isinstance(value, ListValueNode):
        return len(value.values)
    return None


def _metadata(field: GraphQLField) -> Mapping[str, Any]:
    definition = (field.extensions or {}).get("strawberry-definition")
    return getattr(definition, "metadata", None) or {}


def _shown(cost: int) -> int:
    """Keep a cost readable: JSON clients lose integers beyond 2^53."""
    return min(cost, 10**12)


def has_introspection(document: DocumentNode) -> bool:
    """Tell whether any selection reads the schema; `__typename` is no introspection."""
    stack = [
        definition.selection_set
        for definition in document.definitions
        if isinstance(definition, OperationDefinitionNode | FragmentDefinitionNode)
    ]
    while stack:
        for selection in stack.pop().selections:
            if isinstance(selection, FieldNode) and selection.name.value in _INTROSPECTION_COST:
                return True
            if isinstance(selection, FieldNode | InlineFragmentNode) and selection.selection_set:
                stack.append(selection.selection_set)
    return False
