"""The Dockerfile's steps, carried out in a clean virtual environment and an empty directory."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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
            shutil.copy(ROOT / source, root / "app")
    yield root
    shutil.rmtree(root)


def test_the_image_has_two_stages_and_runs_as_nobody_in_particular():
    first, second = (stage.splitlines() for stage in DOCKERFILE.split("FROM ")[1:])

    assert first[0].endswith(" AS packages")
    assert first[0].startswith(second[0])
    assert "COPY --from=packages /venv /venv" in second
    assert second.index("USER cardflow") > max(
        number for number, line in enumerate(second) if line.startswith(("RUN", "COPY"))
    )
    assert len(STEPS) == 2
    assert "--require-hashes --no-deps" in STEPS[0]


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
