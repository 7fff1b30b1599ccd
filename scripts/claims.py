"""Whether the security documents say the truth where a program can tell.

Each test and each piece of code that they name in backticks is there, each link leads somewhere,
each number in a table of limits is the one in the code, the threat model has a row for each threat,
and the table of ASVS 5.0 has a verdict for each requirement.
"""

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from scripts import asvs
from scripts.findings import report

ROOT = Path(__file__).resolve().parents[1]
THREATS = 46
# What an installation makes itself.
MADE_LATER = ("secrets/", "passwords/", "owner/", "tls/", "ca/")
NAMED = re.compile(r"`((?:[\w.-]+/)*[\w.-]+\.[a-z0-9]+(?:::[\w.]+)?)`")
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)")
LIMIT = re.compile(r"^\|[^|]*\| *(-?[\d,]+)[^|]*\| *`([\w./-]+\.py::[\w.]+)` *\|$", re.MULTILINE)
ROW = re.compile(r"^\| (T\d\d) \|(?:[^|\n]*\|)+ *([^|\n]+?) *\|$", re.MULTILINE)
TEST = re.compile(r"`tests/[\w/.-]+\.py::test_\w+`")


def documents() -> list[Path]:
    """Return the documents that are held to what they say."""
    texts = [ROOT / "SECURITY.md", ROOT / "docs" / "threat-model.md"]
    return [*texts, *sorted((ROOT / "docs" / "security").glob("*.md"))]


def broken_names(text: str, root: Path = ROOT) -> Iterator[str]:
    """Yield what ``text`` names and is not there."""
    for name in sorted(set(NAMED.findall(text))):
        path, _, inside = name.partition("::")
        if path.startswith(MADE_LATER) or (not inside and "/" not in path):
            continue
        if not (root / path).exists():
            yield f"{name}: there is no such file"
        elif inside and inside not in names_in(root / path):
            yield f"{name}: the file holds nothing of that name"


def broken_links(text: str, folder: Path) -> Iterator[str]:
    """Yield the links in ``text`` that lead nowhere from ``folder``."""
    for link in sorted(set(LINK.findall(text))):
        if not (folder / link).exists():
            yield f"{link}: the link leads nowhere"


def wrong_limits(text: str, root: Path = ROOT) -> Iterator[str]:
    """Yield the rows whose number is another one in the code."""
    for number, name in LIMIT.findall(text):
        path, _, inside = name.partition("::")
        value = values_in(root / path).get(inside) if (root / path).exists() else None
        if value != int(number.replace(",", "")):
            yield f"{name}: it is {value} in the code, not {number}"


def missing_threats(text: str) -> Iterator[str]:
    """Yield the threats without a row, without a test, and not called open."""
    rows = ROW.findall(text)
    numbers = [number for number, _ in rows]
    for number in (f"T{n:02}" for n in range(1, THREATS + 1)):
        if numbers.count(number) != 1:
            yield f"{number}: it has {numbers.count(number)} rows, not one"
    for number, proof in rows:
        if not TEST.search(proof) and not proof.startswith("open"):
            yield f"{number}: no test proves it, and it is not called open"


@cache
def names_in(path: Path) -> frozenset[str]:
    """Return what a Python file defines, members of classes behind a dot."""
    return (
        frozenset(name for name, _ in _defined(_tree(path).body))
        if _is_python(path)
        else frozenset()
    )


@cache
def values_in(path: Path) -> dict[str, int]:
    """Return the whole numbers that a Python file gives names to, defaults of settings included."""
    found = ((name, _number(node)) for name, node in _defined(_tree(path).body))
    return {name: number for name, number in found if number is not None}


def _is_python(path: Path) -> bool:
    return path.suffix == ".py"


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def _defined(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[str, ast.AST | None]]:
    for node in body:
        match node:
            case ast.ClassDef():
                yield prefix + node.name, None
                yield from _defined(node.body, f"{prefix}{node.name}.")
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield prefix + node.name, None
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                yield prefix + name, value
            case ast.AnnAssign(target=ast.Name(id=name), value=value):
                yield prefix + name, value


def _number(node: ast.AST | None) -> int | None:
    match node:
        case ast.Constant(value=float() | int() as value):
            return int(value)
        case ast.BinOp(op=ast.Mult(), left=left, right=right):
            factors = (_number(left), _number(right))
            return factors[0] * factors[1] if None not in factors else None  # type: ignore[operator]
        case ast.Call(args=[first, *_]):  # Field(20, ge=1), timedelta
            return _number(first)
        case ast.Call(keywords=[ast.keyword(value=value)]):  # timedelta(minutes=5)
            return _number(value)
    return None


def objections() -> Iterator[str]:
    """Yield everything that the documents claim and that is not so."""
    for path in documents():
        text = path.read_text()
        wrong = [*broken_names(text), *broken_links(text, path.parent), *wrong_limits(text)]
        if path.name == "threat-model.md":
            wrong += missing_threats(text)
        if path.name == "asvs.md":
            wrong += asvs.objections(text)
        yield from (f"{path.relative_to(ROOT)}: {line}" for line in wrong)


def main() -> int:
    """Print every objection; return 1 if there is one."""
    return report(objections())


if __name__ == "__main__":
    sys.exit(main())
