"""How long and for whom the public parts of the schema may be kept; `engine.policy` combines them."""

from __future__ import annotations

from typing import Final

from engine.policy import CacheControl, CacheScope
from resolvers.node import describe_enum

describe_enum(
    CacheScope,
    "Who may be given a kept answer.",
    {"PUBLIC": "Everybody.", "PRIVATE": "Only whoever asked for it."},
)

MAX_AGE_S: Final = 60
STALE_S: Final = 600
STATUS_AGE_S: Final = 5


def catalogue_entity(key: str) -> CacheControl:
    """Declare a type whose objects are the same for everybody until the next publish.

    `key` is the attribute that identifies an object of the type within one snapshot.
    """
    return CacheControl(
        max_age=MAX_AGE_S,
        scope=CacheScope.PUBLIC,
        stale_while_revalidate=STALE_S,
        snapshot=True,
        entity_key=key,
    )


CATALOGUE: Final = CacheControl(
    max_age=MAX_AGE_S, scope=CacheScope.PUBLIC, stale_while_revalidate=STALE_S, snapshot=True
)
"""Read from the snapshot alone, without any effect."""

PUBLIC_COMPLAINTS: Final = CacheControl(max_age=30, scope=CacheScope.PUBLIC)
"""May be taken back at any time, so nothing stale is ever given out."""

STATISTICS: Final = CacheControl(max_age=60, scope=CacheScope.PUBLIC, stale_while_revalidate=600)
"""Sums that follow what happens within seconds."""

STATUS: Final = CacheControl(max_age=STATUS_AGE_S, scope=CacheScope.PUBLIC, vary_language=True)
"""Depends on the time and is worded in the client's language."""
