"""Structured logs: JSON lines in production, readable lines in development, always on standard error.

What uvicorn and other libraries log goes the same way. Nobody's address, variables or words are ever a field.
"""

from __future__ import annotations

import logging
import sys

import structlog
from structlog.typing import Processor

from settings import Settings

# Local variables would carry what citizens typed into the log.
_TRACEBACKS = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
)
_QUIET = ("uvicorn.access", "pymongo", "asyncio", "httpx", "httpcore")  # httpx shows addresses, with secrets


def configure_logging(settings: Settings) -> None:
    """Set up logging for this process; calling it again changes nothing."""
    as_json = settings.log_json if settings.log_json is not None else settings.is_production
    level = logging.getLevelNamesMapping()[settings.log_level]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    render: list[Processor] = (
        [_TRACEBACKS, structlog.processors.JSONRenderer(ensure_ascii=False)]
        if as_json
        else [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            )
        ]
    )
    structlog.configure(
        processors=[*shared, *render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(level, logging.INFO))
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    # Its messages about starting and stopping are said better by the command line.
    logging.getLogger("uvicorn.error").setLevel(max(level, logging.WARNING))
