"""Compile an operation of a validated document into functions that work level by level.

The selection sets are merged by graphql-core's own `collect_fields`, once per combination of the values of
the `@skip` and `@include` variables, so that a compiled plan has no conditions left in it.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from operator import attrgetter
from typing import Any

import strawberry
from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    GraphQLField,
    GraphQLIncludeDirective,
    GraphQLObjectType,
    GraphQLSkipDirective,
    OperationDefinitionNode,
    OperationType,
    VariableNode,
    get_named_type,
    is_abstract_type,
    is_leaf_type,
    print_ast,
)
from graphql.execution.collect_fields import (
    FieldDetails,
    FragmentDetails,
    collect_fields,
    collect_subfields,
)
from graphql.execution.execute import default_field_resolver
from graphql.execution.values import VariableValues
from graphql.language import DirectiveNode, Node
from strawberry.schema.schema import (
    StrawberryGraphQLCoreExecutionContext,
    _OperationContextAwareGraphQLResolveInfo,
)
from strawberry.types.arguments import convert_arguments
from strawberry.types.field import StrawberryField

from engine.codegen import SourceWriter
from engine.direct import direct_call, wants_info
from engine.plan import (
    BATCH,
    PLAIN,
    RESOLVER,
    TYPENAME,
    FieldPlan,
    FragmentKey,
    LevelPlan,
    OperationPlan,
    UnsupportedError,
    attribute_getter,
    list_depth,
)
from engine.policy import PRIVATE, declared, level_policy, policy_of
from engine.relation import relation_of
from engine.runtime import Run
from engine.values import argument_reader

MAX_LEVELS = 512
MAX_CONDITIONS = 8


def walk(node: Node) -> Iterator[Node]:
    """Yield a node and all nodes below it."""
    stack: list[Node] = [node]
    while stack:
        node = stack.pop()
        yield node
        for key in node.keys:
            if key == "loc":
                continue
            child = getattr(node, key, None)
            if isinstance(child, Node):
                stack.append(child)
            elif isinstance(child, list | tuple):
                stack.extend(each for each in child if isinstance(each, Node))


def conditions(document: DocumentNode, operation: OperationDefinitionNode) -> tuple[str, ...]:
    """Return the variables that decide which fields an operation has.

    Raises:
        UnsupportedError: for what only graphql-core executes.
    """
    names: dict[str, None] = {}
    if operation.directives:
        raise UnsupportedError(f"directive @{operation.directives[0].name.value} on the operation")
    for definition in document.definitions:
        if definition is not operation and not isinstance(definition, FragmentDefinitionNode):
            continue
        if isinstance(definition, FragmentDefinitionNode) and definition.variable_definitions:
            raise UnsupportedError("variables of a fragment")
        for node in walk(definition):
            if isinstance(node, DirectiveNode):
                if node.name.value not in (GraphQLSkipDirective.name, GraphQLIncludeDirective.name):
                    raise UnsupportedError(f"directive @{node.name.value}")
                value = next((a.value for a in node.arguments or () if a.name.value == "if"), None)
                if isinstance(value, VariableNode):
                    names[value.name.value] = None
            elif isinstance(node, FieldNode) and node.name.value in ("__schema", "__type"):
                raise UnsupportedError("introspection")
    if len(names) > MAX_CONDITIONS:
        raise UnsupportedError(f"more than {MAX_CONDITIONS} variables in @skip and @include")
    return tuple(names)


def check_schema(schema: strawberry.Schema) -> None:
    """Check that the schema asks nothing of the executor that compiled code would leave out.

    Raises:
        UnsupportedError: with the reason.
    """
    if schema.extensions:
        first = schema.extensions[0]
        raise UnsupportedError(f"schema extension {getattr(first, '__name__', type(first).__name__)}")
    if schema.execution_context_class is not StrawberryGraphQLCoreExecutionContext:
        raise UnsupportedError("an execution context class of its own")
    if schema.config.enable_experimental_incremental_execution:
        raise UnsupportedError("incremental delivery")


class Compiler:
    """Compile one operation for given values of its conditions."""

    def __init__(
        self,
        schema: strawberry.Schema,
        document: DocumentNode,
        operation: OperationDefinitionNode,
        condition_values: Mapping[str, bool],
        *,
        timed: bool = False,
        fragments: bool = False,
    ) -> None:
        self._mark = fragments
        self._strawberry = schema
        self._schema = schema._schema
        self._operation = operation
        self._fragments = {
            d.name.value: d for d in document.definitions if isinstance(d, FragmentDefinitionNode)
        }
        self._details = {name: FragmentDetails(node, None) for name, node in self._fragments.items()}
        self._values = VariableValues({}, dict(condition_values))
        self._levels: list[LevelPlan] = []
        self._timed = timed

    def compile(self, wrap: Callable[[LevelPlan], None] = lambda _: None) -> OperationPlan:
        """Return the plan of the operation; `wrap` may put a cache in front of a level.

        Raises:
            UnsupportedError: when the operation has to run on graphql-core.
        """
        check_schema(self._strawberry)
        # Nothing here makes cycles that must be freed now; a full collection would double the time.
        collecting = gc.isenabled()
        gc.disable()
        try:
            return self._compile(wrap)
        finally:
            if collecting:
                gc.enable()

    def _compile(self, wrap: Callable[[LevelPlan], None]) -> OperationPlan:
        root_type = self._schema.get_root_type(self._operation.operation)
        if root_type is None or self._operation.operation is OperationType.SUBSCRIPTION:
            raise UnsupportedError(self._operation.operation.value)
        grouped = collect_fields(
            self._schema, self._details, self._values, root_type, self._operation
        ).grouped_field_set
        serial = self._operation.operation is OperationType.MUTATION
        parts = [{key: details} for key, details in grouped.items()] if serial else [dict(grouped)]
        steps = [self._level(root_type, part, is_single=True) for part in parts]
        root = self._merged(root_type, steps) if len(steps) != 1 else steps[0]
        if self._mark:
            for level in self._levels:
                _mark_fragment(level)
        source = SourceWriter(timed=self._timed).load(self._levels, wrap)
        return OperationPlan(
            schema=self._schema,
            operation=self._operation,
            fragments=self._fragments,
            fragment_details=self._details,
            root=root,
            steps=steps,
            levels=self._levels,
            source=source,
            info_class=_OperationContextAwareGraphQLResolveInfo,
            executor_class=self._strawberry.execution_context_class,
            policy=PRIVATE if serial else level_policy(root, PRIVATE),
            waits=any(_may_wait(plan) for level in self._levels for plan in level.fields),
        )

    def _merged(self, root_type: GraphQLObjectType, steps: list[LevelPlan]) -> LevelPlan:
        """Return one level that describes all root fields of a mutation; it is not run."""
        root = LevelPlan(-1, root_type)
        for order, step in enumerate(steps):
            plan = step.fields[0]
            plan.order = order
            root.fields.append(plan)
            root.by_key[plan.key] = plan
        return root

    def _level(
        self, type_: GraphQLObjectType, grouped: Mapping[str, list[FieldDetails]], *, is_single: bool
    ) -> LevelPlan:
        if len(self._levels) >= MAX_LEVELS:
            raise UnsupportedError(f"more than {MAX_LEVELS} levels")
        level = LevelPlan(len(self._levels), type_, is_single=is_single)
        self._levels.append(level)
        for key, details in grouped.items():
            name = details[0].node.name.value
            definition = self._schema.get_field(type_, name)
            if definition is None:
                raise UnsupportedError(f"unknown field {type_.name}.{name}")
            plan = self._field(key, level, definition, details)
            level.fields.append(plan)
            level.by_key[key] = plan
        level.is_flat = all(_is_leaf_read(plan) for plan in level.fields)
        level.suspends = any(plan.suspends for plan in level.fields)
        level.pure = all(
            plan.kind != RESOLVER and all(below.pure for below in plan.levels.values())
            for plan in level.fields
        )
        return level

    def _field(
        self,
        key: str,
        level: LevelPlan,
        definition: GraphQLField,
        details: list[FieldDetails],
    ) -> FieldPlan:
        node, parent = details[0].node, level.type
        name = node.name.value
        own: Any = definition.extensions.get("strawberry-definition")
        kind, attribute, get = self._reading(name, definition, own)
        reader, shares = argument_reader(definition, node)
        if kind == BATCH and reader is not None:
            reader = self._converted(own, reader)
        nodes = [each.node for each in details]
        relation = relation_of(own) if kind == BATCH else None
        if kind == RESOLVER and definition.resolve is None:
            definition = _with_default_resolver(definition)
        plan = FieldPlan(
            key=key,
            order=len(level.fields),
            kind=kind,
            parent=parent,
            definition=definition,
            details=details,
            nodes=nodes,
            output=definition.type,
            named=get_named_type(definition.type),
            list_depth=list_depth(definition.type),
            get=get,
            attribute=attribute,
            relation=relation,
            arguments=reader,
            shares_arguments=shares,
            info_head=(name, nodes, definition.type, parent),
        )
        if kind == RESOLVER:
            plan.direct = direct_call(own, definition, self._strawberry.config)
            plan.wants_info = plan.direct is None or wants_info(own)
        is_single = level.is_single and kind != BATCH and not plan.list_depth
        self._children(plan, is_single=is_single)
        plan.shared = kind == BATCH and all(level.pure for level in plan.levels.values())
        if plan.shared and plan.only_level is not None and not plan.list_depth:
            plan.only_level.is_keyed = plan.only_level.is_flat
        plan.suspends = (
            (kind == RESOLVER and getattr(own, "is_async", False))
            or (relation is not None and relation.is_async)
            or any(level.suspends for level in plan.levels.values())
        )
        return plan

    def _converted(
        self, own: StrawberryField, reader: Callable[[Run], dict[str, Any]]
    ) -> Callable[[Run], dict[str, Any]]:
        """Return a reader that gives a loader its arguments as strawberry gives them to a resolver."""
        converter = self._strawberry.schema_converter

        def read(run: Run) -> dict[str, Any]:
            return convert_arguments(
                reader(run),
                own.arguments,
                scalar_registry=converter.scalar_registry,
                config=self._strawberry.config,
            )

        return read

    def _children(self, plan: FieldPlan, *, is_single: bool) -> None:
        if is_leaf_type(plan.named):
            return
        named: Any = plan.named
        types = self._schema.get_possible_types(named) if is_abstract_type(named) else [named]
        for type_ in types:
            grouped = collect_subfields(
                self._schema, self._details, self._values, self._operation, type_, plan.details
            ).grouped_field_set
            plan.levels[type_.name] = self._level(type_, grouped, is_single=is_single)
        if isinstance(named, GraphQLObjectType):
            plan.only_level = plan.levels[named.name]

    def _reading(
        self, name: str, definition: GraphQLField, own: Any
    ) -> tuple[str, str | None, Callable[[Any], Any]]:
        """Return how a field is read: its kind, the attribute's name where that is all, and a getter."""
        if name == "__typename":
            return TYPENAME, None, attribute_getter("__class__")
        if isinstance(own, StrawberryField):
            if getattr(definition.resolve, "__name__", "") == "_get_basic_result":
                python_name = own.python_name
                resolver = self._strawberry.config.default_resolver
                if resolver is getattr and python_name.isidentifier():
                    return PLAIN, python_name, attribute_getter(python_name)
                return PLAIN, None, lambda item: resolver(item, python_name)
            relation = relation_of(own)
            if relation is not None and relation.is_batched(own):
                return BATCH, relation.key_attribute, relation.key_of
        return RESOLVER, None, attribute_getter("__class__")


