"""Keeping the garbage collector away from thousands of connections that only wait.

A full collection looks at every object of every connection: half a second for 5,000 of them, during which
nobody is answered. Connections are long-lived, so they are moved where the collector does not look.
"""

from __future__ import annotations

import gc
from typing import Final

_FREEZE_EVERY: Final = 250
_THAW_AFTER: Final = 20_000


class LongLived:
    """Count connections in and out, and freeze or thaw what they hold at the right times."""

    __slots__ = ("_closed", "_opened")

    def __init__(self) -> None:
        self._opened = 0
        self._closed = 0

    def opened(self) -> None:
        """Freeze what is there after every few connections; young garbage goes first."""
        self._opened += 1
        if self._opened >= _FREEZE_EVERY:
            self._opened = 0
            gc.collect(1)
            gc.freeze()

    def closed(self) -> None:
        """Look at everything once after many connections: cycles among what was frozen go then."""
        self._closed += 1
        if self._closed >= _THAW_AFTER:
            self._closed = 0
            gc.unfreeze()
            gc.collect()
            gc.freeze()
