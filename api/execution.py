"""The seam between the way in and whatever runs an operation.

`Preparer` turns a document into an `Operation` once: parsed, bounded, validated, its cost compiled. All that
is in front of it only sees `Operation.execute(variables, context) -> Outcome`, the ready bytes of an answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from http import HTTPStatus
from inspect import isawaitable
from time import perf_counter
from typing import Any, Final, Protocol, cast

import orjson
import strawberry
from graphql import (
    DocumentNode,
    Executor,
    FieldsOnCorrectTypeRule,
    GraphQLError,
    GraphQLSyntaxError,
    KnownFragmentNamesRule,
    OperationDefinitionNode,
    OperationType,
    execute,
    parse,
    specified_rules,
    validate,
)
from msgspec import Struct
from strawberry.execution import optimized_is_awaitable
from strawberry.schema.validation_rules.maybe_null import MaybeNullValidationRule
from strawberry.schema.validation_rules.one_of import OneOfInputValidationRule

from api.errors import (
    PARSE_FAILED,
    TIMEOUT,
    VALIDATION_FAILED,
    ErrorFormatter,
    RequestError,
    client_fault,
)
from api.limits import CostReader, Limits, OperationCost, check_shape, check_variables, has_introspection
from engine.fragments import FragmentCache
from engine.policy import PRIVATE, CachePolicy
from engine.responses import ResponseCache, StoredResponse, etag_of
from resolvers.context import Context, Language

MAX_REPORTED_ERRORS: Final = 5
# Run before the others: they refuse a document of thousands of unknown names at its first few.
_QUICK_RULES: Final = (FieldsOnCorrectTypeRule, KnownFragmentNamesRule)
_RULES: Final = (
    *(rule for rule in specified_rules if rule not in _QUICK_RULES),
    MaybeNullValidationRule,
    OneOfInputValidationRule,
)
_NO_VARIABLES: Final[Mapping[str, Any]] = {}


class Outcome(Struct, frozen=True):
    """The answer to one operation: JSON bytes, the status for clients that read it, codes of errors.

    `policy` is what the answer allows caches to do; `kept` is where the body is kept, if it is; `is_found`
    says that it was found there and not made.
    """

    body: bytes
    policy: CachePolicy = PRIVATE
    kept: StoredResponse | None = None
    is_found: bool = False
    status: HTTPStatus = HTTPStatus.OK
    codes: tuple[str, ...] = ()

    @property
    def cache_control(self) -> str | None:
        """What the answer allows caches to do; None where nobody but the client may keep it."""
        return self.policy.header() if self.policy.is_cacheable else None

    @property
    def tag(self) -> str:
        """The strong validator of the body."""
        return etag_of(self.body) if self.kept is None else self.kept.etag


class Operation(Protocol):
    """One operation of a document, ready to run any number of times."""

    @property
    def name(self) -> str | None:
        """The operation's name in its document."""

    label: str | None
    """The name under which it may be logged and counted: that of a registered one."""

    @property
    def is_query(self) -> bool:
        """Whether it may be run by GET."""

    @property
    def is_prompt(self) -> bool:
        """Whether nothing in it is known to wait: it may be run without a task of its own."""

    async def execute(
        self, variables: Mapping[str, Any], context: Context, *, explain: bool = False
    ) -> Outcome:
        """Run the operation, and say how under `extensions.explain` when asked to.

        Raises: RequestError when limits refuse the variables.
        """

    def begin(self, variables: Mapping[str, Any], context: Context) -> Outcome | Coroutine[Any, Any, Outcome]:
        """Do what `execute` does, as far as nothing waits; what is left has to be awaited.

        Raises: RequestError when limits refuse the variables.
        """


class Front(Protocol):
    """What may run operations in graphql-core's place."""

    @property
    def responses(self) -> ResponseCache | None:
        """Its kept answers, if it keeps any."""

    @property
    def fragments(self) -> FragmentCache | None:
        """Its kept entities, if it keeps any."""

    def operation(self, text: str, document: DocumentNode, core: CoreOperation) -> Operation:
        """Give the operation that runs in place of `core`, of a document that is valid and within limits."""


