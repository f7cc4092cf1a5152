"""What subscription fields yield: events of one viewer as they are, events for everybody marked as shared."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar, cast

from msgspec import Struct

Value = TypeVar("Value")


class SharedEvent(Struct, Generic[Value], frozen=True):
    """An event that is the same for every viewer; `key` names it among all events of this process."""

    value: Value
    key: Hashable


def shared(value: Value, key: Hashable) -> Value:
    """Mark an event as the same for all viewers: its selection is executed once for all who select the same.

    It is executed for nobody, so fields about the viewer refuse. `key` names the event and everything that
    its value depends on beside the operation's own arguments: `("traffic", snapshot.version, road_id)`.
    """
    # Typed as the value, because that is what the field's return type promises to clients.
    return cast("Value", SharedEvent(value, key))
