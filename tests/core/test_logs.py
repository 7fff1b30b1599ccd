"""Log lines are JSON and carry what is bound to their task."""

import json
import logging

import pytest
from structlog.contextvars import bound_contextvars

from cardflow.logs import write_json_logs


@pytest.fixture(autouse=True)
def _put_back():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_librarys_line_is_json_with_the_bound_ids(capsys):
    write_json_logs("info")

    with bound_contextvars(request_id="r1"):
        logging.getLogger("some.library").warning("the %s is late", "mail")

    told = json.loads(capsys.readouterr().err)
    assert told["event"] == "the mail is late"
    assert (told["request_id"], told["level"], told["logger"]) == ("r1", "warning", "some.library")


def test_a_failure_is_told_with_its_place(capsys):
    write_json_logs("info")

    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError:
        logging.getLogger("x").exception("it failed")

    assert "ZeroDivisionError" in capsys.readouterr().err


def test_lines_below_the_level_are_left_out(capsys):
    write_json_logs("warning")

    logging.getLogger("x").info("nothing to see")

    assert capsys.readouterr().err == ""
