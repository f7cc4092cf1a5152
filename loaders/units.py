"""The units and classes that a process serves, and who is responsible by duty and by experience."""

from __future__ import annotations

from domain.complaint_classes import ClassList
from domain.units import Suggestion, UnitTree
from loaders.complaint_classes import shipped_classes
from loaders.reference import Followed
from store.units import CLASSES, UNITS, UnitStore


class Units:
    """Immutable units and classes; `followed` are the lists that a `Follower` keeps up to date."""

    def __init__(self, store: UnitStore) -> None:
        self.store = store
        self._tree: Followed[UnitTree] = Followed(UNITS, self._load_tree)
        self._classes: Followed[ClassList] = Followed(CLASSES, self._load_classes)
        self.followed = (self._tree, self._classes)

    @property
    def tree(self) -> UnitTree:
        """The units. Raises: loaders.reference.ReferenceUnavailableError before they are loaded."""
        return self._tree.current

    @property
    def classes(self) -> ClassList:
        """The classes. Raises: loaders.reference.ReferenceUnavailableError before they are loaded."""
        return self._classes.current

    async def suggest(self, class_code: str, division_code: str, first: int = 5) -> list[Suggestion]:
        """Rank the units that may answer for a class in a division, by duty and past outcomes.

        Raises: domain.complaint_classes.UnknownClassError.
        """
        self.classes.get(class_code)
        past = await self.store.list_outcomes(class_code, division_code)
        return self.tree.responsible(self.classes, class_code, division_code, past, first)

    async def _load_tree(self) -> UnitTree:
        return (await self.store.load_units())[1]

    async def _load_classes(self) -> ClassList:
        return (await self.store.load_classes())[1] or shipped_classes()
