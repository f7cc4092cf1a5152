"""Open311 answers: rows as JSON or XML, refusals in GeoReport's form with their HTTP status.

Source: wiki.open311.org/GeoReport_v2, sections Format Support and Errors; JSON is what XML is by the Spark
convention: the names of lists and of their members are XML's alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final
from xml.etree import ElementTree as ET

import orjson
import structlog
from pymongo.errors import PyMongoError
from redis.exceptions import RedisError

from api.errors import ENGINE_UNAVAILABLE, INTERNAL_ERROR, RequestError, has_texts, text_of
from domain.complaints import (
    ComplaintChangedError,
    ComplaintNotFoundError,
    ComplaintStepNotAllowedError,
    TooManyComplaintStepsError,
)
from domain.errors import DomainError
from domain.open311 import (
    InvalidApiKeyError,
    UnknownEndpointError,
    UnknownJurisdictionError,
    UnknownServiceError,
    UnknownServiceRequestError,
)
from loaders.reference import ReferenceUnavailableError
from operations.complaint_submit import IdempotencyKeyReusedError
from resolvers.context import Language

log = structlog.get_logger(__name__)

JSON: Final = "json"
XML: Final = "xml"
CONTENT_TYPES: Final = {JSON: b"application/json; charset=utf-8", XML: b"text/xml; charset=utf-8"}
_STATUSES: Final[dict[str, HTTPStatus]] = {
    "TOO_MANY_REQUESTS": HTTPStatus.TOO_MANY_REQUESTS,
    ComplaintChangedError.code: HTTPStatus.CONFLICT,
    ComplaintNotFoundError.code: HTTPStatus.NOT_FOUND,
    ComplaintStepNotAllowedError.code: HTTPStatus.CONFLICT,
    IdempotencyKeyReusedError.code: HTTPStatus.CONFLICT,
    InvalidApiKeyError.code: HTTPStatus.FORBIDDEN,
    ReferenceUnavailableError.code: HTTPStatus.SERVICE_UNAVAILABLE,
    TooManyComplaintStepsError.code: HTTPStatus.CONFLICT,
    UnknownEndpointError.code: HTTPStatus.NOT_FOUND,
    UnknownJurisdictionError.code: HTTPStatus.NOT_FOUND,
    UnknownServiceError.code: HTTPStatus.NOT_FOUND,
    UnknownServiceRequestError.code: HTTPStatus.NOT_FOUND,
}
_MEMBERS: Final = {
    "attributes": "attribute",
    "endpoints": "endpoint",
    "errors": "error",
    "formats": "format",
    "service_request_updates": "request_update",
    "service_requests": "request",
    "services": "service",
    "values": "value",
}
"""How XML names the members of its lists."""
# What XML 1.0 has no way to write, not even escaped; surrogates cannot be written as UTF-8 either.
_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def encode(name: str, value: Any, format_: str) -> bytes:
    """Write rows, or one row, as JSON or under a root of this name as XML."""
    if format_ == JSON:
        return orjson.dumps(value)
    root = ET.Element(name)
    _fill(root, value)
    encoded: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True, short_empty_elements=False)
    return encoded


def _fill(element: ET.Element, value: Any) -> None:
    if isinstance(value, dict):
        for name, part in value.items():
            _fill(ET.SubElement(element, name), part)
    elif isinstance(value, list):
        for part in value:
            _fill(ET.SubElement(element, _MEMBERS[element.tag]), part)
    elif isinstance(value, bool):
        element.text = "true" if value else "false"
    elif value is not None:
        element.text = _NOT_XML.sub("", str(value))


def refuse(
    error: Exception, language: Language, request_id: str
) -> tuple[HTTPStatus, list[dict[str, Any]], Sequence[tuple[bytes, bytes]]]:
    """Word a refusal: status, GeoReport's rows, further headers. What nobody foresaw is masked and logged."""
    params: dict[str, Any] = {}
    if isinstance(error, RequestError):
        code, status, params = error.code, error.status, error.params
    elif isinstance(error, DomainError) and has_texts(error.code):
        code, status, params = error.code, _STATUSES.get(error.code, HTTPStatus.BAD_REQUEST), error.params
    elif isinstance(error, PyMongoError | RedisError):
        log.warning("open311.engine_unavailable", error=type(error).__name__, request_id=request_id)
        code, status = ENGINE_UNAVAILABLE, HTTPStatus.SERVICE_UNAVAILABLE
    else:
        log.error("open311.unexpected_error", request_id=request_id, exc_info=error)
        code, status = INTERNAL_ERROR, HTTPStatus.INTERNAL_SERVER_ERROR
    text = text_of(code, language, {"request_id": request_id, **params})
    headers: list[tuple[bytes, bytes]] = []
    if "seconds" in params:
        headers.append((b"retry-after", str(params["seconds"]).encode()))
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        headers.append((b"allow", str(params["allow"]).encode()))
    return status, [{"code": int(status), "description": f"{code}: {text}"}], headers
