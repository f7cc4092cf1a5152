"""The three coordinate systems: known pairs, and there and back again."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from domain.complaints import Point
from domain.coordinates import CoordinateSystem, from_wgs84, to_wgs84

GCJ02, BD09 = CoordinateSystem.GCJ02, CoordinateSystem.BD09
TIANANMEN = Point(116.391259, 39.907323)
FUJIAN = st.builds(Point, st.floats(115.8, 120.8), st.floats(23.5, 28.4))
ANYWHERE = st.builds(Point, st.floats(-180, 180), st.floats(-90, 90))


def metres(one: Point, other: Point) -> float:
    east = math.radians(one.longitude - other.longitude) * math.cos(math.radians(one.latitude))
    return 6_378_137 * math.hypot(east, math.radians(one.latitude - other.latitude))


def test_points_that_are_known_in_each_system() -> None:
    # The same gate as map providers give it in their own systems.
    assert metres(from_wgs84(TIANANMEN, GCJ02), Point(116.397502, 39.908726)) < 1
    assert metres(from_wgs84(TIANANMEN, BD09), Point(116.403874, 39.915119)) < 10
    assert from_wgs84(Point(-0.1276, 51.5072), GCJ02) == Point(-0.1276, 51.5072)
    assert to_wgs84(TIANANMEN, CoordinateSystem.WGS84) is TIANANMEN


@given(FUJIAN, st.sampled_from([GCJ02, BD09]))
def test_there_and_back_is_within_a_centimetre(point: Point, system: CoordinateSystem) -> None:
    shifted = from_wgs84(point, system)
    assert 50 < metres(shifted, point) < 2_500
    assert metres(to_wgs84(shifted, system), point) < 0.01


@given(ANYWHERE, st.sampled_from(list(CoordinateSystem)))
def test_every_point_has_a_place_in_every_system(point: Point, system: CoordinateSystem) -> None:
    for found in (from_wgs84(point, system), to_wgs84(point, system)):
        assert -180 <= found.longitude <= 180
        assert -90 <= found.latitude <= 90
