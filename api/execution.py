"""The seam between the way in and whatever runs an operation.

`Preparer` turns a document into an `Operation` once: parsed, bounded, validated, its cost compiled. All that
is in front of it only sees `Operation.execute(variables, context) -> Outcome`, the ready bytes of an answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from inspect import isawaitable
from typing import Any, Final, Protocol, cast

import orjson
import strawberry
from graphql import (
    DocumentNode,
    ExecutionResult,
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

    `cache_control` is what the answer allows caches to do; None means that nobody but the client may keep it.
    """

    body: bytes
    status: HTTPStatus
    codes: tuple[str, ...] = ()
    cache_control: str | None = None


class Operation(Protocol):
    """One operation of a document, ready to run any number of times."""

    @property
    def name(self) -> str | None:
        """The operation's name in its document."""

    @property
    def is_query(self) -> bool:
        """Whether it may be run by GET."""

    async def execute(self, variables: Mapping[str, Any], context: Context) -> Outcome:
        """Run the operation. Raises: RequestError when limits refuse the variables."""


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
    ) -> None:
        self._schema = schema
        self._limits = limits
        self._timeout_s = timeout_s
        self._introspection = introspection
        self._observe_error = observe_error

    def prepare(self, text: str, operation_name: str | None) -> Operation:
        """Make an operation ready.

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
        if node.operation is OperationType.SUBSCRIPTION:
            raise RequestError("OPERATION_NOT_SUPPORTED")
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
        "_document",
        "_limits",
        "_observe_error",
        "_schema",
        "_timeout_s",
        "is_query",
        "name",
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
        self._document = document
        self._cost = cost
        self._limits = cost.limits
        self._timeout_s = timeout_s
        self._observe_error = observe_error
        self.name = node.name.value if node.name else None
        self.is_query = node.operation is OperationType.QUERY

    async def execute(self, variables: Mapping[str, Any], context: Context) -> Outcome:
        """Run the operation, at most for the set time; work that is still running then is cancelled."""
        if variables:
            check_variables(variables, self._limits)
        self._cost.check(variables)
        result = execute(
            self._schema._schema,
            self._document,
            context_value=context,
            variable_values=dict(variables),
            operation_name=self.name,
            max_coercion_errors=MAX_REPORTED_ERRORS,
            is_awaitable=cast("Any", optimized_is_awaitable),
            executor_class=self._schema.execution_context_class,
        )
        if isawaitable(result):
            try:
                async with asyncio.timeout(self._timeout_s):
                    result = await result
            except TimeoutError:
                raise RequestError(TIMEOUT, seconds=self._timeout_s) from None
        return self._outcome(result, context)

    def _outcome(self, result: ExecutionResult, context: Context) -> Outcome:
        if not result.errors:
            return Outcome(_dump({"data": result.data}), HTTPStatus.OK)
        formatter = ErrorFormatter(context.language, context.request_id, self._observe_error)
        errors = list(formatter.format_all(result.errors))
        codes = tuple(error["extensions"]["code"] for error in errors)
        # An error about a field has a path; without one, the variables were refused and nothing ran.
        if result.data is None and all(error.path is None for error in result.errors):
            return Outcome(_dump({"errors": errors}), HTTPStatus.BAD_REQUEST, codes)
        return Outcome(_dump({"errors": errors, "data": result.data}), HTTPStatus.OK, codes)


def _dump(value: dict[str, Any]) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)
