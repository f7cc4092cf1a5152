"""How uvicorn serves the application: uvloop, httptools, no access log, one process or several."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import tempfile
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Final

import uvicorn
from uvicorn.supervisors import Multiprocess

from api.http_connection import Connection
from api.http_protocol import GraphQLProtocol
from api.ws_server import LiveProtocol
from settings import HttpProtocol, Settings

_BACKLOG: Final = 2048
_HTTP: Final[dict[HttpProtocol, Any]] = {
    HttpProtocol.DIRECT: GraphQLProtocol,
    HttpProtocol.ASGI: Connection,
    HttpProtocol.UVICORN: "httptools",
}
_KEEP_ALIVE_S: Final = 75  # longer than the balancers' 60, so that they close first
_MAX_CONCURRENCY: Final = 4_000  # connections and running requests of one process beside WebSockets; then 503


def serve(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT, then drain; give the exit code.

    With several workers the parent restarts those that die, and all share the listening socket.
    """
    if settings.workers == 1:
        return _serve_one(settings)
    directory = Path(tempfile.mkdtemp(prefix="mintong-metrics-"))
    # Read by prometheus_client when the workers import it.
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)
    try:
        config = uvicorn_config(settings)
        listener = config.bind_socket()
        Multiprocess(config, sockets=[listener]).run()
        listener.close()
    finally:
        del os.environ["PROMETHEUS_MULTIPROC_DIR"]
        shutil.rmtree(directory, ignore_errors=True)
    return 0


def uvicorn_config(settings: Settings) -> uvicorn.Config:
    """Make uvicorn's configuration; with a grace period that leaves `/readyz` time to say no first."""
    from api.app import notice_s  # noqa: PLC0415 - the supervisor of several workers need not load the schema

    return uvicorn.Config(
        partial(build_app, settings),
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        loop="uvloop",
        http=_HTTP[settings.http_protocol],
        ws=LiveProtocol,
        ws_max_size=settings.max_body_bytes,
        ws_ping_interval=settings.live_ping_s,
        ws_ping_timeout=settings.live_ping_s,
        ws_per_message_deflate=False,  # 100 KB a connection
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=True,
        backlog=_BACKLOG,
        limit_concurrency=_MAX_CONCURRENCY + settings.live_connections,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, round(settings.drain_s - notice_s(settings.drain_s))),
        h11_max_incomplete_event_size=16_384,
    )


def build_app(settings: Settings) -> object:
    """Build the application inside the process that serves it."""
    from api.app import create_app  # noqa: PLC0415 - as above
    from api.logs import configure_logging  # noqa: PLC0415

    configure_logging(settings)
    _raise_file_limit()
    return create_app(settings)


def _serve_one(settings: Settings) -> int:
    server = uvicorn.Server(uvicorn_config(settings))
    # uvicorn raises the signal again once it has drained; by then there is nothing left to do.
    previous = {number: signal.signal(number, _ignore) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        server.run()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    return 0 if server.started else 1


def _raise_file_limit() -> None:
    """Use the hard limit of open files: every connection is one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _ignore(number: int, frame: FrameType | None) -> None:
    """Do nothing."""
