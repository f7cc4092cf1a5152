"""Operations on compiled plans, with the caches that the schema's policies allow.

What refuses a request stays where it was: limits, costs and the wording of errors are those of
`api.execution`. An operation that is seen for the first time, or that the engine does not compile, runs on
graphql-core with the same answer.
"""

from __future__ import annotations

from collections.abc import Coroutine, Hashable, Mapping
from operator import attrgetter
from typing import Any, Final

import strawberry
from graphql import DocumentNode

from api.eager import within
from api.errors import TIMEOUT, RequestError
from api.execution import CoreOperation, Outcome, was_refused
from engine.compiler import check_schema, conditions
from engine.documents import Prepared, PreparedOperation
from engine.executor import Engine
from engine.fragments import FragmentCache
from engine.markers import Rest
from engine.plan import UnsupportedError
from engine.responses import ResponseCache, SharedStore
from engine.result import Result
from engine.values import VariableReader, has_nested_variables
from loaders.catalogue_snapshot import CatalogueSnapshot
from resolvers.context import Context

# Most documents of strangers come once: compiling them, and keeping their answers, would be work for nothing.
COMPILE_AFTER: Final = 2


class CompiledExecution:
    """The engine of one process over one schema; a cache of 0 bytes is none."""

    def __init__(
        self,
        schema: strawberry.Schema,
        *,
        fragment_bytes: int,
        response_bytes: int,
        shared: SharedStore | None = None,
    ) -> None:
        self._schema = schema
        self.engine = Engine(
            schema,
            compile_after=COMPILE_AFTER,
            fragments=FragmentCache(fragment_bytes) if fragment_bytes else None,
            responses=ResponseCache(response_bytes) if response_bytes else None,
            shared=shared,
            versions=_versions,
            language=attrgetter("language"),
        )

    @property
    def responses(self) -> ResponseCache | None:
        """The kept answers."""
        return self.engine.responses

    @property
    def fragments(self) -> FragmentCache | None:
        """The kept entities."""
        return self.engine.fragments

    def operation(self, text: str, document: DocumentNode, core: CoreOperation) -> CompiledOperation:
        """Put the engine in front of an operation of a document that was parsed, bounded and validated."""
        prepared = Prepared(text, document, [], {core.name: self._prepare(document, core)})
        return CompiledOperation(self.engine, prepared, core)

    def _prepare(self, document: DocumentNode, core: CoreOperation) -> PreparedOperation:
        node = core.node
        names: tuple[str, ...] = ()
        reason: str | None = None
        try:
            check_schema(self._schema)
            names = conditions(document, node)
        except UnsupportedError as error:
            reason = str(error)
        exact = has_nested_variables(list(document.definitions))
        reader = VariableReader(self._schema._schema, node, exact=exact)
        return PreparedOperation(core.name, node.operation.value, node, reader, names, reason)


class CompiledOperation:
    """An operation that the engine runs."""

    __slots__ = ("_core", "_engine", "_operation", "_prepared", "is_query", "label", "name")

    def __init__(self, engine: Engine, prepared: Prepared, core: CoreOperation) -> None:
        self._engine = engine
        self._prepared = prepared
        self._operation = prepared.operations[core.name]
        self._core = core
        self.name = core.name
        self.is_query = core.is_query
        self.label: str | None = None

    def trust(self) -> None:
        """Compile now: the operation is known to come again."""
        self._prepared.pinned = True
        self._operation.sightings = COMPILE_AFTER
        self._engine.compile(self._prepared, self._operation)

    @property
    def is_prompt(self) -> bool:
        """Whether it is a query that a compiled plan runs and nothing in that plan is known to wait."""
        return self.is_query and self._engine.is_prompt(self._operation)

    async def execute(
        self, variables: Mapping[str, Any], context: Context, *, explain: bool = False
    ) -> Outcome:
        """Run the operation, at most for the set time; work that is still running then is cancelled.

        Raises: RequestError when limits refuse the variables, or the time is over.
        """
        begun = self.begin(variables, context, explain=explain)
        return begun if isinstance(begun, Outcome) else await begun

    def begin(
        self, variables: Mapping[str, Any], context: Context, *, explain: bool = False
    ) -> Outcome | Coroutine[Any, Any, Outcome]:
        """Do what `execute` does, as far as nothing waits; what is left has to be awaited."""
        core = self._core
        core.check(variables)
        begun = self._engine.run(self._prepared, self._operation, variables, context, explain=explain)
        if begun.__class__ is Result and not begun.errors:
            return _outcome(begun)
        return self._finish(begun, variables, context, explain=explain)

    async def _finish(
        self, begun: Result | Rest, variables: Mapping[str, Any], context: Context, *, explain: bool
    ) -> Outcome:
        core = self._core
        try:
            result: Result = await within(begun, core.timeout_s) if isinstance(begun, Rest) else begun
        except TimeoutError:
            raise RequestError(TIMEOUT, seconds=core.timeout_s) from None
        if result.errors and was_refused(result.data, result.errors):
            # How many of the errors of variables are told is decided there.
            return await core.execute(variables, context, explain=explain)
        if explain:
            explanation = _explanation(result, core.cost(variables))
            return core.outcome(result.data, result.errors, context, explanation)
        if result.errors:
            return core.outcome(result.data, result.errors, context)
        return _outcome(result)

    def source(self, variables: Mapping[str, Any]) -> str:
        """Give the Python that the engine writes for the operation, or why there is none."""
        return self._engine.source(self._prepared.text, self.name, dict(variables))


def _outcome(result: Result) -> Outcome:
    kept = result.stored
    if kept is None:
        return Outcome(result.body, result.policy)
    return Outcome(kept.body, result.policy, kept, result.row is None)


def _explanation(result: Result, cost: int) -> dict[str, Any]:
    if result.explanation is None:
        return {"compiled": False, "reason": result.reason, "cost": cost}
    return {**result.explanation.as_dict(), "cost": cost}


def versions_of(catalogue: CatalogueSnapshot | None) -> Hashable:
    """Give what changes with every change of the public data served."""
    return None if catalogue is None else (catalogue.version, catalogue.revision)


def _versions(context: Context) -> Hashable:
    return versions_of(context.catalogue)
