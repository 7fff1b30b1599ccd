"""What the deployment's own scripts make, made once."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deployment.files import DEPLOY


@pytest.fixture(scope="session")
def made_secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory in which deploy/make-secrets.sh has made everything."""
    here = tmp_path_factory.mktemp("secrets")
    subprocess.run([DEPLOY / "make-secrets.sh", here], check=True, capture_output=True)
    yield here
    shutil.rmtree(here)
