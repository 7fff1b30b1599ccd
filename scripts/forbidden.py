"""What no line of ours may do: rules that no linter knows to ask about.

A line that must do it all the same says so at its end, `# allowed: <rule>: <reason>`; an allowance
that nothing needs is a finding too.
"""

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from scripts import page_rules
from scripts.code_rules import RULES
from scripts.findings import report

ROOT = Path(__file__).resolve().parents[1]
# Migrations are statements of our own words alone.
OURS = ("agent", "api", "activities", "cardflow", "cli", "workflows", "scripts")
SAYS_SOMETHING = (ast.stmt, ast.expr, ast.arg, ast.keyword)
ALLOWED = re.compile(r"#\s*allowed: (?P<rule>[a-z-]+): \S")


@dataclass(frozen=True)
class Finding:
    """A line that breaks a rule."""

    path: str
    line: int
    rule: str
    because: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}: {self.because}"


def in_code(path: str, source: str) -> list[Finding]:
    """Return what breaks a rule in a Python file and is not allowed where it stands."""
    allowed = _allowances(source)
    used: set[tuple[int, str]] = set()
    found = []
    for node in (n for n in ast.walk(ast.parse(source)) if isinstance(n, SAYS_SOMETHING)):
        for rule in RULES:
            if path.startswith(rule.where) and rule.breaks(node):
                lines = range(node.lineno, (node.end_lineno or node.lineno) + 1)
                excuse = {(line, rule.name) for line in lines} & allowed
                used |= excuse
                if not excuse:
                    found.append(Finding(path, lines[0], rule.name, rule.because))
    unused = [
        Finding(path, line, rule, "nothing on this line needs the allowance; take it away")
        for line, rule in sorted(allowed - used)
    ]
    return found + unused


def _allowances(source: str) -> set[tuple[int, str]]:
    lines = enumerate(source.splitlines(), 1)
    return {(number, found["rule"]) for number, line in lines for found in ALLOWED.finditer(line)}


def in_page(path: str, text: str) -> list[Finding]:
    """Return what breaks a rule in a template or a script of ours."""
    return [
        Finding(path, number, rule.name, rule.because)
        for rule in page_rules.RULES
        if path.endswith(rule.endings)
        for number, line in enumerate(text.splitlines(), 1)
        if rule.pattern.search(line)
    ]


def everywhere() -> Iterator[Finding]:
    """Yield every finding in the product."""
    for path in [ROOT / "worker.py", *(p for name in OURS for p in (ROOT / name).rglob("*.py"))]:
        yield from in_code(str(path.relative_to(ROOT)), path.read_text())
    for folder in page_rules.FOLDERS:
        for path in (p for p in (ROOT / folder).rglob("*") if p.is_file()):
            yield from in_page(str(path.relative_to(ROOT)), path.read_text())


def main() -> int:
    """Print every finding; return 1 if there is one."""
    return report(everywhere())


if __name__ == "__main__":
    sys.exit(main())
