"""The matrix notices: with any one check taken out of the product, it fails.

Each file in ``tests/api/faults`` takes one check out: ``remove`` is a text that stands exactly once
in ``file``, ``put`` what stands there instead, ``breaks`` what is no longer guarded then, and
``seen_by`` the routes whose rows must fail. A text that is gone fails: the fault must be planted
anew in the code as it is now.
"""

import asyncio
import shutil
import sys
import tomllib
from pathlib import Path

import pytest

HERE = Path(__file__)
ROOT = HERE.parents[3]
FAULTS = sorted(HERE.parents[1].joinpath("faults").glob("*.toml"))
MATRIX = HERE.with_name("test_permissions.py").relative_to(ROOT)
EACH_ROUTE = f"{MATRIX}::test_the_route_answers_everybody_as_the_table_says"
CODE = ("activities", "agent", "api", "cardflow", "cli", "migrations", "policies", "workflows")
FILES = ("pyproject.toml", "worker.py", "alembic.ini")
SAMPLE = "02-foreign-things-are-found"
FAILED = 1  # what pytest says when tests failed, and nothing else went wrong


def all_but_the_sample_are_slow() -> list:
    return [
        pytest.param(path, id=path.stem, marks=() if path.stem == SAMPLE else pytest.mark.slow)
        for path in FAULTS
    ]


def test_there_are_ten_at_least_and_each_takes_another_check_out():
    read = [tomllib.loads(path.read_text()) for path in FAULTS]

    assert len(read) >= 10
    assert len({fault["breaks"] for fault in read}) == len(read)


@pytest.mark.parametrize("path", FAULTS, ids=lambda path: path.stem)
def test_the_check_that_a_fault_takes_out_is_there(path):
    fault = tomllib.loads(path.read_text())

    assert (ROOT / fault["file"]).read_text().count(fault["remove"]) == 1
    assert fault["remove"] != fault["put"]


@pytest.mark.parametrize("path", all_but_the_sample_are_slow())
async def test_the_matrix_fails_where_a_check_is_missing(path, tmp_path):
    fault = tomllib.loads(path.read_text())
    copy_of_the_tree(tmp_path)
    broken = tmp_path / fault["file"]
    broken.write_text(broken.read_text().replace(fault["remove"], fault["put"]))

    code, told = await judged(tmp_path, fault["seen_by"])

    assert code == FAILED, told
    for route in fault["seen_by"]:
        assert f"[{route}]" in told.partition("short test summary")[2]


@pytest.mark.slow
async def test_the_matrix_passes_where_nothing_is_missing(tmp_path):
    seen = {route for path in FAULTS for route in tomllib.loads(path.read_text())["seen_by"]}
    copy_of_the_tree(tmp_path)

    code, told = await judged(tmp_path, sorted(seen))

    assert code == 0, told


def copy_of_the_tree(directory: Path) -> None:
    """Leave the product and what tests it in the directory."""
    leave_out = shutil.ignore_patterns("__pycache__", "browser", "e2e", "replay")
    for name in (*CODE, "tests"):
        shutil.copytree(ROOT / name, directory / name, ignore=leave_out)
    for name in FILES:
        shutil.copy(ROOT / name, directory / name)


async def judged(directory: Path, routes: list[str]) -> tuple[int, str]:
    """Return how the matrix's rows came out there: pytest's exit code, and what it said."""
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pytest", "-q", "-rf", "--tb=line", "-p", "no:xdist",
        *(f"{EACH_ROUTE}[{route}]" for route in routes),
        cwd=directory,
        env={"PYTHONPATH": str(directory), "COLUMNS": "500"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    told, _ = await running.communicate()
    return running.returncode or 0, told.decode()
