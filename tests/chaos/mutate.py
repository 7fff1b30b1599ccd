"""``make mutants``: break the product on purpose; the matrix must find it where it was predicted.

Each patch in ``tests/chaos/mutants/`` says in its head, written before it was ever run, at which
point the matrix must turn red and which invariant must be named. Each is applied to a copy of the
tree, where that one case runs.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from cli.processes import ROOT

PATCHES = Path(__file__).parent / "mutants"
HEAD = re.compile(r"^(Mutant|Predicted|Finds): (.+)$", re.MULTILINE)
MATRIX = "tests/chaos/test_kills.py"
TEST = "test_nothing_is_lost_or_doubled_when_a_process_is_killed_there"
NEVER_COPIED = shutil.ignore_patterns(".git", ".venv", "var", "*_cache")


@dataclass(frozen=True)
class Mutant:
    """A way to break the product, and the prediction."""

    patch: Path
    why: str
    point: str
    invariants: tuple[str, ...]

    @classmethod
    def of(cls, patch: Path) -> "Mutant":
        """Return what the patch's head says."""
        head = dict(HEAD.findall(patch.read_text()))
        return cls(patch, head["Mutant"], head["Predicted"], tuple(head["Finds"].split()))

    def apply(self, tree: Path, *, dry: bool = False) -> "subprocess.CompletedProcess[str]":
        """Return how ``patch`` ended in the tree; with ``dry`` nothing is changed."""
        command = ["patch", "-p1", "--force", "--silent", "--no-backup-if-mismatch"]
        command += ["--dry-run"] if dry else []
        with self.patch.open() as given:
            return subprocess.run(
                command, cwd=tree, stdin=given, capture_output=True, text=True, check=False
            )

    def found(self, tree: Path) -> str:
        """Return the line in which the very case names a predicted invariant, or nothing."""
        case = f"{MATRIX}::{TEST}[{self.point}]"
        command = [sys.executable, "-m", "pytest", "-q", "--tb=line", case]
        environment = {**os.environ, "PYTHONPATH": str(tree)}  # noqa: TID251 (programs inherit it)
        ran = subprocess.run(
            command, cwd=tree, env=environment, capture_output=True, text=True, check=False
        )
        named = re.compile(
            rf"Broken: {re.escape(self.point)} \[seed .*\b({'|'.join(self.invariants)}):"
        )
        return next((line for line in ran.stdout.splitlines() if named.search(line)), "")


def mutants() -> list[Mutant]:
    """Return all of them, in their order."""
    return [Mutant.of(patch) for patch in sorted(PATCHES.glob("*.patch"))]


def main(chosen: list[str]) -> int:
    """Run each mutant, or those whose numbers are given; return 1 unless all were found."""
    wanted = [m for m in mutants() if not chosen or m.patch.name[:2] in chosen]
    red = 0
    for mutant in wanted:
        with tempfile.TemporaryDirectory() as directory:
            tree = Path(directory) / "tree"
            shutil.copytree(ROOT, tree, ignore=NEVER_COPIED)
            (tree / ".venv").symlink_to(ROOT / ".venv")
            if (applied := mutant.apply(tree)).returncode:
                found = f"does not apply: {applied.stdout.strip()}"
            else:
                found = mutant.found(tree)
                red += bool(found)
        told = found.partition("Broken: ")[2] or found or "NOT FOUND"
        sys.stdout.write(f"{mutant.patch.stem}: {told[:200]}\n")
        sys.stdout.flush()
    sys.stdout.write(f"{red}/{len(wanted)} found\n")
    return 0 if red == len(wanted) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
