"""Coordinates in the three systems that maps in China use; the house keeps WGS-84.

GCJ-02 (Amap, Tencent, WeChat) shifts WGS-84 by up to 700 m within the bounds of the mainland, BD-09 (Baidu)
shifts GCJ-02 once more. Source: the formulas as published by the open-source map community; the official ones
are not public. Both ways agree to a centimetre.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from domain.complaints import Point

_AXIS_M: Final = 6_378_245.0
_ECCENTRICITY: Final = 0.00669342162296594323
"""Krasovsky 1940: half axis and the square of the eccentricity."""
_BAIDU: Final = math.pi * 3000 / 180
_ROUNDS: Final = 10
_RIPPLE: Final = ((20, 1 / 6), (20, 1 / 2))


class CoordinateSystem(StrEnum):
    """What a pair of degrees means."""

    WGS84 = "WGS84"
    GCJ02 = "GCJ02"
    BD09 = "BD09"


def to_wgs84(point: Point, system: CoordinateSystem) -> Point:
    """Give a point of a system in WGS-84, degrees."""
    if system is CoordinateSystem.WGS84:
        return point
    found = point
    for _ in range(_ROUNDS):  # the shift changes by less than a thousandth of itself: this settles at once
        shifted = from_wgs84(found, system)
        found = Point(
            _bounded(found.longitude + point.longitude - shifted.longitude, 180),
            _bounded(found.latitude + point.latitude - shifted.latitude, 90),
        )
    return found


def from_wgs84(point: Point, system: CoordinateSystem) -> Point:
    """Give a WGS-84 point in another system, degrees."""
    if system is CoordinateSystem.WGS84:
        return point
    shifted = _to_gcj02(point)
    return _to_bd09(shifted) if system is CoordinateSystem.BD09 else shifted


def _to_gcj02(point: Point) -> Point:
    if not (72.004 <= point.longitude <= 137.8347 and 0.8293 <= point.latitude <= 55.8271):
        return point
    x, y = point.longitude - 105.0, point.latitude - 35.0
    latitude = math.radians(point.latitude)
    magic = 1 - _ECCENTRICITY * math.sin(latitude) ** 2
    north = math.degrees(_north_m(x, y) * magic * math.sqrt(magic) / (_AXIS_M * (1 - _ECCENTRICITY)))
    east = math.degrees(_east_m(x, y) * math.sqrt(magic) / (_AXIS_M * math.cos(latitude)))
    return Point(point.longitude + east, point.latitude + north)


def _to_bd09(point: Point) -> Point:
    x, y = point.longitude, point.latitude
    radius = math.hypot(x, y) + 0.00002 * math.sin(y * _BAIDU)
    angle = math.atan2(y, x) + 0.000003 * math.cos(x * _BAIDU)
    return Point(
        _bounded(radius * math.cos(angle) + 0.0065, 180), _bounded(radius * math.sin(angle) + 0.006, 90)
    )


def _north_m(x: float, y: float) -> float:
    plane = -100 + 2 * x + 3 * y + 0.2 * y * y + 0.1 * x * y + 0.2 * math.sqrt(abs(x))
    return plane + _waves(x, _RIPPLE) + _waves(y, ((20, 1), (40, 3), (160, 12), (320, 30)))


def _east_m(x: float, y: float) -> float:
    plane = 300 + x + 2 * y + 0.1 * x * x + 0.1 * x * y + 0.1 * math.sqrt(abs(x))
    return plane + _waves(x, (*_RIPPLE, (20, 1), (40, 3), (150, 12), (300, 30)))


def _waves(degrees: float, waves: Iterable[tuple[float, float]]) -> float:
    """Add up waves of an amplitude and half a length, degrees."""
    return sum(height * math.sin(degrees * math.pi / half) for height, half in waves) * 2 / 3


def _bounded(degrees: float, most: float) -> float:
    return max(-most, min(most, degrees))
