"""`/healthz` and `/readyz`: alive, and ready to serve.

Ready means that a catalogue is loaded and both engines answer. While an engine is away `/readyz` says 503 and
names it, yet public reads go on from the snapshot: a balancer that takes unready processes out should keep
its last ones.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from msgspec import Struct
from pymongo.errors import PyMongoError
from redis.exceptions import RedisError

from loaders.catalogue import Freshness

# Probes of many balancers must not become load on the engines.
_REMEMBERED_S: Final = 1.0

Probe = Callable[[], Awaitable[object]]


class FreshnessSource(Protocol):
    """What knows which catalogue is served."""

    def freshness(self) -> Freshness | None:
        """Say which version is served and how far it is confirmed; None before the first."""


class Readiness(Struct, frozen=True):
    """The answer of `/readyz`."""

    is_ready: bool
    report: dict[str, Any]


class Health:
    """Ask the engines and the catalogue; remember the engines' answers for a moment."""

    def __init__(self, catalogue: FreshnessSource, probes: Mapping[str, Probe], timeout_s: float) -> None:
        self._catalogue = catalogue
        self._probes = probes
        self._timeout_s = timeout_s
        self._engines: dict[str, str] = {}
        self._asked_at = float("-inf")
        self._asking = asyncio.Lock()
        self.is_draining = False

    async def check(self) -> Readiness:
        """Say whether this process should get requests, and what is missing or stale if not."""
        engines = await self._ask_engines()
        snapshot = self._snapshot()
        missing = [name for name, state in engines.items() if state != "ok"]
        if snapshot["state"] == "missing":
            missing.insert(0, "snapshot")
        is_ready = not missing and not self.is_draining
        report: dict[str, Any] = {"ready": is_ready, "missing": missing, "snapshot": snapshot}
        report |= {name: {"state": state} for name, state in engines.items()}
        if self.is_draining:
            report["draining"] = True
        return Readiness(is_ready, report)

    def _snapshot(self) -> dict[str, Any]:
        freshness = self._catalogue.freshness()
        if freshness is None:
            return {"state": "missing"}
        now = datetime.now(UTC)
        confirmed_at = freshness.confirmed_at
        return {
            "state": "stale" if freshness.is_stale else "ok",
            "version": freshness.version,
            "revision": freshness.revision,
            "builtAt": freshness.built_at.isoformat(),
            "ageS": round((now - freshness.built_at).total_seconds()),
            "confirmedAt": confirmed_at.isoformat() if confirmed_at else None,
            "unconfirmedS": round((now - confirmed_at).total_seconds()) if confirmed_at else None,
        }

    async def _ask_engines(self) -> dict[str, str]:
        async with self._asking:
            if time.monotonic() - self._asked_at >= _REMEMBERED_S:
                states = await asyncio.gather(*(self._ask(probe) for probe in self._probes.values()))
                self._engines = dict(zip(self._probes, states, strict=True))
                self._asked_at = time.monotonic()
        return self._engines

    async def _ask(self, probe: Probe) -> str:
        try:
            async with asyncio.timeout(self._timeout_s):
                await probe()
        except TimeoutError:
            return "timeout"
        except (PyMongoError, RedisError, OSError, RuntimeError):
            # uvloop raises RuntimeError for a transport that was closed under a client.
            return "unreachable"
        return "ok"
