"""The answer to one request and its JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import orjson
from graphql import GraphQLError
from msgspec import Struct

from engine.explain import Explanation
from engine.policy import PRIVATE, CachePolicy
from engine.responses import StoredResponse, etag_of
from engine.rows import Row, Unusual, plain

FormatError = Callable[[GraphQLError], Mapping[str, Any]]


class Result(Struct, eq=False):
    """The answer to one request.

    `row` is what compiled code made without an error, `completed` the data where that is not all of it; both
    are None where stored bytes answer. `reason` says why graphql-core ran the operation; None where compiled
    code did. `executed` is false where the request failed before execution (parsing, validation, limits,
    variables).
    """

    row: Any
    completed: Any = None
    errors: list[GraphQLError] = []
    reason: str | None = None
    policy: CachePolicy = PRIVATE
    stored: StoredResponse | None = None
    executed: bool = True
    explanation: Explanation | None = None
    extensions: dict[str, Any] | None = None
    _body: bytes | None = None
    _format: FormatError = GraphQLError.formatted.fget  # type: ignore[attr-defined]

    @property
    def data(self) -> Any:
        """Return what orjson writes as the answer's data, or None; entities may be `orjson.Fragment`s."""
        return self.completed if self.row is None else plain(self.row)

    @property
    def body(self) -> bytes:
        """Return the JSON of the answer."""
        if self.stored is not None:
            return self.stored.body
        if self._body is None:
            if self.row is None or self.extensions:
                self._body = dump(self.payload())
            else:
                self._body = dump_rows(_Answer(self.row))
        return self._body

    @property
    def cache_control(self) -> str:
        """Return the `Cache-Control` value of an answer to GET."""
        return "private, no-store" if self.errors else self.policy.header()

    @property
    def vary(self) -> str:
        """Return the `Vary` value of the answer: on the language where the policy says so."""
        return vary_of(self.policy)

    @property
    def etag(self) -> str:
        """Return the strong validator of the body."""
        return self.stored.etag if self.stored is not None else etag_of(self.body)

    def payload(self) -> dict[str, Any]:
        """Return the answer as a dict of `data`, `errors` and `extensions`, those that there are."""
        if self.stored is not None:
            result: dict[str, Any] = orjson.loads(self.stored.body)
            return result
        payload: dict[str, Any] = {}
        if self.executed:
            payload["data"] = self.data
        if self.errors:
            payload["errors"] = [self._format(error) for error in self.errors]
        if self.extensions:
            payload["extensions"] = self.extensions
        return payload


class _Answer(Row):
    """An answer without errors."""

    data: Any


def dump_rows(rows: Any) -> bytes:
    """Return the JSON of what compiled code made."""
    try:
        return _ENCODE(rows)
    except (TypeError, UnicodeEncodeError):
        return dump(plain(rows))


def _unusual(value: Any) -> msgspec.Raw:
    """Write what msgspec does not, or should not, write by itself."""
    if value.__class__ is not Unusual:
        raise TypeError(f"Type is not JSON serializable: {type(value).__name__}")
    return msgspec.Raw(dump(value.value))


_ENCODE = msgspec.json.Encoder(enc_hook=_unusual).encode


def dump(payload: Any) -> bytes:
    """Return JSON bytes; the standard library writes what orjson refuses (huge integers, surrogates)."""
    try:
        return orjson.dumps(payload)
    except TypeError:
        return json.dumps(payload, ensure_ascii=True, separators=(",", ":"), default=_plain).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, orjson.Fragment):
        return orjson.loads(orjson.dumps(value))
    raise TypeError(f"Type is not JSON serializable: {type(value).__name__}")


def vary_of(policy: CachePolicy) -> str:
    """Return the `Vary` value that a policy asks for."""
    return "Accept-Language" if policy.language else ""
