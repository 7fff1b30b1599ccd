"""The security documents name what is there, and everything that must be named."""

import re
from pathlib import Path

import pytest
from sqlmodel import SQLModel

import cardflow.ca.tables
import cardflow.db.tables  # noqa: F401 they fill the list of tables
from scripts import asvs, claims

CONTROLS = (claims.ROOT / "docs/security/controls.md").read_text()
THREATS = (claims.ROOT / "docs/threat-model.md").read_text()
ASVS = (claims.ROOT / "docs/security/asvs.md").read_text()
LOGGER = re.compile(r"""getLogger\((__name__|"[^"]+")\)\s*$""", re.MULTILINE)


def row(verdict: str, because: str, name: str = "V1.2.1", level: int = 1) -> str:
    return f"| {name} | {level} | words | {verdict} | {because} |"


PROOF = "`tests/architecture/test_names.py::test_no_installed_package_takes_one_of_our_names`"


@pytest.mark.parametrize(
    ("planted", "found"),
    [
        ("`tests/api/test_nothing.py`", "no such file"),
        ("`tests/api/test_frame.py::test_that_was_taken_away`", "nothing of that name"),
        ("`api/auth.py::Requirement.gone`", "nothing of that name"),
        ("`api/auth.py::Requirement.permission_of`", "nothing of that name"),
    ],
)
def test_a_name_of_what_is_not_there_is_found(planted: str, found: str) -> None:
    assert found in "".join(claims.broken_names(planted))


@pytest.mark.parametrize(
    "named",
    ["`api/auth.py::Requirement`", "`cardflow/passwords.py::SHORTEST`", "`Makefile`", PROOF],
)
def test_a_name_of_what_is_there_is_not(named: str) -> None:
    assert list(claims.broken_names(named)) == []


def test_a_link_that_leads_nowhere_is_found() -> None:
    found = list(
        claims.broken_links("[a](gone.md) [b](api/auth.py) [c](https://x.org)", claims.ROOT)
    )

    assert found == ["gone.md: the link leads nowhere"]


@pytest.mark.parametrize("number", ["13", "1,200"])
def test_a_number_that_is_another_one_in_the_code_is_found(number: str) -> None:
    limit = f"| shortest password | {number} | `cardflow/passwords.py::SHORTEST` |"

    assert "it is 12 in the code" in "".join(claims.wrong_limits(limit))
    assert list(claims.wrong_limits(limit.replace(number, "12"))) == []


def test_a_threat_without_a_row_or_a_proof_is_found() -> None:
    rows = [f"| T{n:02} | a | b | {PROOF} |" for n in range(1, claims.THREATS + 1)]
    assert list(claims.missing_threats("\n".join(rows))) == []

    rows[6] = "| T07 | a | b | somebody looked |"
    rows[8] = "| T09 | a | b | open: nobody has tried |"
    del rows[2]

    assert [line[:3] for line in claims.missing_threats("\n".join(rows))] == ["T03", "T07"]


@pytest.mark.parametrize(
    ("planted", "found"),
    [
        (row("met", "by design"), "names no test"),
        (row("probably", PROOF), "no verdict"),
        (row("not met", ""), "the reason is missing"),
        (row("met", PROOF, level=2), "its level is 1, not 2"),
        (row("met", PROOF, name="V99.1.1"), "its level is None"),
        ("", "V1.2.1: it has 0 rows"),
        ("\n".join([row("met", PROOF)] * 2), "V1.2.1: it has 2 rows"),
        ("\n".join([row("not applicable", "no x")] * 46), "46 requirements are called"),
        (row("met", PROOF), "L1: the rows make"),
        (row("not met", "nobody has"), "L1: 0 are met of 1 that apply"),
    ],
)
def test_a_row_of_asvs_that_is_not_in_order_is_found(planted: str, found: str) -> None:
    assert found in "\n".join(asvs.objections(planted))


def test_the_requirements_are_those_of_levels_1_and_2_and_three_of_our_own() -> None:
    levels = list(asvs.required().values())

    assert (levels.count(1), levels.count(2), levels.count(3)) == (70, 183, 3)


@pytest.mark.slow  # make check does the same
def test_everything_that_the_documents_name_is_there() -> None:
    assert list(claims.objections()) == []


def test_every_table_has_its_level_of_protection() -> None:
    told = set(re.findall(r"`(\w+)`", CONTROLS))

    assert {table for table in SQLModel.metadata.tables if not table.startswith("alembic")} <= told


def test_every_logger_is_in_the_list_of_what_is_logged() -> None:
    told = set(re.findall(r"`([\w.]+)`", CONTROLS))

    assert {name for path in _sources() for name in _loggers(path)} <= told


def _sources() -> list[Path]:
    folders = ("api", "activities", "cardflow", "workflows", "agent")
    return [
        *claims.ROOT.glob("*.py"),
        *(p for f in folders for p in (claims.ROOT / f).rglob("*.py")),
    ]


def _loggers(path: Path) -> list[str]:
    module = ".".join(path.relative_to(claims.ROOT).with_suffix("").parts)
    found = LOGGER.findall(path.read_text())
    return [module if name == "__name__" else name.strip('"') for name in found]
