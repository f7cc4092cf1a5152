"""`mintong doctor`: what is wrong with this installation, and what to do about it."""

from __future__ import annotations

import platform
import resource
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pymongo.errors import EncryptionError, PyMongoError
from redis.exceptions import RedisError
from rich.table import Table

from api.complaints import open_complaints
from cli.resources import Resources, open_addresses, output
from operations.complaint_audit import NEWEST, audit
from settings import Settings
from store.catalogue import CatalogueStore
from store.complaint_statistics import StatisticsStore
from store.connections import open_mongodb, open_redis
from store.encryption import MasterKeyError
from store.engines import EngineError
from store.indexes import list_missing_indexes

_GIB = 1 << 30
_LIBRARIES = ("strawberry-graphql", "graphql-core", "starlette", "uvicorn", "pymongo", "redis")


class Level(StrEnum):
    """How bad a finding is."""

    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found; `advice` says what to do about it."""

    level: Level
    subject: str
    detail: str
    advice: str = ""


async def examine(settings: Settings) -> list[Finding]:
    """Check the installation; embedded engines that do not run are started for the checks."""
    findings = [*check_python(), *check_settings(settings), *check_disk(settings.home), *check_open_files()]
    async with AsyncExitStack() as stack:
        try:
            mongodb_uri, redis_url = await stack.enter_async_context(open_addresses(settings))
        except EngineError as error:
            findings.append(Finding(Level.FAIL, "Engines", str(error), "`docs/operations.md` tells more."))
            return findings
        mongodb = await stack.enter_async_context(open_mongodb(mongodb_uri, settings.engine_timeout_ms))
        redis = await stack.enter_async_context(open_redis(redis_url, settings.engine_timeout_ms))
        resources = Resources(settings, mongodb, mongodb[settings.database], redis)
        for check in (check_mongodb, check_redis):
            findings += await check(resources)
    return findings


def show(findings: list[Finding]) -> bool:
    """Print the findings; tell whether nothing failed."""
    colours = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "red"}
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for finding in findings:
        text = finding.detail if not finding.advice else f"{finding.detail}\n→ {finding.advice}"
        table.add_row(f"[{colours[finding.level]}]{finding.level}[/]", finding.subject, text)
    output.print(table)
    failed = sum(finding.level is Level.FAIL for finding in findings)
    warned = sum(finding.level is Level.WARN for finding in findings)
    output.print(f"{len(findings)} checks: {failed} failed, {warned} with a warning.")
    return failed == 0


def check_python() -> Iterator[Finding]:
    """Check the interpreter and name the versions that a report of a fault should carry."""
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    level = Level.OK if sys.version_info >= (3, 11) else Level.FAIL
    advice = "" if level is Level.OK else "Use Python 3.11 or later."
    detail = (
        f"{platform.python_implementation()} {platform.python_version()} on {platform.system()}; {libraries}"
    )
    yield Finding(level, "Python", detail, advice)


def check_settings(settings: Settings) -> Iterator[Finding]:
    """Check what is valid by itself but unwise together."""
    yield Finding(Level.OK, "Settings", f"{settings.environment.value}, database {settings.database}")
    if not settings.is_production:
        return
    if not (settings.mongodb_uri and settings.redis_url):
        yield Finding(
            Level.FAIL,
            "Engines' addresses",
            "Production would run on embedded engines, which are made for trial and development.",
            "Set MONGODB_URI (a replica set or sharded cluster) and REDIS_URL.",
        )
    if settings.serves_graphiql or (settings.allows_introspection and not settings.trusted_documents_only):
        yield Finding(
            Level.WARN,
            "Exposure",
            "Introspection or GraphiQL is open to everybody in production.",
            "Unset MINTONG_INTROSPECTION and MINTONG_GRAPHIQL, unless that is meant.",
        )
    if "*" in settings.cors_origins:
        yield Finding(
            Level.WARN,
            "CORS",
            "Every origin may call from a browser.",
            "Name the origins in MINTONG_CORS_ORIGINS.",
        )


def check_disk(home: Path) -> Iterator[Finding]:
    """Check that the home can be written and has room for engines, snapshots and logs."""
    home = home.expanduser().resolve()
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = home / ".doctor"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        yield Finding(Level.FAIL, "Home", f"{home} cannot be written: {error.strerror}", "Set MINTONG_HOME.")
        return
    free = shutil.disk_usage(home).free
    level = Level.OK if free > 2 * _GIB else Level.WARN if free > _GIB // 2 else Level.FAIL
    advice = "" if level is Level.OK else "Free some space, or set MINTONG_HOME to a folder on another disk."
    yield Finding(level, "Disk", f"{free / _GIB:.1f} GiB free for {home}", advice)


def check_open_files() -> Iterator[Finding]:
    """Check how many connections and files a process may hold open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= 4096:
        yield Finding(Level.OK, "Open files", f"{'no limit' if soft == resource.RLIM_INFINITY else soft}")
    else:
        yield Finding(
            Level.WARN,
            "Open files",
            f"at most {soft}",
            f"Raise it before the start: ulimit -n {65536 if hard == resource.RLIM_INFINITY else hard}",
        )


