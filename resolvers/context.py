"""What every resolver of one request shares; made once by the way in, never changed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Literal, Protocol

from msgspec import Struct

from domain.access import Viewer

if TYPE_CHECKING:
    from loaders.catalogue import Freshness
    from loaders.catalogue_snapshot import CatalogueSnapshot

Language = Literal["zh", "en"]


class ViewCounter(Protocol):
    """Counts how often items are looked at, in memory; written to the store in batches."""

    def count(self, item_id: str) -> None:
        """Count one view of an item by its raw id."""


class Context(Struct, frozen=True):
    """The frozen context of one request.

    `catalogue` is pinned: a publish during the request is seen by the next one only. None means that this
    process has no snapshot yet. `catalogue_freshness()` says how far it is confirmed. `now` is UTC. `viewer`
    is None for somebody who is not signed in.
    """

    catalogue: CatalogueSnapshot | None
    catalogue_freshness: Callable[[], Freshness | None]
    views: ViewCounter
    language: Language
    request_id: str
    now: datetime
    viewer: Viewer | None = None
