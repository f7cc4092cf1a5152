"""What every resolver of one request shares; made once by the way in, never changed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Literal, Protocol

from msgspec import Struct

from domain.access import Viewer
from domain.errors import DomainError

if TYPE_CHECKING:
    from loaders.catalogue import Freshness
    from loaders.catalogue_snapshot import CatalogueSnapshot
    from loaders.complaint_statistics import ComplaintStatistics
    from loaders.knowledge import Knowledge
    from loaders.public_complaints import PublicComplaints
    from loaders.units import Units
    from notifications.live import LiveHub
    from operations.account import Identity
    from operations.city_cases import CityCases
    from operations.complaint_publication import Publisher
    from operations.complaints import Complaints
    from operations.devices import Devices
    from operations.inbox import Messages
    from operations.media import Attachments
    from operations.open311 import Open311
    from operations.privacy import PersonalStore
    from store.complaint_drafts import ComplaintDraftStore

Language = Literal["zh", "en"]


class ViewCounter(Protocol):
    """Counts how often items are looked at, in memory; written to the store in batches."""

    def count(self, item_id: str) -> None:
        """Count one view of an item by its raw id."""


class Stores(Struct, frozen=True):
    """The open stores and services of this process, by noun; made by `api.resources`.

    `identity` is what signing in needs; `personal` are all stores but the accounts that keep something
    about an account, for export and deletion.
    """

    identity: Identity
    personal: tuple[PersonalStore, ...]
    devices: Devices | None = None
    messages: Messages | None = None
    units: Units | None = None
    complaints: Complaints | None = None
    complaint_drafts: ComplaintDraftStore | None = None
    publisher: Publisher | None = None
    media: Attachments | None = None
    knowledge: Knowledge | None = None
    city_cases: CityCases | None = None
    public_complaints: PublicComplaints | None = None
    statistics: ComplaintStatistics | None = None
    open311: Open311 | None = None


def _no_words(error: DomainError) -> str:
    return error.code


class Context(Struct, frozen=True):
    """The frozen context of one request.

    `catalogue` is pinned: a publish during the request is seen by the next one only. None means that this
    process has no snapshot yet. `catalogue_freshness()` says how far it is confirmed. `now` is UTC. `viewer`
    is None for somebody who is not signed in. `opened` are the stores, read as `stores`. `word` puts a
    refusal into words of the request's language; `client_address()` gives the address of the client.
    `hub` hands out live events and is read as `live`.
    """

    catalogue: CatalogueSnapshot | None
    catalogue_freshness: Callable[[], Freshness | None]
    views: ViewCounter
    language: Language
    request_id: str
    now: datetime
    viewer: Viewer | None = None
    opened: Stores | None = None
    word: Callable[[DomainError], str] = _no_words
    client_address: Callable[[], str] = str
    hub: LiveHub | None = None

    @property
    def stores(self) -> Stores:
        """Give the stores. Raises: RuntimeError where a request is run without any."""
        if self.opened is None:
            raise RuntimeError("this process has opened no stores")
        return self.opened

    @property
    def live(self) -> LiveHub:
        """Give this process's live events. Raises: RuntimeError where a request is run without any."""
        if self.hub is None:
            raise RuntimeError("this process hears no live events")
        return self.hub
