"""Topics and the catalogue: which there are, what they are called, to which division they belong."""

from __future__ import annotations

from typing import Final

import strawberry
from strawberry.types import Info

from domain.ids import raw_id_of
from domain.messages import TopicKind
from resolvers.catalogue import snapshot_of
from resolvers.context import Context
from resolvers.messages_types import Topic

_TYPES: Final = {
    TopicKind.DIVISION: "Division",
    TopicKind.ITEM: "ServiceItem",
    TopicKind.CATEGORY: "Category",
}
"""The kinds that the catalogue knows, by the type of their global ids."""


def raw_topic_id(kind: TopicKind, id: str) -> str:
    """Give the raw id behind what a client sent."""
    text = id[:200]
    return raw_id_of(_TYPES[kind], text) if kind in _TYPES else text


def is_known_topic(info: Info[Context, None], kind: TopicKind, id: str) -> bool:
    """Tell whether the catalogue knows a topic; of what is not the catalogue's any id will do.

    Raises: CatalogueUnavailableError.
    """
    return kind not in _TYPES or _name(info, kind, id) is not None


def division_of_topic(info: Info[Context, None], topic: str) -> str | None:
    """Give the code of the division to which a topic belongs; None when it is of all, or not known.

    Raises: CatalogueUnavailableError.
    """
    kind, _, id = topic.partition(":")
    if kind == TopicKind.DIVISION.value:
        division = snapshot_of(info).division(id)
        return None if division is None else division.code
    if kind == TopicKind.ITEM.value:
        item = snapshot_of(info).item(id)
        return None if item is None else item.division_code
    return None


def show_topic(info: Info[Context, None], topic: str) -> Topic:
    """Show a topic with its name; without the catalogue there are none."""
    kind, _, id = topic.partition(":")
    known = TopicKind(kind)
    name = None if info.context.catalogue is None else _name(info, known, id)
    return Topic(kind=known, id=strawberry.ID(id), name=name)


def _name(info: Info[Context, None], kind: TopicKind, id: str) -> str | None:
    snapshot = snapshot_of(info)
    if kind is TopicKind.DIVISION:
        division = snapshot.division(id)
        return None if division is None else division.name
    if kind is TopicKind.ITEM:
        item = snapshot.item(id)
        return None if item is None else item.name
    if kind is TopicKind.CATEGORY:
        category = snapshot.category(id)
        if category is None:
            return None
        return category.name_en if info.context.language == "en" else category.name
    return None
