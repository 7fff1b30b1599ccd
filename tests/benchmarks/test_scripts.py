"""Every benchmark's script still runs: a sample of each, which says nothing about speed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import NAMES

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.softhsm
@pytest.mark.temporal
@pytest.mark.openssl
@pytest.mark.timeout(1200)
def test_every_script_gives_its_rows_in_a_sample(tmp_path):
    done = subprocess.run(
        ["env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "benchmarks", "--quick"],
        check=False,
        capture_output=True,
        cwd=tmp_path,
        text=True,
    )

    assert done.returncode == 0, done.stdout
    results = json.loads((tmp_path / "var/bench/results.json").read_text())
    assert results["machine"]["processors"] > 0
    assert results["rows"].keys() == set(NAMES)
    for name, rows in results["rows"].items():
        assert rows, name
        assert not [row for row in rows if row["verdict"] == "failed"], name
