"""Queries for what everybody may see of complaints: the list, one of them, the map."""

from __future__ import annotations

from typing import Annotated

import strawberry
from strawberry.types import Info

from domain.coordinates import CoordinateSystem
from domain.ids import InvalidNodeIdError, decode_node_id, encode_node_id, raw_id_of
from loaders.public_complaint_shelves import PublicFilter
from loaders.public_complaints import MapFilter, PublicComplaints
from loaders.reference import ReferenceUnavailableError
from resolvers.caching import PUBLIC_COMPLAINTS
from resolvers.context import Context
from resolvers.node import PageInfo
from resolvers.public_complaint_types import (
    ComplaintCluster,
    ComplaintMapFilter,
    MapBoundsInput,
    PublicComplaint,
    PublicComplaintConnection,
    PublicComplaintEdge,
    PublicComplaintFilter,
)
from resolvers.units import units_of

_CURSOR = "PublicComplaintCursor"
_MAX_PLACE = 1 << 63
_COST = 10


def public_complaints_of(info: Info[Context, None]) -> PublicComplaints:
    """Give the public complaints of this process. Raises: ReferenceUnavailableError where it has none."""
    public = info.context.stores.public_complaints
    if public is None:
        raise ReferenceUnavailableError(list="public complaints")
    return public


def _place_of(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    type_name, raw = decode_node_id(cursor[:200])
    if type_name != _CURSOR or not (raw.isascii() and raw.isdigit() and 0 < int(raw) < _MAX_PLACE):
        raise InvalidNodeIdError(id=cursor[:80])
    return int(raw)


@strawberry.type
class PublicComplaintsQuery:
    """The public complaints' part of the root of Query."""

    @strawberry.field(
        description="Complaints that were cleared for publication, those published last first. What is no "
        "longer to be seen goes within a minute.",
        directives=[PUBLIC_COMPLAINTS],
        metadata={"cost": _COST},
    )
    def public_complaints(
        self,
        info: Info[Context, None],
        text: Annotated[
            str,
            strawberry.argument(
                description="Words that must all be in the text or the answer, at most 300 characters; of a "
                "word longer than three characters all its groups of three. Empty: all."
            ),
        ] = "",
        filter: Annotated[
            PublicComplaintFilter | None, strawberry.argument(description="What they must have.")
        ] = None,
        first: Annotated[int, strawberry.argument(description="How many, 1 to 100.")] = 20,
        after: Annotated[
            str | None, strawberry.argument(description="Cursor of the last one seen; null: the first page.")
        ] = None,
    ) -> PublicComplaintConnection:
        """Search.

        Raises: TextTooLongError, InvalidPageSizeError, InvalidNodeIdError, InvalidClassCodeError.
        """
        wanted = PublicFilter() if filter is None else filter.read()
        units = units_of(info)
        hits = public_complaints_of(info).search(text, wanted, first, _place_of(after))
        edges = [
            PublicComplaintEdge(
                cursor=encode_node_id(_CURSOR, str(place)), node=PublicComplaint.of(each, units)
            )
            for place, each in hits.complaints
        ]
        page = PageInfo(
            has_next_page=hits.has_next,
            has_previous_page=after is not None,
            start_cursor=edges[0].cursor if edges else None,
            end_cursor=edges[-1].cursor if edges else None,
        )
        return PublicComplaintConnection(edges=edges, page_info=page)

    @strawberry.field(
        description="One public complaint; null when there is none, or none any more.",
        directives=[PUBLIC_COMPLAINTS],
        metadata={"cost": _COST},
    )
    async def public_complaint(
        self,
        info: Info[Context, None],
        id: Annotated[strawberry.ID, strawberry.argument(description="Its global id.")],
    ) -> PublicComplaint | None:
        """Find a public complaint."""
        found = await public_complaints_of(info).find(raw_id_of("PublicComplaint", id[:200]))
        return None if found is None else PublicComplaint.of(found, units_of(info))

    @strawberry.field(
        description="Public complaints in a part of the map, counted in cells that become finer with the "
        "zoom; the 500 fullest.",
        directives=[PUBLIC_COMPLAINTS],
        metadata={"cost": _COST, "list_size": 100},
    )
    def complaint_clusters(
        self,
        info: Info[Context, None],
        bounds: Annotated[MapBoundsInput, strawberry.argument(description="The part of the map.")],
        zoom: Annotated[int, strawberry.argument(description="Zoom of a web map, 0 to 22.")],
        filter: Annotated[
            ComplaintMapFilter | None, strawberry.argument(description="What they must be.")
        ] = None,
        system: Annotated[
            CoordinateSystem, strawberry.argument(description="The system in which marks are given.")
        ] = CoordinateSystem.WGS84,
    ) -> list[ComplaintCluster]:
        """Count by cell. Raises: InvalidComplaintError, InvalidBoundsError, InvalidClassCodeError."""
        wanted = MapFilter() if filter is None else filter.read()
        corners = (bounds.south_west.read(), bounds.north_east.read())
        found = public_complaints_of(info).clusters(*corners, zoom, wanted)
        return [ComplaintCluster.of(cell, system) for cell in found]
