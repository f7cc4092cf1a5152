"""`mintong run`: the whole system under one supervisor."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import httpx
from rich.table import Table

from cli.resources import CommandError, console, engine_environment
from cli.supervisor import Child, mintong_command
from settings import Settings
from store.catalogue import CatalogueStore
from store.connections import open_mongodb
from store.engines import EmbeddedEngines, find_running
from store.reference import ReferenceStore
from store.units import UNITS

_READY_TIMEOUT_S = 180.0
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, not bound to


async def run_system(
    settings: Settings, parts: Sequence[str] = ("api", "feeds", "worker"), *, demo: bool = True
) -> None:
    """Run the engines and these parts until cancelled; then stop them all, the parts first.

    Raises: CommandError, EngineError when the system cannot start or a part fails for good.
    """
    started = time.monotonic()
    _check_free(settings, listens="api" in parts)
    async with contextlib.AsyncExitStack() as stack:
        engines, environment = await stack.enter_async_context(_engines(settings))
        has_catalogue = await _has_catalogue(settings, environment)
        if not has_catalogue and demo and not settings.is_production:
            await _load_demo(environment)
            has_catalogue = True
        if demo and not settings.is_production and not await _has_units(settings, environment):
            await _load_demo_part(environment, "desk", "units, guides and complaints")
        children = [_child(settings, name, environment) for name in parts]
        for child in children:
            await child.start()
            stack.push_async_callback(child.stop)
        tasks = [asyncio.create_task(child.supervise()) for child in children]
        if engines is not None:
            tasks.append(asyncio.create_task(engines.wait_failed()))
        stack.push_async_callback(_cancel, tasks)
        # Runs before the children are stopped, so that nobody wonders why it takes some seconds.
        stack.callback(console.print, "Stopping …")
        if "api" in parts:
            # Without a catalogue the API serves, but calls itself ready only after an import.
            await _wait_answer(f"{base_url(settings)}/{'readyz' if has_catalogue else 'healthz'}", tasks)
            _print_addresses(settings, environment)
            took = f"after {time.monotonic() - started:.1f} s"
            if has_catalogue:
                console.print(f"[green]Mintong is ready[/] {took}.")
            else:
                console.print(
                    f"Mintong runs {took}. There is no catalogue yet: "
                    "`mintong import catalogue PATH` brings one in."
                )
        await _first_end(tasks)


def _check_free(settings: Settings, *, listens: bool) -> None:
    running = find_running(settings.home)
    if running is not None and not (settings.mongodb_uri and settings.redis_url):
        raise CommandError(
            f"Mintong runs already: {settings.home} is in use by process {running.pid}. "
            "Stop it first, or set MINTONG_HOME and MINTONG_PORT for a second one."
        )
    if not listens:
        return
    with socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise CommandError(
                    f"Port {settings.port} on {settings.host} is taken by another program. "
                    "Stop that one, or set MINTONG_PORT to a free port."
                ) from None
            raise CommandError(
                f"Cannot listen on {settings.host}:{settings.port}: {error.strerror}. "
                "Check MINTONG_HOST and MINTONG_PORT."
            ) from None


@contextlib.asynccontextmanager
async def _engines(settings: Settings) -> AsyncIterator[tuple[EmbeddedEngines | None, dict[str, str]]]:
    mongodb_uri, redis_url = settings.mongodb_uri, settings.redis_url
    if mongodb_uri and redis_url:
        yield None, engine_environment(settings, mongodb_uri, redis_url)
        return
    async with EmbeddedEngines(settings.home, mongodb=not mongodb_uri, redis=not redis_url) as engines:
        mongodb_uri, redis_url = mongodb_uri or engines.mongodb_uri, redis_url or engines.redis_url
        yield engines, engine_environment(settings, mongodb_uri, redis_url)


async def _has_catalogue(settings: Settings, environment: dict[str, str]) -> bool:
    async with open_mongodb(environment["MONGODB_URI"], 10_000) as client:
        return (await CatalogueStore(client[settings.database]).get_state()).version > 0


async def _has_units(settings: Settings, environment: dict[str, str]) -> bool:
    async with open_mongodb(environment["MONGODB_URI"], 10_000) as client:
        return UNITS in await ReferenceStore(client[settings.database]).revisions()


async def _load_demo(environment: dict[str, str]) -> None:
    """Fill an empty store with the demo catalogue."""
    console.print("First start: loading the demo catalogue of Fujian (once; later starts keep the data).")
    await _load_demo_part(environment, "catalogue", "catalogue")


async def _load_demo_part(environment: dict[str, str], part: str, words: str) -> None:
    """Make a part of the demo, in a process of its own whose memory is given back."""
    child = Child("demo", mintong_command("demo", part), environment, None, console.print)
    await child.start()
    try:
        status = await child.wait()
    finally:
        await child.stop()
    if status != 0:
        raise CommandError(
            f"The demo's {words} could not be loaded, see above. `mintong run --no-demo` starts without it."
        )


def _child(settings: Settings, name: str, environment: dict[str, str]) -> Child:
    logs = Path(environment["MINTONG_HOME"]) / "logs"
    logs.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Child(
        name,
        mintong_command(name),
        {**environment, "MINTONG_SUPERVISED": "1"},
        logs / f"{name}.log",
        console.print,
        stop_timeout_s=settings.drain_s + 10,
    )


async def _wait_answer(url: str, tasks: Sequence[asyncio.Task[None]]) -> None:
    """Wait until `url` answers 200.

    Raises: CommandError when it does not in time, and whatever a task raises that ends meanwhile.
    """
    deadline = time.monotonic() + _READY_TIMEOUT_S
    answer = "no answer"
    with console.status("Starting the API …"):
        async with httpx.AsyncClient(trust_env=False, timeout=2) as client:
            while time.monotonic() < deadline:
                with contextlib.suppress(httpx.HTTPError):
                    response = await client.get(url)
                    if response.status_code == 200:
                        return
                    answer = response.text
                done, _ = await asyncio.wait(tasks, timeout=0.1, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
    raise CommandError(f"The API is not ready after {_READY_TIMEOUT_S:g} s: {answer}")


def base_url(settings: Settings) -> str:
    """Return the address under which this machine reaches the API."""
    host = _WILDCARDS.get(settings.host, settings.host)
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


def _print_addresses(settings: Settings, environment: dict[str, str]) -> None:
    base = base_url(settings)
    table = Table.grid(padding=(0, 2))
    if settings.serves_graphiql:
        table.add_row("Try it", f"{base}/graphql  (GraphiQL, in a browser)")
    table.add_row("GraphQL", f"{base}/graphql")
    table.add_row("Health", f"{base}/readyz  {base}/healthz  {base}/metrics")
    home = environment["MINTONG_HOME"]
    table.add_row(
        "Data", home if not (settings.mongodb_uri and settings.redis_url) else "your MongoDB and Redis"
    )
    table.add_row("Logs", f"{home}/logs")
    table.add_row("Stop", "Ctrl-C")
    console.print(table)


async def _first_end(tasks: Sequence[asyncio.Task[None]]) -> None:
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
