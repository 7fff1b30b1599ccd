"""One coverage-guided run of one reader: ``python -m tests.fuzz.harness NAME DIRECTORY SECONDS``.

The directory holds the seeds; a finding is left beside it as ``crash-…``, ``timeout-…`` or
``oom-…``, and the exit code is not zero. A finding is read again with
``python -m tests.fuzz.harness NAME FILE``.
"""

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["cardflow", "api", "agent", "cli"]):
    from tests.fuzz.parsers import PARSERS

SLOWEST = 60  # seconds for one input, by the clock of a machine that may be busy
LARGEST = 1_500  # megabytes for the whole process


def main() -> None:
    """Run until the time is up, or read one file again."""
    name, place, *seconds = sys.argv[1:]
    (parser,) = (each for each in PARSERS if each.name == name)
    if Path(place).is_file():
        parser.feed(Path(place).read_bytes())
        return
    limits = [
        f"-max_total_time={seconds[0]}",
        f"-timeout={SLOWEST}",
        f"-rss_limit_mb={LARGEST}",
        f"-artifact_prefix={Path(place).parent}/",
        "-max_len=20000",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *limits, place], parser.feed)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
