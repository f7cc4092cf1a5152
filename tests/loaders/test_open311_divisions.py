"""Finding the division in an address: by full names from its beginning, never by guessing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from domain.catalogue import Division, Level
from loaders.open311 import DivisionFinder

SNAPSHOT = cast(
    Any,
    SimpleNamespace(
        version=1,
        tables=SimpleNamespace(
            divisions=[
                Division("350000", "福建省", Level.PROVINCE, None),
                Division("350100", "福州市", Level.CITY, "350000"),
                Division("350102", "鼓楼区", Level.COUNTY, "350100"),
                Division("350102001", "鼓东街道", Level.TOWNSHIP, "350102"),
                Division("350200", "厦门市", Level.CITY, "350000"),
                Division("350103", "城关镇", Level.TOWNSHIP, "350100"),
                Division("350203", "城关镇", Level.TOWNSHIP, "350200"),
            ]
        ),
    ),
)


@pytest.mark.parametrize(
    ("address", "code"),
    [
        ("福建省福州市鼓楼区鼓东街道东街口1号", "350102001"),
        ("福州市 鼓楼區 东街口", "350102"),
        ("鼓楼区东街口", "350102"),
        ("福州市东街口，近厦门市", "350100"),
        ("城关镇人民路", None),
        ("厦门市城关镇人民路", "350203"),
        ("厦门市鼓楼区", "350200"),
        ("鼓楼东街口", None),
        ("东街口", None),
        ("", None),
    ],
)
def test_the_lowest_division_that_is_certain_is_found(address: str, code: str | None) -> None:
    finder = DivisionFinder()
    assert finder.find(SNAPSHOT, address) == code
    assert finder.find(None, address) is None