async def check_mongodb(resources: Resources) -> list[Finding]:
    """Check MongoDB: reachable, version, transactions, indexes, the catalogue, and its clock against ours."""
    try:
        before, started = datetime.now(UTC), time.monotonic()
        hello = await resources.mongodb.admin.command("hello")
        took = timedelta(seconds=time.monotonic() - started)
        build = await resources.mongodb.admin.command("buildInfo")
        return [
            _judge_mongodb(hello, build),
            judge_clock(hello["localTime"].replace(tzinfo=UTC) - (before + took / 2), took),
            await _check_indexes(resources),
            await _check_catalogue(resources),
            await _check_complaints(resources),
        ]
    except PyMongoError as error:
        return [_unreachable("MongoDB", "MONGODB_URI", resources.settings.mongodb_uri is None, error)]


def _judge_mongodb(hello: dict[str, Any], build: dict[str, Any]) -> Finding:
    embedded = f", SecantusDB {build['secantusVersion']}" if "secantusVersion" in build else ""
    detail = f"answers as {build['version']}{embedded}"
    if build["versionArray"][0] < 6:
        return Finding(Level.FAIL, "MongoDB", detail, "Use MongoDB 6.0 or later.")
    if "setName" not in hello and hello.get("msg") != "isdbgrid":
        return Finding(
            Level.FAIL,
            "MongoDB",
            f"{detail}, a standalone server without transactions",
            "Make it a replica set, even of one member: rs.initiate().",
        )
    return Finding(Level.OK, "MongoDB", detail)


def judge_clock(ahead: timedelta, uncertainty: timedelta) -> Finding:
    """Judge how far the database's clock is ahead of ours, known to within `uncertainty`."""
    apart = max(abs(ahead) - uncertainty, timedelta())
    detail = f"the database's clock differs by {abs(ahead).total_seconds():.3f} s"
    level = (
        Level.OK
        if apart < timedelta(seconds=1)
        else Level.WARN
        if apart < timedelta(minutes=1)
        else Level.FAIL
    )
    advice = (
        ""
        if level is Level.OK
        else "Let NTP set the clocks of both machines (timedatectl, chronyc tracking)."
    )
    return Finding(level, "Clock", detail, advice)


async def _check_indexes(resources: Resources) -> Finding:
    missing = await list_missing_indexes(resources.database)
    if missing:
        return Finding(
            Level.WARN,
            "Indexes",
            f"missing: {', '.join(missing)}",
            "`mintong feeds` and every import create them; start one.",
        )
    return Finding(Level.OK, "Indexes", "all present")


async def _check_catalogue(resources: Resources) -> Finding:
    state = await CatalogueStore(resources.database).get_state()
    if state.version == 0 or state.published_at is None:
        return Finding(
            Level.WARN,
            "Catalogue",
            "none is published",
            "`mintong import catalogue PATH`, or `mintong demo catalogue` to try.",
        )
    age = datetime.now(UTC) - state.published_at
    detail = f"version {state.version}, {state.item_count} items, published {_ago(age)} ago"
    folder = resources.settings.home.expanduser().resolve() / "snapshots" / f"catalogue-{state.version}"
    if not (folder / "manifest.json").exists():
        detail += ", not on this machine yet (the API fetches it)"
    if state.pending:
        return Finding(Level.WARN, "Catalogue", f"{detail}; newer data waits", "`mintong catalogue publish`")
    return Finding(Level.OK, "Catalogue", detail)


async def _check_complaints(resources: Resources) -> Finding:
    """Check the newest histories; `mintong complaints verify` goes through all."""
    try:
        async with open_complaints(resources.settings, resources.mongodb) as complaints:
            statistics = StatisticsStore(resources.database)
            report = await audit(complaints, statistics, newest=NEWEST, now=datetime.now(UTC))
    except (MasterKeyError, EncryptionError) as error:
        return Finding(Level.FAIL, "Complaints", str(error), "Give this process the master key of the API.")
    if report.faults:
        number, fault = next(iter(report.faults.items()))
        return Finding(
            Level.FAIL,
            "Complaints",
            f"{len(report.faults)} of {report.checked} histories are not sound; {number}: {fault[0]}",
            "`mintong complaints verify` lists all. Somebody has changed the database past the rules.",
        )
    return Finding(Level.OK, "Complaints", f"{report.checked} histories checked, all sound")


def _ago(age: timedelta) -> str:
    minutes = int(age.total_seconds() // 60)
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 2880 else f"{minutes // 1440} days"


async def check_redis(resources: Resources) -> list[Finding]:
    """Check Redis: reachable, version, and that it forgets nothing on its own."""
    try:
        info = await resources.redis.info()
    except (RedisError, OSError) as error:
        return [_unreachable("Redis", "REDIS_URL", resources.settings.redis_url is None, error)]
    detail = f"version {info['redis_version']}, {info['used_memory_human']} used"
    if int(str(info["redis_version"]).split(".")[0]) < 6:
        return [Finding(Level.FAIL, "Redis", detail, "Use Redis 6.2 or later.")]
    if info.get("maxmemory", 0) and info.get("maxmemory_policy") != "noeviction":
        return [
            Finding(
                Level.WARN,
                "Redis",
                f"{detail}, evicts keys ({info['maxmemory_policy']}), queued jobs among them",
                "CONFIG SET maxmemory-policy noeviction",
            )
        ]
    if not info.get("aof_enabled", 0):
        return [Finding(Level.WARN, "Redis", f"{detail}, no append-only file", "CONFIG SET appendonly yes")]
    return [Finding(Level.OK, "Redis", detail)]


def _unreachable(name: str, variable: str, embedded: bool, error: Exception) -> Finding:
    advice = (
        "Its log is in the home's logs folder."
        if embedded
        else f"Check {variable}, the network and the server."
    )
    return Finding(Level.FAIL, name, f"does not answer: {str(error)[:200]}", advice)
