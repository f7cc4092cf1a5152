"""Codes to words: every refusal a client can meet, in Chinese (the default) and English.

A client decides by `extensions.code`, never by the words. Errors that nobody foresaw are masked: the client
gets the request id, the log gets the traceback.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import structlog
from graphql import GraphQLError
from pymongo.errors import PyMongoError
from redis.exceptions import RedisError

from api.messages import DOMAIN_TEXTS, REQUEST_TEXTS
from domain.errors import DomainError
from resolvers.context import Language

log = structlog.get_logger(__name__)

INTERNAL_ERROR: Final = "INTERNAL_ERROR"
ENGINE_UNAVAILABLE: Final = "ENGINE_UNAVAILABLE"
BAD_USER_INPUT: Final = "BAD_USER_INPUT"
VALIDATION_FAILED: Final = "GRAPHQL_VALIDATION_FAILED"
PARSE_FAILED: Final = "GRAPHQL_PARSE_FAILED"
TIMEOUT: Final = "TIMEOUT"


class RequestError(Exception):
    """A refusal of the whole request, before any resolver ran; `code` is one of this module's codes."""

    def __init__(self, code: str, **params: str | int | float) -> None:
        super().__init__(code)
        self.code = code
        self.params = params
        self.status = REQUEST_TEXTS[code][0]


def text_of(code: str, language: Language, params: dict[str, Any]) -> str:
    """Word a code; a param that is missing shows as its name rather than hiding the message."""
    if code in REQUEST_TEXTS:
        _, chinese, english = REQUEST_TEXTS[code]
    else:
        chinese, english = DOMAIN_TEXTS[code]
    return (english if language == "en" else chinese).format_map(_Params(params))


def word_refusal(error: DomainError, language: Language) -> str:
    """Word a refusal that a mutation hands back as a user error; one without words gets the general ones."""
    if not has_texts(error.code):
        log.error("graphql.unworded_error", code=error.code)
        return text_of("DOMAIN_ERROR", language, {})
    return text_of(error.code, language, error.params)


def has_texts(code: str) -> bool:
    """Tell whether a code has words in both languages."""
    return code in REQUEST_TEXTS or code in DOMAIN_TEXTS


def request_error_body(error: RequestError, language: Language, request_id: str) -> dict[str, Any]:
    """Make a GraphQL response without data out of one refusal."""
    message = text_of(error.code, language, {"request_id": request_id, **error.params})
    return {"errors": [{"message": message, "extensions": {"code": error.code, **_public(error.params)}}]}


def client_fault(error: GraphQLError, code: str, language: Language) -> dict[str, Any]:
    """Word an error of graphql-core about the client's document or variables, keeping its locations."""
    formatted: dict[str, Any] = {"message": text_of(code, language, {"detail": _brief(error.message)})}
    if error.locations:
        formatted["locations"] = [
            {"line": location.line, "column": location.column} for location in error.locations[:10]
        ]
    formatted["extensions"] = {"code": code}
    return formatted


class ErrorFormatter:
    """Turn the errors of one execution into GraphQL errors, masking what no client may read."""

    __slots__ = ("_language", "_observe", "_request_id")

    def __init__(self, language: Language, request_id: str, observe: Callable[[str], None]) -> None:
        self._language = language
        self._request_id = request_id
        self._observe = observe

    def format_all(self, errors: Iterable[GraphQLError]) -> Iterator[dict[str, Any]]:
        """Format each error in order; unknown ones are logged with their traceback."""
        for error in errors:
            formatted = self._format(error)
            self._observe(formatted["extensions"]["code"])
            yield formatted

    def _format(self, error: GraphQLError) -> dict[str, Any]:
        cause = _root_cause(error)
        code, params = self._classify(error, cause)
        formatted: dict[str, Any] = {"message": text_of(code, self._language, params)}
        if error.locations:
            formatted["locations"] = [{"line": at.line, "column": at.column} for at in error.locations]
        if error.path is not None:
            formatted["path"] = error.path
        extensions: dict[str, Any] = {"code": code}
        if isinstance(cause, DomainError | RequestError):
            extensions.update(_public(cause.params))
        elif code in (INTERNAL_ERROR, ENGINE_UNAVAILABLE):
            extensions["requestId"] = self._request_id
        formatted["extensions"] = extensions
        return formatted

    def _classify(self, error: GraphQLError, cause: BaseException | None) -> tuple[str, dict[str, Any]]:
        if isinstance(cause, DomainError | RequestError):
            if has_texts(cause.code):
                return cause.code, {"request_id": self._request_id, **cause.params}
            log.error("graphql.unworded_error", code=cause.code, request_id=self._request_id)
            return "DOMAIN_ERROR", {}
        if isinstance(cause, PyMongoError | RedisError):
            log.warning("graphql.engine_unavailable", error=type(cause).__name__, request_id=self._request_id)
            return ENGINE_UNAVAILABLE, {"request_id": self._request_id}
        if cause is None and (error.path is None or is_argument_error(error)):
            return BAD_USER_INPUT, {"detail": _brief(error.message)}
        log.error(
            "graphql.unexpected_error",
            request_id=self._request_id,
            path=[part for part in error.path or () if isinstance(part, str)],
            exc_info=cause or error,
        )
        return INTERNAL_ERROR, {"request_id": self._request_id}


def is_argument_error(error: GraphQLError) -> bool:
    """Tell whether graphql-core refused a field's argument: a literal or variable that cannot be coerced.

    Only such errors point at an argument or value of the document; others about a field point at the field.
    """
    return bool(error.nodes) and all(
        node.kind not in ("field", "operation_definition") for node in error.nodes or ()
    )


def _root_cause(error: GraphQLError) -> BaseException | None:
    cause: BaseException | None = error.original_error
    while isinstance(cause, GraphQLError):
        cause = cause.original_error
    return cause


def _brief(message: str) -> str:
    return message if len(message) <= 300 else message[:299] + "…"


def _public(params: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if name not in ("code", "requestId", "request_id")}


class _Params(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return f"[{key}]"
