"""Finding the operation that a request means: trusted, automatic, or sent as text; prepared once each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import structlog

from api.compiled import CompiledOperation
from api.documents import AutomaticDocuments, BoundedCache, TrustedDocuments, document_hash
from api.errors import RequestError
from api.execution import InvalidDocumentError, Operation, Preparer
from api.parameters import DOCUMENT_PREFIX, Parameters, from_values
from api.ws_subscription import SubscriptionOperation

log = structlog.get_logger(__name__)

_MAX_PREPARED: Final = 1_000
_MAX_PREPARED_CHARS: Final = 400_000  # a prepared and compiled document holds some 250 bytes for each

AnyOperation = Operation | SubscriptionOperation


class Lookup:
    """The prepared operations of one process, of any kind, bounded but for the registered ones."""

    def __init__(
        self,
        preparer: Preparer,
        trusted: TrustedDocuments,
        automatic: Callable[[], AutomaticDocuments],
        *,
        trusted_only: bool,
    ) -> None:
        self._preparer = preparer
        self._trusted = trusted
        self._automatic = automatic
        self._trusted_only = trusted_only
        self._registered: dict[tuple[str, str | None], AnyOperation] = {}
        self._by_id: dict[str, Operation] = {}
        self._prepared: BoundedCache[AnyOperation] = BoundedCache(_MAX_PREPARED, _MAX_PREPARED_CHARS)

    def prepare_trusted(self) -> frozenset[str]:
        """Prepare every registered document and give the operations' names: only they may be logged.

        A document that the schema has outgrown is logged and left out.
        """
        for digest, text in self._trusted.items():
            try:
                operation = self._make(text, None)
            except (RequestError, InvalidDocumentError) as error:
                log.error("documents.trusted_invalid", digest=digest, code=error.code)
                continue
            if isinstance(operation, CompiledOperation):
                operation.trust()
            operation.label = operation.name
            self._registered[digest, None] = operation
            if not isinstance(operation, SubscriptionOperation):
                self._by_id[f"{DOCUMENT_PREFIX}{digest}"] = operation
            if operation.name:
                self._registered[digest, operation.name] = operation
        return frozenset(name for _, name in self._registered if name)

    async def find(self, parameters: Parameters) -> AnyOperation:
        """Give the operation that the parameters name or hold.

        Raises: RequestError, InvalidDocumentError.
        """
        query, digest, name = parameters.query, parameters.digest, parameters.operation_name
        if digest is not None and (operation := self._registered.get((digest, name))):
            return operation
        if self._trusted_only:
            return self._by_trusted_text(query, name)
        if query is None:
            return self._prepare(await self._named(parameters), name)
        if digest is not None and document_hash(query) != digest:
            raise RequestError("PERSISTED_QUERY_HASH_MISMATCH")
        operation = self._prepare(query, name)
        if digest is not None:
            await self._automatic().put(digest, query)
        return operation

    def find_at_hand(self, values: dict[str, Any]) -> tuple[Operation | None, Mapping[str, Any]]:
        """Give the query or mutation of a JSON request and its variables.

        None where something has to be read, prepared or stored for it. Raises: RequestError.
        """
        document_id, variables = values.get("documentId"), values.get("variables")
        if document_id.__class__ is str and variables.__class__ is dict and len(values) == 2:
            # What apps send: a registered document by its hash, and variables.
            found = self._by_id.get(document_id)
            if found is not None:
                return found, variables
        parameters = from_values(values)
        query, digest, name = parameters.query, parameters.digest, parameters.operation_name
        operation: AnyOperation | None = None
        if digest is not None:
            operation = self._registered.get((digest, name))
        elif query is not None and not self._trusted_only:
            operation = self._prepared.get((query, name))
        return None if isinstance(operation, SubscriptionOperation) else operation, parameters.variables

    def _by_trusted_text(self, query: str | None, name: str | None) -> AnyOperation:
        operation = None if query is None else self._registered.get((document_hash(query), name))
        if operation is None:
            raise RequestError("DOCUMENT_NOT_TRUSTED")
        return operation

    async def _named(self, parameters: Parameters) -> str:
        digest = parameters.digest
        if digest is None:
            raise RequestError("MISSING_QUERY")
        text = self._trusted.get(digest) or await self._automatic().get(digest)
        if text is None:
            raise RequestError(
                "PERSISTED_QUERY_NOT_FOUND" if parameters.is_automatic else "DOCUMENT_NOT_FOUND"
            )
        return text

    def _prepare(self, text: str, name: str | None) -> AnyOperation:
        key = (text, name)
        operation = self._prepared.get(key)
        if operation is None:
            operation = self._make(text, name)
            self._prepared.put(key, operation, len(text))
        return operation

    def _make(self, text: str, name: str | None) -> AnyOperation:
        core = self._preparer.check(text, name)
        return SubscriptionOperation(core) if core.is_subscription else self._preparer.ready(text, core)