class InvalidDocumentError(Exception):
    """A document that graphql-core refuses, with its errors."""

    def __init__(self, code: str, errors: Sequence[GraphQLError]) -> None:
        super().__init__(code)
        self.code = code
        self.errors = errors

    def body(self, language: Language) -> dict[str, Any]:
        """Make the GraphQL response."""
        return {"errors": [client_fault(error, self.code, language) for error in self.errors]}


class Preparer:
    """Parse, bound and validate documents against one schema."""

    def __init__(
        self,
        schema: strawberry.Schema,
        limits: Limits,
        *,
        timeout_s: float,
        introspection: bool,
        observe_error: Callable[[str], None],
        front: Front | None = None,
    ) -> None:
        self._front = front
        self.responses = None if front is None else front.responses
        self.fragments = None if front is None else front.fragments
        self._schema = schema
        self._limits = limits
        self._timeout_s = timeout_s
        self._introspection = introspection
        self._observe_error = observe_error

    def prepare(self, text: str, operation_name: str | None) -> Operation:
        """Make a query or mutation ready.

        Raises: RequestError, InvalidDocumentError.
        """
        core = self.check(text, operation_name)
        if core.is_subscription:
            raise RequestError("OPERATION_NOT_SUPPORTED")
        return self.ready(text, core)

    def ready(self, text: str, core: CoreOperation) -> Operation:
        """Give what runs a checked query or mutation: compiled plans where the engine is on."""
        return core if self._front is None else self._front.operation(text, core.document, core)

    def check(self, text: str, operation_name: str | None) -> CoreOperation:
        """Parse, bound and validate an operation of any kind.

        Raises: RequestError, InvalidDocumentError.
        """
        document = self._parse(text)
        check_shape(document, self._limits)
        if not self._introspection and has_introspection(document):
            raise RequestError("INTROSPECTION_DISABLED")
        for rules in (_QUICK_RULES, _RULES):
            errors = validate(
                self._schema._schema,
                document,
                rules,
                max_errors=MAX_REPORTED_ERRORS,
                hide_suggestions=not self._introspection,
            )
            if errors:
                raise InvalidDocumentError(VALIDATION_FAILED, errors)
        node = _operation_node(document, operation_name)
        cost = CostReader(self._schema._schema, document, self._limits).read(node)
        cost.check_fixed()
        return CoreOperation(
            self._schema, document, node, cost, timeout_s=self._timeout_s, observe_error=self._observe_error
        )

    def _parse(self, text: str) -> DocumentNode:
        limits = self._limits
        if len(text) > limits.max_chars:
            raise RequestError(
                "DOCUMENT_TOO_LARGE", limit_tokens=limits.max_tokens, limit_chars=limits.max_chars
            )
        try:
            return parse(text, max_lexical_tokens=limits.max_tokens, max_comments=limits.max_tokens)
        except GraphQLSyntaxError as error:
            if "more than" in error.message:
                raise RequestError(
                    "DOCUMENT_TOO_LARGE", limit_tokens=limits.max_tokens, limit_chars=limits.max_chars
                ) from None
            if "nested too deeply" in error.message:
                raise RequestError("QUERY_TOO_DEEP", limit=limits.max_depth) from None
            raise InvalidDocumentError(PARSE_FAILED, [error]) from None


def _operation_node(document: DocumentNode, name: str | None) -> OperationDefinitionNode:
    operations = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
    if name:
        operations = [node for node in operations if node.name and node.name.value == name]
    if len(operations) != 1:
        raise RequestError("OPERATION_NOT_FOUND")
    return operations[0]


