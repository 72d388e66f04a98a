"""Configures logging: one line per event, formatted for a terminal or as JSON."""

from __future__ import annotations

import logging
import sys

import structlog
from structlog.typing import Processor

from shared.settings import Settings

# Darkroom logs what matters of these libraries itself.
_QUIET_LIBRARIES = ("arq", "aiohttp.access", "asyncio")
# During an outage its pool logs a traceback every second. Darkroom logs one line.
_SILENT_LIBRARIES = ("asyncpg",)


def set_up_logging(settings: Settings) -> None:
    """Write all log lines, including those of libraries, to stderr in the configured format."""
    as_console = settings.log_format == "console" or (
        settings.log_format is None and sys.stderr.isatty()
    )
    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
    common: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        stamp,
        structlog.processors.format_exc_info,
    ]
    renderer: Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        if as_console
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *common,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
            foreign_pre_chain=common,
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level)
    for name in _QUIET_LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in _SILENT_LIBRARIES:
        logging.getLogger(name).setLevel(logging.ERROR)
