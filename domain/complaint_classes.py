"""What complaints are about: a list of classes on two levels, and guessing the class from a text.

The list is the product's own, after the subjects that 12345 centres publish; an operator's file may
replace it. A group has a code of two digits, a class four digits that begin with its group's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from domain.errors import DomainError
from domain.tables import InvalidTableError, Row
from domain.text import compact, fold

MAX_SUGGESTED: Final = 10
_MAX_TEXT: Final = 2_000
_NAME_WEIGHT: Final = 1.5
_GROUP_SHARE: Final = 0.5
REQUIRED: Final = ("code", "parent", "name")
COLUMNS: Final = (
    "code",
    "parent",
    "name",
    "name_en",
    "is_convenience",
    "is_environmental",
    "duty",
    "keywords",
)


class UnknownClassError(DomainError):
    """A code that is no class of complaints."""

    code = "UNKNOWN_COMPLAINT_CLASS"


class ComplaintClass(Struct, frozen=True):
    """A class, or the group of several when `parent_code` is None.

    `is_convenience`: on the list of convenience services (便民服务事项清单), with its shorter limit.
    `duty`: the kind of unit that usually answers for it. `keywords`: what people write about it.
    """

    code: str
    parent_code: str | None
    name: str
    name_en: str
    is_convenience: bool = False
    is_environmental: bool = False
    duty: str = ""
    keywords: tuple[str, ...] = ()


class ClassList:
    """All classes, immutable; in the order of their codes."""

    def __init__(self, classes: Iterable[ComplaintClass]) -> None:
        self._by_code = {each.code: each for each in sorted(classes, key=lambda each: each.code)}
        self._keywords: dict[str, list[tuple[str, float]]] = {}
        for each in self._by_code.values():
            self._keywords.setdefault(compact(fold(each.name)), []).append((each.code, _NAME_WEIGHT))
            for keyword in each.keywords:
                self._keywords.setdefault(compact(fold(keyword)), []).append((each.code, 1.0))

    def __len__(self) -> int:
        return len(self._by_code)

    @property
    def all(self) -> tuple[ComplaintClass, ...]:
        """Groups and classes, each group before its classes."""
        return tuple(self._by_code.values())

    @property
    def groups(self) -> tuple[ComplaintClass, ...]:
        """The upper level."""
        return tuple(each for each in self._by_code.values() if each.parent_code is None)

    def children(self, group_code: str) -> tuple[ComplaintClass, ...]:
        """List the classes of a group; empty for a code that is none."""
        return tuple(each for each in self._by_code.values() if each.parent_code == group_code)

    def find(self, code: str) -> ComplaintClass | None:
        """Find a class or a group."""
        return self._by_code.get(code)

    def get(self, code: str) -> ComplaintClass:
        """Give a class that a complaint may have, which a group is not.

        Raises: UnknownClassError.
        """
        found = self._by_code.get(code)
        if found is None or found.parent_code is None:
            raise UnknownClassError(code=code[:20], field="classCode")
        return found

    def is_environmental(self, code: str) -> bool:
        """Tell whether a class is the environmental authority's; an unknown one is not."""
        found = self._by_code.get(code)
        return found is not None and found.is_environmental

    def suggest(self, text: str, first: int = 5) -> list[str]:
        """Rank classes by the words of a text (its first 2,000 characters): codes, the likeliest first.

        Every word counts once, long ones more than in proportion; a group's words count half for its classes
        that have words of their own in the text.
        """
        folded = compact(fold(text[:_MAX_TEXT]))
        scores: dict[str, float] = {}
        for keyword, codes in self._keywords.items():
            if keyword and keyword in folded:
                for code, weight in codes:
                    scores[code] = scores.get(code, 0.0) + weight * len(keyword) ** 1.5
        ranked = [
            (-score - _GROUP_SHARE * scores.get(self._by_code[code].parent_code or "", 0.0), code)
            for code, score in scores.items()
            if self._by_code[code].parent_code is not None
        ]
        return [code for _, code in sorted(ranked)[: min(first, MAX_SUGGESTED)]]


def read_classes(rows: Iterable[Row]) -> ClassList:
    """Make a list from the rows of a table with the columns `COLUMNS`.

    Raises: InvalidTableError naming line (the header is line 1), column and reason; nothing is half read.
    """
    classes: dict[str, ComplaintClass] = {}
    lines: dict[str, Row] = {}
    for row in rows:
        each = _read_class(row)
        if each.code in classes:
            raise row.wrong("code", f"{each.code} is already there")
        classes[each.code], lines[each.code] = each, row
    for code, each in classes.items():
        if each.parent_code is not None and each.parent_code not in classes:
            raise lines[code].wrong("parent", "no such group")
    if not classes:
        raise InvalidTableError(line=1, column="code", reason="the table is empty")
    return ClassList(classes.values())


def _read_class(row: Row) -> ComplaintClass:
    code, parent = row.text("code", 4, required=True), row.text("parent", 2)
    if not (code.isascii() and code.isdigit() and len(code) in (2, 4)):
        raise row.wrong("code", "is not 2 or 4 digits")
    if parent != (code[:2] if len(code) == 4 else ""):
        raise row.wrong("parent", "does not begin the code")
    return ComplaintClass(
        code=code,
        parent_code=parent or None,
        name=row.text("name", 40, required=True),
        name_en=row.text("name_en", 80),
        is_convenience=row.flag("is_convenience"),
        is_environmental=row.flag("is_environmental"),
        duty=row.text("duty", 40),
        keywords=row.parts("keywords", 1_000),
    )