def _may_wait(plan: FieldPlan) -> bool:
    own = plan.definition.extensions.get("strawberry-definition")
    return plan.suspends or (plan.kind == RESOLVER and bool(getattr(own, "extensions", ())))


def _is_leaf_read(plan: FieldPlan) -> bool:
    return plan.kind == TYPENAME or (plan.kind == PLAIN and is_leaf_type(plan.named))


def _with_default_resolver(definition: GraphQLField) -> GraphQLField:
    return GraphQLField(definition.type, definition.args, default_field_resolver)


def _mark_fragment(level: LevelPlan) -> None:
    """Say what identifies an entity's stored JSON, where all that is selected is public and versioned."""
    directive = declared(level.type.extensions.get("strawberry-definition"))
    if directive is None or directive.entity_key is None:
        return
    policy = level_policy(level, policy_of(directive))
    if not (policy.public and policy.snapshot):
        return
    names = [directive.entity_key]
    if directive.entity_version is not None:
        names.append(directive.entity_version)
    used: dict[str, None] = {}
    text = selection_text(level, used)
    level.fragment = FragmentKey(text, attrgetter(*names), tuple(used), policy.language)


def selection_text(level: LevelPlan, variables: dict[str, None]) -> str:
    """Return a canonical text of everything selected at and below a level; note the variables used."""
    parts = []
    for plan in level.fields:
        arguments = plan.nodes[0].arguments or ()
        for argument in arguments:
            for node in walk(argument):
                if isinstance(node, VariableNode):
                    variables[node.name.value] = None
        given = ", ".join(print_ast(argument) for argument in arguments)
        below = " ".join(selection_text(child, variables) for child in plan.levels.values())
        parts.append(f"{plan.key}:{plan.nodes[0].name.value}({given}){below}")
    return f"{level.type.name}{{{' '.join(parts)}}}"
