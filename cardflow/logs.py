"""Log lines: one per event, JSON in production, with what is bound to the task."""

import logging
import sys

import structlog

from cardflow.settings import Environment, Settings


def start_logging(settings: Settings) -> None:
    """Have every logger of this process, the libraries' too, write in one form.

    What ``structlog.contextvars.bind_contextvars`` was given, a request id or an update id, is in
    every line of that task.
    """
    render = (
        structlog.processors.JSONRenderer()
        if settings.environment is Environment.PRODUCTION
        else structlog.dev.ConsoleRenderer(colors=False)
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.contextvars.merge_contextvars,
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
            ],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                render,
            ],
        )
    )
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler], force=True)
