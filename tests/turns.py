"""How the suite is shared between processes: what stays together, and what runs while nothing else does.

`make test` runs two workers. A file's tests stay in one worker, for the sake of its fixtures, and so do all
tests of faults, which bring many processes of their own. A test marked `alone` watches the clock: while it
runs, the other workers wait between two tests.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling

FAULTS = "tests/faults/"


class ByFile(LoadScopeScheduling):
    """Hands out whole files, and the tests of faults as if they were one."""

    def _split_scope(self, nodeid: str) -> str:
        return FAULTS if nodeid.startswith(FAULTS) else nodeid.partition("::")[0]


def in_order(items: list[pytest.Item]) -> None:
    """Begin with the faults, which take longest; end with files that want to be alone and then wait least."""
    quiet = {item.path for item in items if item.get_closest_marker("alone")}
    items.sort(key=lambda item: 0 if item.nodeid.startswith(FAULTS) else 2 if item.path in quiet else 1)


@contextmanager
def turn(folder: Path, *, alone: bool) -> Iterator[None]:
    """Hold the lock of a folder: with the others, or alone, and then not overtaken while waiting for them."""
    how = fcntl.LOCK_EX if alone else fcntl.LOCK_SH
    with (folder / "door").open("a") as door, (folder / "room").open("a") as room:
        fcntl.flock(door, how)
        fcntl.flock(room, how)
        if not alone:
            fcntl.flock(door, fcntl.LOCK_UN)
        yield
