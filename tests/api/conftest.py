"""An application over a small schema, called in process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import structlog
from api_harness import InProcess, Surroundings, application, settings_for
from wire import OPEN

from api.logs import configure_logging
from settings import Settings


@pytest.fixture(autouse=True, scope="module")
def plain_logs() -> None:
    """Log as the application does: tracebacks with all locals would take longer than the tests.

    For every file anew, because tests elsewhere set the logs back.
    """
    configure_logging(Settings(log_level="INFO"))
    structlog.configure(cache_logger_on_first_use=False)  # lets tests capture what is logged


@pytest.fixture(autouse=True)
def closed_sockets() -> Iterator[None]:
    """No socket stays open after its test."""
    yield
    while OPEN:
        OPEN.pop().close()


@pytest.fixture
def surroundings() -> Surroundings:
    return Surroundings()


@pytest.fixture
def client(tmp_path: Path, surroundings: Surroundings) -> Iterator[InProcess]:
    with InProcess(application(settings_for(tmp_path), surroundings)) as opened:
        yield opened


@pytest.fixture
def open_client(tmp_path: Path, surroundings: Surroundings) -> Iterator[Callable[..., InProcess]]:
    """A function that opens an application with changed settings."""
    with ExitStack() as stack:

        def open_one(*, documents: Any = None, schema: Any = None, **changes: Any) -> InProcess:
            extra = {"schema": schema} if schema is not None else {}
            app = application(settings_for(tmp_path, **changes), surroundings, documents=documents, **extra)
            return stack.enter_context(InProcess(app))

        yield open_one
