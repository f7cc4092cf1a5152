"""The parameters of a GraphQL request, from a JSON body or a query string, well-formed or refused.

Source: the GraphQL-over-HTTP specification's draft, sections "Request Parameters" and "Persisted Documents".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson
from msgspec import Struct

from api.documents import is_document_hash
from api.errors import RequestError

_EMPTY: Final[Mapping[str, Any]] = {}
DOCUMENT_PREFIX: Final = "sha256:"


class Parameters(Struct, frozen=True, gc=False):
    """A well-formed request: a text, a document's SHA-256, or both for an automatic document."""

    query: str | None
    digest: str | None
    is_automatic: bool
    operation_name: str | None
    variables: Mapping[str, Any]


def from_body(body: bytes) -> Parameters:
    """Read the JSON body of a POST. A key that is given twice counts as given last.

    Raises: RequestError.
    """
    return from_values(read_object(body))


def read_object(body: bytes) -> dict[str, Any]:
    """Read the JSON object of a body. Raises: RequestError."""
    try:
        values = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise RequestError("INVALID_JSON") from None
    if values.__class__ is dict:
        found: dict[str, Any] = values
        return found
    if isinstance(values, list):
        raise RequestError("BATCHING_NOT_SUPPORTED")
    raise RequestError("INVALID_PARAMETER", name="body", expected="object")


def from_query_string(query_string: bytes) -> Parameters:
    """Read the query string of a GET; `variables` and `extensions` are JSON texts.

    Raises: RequestError.
    """
    try:
        pairs = parse_qsl(
            query_string.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=20,
        )
    except ValueError:
        raise RequestError("INVALID_PARAMETER", name="query string", expected="UTF-8, URL-encoded") from None
    values: dict[str, Any] = dict(pairs)
    for name in ("variables", "extensions"):
        if text := values.get(name):
            try:
                values[name] = orjson.loads(text)
            except orjson.JSONDecodeError:
                raise RequestError("INVALID_PARAMETER", name=name, expected="JSON object") from None
        else:
            values[name] = None
    for name in ("query", "documentId", "operationName"):
        values[name] = values.get(name) or None
    return from_values(values)


def from_values(values: dict[str, Any]) -> Parameters:
    """Check parameters that were read from JSON. Raises: RequestError."""
    variables = values.get("variables")
    query = _text(values, "query")
    operation_name = _text(values, "operationName")
    if variables is not None and not isinstance(variables, dict):
        raise RequestError("INVALID_PARAMETER", name="variables", expected="object")
    extensions = values.get("extensions")
    if extensions is not None and not isinstance(extensions, dict):
        raise RequestError("INVALID_PARAMETER", name="extensions", expected="object")
    digest, is_automatic = _digest(_text(values, "documentId"), extensions)
    if query is None and digest is None:
        raise RequestError("MISSING_QUERY")
    if query is not None and digest is not None and not is_automatic:
        raise RequestError("INVALID_PARAMETER", name="documentId", expected="absent beside query")
    return Parameters(query, digest, is_automatic, operation_name or None, variables or _EMPTY)


def _text(values: dict[str, Any], name: str) -> str | None:
    value = values.get(name)
    if value is not None and not isinstance(value, str):
        raise RequestError("INVALID_PARAMETER", name=name, expected="string")
    return value


def _digest(document_id: str | None, extensions: dict[str, Any] | None) -> tuple[str | None, bool]:
    """Give the SHA-256 of a named document, and whether it is named as Apollo's clients do."""
    if document_id is not None:
        digest = document_id.removeprefix(DOCUMENT_PREFIX)
        if not is_document_hash(digest):
            raise RequestError("DOCUMENT_NOT_FOUND")
        return digest, False
    persisted = extensions.get("persistedQuery") if extensions else None
    if persisted is None:
        return None, False
    given = persisted.get("sha256Hash") if isinstance(persisted, dict) else None
    if not isinstance(given, str) or not is_document_hash(given) or persisted.get("version") != 1:
        raise RequestError(
            "INVALID_PARAMETER", name="extensions.persistedQuery", expected="version 1 with a sha256Hash"
        )
    return given, True
