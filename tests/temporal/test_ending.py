"""How short-lived processes with a Temporal client end, and what they leave behind."""

import subprocess
import sys

import pytest

PREFACE = """
import sys
from cardflow.errors import Refused
from cardflow.temporal.ending import run_and_exit
async def main():
    print("done", end="")
    {ending}
run_and_exit(main())
"""


@pytest.mark.parametrize(
    ("ending", "code", "complaint"),
    [
        ("return None", 0, ""),
        ("return 3", 3, ""),
        ("raise Refused('no such card')", 1, "no such card\n"),
        ("raise KeyboardInterrupt", 130, ""),
        ("raise SystemExit(4)", 4, ""),
        ("raise SystemExit('words')", 1, ""),
    ],
)
def test_a_process_ends_with_its_own_number(ending: str, code: int, complaint: str) -> None:
    command = [sys.executable, "-c", PREFACE.format(ending=ending)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stdout, ended.stderr) == (code, "done", complaint)


def test_a_bug_is_shown_in_full() -> None:
    command = [sys.executable, "-c", PREFACE.format(ending="1 / 0")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)

    assert ended.returncode == 1
    assert "ZeroDivisionError" in ended.stderr
