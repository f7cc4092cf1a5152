"""Places in GraphQL: every coordinate names its system."""

from __future__ import annotations

import math

import strawberry

from domain.complaints import InvalidComplaintError, Point
from domain.coordinates import CoordinateSystem, from_wgs84, to_wgs84
from resolvers.node import describe_enum

_DIGITS = 6  # a decimetre

describe_enum(
    CoordinateSystem,
    "What a pair of degrees means; a wrong system is off by up to a kilometre.",
    {
        "WGS84": "GPS, and most open data.",
        "GCJ02": "Amap, Tencent and WeChat.",
        "BD09": "Baidu.",
    },
)


@strawberry.type(description="A place on the map.")
class GeoPoint:
    """A pair of degrees and its system."""

    longitude: float = strawberry.field(description="Degrees east, -180 to 180.")
    latitude: float = strawberry.field(description="Degrees north, -90 to 90.")
    system: CoordinateSystem = strawberry.field(description="The system of both.")

    @classmethod
    def of(cls, point: Point, system: CoordinateSystem) -> GeoPoint:
        """Show a WGS-84 point in a system, to a decimetre."""
        shown = from_wgs84(point, system)
        return cls(
            longitude=round(shown.longitude, _DIGITS), latitude=round(shown.latitude, _DIGITS), system=system
        )


@strawberry.input(description="A place on the map.")
class GeoPointInput:
    """A pair of degrees and its system."""

    longitude: float = strawberry.field(description="Degrees east, -180 to 180.")
    latitude: float = strawberry.field(description="Degrees north, -90 to 90.")
    system: CoordinateSystem = strawberry.field(description="The system of both.")

    def read(self) -> Point:
        """Give the point in WGS-84, to a decimetre. Raises: InvalidComplaintError naming the field."""
        for name, value, most in (("longitude", self.longitude, 180), ("latitude", self.latitude, 90)):
            if not math.isfinite(value) or abs(value) > most:
                raise InvalidComplaintError(field=f"point.{name}")
        found = to_wgs84(Point(self.longitude, self.latitude), self.system)
        return Point(round(found.longitude, _DIGITS), round(found.latitude, _DIGITS))
