"""What a fresh interpreter loads for each part: a workflow drags no database along."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {
    *("sqlmodel", "sqlalchemy", "fastapi", "starlette", "pydantic", "pydantic_settings"),
    *("pkcs11", "aiosmtplib", "aiosmtpd", "httpx2", "jinja2", "typst", "pikepdf", "pkilint"),
    *("structlog", "rich", "cyclopts"),
}
SERVER_ONLY = HEAVY - {"pkcs11", "httpx2"} | {"temporalio"}


def modules_of(package: str) -> list[str]:
    paths = [path.relative_to(ROOT) for path in (ROOT / package).rglob("*.py")]
    dotted = {".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in paths}
    return sorted(name for name in dotted if not name.endswith("__main__"))


def loaded_by(*modules: str, options: tuple[str, ...] = ()) -> set[str]:
    """Return the top-level packages that a fresh interpreter has after importing the modules."""
    source = f"import sys, {', '.join(modules)}; print(*{{n.split('.')[0] for n in sys.modules}})"
    command = [sys.executable, *options, "-c", source]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return set(ended.stdout.split())


def test_workflows_load_nothing_heavy() -> None:
    brought_by_temporal = loaded_by("temporalio.worker")

    assert (loaded_by(*modules_of("workflows")) - brought_by_temporal) & HEAVY == set()


def test_the_agent_loads_nothing_of_the_server() -> None:
    assert loaded_by(*modules_of("agent")) & SERVER_ONLY == set()


@pytest.mark.parametrize("name", ["model", "jobs", "errors", "policy", "lifecycle", "wire"])
def test_the_words_and_rules_need_the_standard_library_only(name: str) -> None:
    without_installed_packages = ("-S",)

    assert "cardflow" in loaded_by(f"cardflow.{name}", options=without_installed_packages)
