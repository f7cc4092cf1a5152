"""The engine: prepare documents once, run compiled plans, keep what may be kept, explain what was done."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from time import perf_counter
from typing import Any, cast

import strawberry
from graphql import (
    DocumentNode,
    ExecutionResult,
    GraphQLError,
    OperationDefinitionNode,
    OperationType,
    parse,
    specified_rules,
)
from graphql import (
    execute as core_execute,
)
from graphql.validation import ASTValidationRule
from strawberry.execution import optimized_is_awaitable as is_awaitable
from strawberry.schema.schema import validate_document

from engine.compiler import Compiler, check_schema, conditions
from engine.documents import DocumentCache, Prepared, PreparedOperation, condition_values, remember
from engine.explain import Explanation, explain_run
from engine.fragments import FragmentCache, RequestScope
from engine.keys import UnfreezableError, freeze
from engine.markers import Rest
from engine.plan import Column, OperationPlan, UnsupportedError
from engine.recovery import nulls_root, recover
from engine.responses import ResponseCache, ResponseKey, SharedStore, StoredResponse, shared_key
from engine.result import FormatError, Result, dump, vary_of
from engine.rows import fields_of, plain
from engine.runtime import Run, awaited, run_level
from engine.values import VariableReader, has_nested_variables


def _response_key(
    prepared: Prepared,
    operation: PreparedOperation,
    plan: OperationPlan,
    coerced: Mapping[str, Any],
    scope: RequestScope,
) -> ResponseKey:
    language = scope.language if plan.policy.language else None
    return ResponseKey(prepared.text, operation.name, freeze(coerced), language, scope.snapshot)


class Engine:
    """Execute GraphQL documents over a strawberry schema.

    `rules` are validation rules beside the specified ones; `limits` is called once per document and returns
    the errors that forbid it; `cost` is called once per operation and its answer kept on it. `versions`
    returns, for a request's context, the versions of the public data that the request reads; without it
    nothing is kept. `language` returns the request's language.
    """

    def __init__(
        self,
        schema: strawberry.Schema,
        *,
        rules: Iterable[type[ASTValidationRule]] = (),
        limits: Callable[[DocumentNode], list[GraphQLError]] | None = None,
        cost: Callable[[DocumentNode, OperationDefinitionNode], Any] | None = None,
        max_tokens: int | None = None,
        compile_after: int = 2,
        max_documents: int = 2000,
        max_document_bytes: int = 64_000_000,
        fragments: FragmentCache | None = None,
        responses: ResponseCache | None = None,
        shared: SharedStore | None = None,
        versions: Callable[[Any], Hashable] | None = None,
        language: Callable[[Any], str | None] | None = None,
        format_error: FormatError | None = None,
    ) -> None:
        self.schema = schema
        self.documents = DocumentCache(max_documents, max_document_bytes)
        self.fragments = fragments
        self.responses = responses
        self.compiled = 0
        """How many plans were compiled."""
        self._rules = (*specified_rules, *rules)
        self._limits = limits
        self._cost = cost
        self._parse_options: dict[str, Any] = {} if max_tokens is None else {"max_tokens": max_tokens}
        self._compile_after = compile_after
        self._shared = shared
        self._versions = versions
        self._language = language or (lambda _context: None)
        self._format = format_error or (lambda error: error.formatted)

    # -- documents -------------------------------------------------------------------------------------------

    def prepare(self, text: str) -> Prepared:
        """Return the parsed, validated and limited document; its `errors` say what is wrong with it."""
        found = self.documents.find(text)
        if found is None:
            found = self._prepare(text)
            self.documents.add(found)
        return found

    def persist(self, document_id: str, text: str) -> Prepared:
        """Pin a document and compile its operations.

        Raises:
            ValueError: when the document has errors.
        """
        prepared = self._prepare(text)
        if prepared.errors:
            raise ValueError(f"{document_id}: {prepared.errors[0].message}")
        self.documents.pin(document_id, prepared)
        for operation in prepared.operations.values():
            operation.sightings = self._compile_after
            self.compile(prepared, operation)
        return prepared

    def compile(self, prepared: Prepared, operation: PreparedOperation) -> None:
        """Compile an operation before its first request; one with conditions waits for their values."""
        if operation.reason is None and not operation.conditions:
            self._plan(prepared, operation, (), timed=False)

    def is_prompt(self, operation: PreparedOperation) -> bool:
        """Tell whether compiled plans run an operation and nothing in them is known to wait."""
        plan = None if operation.conditions else operation.variants.get(())
        return self._shared is None and isinstance(plan, OperationPlan) and not plan.waits

    def persisted(self, document_id: str) -> Prepared | None:
        """Return a pinned document."""
        return self.documents.find_pinned(document_id)

    def _prepare(self, text: str) -> Prepared:
        try:
            document = parse(text, **self._parse_options)
        except GraphQLError as error:
            return Prepared(text, None, [error], {})
        errors = list(self._limits(document)) if self._limits is not None else []
        errors = errors or validate_document(self.schema._schema, document, self._rules)
        if errors:
            return Prepared(text, document, errors, {})
        operations = {
            (node.name.value if node.name else None): self._operation(document, node)
            for node in document.definitions
            if isinstance(node, OperationDefinitionNode)
        }
        return Prepared(text, document, [], operations)

    def _operation(self, document: DocumentNode, node: OperationDefinitionNode) -> PreparedOperation:
        reason: str | None = None
        names: tuple[str, ...] = ()
        try:
            check_schema(self.schema)
            if node.operation is OperationType.SUBSCRIPTION:
                raise UnsupportedError("subscription")
            names = conditions(document, node)
        except UnsupportedError as error:
            reason = str(error)
        return PreparedOperation(
            name=node.name.value if node.name else None,
            kind=node.operation.value,
            node=node,
            reader=VariableReader(
                self.schema._schema, node, exact=has_nested_variables(list(document.definitions))
            ),
            conditions=names,
            reason=reason,
            cost=self._cost(document, node) if self._cost is not None else None,
        )

    def _plan(
        self, prepared: Prepared, operation: PreparedOperation, values: tuple[bool, ...], *, timed: bool
    ) -> OperationPlan | str:
        def compute() -> OperationPlan | str:
            given = dict(zip(operation.conditions, values, strict=True))
            cache = self.fragments if self._versions is not None else None
            try:
                compiler = Compiler(
                    self.schema,
                    cast("DocumentNode", prepared.document),
                    operation.node,
                    given,
                    timed=timed,
                    fragments=cache is not None,
                )
                plan = compiler.compile(cache.wrap) if cache is not None else compiler.compile()
            except UnsupportedError as error:
                return str(error)
            self.compiled += 1
            return plan

        plans = operation.timed if timed else operation.variants
        known = len(plans)
        plan = remember(plans, values, compute)
        if len(plans) != known:
            self.documents.count(prepared)
        return plan

    def source(
        self, text: str, operation_name: str | None = None, variables: dict[str, Any] | None = None
    ) -> str:
        """Return the generated source of an operation, or why there is none.

        Raises:
            ValueError: when the document or its variables have errors.
        """
        prepared = self.prepare(text)
        operation = prepared.find(operation_name) if not prepared.errors else prepared.errors[0]
        if isinstance(operation, GraphQLError):
            raise ValueError(operation.message)
        if operation.reason is not None:
            return f"# not compiled: {operation.reason}\n"
        given = variables or {}
        values = tuple(given.get(name) is not False for name in operation.conditions)
        plan = self._plan(prepared, operation, values, timed=False)
        return f"# not compiled: {plan}\n" if isinstance(plan, str) else plan.source

    # -- execution -------------------------------------------------------------------------------------------

    async def execute(
        self,
        document: str | Prepared,
        variables: Mapping[str, Any] | None = None,
        operation_name: str | None = None,
        context: Any = None,
        root: Any = None,
        *,
        extensions: dict[str, Any] | None = None,
        explain: bool = False,
    ) -> Result:
        """Return the answer to a request; only cancellation and faults of the engine itself raise."""
        prepared = self.prepare(document) if isinstance(document, str) else document
        begun = self.begin(
            prepared, variables, operation_name, context, root, extensions=extensions, explain=explain
        )
        return await begun if isinstance(begun, Rest) else begun

    def begin(
        self,
        prepared: Prepared,
        variables: Mapping[str, Any] | None = None,
        operation_name: str | None = None,
        context: Any = None,
        root: Any = None,
        *,
        extensions: dict[str, Any] | None = None,
        explain: bool = False,
    ) -> Result | Rest:
        """Return the answer to a request, or what is left to await where it cannot be given at once.

        The rest has to be awaited: others may be waiting for what was begun.
        """
        if prepared.errors:
            return self._refuse(prepared.errors)
        operation = prepared.find(operation_name)
        if isinstance(operation, GraphQLError):
            return self._refuse([operation])
        return self.run(prepared, operation, variables, context, root, extensions=extensions, explain=explain)

    def run(
        self,
        prepared: Prepared,
        operation: PreparedOperation,
        variables: Mapping[str, Any] | None = None,
        context: Any = None,
        root: Any = None,
        *,
        extensions: dict[str, Any] | None = None,
        explain: bool = False,
    ) -> Result | Rest:
        """Do what `begin` does for an operation of a document without errors."""
        reason = operation.reason
        if reason is None:
            operation.sightings += 1
            if operation.sightings < self._compile_after and not explain:
                reason = "not seen often enough"
        if reason is not None:
            core = (prepared, operation, variables, context, root, extensions, reason, explain)
            return Rest(self._run_core, *core)
        coerced = operation.reader.read(variables)
        if isinstance(coerced, list):
            return self._refuse(coerced)
        plan: OperationPlan | str | None = None
        if not (operation.conditions or explain):
            plan = operation.variants.get(())
        if plan is None:
            values = condition_values(operation, coerced.coerced) if operation.conditions else ()
            plan = "a condition that is not a boolean"
            if values is not None:
                plan = self._plan(prepared, operation, values, timed=explain)
        if isinstance(plan, str):
            core = (prepared, operation, variables, context, root, extensions, plan, explain)
            return Rest(self._run_core, *core)
        versions = self._versions
        scope = None if versions is None else RequestScope(versions(context), self._language(context))
        run = Run(plan, coerced, context, root, extensions, scope)
        if explain:
            return Rest(self._explained, operation, run)
        if self.responses is not None and scope is not None and plan.policy.is_cacheable:
            return self._kept(prepared, operation, run, scope)
        return self._run(run)

    def _run(self, run: Run) -> Result | Rest:
        plan = run.plan
        if len(plan.steps) != 1:
            return Rest(self._run_steps, run)
        rows = plan.root.run([run.root], run, None)
        if run.failures or isinstance(rows, Rest):
            return Rest(self._finish, run, rows)
        return Result(rows[0], policy=plan.policy, _format=self._format)

    async def _run_steps(self, run: Run) -> Result:
        data: dict[str, Any] = {}
        for step in run.plan.steps:
            data.update(fields_of((await run_level(step, [run.root], run, None))[0]))
            if run.failures and nulls_root(run):
                break
        return await self._finish(run, [data])

    async def _finish(self, run: Run, rows: Column | Rest) -> Result:
        row = (await awaited(rows))[0]
        if not run.failures:
            return Result(row, policy=run.plan.policy, _format=self._format)
        data, errors = await recover(run, plain(row))
        return Result(None, data, errors, policy=run.plan.policy, _format=self._format)

    def _kept(
        self, prepared: Prepared, operation: PreparedOperation, run: Run, scope: RequestScope
    ) -> Result | Rest:
        responses, plan = cast("ResponseCache", self.responses), run.plan
        policy = plan.policy
        try:
            key = _response_key(prepared, operation, plan, run.vars, scope)
        except UnfreezableError:
            return self._run(run)

        def keep(body: bytes, max_age_s: float) -> StoredResponse:
            text_bytes = 0 if prepared.pinned else 2 * len(prepared.text)
            return responses.put(
                key,
                body,
                max_age_s=max_age_s,
                cache_control=policy.header(),
                vary=vary_of(policy),
                key_bytes=2 * len(str(key.variables)) + text_bytes,
            )

        async def compute() -> Result:
            name = b"" if self._shared is None else shared_key(key)
            if self._shared is not None:
                found = await self._shared.get(name)
                if found is not None:
                    return Result(None, policy=policy, stored=keep(*found), _format=self._format)
            begun = self._run(run)
            result: Result = await begun if isinstance(begun, Rest) else begun
            settle(result)
            if result.stored is not None and self._shared is not None:
                await self._shared.set(name, result.body, policy.max_age_s)
            return result

        def settle(result: Result) -> Result:
            if not result.errors and result.row is not None:
                result.stored = keep(result.body, policy.max_age_s)
            return result

        def given(stored: StoredResponse) -> Result:
            return Result(None, policy=policy, stored=stored, _format=self._format)

        async def once() -> Result:
            answer = await responses.once(key, compute)
            return given(answer) if isinstance(answer, StoredResponse) else answer

        async def lead(rest: Rest) -> Result:
            async def wait() -> Result:
                return settle(await rest)

            return await responses.lead(key, wait)

        found = responses.find(key)
        if found is not None:
            return given(found)
        if plan.waits or self._shared is not None or responses.is_awaited(key):
            return Rest(once)
        begun = self._run(run)
        if isinstance(begun, Rest):
            return Rest(lead, begun)
        responses.misses += 1
        return settle(begun)

    async def _run_core(
        self,
        prepared: Prepared,
        operation: PreparedOperation,
        variables: Mapping[str, Any] | None,
        context: Any,
        root: Any,
        extensions: dict[str, Any] | None,
        reason: str,
        explain: bool,
    ) -> Result:
        """Run an operation on graphql-core, through strawberry itself where the schema has extensions."""
        started = perf_counter()
        values = None if variables is None else dict(variables)
        given: ExecutionResult | strawberry.types.ExecutionResult
        if self.schema.extensions or self.schema.config.enable_experimental_incremental_execution:
            given = await self.schema.execute(
                prepared.text, values, context, root, operation.name, operation_extensions=extensions
            )
        else:
            outcome = core_execute(
                self.schema._schema,
                cast("DocumentNode", prepared.document),
                root_value=root,
                context_value=context,
                variable_values=values,
                operation_name=operation.name,
                is_awaitable=is_awaitable,  # type: ignore[arg-type]
                executor_class=self.schema.execution_context_class,
                operation_extensions=extensions,
            )
            given = await outcome if is_awaitable(outcome) else outcome  # type: ignore[assignment, misc]
        result = Result(None, given.data, list(given.errors or ()), reason=reason, _format=self._format)
        result.extensions = getattr(given, "extensions", None) or None
        if explain:
            result.explanation = Explanation(
                reason=reason, cost=operation.cost, seconds=perf_counter() - started
            )
        return result

    def _refuse(self, errors: list[GraphQLError]) -> Result:
        return Result(None, None, errors, executed=False, _format=self._format)

    async def _explained(self, operation: PreparedOperation, run: Run) -> Result:
        run.notes = []
        before = (self.fragments.hits, self.fragments.misses) if self.fragments is not None else (0, 0)
        started = perf_counter()
        begun = self._run(run)
        result: Result = await begun if isinstance(begun, Rest) else begun
        seconds = perf_counter() - started
        after = (self.fragments.hits, self.fragments.misses) if self.fragments is not None else (0, 0)
        result.explanation = explain_run(
            run,
            seconds=seconds,
            cost=operation.cost,
            fragment_hits=after[0] - before[0],
            fragment_misses=after[1] - before[1],
        )
        return result


__all__ = ["Engine", "Prepared", "PreparedOperation", "Result", "dump"]
