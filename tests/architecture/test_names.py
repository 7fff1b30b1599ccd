"""Our folders have plain names; nothing installed may stand in front of them."""

import importlib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS = ("cardflow", "workflows", "activities", "api", "agent", "worker", "cli", "migrations")


def test_no_installed_package_takes_one_of_our_names() -> None:
    installed = packages_distributions()

    assert {name: installed[name] for name in OURS if name in installed} == {}


@pytest.mark.parametrize("name", ["cardflow", "workflows", "activities", "api", "agent", "cli"])
def test_our_packages_are_loaded_from_the_project(name: str) -> None:
    file = importlib.import_module(name).__file__

    assert file is not None
    assert Path(file).parent == ROOT / name
