"""What the project's own checks share: they print what they found, and tell by their code."""

import sys
from collections.abc import Iterable


def report(findings: Iterable[object]) -> int:
    """Print every finding; return 1 if there is one."""
    found = list(findings)
    sys.stdout.writelines(f"{finding}\n" for finding in found)
    return 1 if found else 0
