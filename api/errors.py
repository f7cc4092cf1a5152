"""Codes to words: every refusal a client can meet, in Chinese (the default) and English.

A client decides by `extensions.code`, never by the words. Errors that nobody foresaw are masked: the client
gets the request id, the log gets the traceback.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from typing import Any, Final

import structlog
from graphql import GraphQLError
from pymongo.errors import PyMongoError
from redis.exceptions import RedisError

from domain.errors import DomainError
from resolvers.context import Language

log = structlog.get_logger(__name__)

INTERNAL_ERROR: Final = "INTERNAL_ERROR"
ENGINE_UNAVAILABLE: Final = "ENGINE_UNAVAILABLE"
BAD_USER_INPUT: Final = "BAD_USER_INPUT"
VALIDATION_FAILED: Final = "GRAPHQL_VALIDATION_FAILED"
PARSE_FAILED: Final = "GRAPHQL_PARSE_FAILED"
TIMEOUT: Final = "TIMEOUT"

# code -> (HTTP status of a request that has no data, Chinese, English)
_REQUEST: Final[dict[str, tuple[HTTPStatus, str, str]]] = {
    INTERNAL_ERROR: (
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "系统内部错误，请稍后重试。反馈时请提供请求编号 {request_id}。",
        "Internal error. Please try again later and quote request {request_id}.",
    ),
    ENGINE_UNAVAILABLE: (
        HTTPStatus.SERVICE_UNAVAILABLE,
        "数据服务暂时不可用，请稍后重试（请求编号 {request_id}）。",
        "The data service is not available right now. Please try again later (request {request_id}).",
    ),
    TIMEOUT: (
        HTTPStatus.SERVICE_UNAVAILABLE,
        "处理超过 {seconds} 秒，已停止。请减少查询内容后重试。",
        "Stopped after {seconds} seconds. Ask for less and try again.",
    ),
    BAD_USER_INPUT: (HTTPStatus.BAD_REQUEST, "请求的参数不正确：{detail}", "Bad input: {detail}"),
    VALIDATION_FAILED: (HTTPStatus.BAD_REQUEST, "查询语句与接口不符：{detail}", "Invalid document: {detail}"),
    PARSE_FAILED: (HTTPStatus.BAD_REQUEST, "查询语句有语法错误：{detail}", "Syntax error: {detail}"),
    "OPERATION_NOT_FOUND": (
        HTTPStatus.BAD_REQUEST,
        "找不到要执行的操作；文档中有多个操作时请用 operationName 指明。",
        "No such operation; name one with operationName when the document holds several.",
    ),
    "OPERATION_NOT_SUPPORTED": (
        HTTPStatus.BAD_REQUEST,
        "HTTP 接口不支持订阅操作。",
        "Subscriptions are not served over HTTP.",
    ),
    "INVALID_JSON": (HTTPStatus.BAD_REQUEST, "请求体不是有效的 JSON。", "The body is not valid JSON."),
    "INVALID_PARAMETER": (
        HTTPStatus.BAD_REQUEST,
        "请求参数 {name} 的类型不正确，应为 {expected}。",
        "The parameter {name} must be {expected}.",
    ),
    "MISSING_QUERY": (
        HTTPStatus.BAD_REQUEST,
        "缺少 query 或 documentId 参数。",
        "The request has neither query nor documentId.",
    ),
    "BATCHING_NOT_SUPPORTED": (
        HTTPStatus.BAD_REQUEST,
        "不支持批量请求，每次请求只能包含一个操作。",
        "Batched requests are not supported; send one operation per request.",
    ),
    "BODY_TOO_LARGE": (
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "请求体超过 {limit} 字节。",
        "The body is larger than {limit} bytes.",
    ),
    "BODY_TIMEOUT": (
        HTTPStatus.REQUEST_TIMEOUT,
        "请求体未在规定时间内发送完毕。",
        "The body did not arrive in time.",
    ),
    "METHOD_NOT_ALLOWED": (
        HTTPStatus.METHOD_NOT_ALLOWED,
        "不支持该请求方法，请使用 {allow}。",
        "Method not allowed; use {allow}.",
    ),
    "MUTATION_OVER_GET": (
        HTTPStatus.METHOD_NOT_ALLOWED,
        "GET 只能执行查询，变更请使用 POST。",
        "GET runs queries only; send mutations by POST.",
    ),
    "NOT_ACCEPTABLE": (
        HTTPStatus.NOT_ACCEPTABLE,
        "只能以 application/graphql-response+json 或 application/json 返回。",
        "Served as application/graphql-response+json or application/json only.",
    ),
    "UNSUPPORTED_MEDIA_TYPE": (
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        "请求体必须是 UTF-8 编码、未压缩的 application/json。",
        "The body must be uncompressed application/json in UTF-8.",
    ),
    "DOCUMENT_TOO_LARGE": (
        HTTPStatus.BAD_REQUEST,
        "查询语句过长：最多 {limit_tokens} 个词、{limit_chars} 个字符。",
        "The document is too long: at most {limit_tokens} tokens and {limit_chars} characters.",
    ),
    "QUERY_TOO_DEEP": (
        HTTPStatus.BAD_REQUEST,
        "查询嵌套过深，最多 {limit} 层。",
        "The query is nested too deeply: at most {limit} levels.",
    ),
    "TOO_MANY_ALIASES": (
        HTTPStatus.BAD_REQUEST,
        "别名过多，最多 {limit} 个。",
        "Too many aliases: at most {limit}.",
    ),
    "TOO_MANY_REPEATED_FIELDS": (
        HTTPStatus.BAD_REQUEST,
        "同一字段重复出现的次数过多。",
        "The same fields are repeated too often.",
    ),
    "FRAGMENT_CYCLE": (
        HTTPStatus.BAD_REQUEST,
        "片段 {name} 循环引用了自身。",
        "The fragment {name} includes itself.",
    ),
    "QUERY_TOO_COSTLY": (
        HTTPStatus.BAD_REQUEST,
        "查询过于复杂：成本 {cost}，上限 {limit}。请减少字段或每页条数。",
        "The query costs {cost}, more than {limit}. Ask for fewer fields or smaller pages.",
    ),
    "LIST_TOO_LONG": (
        HTTPStatus.BAD_REQUEST,
        "{name} 过大，最多 {limit} 个。",
        "{name} is too large: at most {limit}.",
    ),
    "VARIABLES_TOO_DEEP": (
        HTTPStatus.BAD_REQUEST,
        "变量嵌套过深，最多 {limit} 层。",
        "The variables are nested too deeply: at most {limit} levels.",
    ),
    "INTROSPECTION_DISABLED": (
        HTTPStatus.BAD_REQUEST,
        "本环境不开放接口结构查询。",
        "Introspection is turned off here.",
    ),
    "PERSISTED_QUERY_NOT_FOUND": (
        HTTPStatus.BAD_REQUEST,
        "PersistedQueryNotFound",  # Apollo clients compare this text, whatever the language
        "PersistedQueryNotFound",
    ),
    "PERSISTED_QUERY_HASH_MISMATCH": (
        HTTPStatus.BAD_REQUEST,
        "查询语句与其 SHA-256 标识不符。",
        "The document does not match its SHA-256 identifier.",
    ),
    "DOCUMENT_NOT_FOUND": (
        HTTPStatus.BAD_REQUEST,
        "没有这个编号的文档。",
        "No document has this identifier.",
    ),
    "DOCUMENT_NOT_TRUSTED": (
        HTTPStatus.FORBIDDEN,
        "只接受已登记的操作。",
        "Only registered operations are accepted.",
    ),
    "NOT_READY": (
        HTTPStatus.SERVICE_UNAVAILABLE,
        "服务正在启动，请稍后重试。",
        "The service is starting. Please try again in a moment.",
    ),
}

# code of a DomainError -> (Chinese, English); words for errors raised beside their rules
_DOMAIN: Final[dict[str, tuple[str, str]]] = {
    "DOMAIN_ERROR": ("请求被拒绝。", "The request was refused."),
    "INVALID_DIVISION_CODE": ("行政区划代码 {code} 无效。", "{code} is not a valid division code."),
    "INVALID_ID": ("编号 {id} 无效。", "{id} is not a valid id."),
}


class RequestError(Exception):
    """A refusal of the whole request, before any resolver ran; `code` is one of this module's codes."""

    def __init__(self, code: str, **params: str | int | float) -> None:
        super().__init__(code)
        self.code = code
        self.params = params
        self.status = _REQUEST[code][0]


def text_of(code: str, language: Language, params: dict[str, Any]) -> str:
    """Word a code; a param that is missing shows as its name rather than hiding the message."""
    if code in _REQUEST:
        _, chinese, english = _REQUEST[code]
    else:
        chinese, english = _DOMAIN[code]
    return (english if language == "en" else chinese).format_map(_Params(params))


def has_texts(code: str) -> bool:
    """Tell whether a code has words in both languages."""
    return code in _REQUEST or code in _DOMAIN


def status_of(code: str) -> HTTPStatus:
    """Give the HTTP status of a request that ended with this code and without data."""
    return _REQUEST[code][0] if code in _REQUEST else HTTPStatus.BAD_REQUEST


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
