"""What every noun shares: the Node interface, freshness of values, described enums."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import Enum, StrEnum

import strawberry
from strawberry.types.enum import StrawberryEnumDefinition


def describe_enum(
    enum: type[Enum], description: str, values: Mapping[str, str], name: str | None = None
) -> None:
    """Make a domain enum a GraphQL enum, under its own name or another, with each of its values described.

    Raises: ValueError when a value has no description.
    """
    strawberry.enum(enum, name=name, description=description)
    definition: StrawberryEnumDefinition = enum.__strawberry_definition__  # type: ignore[attr-defined]
    missing = {value.name for value in definition.values} ^ set(values)
    if missing:
        raise ValueError(f"{enum.__name__}: no description, or no such value: {sorted(missing)}")
    for value in definition.values:
        value.description = values[value.name]


@strawberry.interface(description="An object with an id that is unique over all types; see `node`.")
class Node:
    """The Relay Node; sources give the id as their attribute `node_id`."""

    node_id: strawberry.ID = strawberry.field(
        name="id", description="Opaque id, unique over all types; stable while the object exists."
    )


class SourceState(StrEnum):
    """How far a value can be trusted as of now."""

    LIVE = "LIVE"
    STALE = "STALE"
    SCHEDULED = "SCHEDULED"
    UNAVAILABLE = "UNAVAILABLE"


describe_enum(
    SourceState,
    "How far a value can be trusted as of now.",
    {
        "LIVE": "Confirmed by its source within the expected time.",
        "STALE": "The source has been silent for longer than expected; this is the last known value.",
        "SCHEDULED": "Planned, not observed.",
        "UNAVAILABLE": "There is no value; the reason says why.",
    },
)


@strawberry.interface(description="A value that says where it comes from and how old it is.")
class Sourced:
    """Provenance of a live value."""

    source: str = strawberry.field(description="Which system said so.")
    observed_at: datetime | None = strawberry.field(
        description="When the value was last confirmed, UTC; null when it never was."
    )
    state: SourceState = strawberry.field(description="Live, stale, scheduled or missing.")
    reason: str | None = strawberry.field(
        description="Why the value is not live, for people; null when it is live."
    )


@strawberry.type(description="Where a page lies within its list (Relay).")
class PageInfo:
    """Relay's PageInfo; lists of this API are paged forward only."""

    has_next_page: bool = strawberry.field(description="Whether there is a page after this one.")
    has_previous_page: bool = strawberry.field(description="Whether this page was reached with `after`.")
    start_cursor: str | None = strawberry.field(description="Cursor of the first edge; null when empty.")
    end_cursor: str | None = strawberry.field(
        description="Cursor of the last edge, to hand in as `after`; null on an empty page."
    )
