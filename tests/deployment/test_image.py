"""The Dockerfile's steps, carried out in a clean virtual environment and an empty directory."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.databases import VERSIONS
from tests.deployment.files import ROOT

pytestmark = pytest.mark.slow
DOCKERFILE = (ROOT / "Dockerfile").read_text()
STEPS = re.findall(r"^RUN ((?:.*\\\n)*.*)$", DOCKERFILE, re.MULTILINE)
STARTED = {"api": ["-m", "api"], "worker": ["worker.py"], "tables": ["-m", "cli.database"]}


def run(command: list[str | Path], **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory that has become what the image holds, under it the same paths."""
    root = tmp_path_factory.mktemp("image")
    (root / "tmp").mkdir()
    shutil.copy(ROOT / "requirements.lock", root / "tmp")
    install = re.sub(r"(?<![\w/])/(venv|tmp)\b", rf"{root}/\1", STEPS[0])
    done = run(["sh", "-euc", install.replace("python -m venv", f"{sys.executable} -m venv", 1)])
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    for source, target in re.findall(r"^COPY (?!--)(\S+) (\S+)$", DOCKERFILE, re.MULTILINE)[1:]:
        where = root / "app" / target
        where.parent.mkdir(exist_ok=True)
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, where, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / source, where)
    yield root
    shutil.rmtree(root)


def test_the_image_has_what_runs_and_everything_runs_as_nobody_in_particular():
    first, second, third = (stage.splitlines() for stage in DOCKERFILE.split("FROM ")[1:])

    assert first[0].endswith(" AS packages")
    assert first[0].partition(" AS ")[0] == second[0].partition(" AS ")[0]
    assert "COPY --from=packages /venv /venv" in second
    assert third[0] == "cardflow AS tools"
    for stage in (second, third):
        done = [n for n, line in enumerate(stage) if line.startswith(("RUN", "COPY"))]
        assert stage.index("USER cardflow") > max(done)
    assert len(STEPS) == 3
    assert "--require-hashes --no-deps" in STEPS[0]


def test_what_copies_the_database_is_of_the_servers_own_version():
    """pg_dump refuses a server that is newer than itself."""
    (server,) = re.findall(r"image: postgres:(\d+)-", (ROOT / "docker-compose.yml").read_text())
    (client,) = re.findall(r"postgresql-client-(\d+)", STEPS[2])
    (tested,) = {path.parents[1].name for path in VERSIONS.glob("*/bin/pg_dump")}

    assert server == client == tested


def test_people_call_it_cardflow(image: Path):
    path = f"{image}/venv/bin:{image}/app/bin:{os.defpath}"
    done = run(
        ["cardflow", "people", "first-admin", "--help"],
        cwd="/",
        env={"PATH": path, "PYTHONPATH": str(image / "app")},
    )

    assert "PATH=/venv/bin:/app/bin:" in DOCKERFILE
    assert done.returncode == 0, done.stderr
    assert "Make the first administrator" in done.stdout


def test_everything_that_is_needed_is_installed_and_agrees(image: Path):
    done = run([image / "venv/bin/pip", "check"])

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("process", STARTED)
def test_each_process_starts_there_and_says_what_its_installation_lacks(
    image: Path, process: str, tmp_path: Path
):
    settings = {
        "CARDFLOW_STATE_DIR": str(tmp_path),
        "CARDFLOW_ENVIRONMENT": "production",
        "CARDFLOW_PUBLIC_URL": "https://cards.example.org",
    }

    done = run(
        [image / "venv/bin/python", *STARTED[process]],
        cwd=image / "app",
        env={"PATH": os.defpath, "PYTHONPATH": str(image / "app"), **settings},
    )

    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert "CARDFLOW_CODEC_KEY_FILE" in said
    assert "Traceback" not in said
