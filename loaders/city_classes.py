"""The kinds of components and events that a process serves: an operator's own, else those shipped."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from domain.city_classes import COLUMNS, REQUIRED, CityClassList, read_city_classes
from domain.tables import read_table
from loaders.reference import Followed
from store.city_cases import CITY_CLASSES, CityCaseStore


@cache
def shipped_city_classes() -> CityClassList:
    """Read the shipped list, once for the process."""
    text = files("loaders.data").joinpath("city_classes.csv").read_text(encoding="utf-8")
    return read_city_classes(read_table(text, COLUMNS, REQUIRED))


class CityClasses:
    """Immutable classes; `followed` is what a `Follower` keeps up to date."""

    def __init__(self, store: CityCaseStore) -> None:
        self._store = store
        self.followed: Followed[CityClassList] = Followed(CITY_CLASSES, self._load)

    @property
    def current(self) -> CityClassList:
        """The classes. Raises: loaders.reference.ReferenceUnavailableError before the first load."""
        return self.followed.current

    async def _load(self) -> CityClassList:
        return (await self._store.load_classes())[1] or shipped_city_classes()
