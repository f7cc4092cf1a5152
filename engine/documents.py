"""Documents: parsed and validated once, compiled when they come again, kept within bounds.

Persisted documents are pinned. Others live in two bounded segments: a document starts in the outer one and
moves to the inner one when it is seen again, so that a flood of unique documents only displaces itself. What
does not parse or validate is remembered briefly, apart from both.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from graphql import DocumentNode, GraphQLError, OperationDefinitionNode

from engine.plan import OperationPlan
from engine.values import VariableReader

MAX_VARIANTS = 16
# Measured with tracemalloc: documents of 95 and 305 characters hold 13.5 and 26.5 KB, with a plan 31 and 91.
_TREE_BYTES, _TREE_FACTOR = 3_000, 80
_PLAN_BYTES, _PLAN_FACTOR = 5_000, 200


@dataclass(slots=True, eq=False)
class PreparedOperation:
    """One operation of a prepared document."""

    name: str | None
    kind: str
    """`query`, `mutation` or `subscription`."""
    node: OperationDefinitionNode
    reader: VariableReader
    conditions: tuple[str, ...]
    reason: str | None
    """Why the operation always runs on graphql-core; None where it compiles."""
    cost: Any = None
    """What the engine's cost hook said of it."""
    sightings: int = 0
    variants: OrderedDict[tuple[bool, ...], OperationPlan | str] = field(default_factory=OrderedDict)
    timed: OrderedDict[tuple[bool, ...], OperationPlan | str] = field(default_factory=OrderedDict)


@dataclass(slots=True, eq=False)
class Prepared:
    """A document ready to be executed, or the errors that keep it from it."""

    text: str
    document: DocumentNode | None
    errors: list[GraphQLError]
    operations: dict[str | None, PreparedOperation]
    pinned: bool = False

    def find(self, name: str | None) -> PreparedOperation | GraphQLError:
        """Return the operation to run, or graphql-core's error where there is none."""
        if name is None or name == "":
            if len(self.operations) == 1:
                return next(iter(self.operations.values()))
            if not self.operations:
                return GraphQLError("Must provide an operation.")
            return GraphQLError("Must provide operation name if query contains multiple operations.")
        found = self.operations.get(name)
        return found if found is not None else GraphQLError(f"Unknown operation named '{name}'.")

    counted: int = 0
    """The bytes that the cache counts for the document now."""

    @property
    def size(self) -> int:
        """Return roughly the bytes that the document holds with its plans."""
        plans = sum(len(each.variants) + len(each.timed) for each in self.operations.values())
        chars = len(self.text)
        return _TREE_BYTES + chars * _TREE_FACTOR + plans * (_PLAN_BYTES + chars * _PLAN_FACTOR)


class DocumentCache:
    """Keep prepared documents by their text."""

    def __init__(self, max_documents: int, max_bytes: int, max_invalid: int = 128) -> None:
        self.max_documents = max_documents
        self.max_bytes = max_bytes
        self.bytes = 0
        self.pinned: dict[str, Prepared] = {}
        self._by_id: dict[str, Prepared] = {}
        self._outer: OrderedDict[str, Prepared] = OrderedDict()
        self._inner: OrderedDict[str, Prepared] = OrderedDict()
        self._invalid: OrderedDict[str, Prepared] = OrderedDict()
        self._max_invalid = max_invalid

    def __len__(self) -> int:
        return len(self._outer) + len(self._inner)

    def find(self, text: str) -> Prepared | None:
        """Return the prepared document of a text."""
        found = self.pinned.get(text)
        if found is not None:
            return found
        found = self._inner.get(text)
        if found is not None:
            self._inner.move_to_end(text)
            return found
        found = self._outer.pop(text, None)
        if found is not None:
            self._inner[text] = found
            return found
        return self._invalid.get(text)

    def add(self, prepared: Prepared) -> None:
        """Keep a document seen for the first time."""
        if prepared.errors:
            if len(prepared.text) <= 4096:
                self._invalid[prepared.text] = prepared
                if len(self._invalid) > self._max_invalid:
                    self._invalid.popitem(last=False)
            return
        if prepared.size > self.max_bytes // 4:
            return
        self._outer[prepared.text] = prepared
        self.count(prepared)

    def count(self, prepared: Prepared) -> None:
        """Count what a kept document holds now, which grows with its plans, and make room for it."""
        if prepared.text not in self._outer and prepared.text not in self._inner:
            return
        size = prepared.size
        self.bytes += size - prepared.counted
        prepared.counted = size
        while self.bytes > self.max_bytes or len(self) > self.max_documents:
            # The outer segment goes first, the inner one only when it holds more than its three quarters.
            segment = self._outer if self._outer and len(self._inner) * 4 <= self.max_documents * 3 else None
            if segment is None:
                segment = self._inner or self._outer
            _, dropped = segment.popitem(last=False)
            self.bytes -= dropped.counted
            dropped.counted = 0

    def pin(self, document_id: str, prepared: Prepared) -> None:
        """Keep a persisted document for good, under its identifier and its text."""
        prepared.pinned = True
        self.pinned[prepared.text] = prepared
        self._by_id[document_id] = prepared

    def find_pinned(self, document_id: str) -> Prepared | None:
        """Return a persisted document."""
        return self._by_id.get(document_id)


def remember(
    variants: OrderedDict[tuple[bool, ...], OperationPlan | str],
    key: tuple[bool, ...],
    compute: Callable[[], OperationPlan | str],
) -> OperationPlan | str:
    """Return the plan of one combination of conditions; only the most recent combinations are kept."""
    found = variants.get(key)
    if found is None:
        found = variants[key] = compute()
        if len(variants) > MAX_VARIANTS:
            variants.popitem(last=False)
    elif len(variants) > 1:
        variants.move_to_end(key)
    return found


def condition_values(operation: PreparedOperation, coerced: Mapping[str, Any]) -> tuple[bool, ...] | None:
    """Return the values of the variables in `@skip` and `@include`, None where one is not a boolean."""
    values = tuple(coerced.get(name) for name in operation.conditions)
    return None if any(value.__class__ is not bool for value in values) else values  # type: ignore[return-value]