class CoreOperation:
    """An operation that graphql-core runs on strawberry's schema."""

    __slots__ = (
        "_cost",
        "_limits",
        "_observe_error",
        "_schema",
        "document",
        "is_prompt",
        "is_query",
        "is_subscription",
        "label",
        "name",
        "node",
        "timeout_s",
    )

    def __init__(
        self,
        schema: strawberry.Schema,
        document: DocumentNode,
        node: OperationDefinitionNode,
        cost: OperationCost,
        *,
        timeout_s: float,
        observe_error: Callable[[str], None],
    ) -> None:
        self._schema = schema
        self.document = document
        self._cost = cost
        self._limits = cost.limits
        self._observe_error = observe_error
        self.node = node
        self.timeout_s = timeout_s
        self.name = node.name.value if node.name else None
        self.is_query = node.operation is OperationType.QUERY
        self.is_prompt = False
        self.label: str | None = None
        self.is_subscription = node.operation is OperationType.SUBSCRIPTION

    def check(self, variables: Mapping[str, Any]) -> None:
        """Refuse variables that are beyond the limits. Raises: RequestError."""
        if variables:
            check_variables(variables, self._limits)
        self._cost.check(variables)

    def cost(self, variables: Mapping[str, Any]) -> int:
        """Compute what the operation costs with these variables."""
        return self._cost.cost.of(variables)

    async def execute(
        self, variables: Mapping[str, Any], context: Context, *, explain: bool = False
    ) -> Outcome:
        """Run the operation, at most for the set time; work that is still running then is cancelled."""
        self.check(variables)
        started = perf_counter()
        result = execute(
            self._schema._schema,
            self.document,
            context_value=context,
            variable_values=dict(variables),
            operation_name=self.name,
            max_coercion_errors=MAX_REPORTED_ERRORS,
            is_awaitable=cast("Any", optimized_is_awaitable),
            executor_class=self._schema.execution_context_class,
        )
        if isawaitable(result):
            try:
                async with asyncio.timeout(self.timeout_s):
                    result = await result
            except TimeoutError:
                raise RequestError(TIMEOUT, seconds=self.timeout_s) from None
        explanation = self._explanation(variables, perf_counter() - started) if explain else None
        return self.outcome(result.data, result.errors or (), context, explanation)

    def begin(self, variables: Mapping[str, Any], context: Context) -> Outcome | Coroutine[Any, Any, Outcome]:
        """Leave everything to `execute`."""
        return self.execute(variables, context)

    def executor(
        self, variables: Mapping[str, Any], context: Context, root: Any = None
    ) -> Executor[Any] | list[GraphQLError]:
        """Make what executes the operation once, or give the errors of the variables."""
        return self._schema.execution_context_class.build(
            self._schema._schema,
            self.document,
            root,
            context,
            dict(variables),
            self.name,
            max_coercion_errors=MAX_REPORTED_ERRORS,
            is_awaitable=cast("Any", optimized_is_awaitable),
        )

    def outcome(
        self,
        data: dict[str, Any] | None,
        errors: Sequence[GraphQLError],
        context: Context,
        explanation: Mapping[str, Any] | None = None,
    ) -> Outcome:
        """Word the errors and write the JSON."""
        codes: tuple[str, ...] = ()
        answer: dict[str, Any] = {}
        status = HTTPStatus.OK
        if errors:
            formatter = ErrorFormatter(context.language, context.request_id, self._observe_error)
            answer["errors"] = formatted = list(formatter.format_all(errors))
            codes = tuple(error["extensions"]["code"] for error in formatted)
        if errors and was_refused(data, errors):
            status = HTTPStatus.BAD_REQUEST
        else:
            answer["data"] = data
        if explanation is not None:
            answer["extensions"] = {"explain": explanation}
        return Outcome(orjson.dumps(answer, option=orjson.OPT_NON_STR_KEYS), status=status, codes=codes)

    def _explanation(self, variables: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        ms = round(seconds * 1000, 3)
        reason = "compiled execution is off, or the variables were refused"
        return {"compiled": False, "reason": reason, "cost": self.cost(variables), "ms": ms}


def was_refused(data: dict[str, Any] | None, errors: Sequence[GraphQLError]) -> bool:
    """Tell whether the variables were refused and nothing ran: an error about a field has a path."""
    return data is None and all(error.path is None for error in errors)
