"""The readers that stand nearest to strangers, for as long as there is time: atheris finds nothing.

More time: ``python -m tests.fuzz.harness NAME DIRECTORY SECONDS``.
"""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.parsers import PARSERS, Parser

SECONDS = 20
TARGETS = (
    *("an upload", "a CSR", "a CSR's DER", "a CA's reply", "a certificate's DER"),
    *("a signed request", "a job", "a result", "an action", "a policy", "people as CSV"),
    "a pack of evidence",
)


def run(parser: Parser, directory: Path, seconds: int) -> subprocess.CompletedProcess[str]:
    seeds = directory / "seeds"
    seeds.mkdir()
    for seed in parser.seeds():
        (seeds / hashlib.sha256(seed).hexdigest()).write_bytes(seed)
    # A shell between us: Linux counts the memory of who starts a program as the program's own peak.
    command = ["sh", "-c", '"$@"; exit $?', "sh"]
    command += [sys.executable, "-m", "tests.fuzz.harness", parser.name, str(seeds), str(seconds)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_nothing_is_found_in_the_time_there_is(name: str, tmp_path: Path) -> None:
    (parser,) = (each for each in PARSERS if each.name == name)
    done = run(parser, tmp_path, SECONDS)

    found = [path.name for path in tmp_path.iterdir() if path.is_file()]
    assert (done.returncode, found) == (0, []), done.stderr[-4_000:]
    assert "stat::number_of_executed_units" in done.stderr


@pytest.mark.slow
def test_a_planted_fault_is_found(tmp_path: Path) -> None:
    (tmp_path / "seeds").mkdir()
    (tmp_path / "seeds" / "one").write_bytes(b"fau")
    (tmp_path / "planted.py").write_text(PLANTED)
    command = [sys.executable, str(tmp_path / "planted.py"), str(tmp_path / "seeds")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)

    assert done.returncode != 0
    assert "a planted fault" in done.stdout + done.stderr


PLANTED = """
import sys
import atheris

@atheris.instrument_func
def read(data):
    if data[:1] == b"f" and data[1:2] == b"a" and data[2:3] == b"u" and data[3:4] == b"l":
        raise RuntimeError("a planted fault")

atheris.Setup([sys.argv[0], "-max_total_time=60", "-artifact_prefix=/dev/null", sys.argv[1]], read)
atheris.Fuzz()
"""
