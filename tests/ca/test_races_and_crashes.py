"""Eight processes, or one that is killed anywhere: one request gives one certificate."""

import json
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from cardflow.x509 import load_certificate
from tests.ca.making import Home, a_request
from tests.ca.processes import POINTS, RECOVERIES
from tests.databases import Databases

PROJECT = Path(__file__).resolve().parents[2]


def laid_out(made: Home, databases: Databases, *places: Path) -> None:
    """Leave a copy of the CA, with a database of its own and one and the same request, in each."""
    request = json.dumps(asdict(a_request()))
    for place in places:
        shutil.copytree(made.path, place)
        databases.furnish(place, migrated=False)
        (place / "request.json").write_text(request)


def outcome_of(command: str, path: Path) -> Any:
    """Return what the program printed after doing as told in the CA at the path."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.ca.processes", command, str(path)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def crashes(
    made: Home, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """Return what came of a kill at each point and of each way to recover."""
    path = tmp_path_factory.mktemp("crashes")
    cases = [path / f"{where}-{how}" for where in POINTS for how in RECOVERIES]
    laid_out(made, databases, path / "home", *cases)
    return outcome_of("crash", path / "home")


def test_eight_processes_racing_on_one_request_get_one_certificate(made, databases, tmp_path):
    laid_out(made, databases, tmp_path / "home")
    outcome = outcome_of("race", tmp_path / "home")
    assert len(outcome["answers"]) == 8
    assert len(outcome["recorded"]) == 1
    assert set(outcome["answers"]) == set(outcome["recorded"])


@pytest.mark.parametrize("how", RECOVERIES)
@pytest.mark.parametrize("where", POINTS)
def test_a_process_killed_while_issuing_leaves_exactly_one_certificate(crashes, where, how):
    outcome = crashes[f"{where} {how}"]
    assert outcome["killed_by"] == signal.SIGKILL
    assert outcome["recorded"] == [outcome["answer"]]


@pytest.mark.parametrize("how", RECOVERIES)
@pytest.mark.parametrize("where", ["after-signing", "before-answer"])
def test_signing_again_after_a_crash_gives_the_same_bytes(crashes, where, how):
    outcome = crashes[f"{where} {how}"]
    signature = load_certificate(outcome["answer"]).signature.hex()
    assert signature == outcome["signature_before"]
