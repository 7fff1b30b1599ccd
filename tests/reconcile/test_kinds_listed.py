"""The kinds of difference are one list: in the code, in what operators read, and in the tests."""

import re

import pytest

from cardflow.reconcile import Difference, Finding
from cli.output import console
from cli.processes import ROOT
from cli.reconcile import show_differences
from tests.reconcile import test_kinds_in_temporal, test_kinds_on_record

PAGE = ROOT / "docs/operations/reconcile.md"
ROW = re.compile(r"\| (`[a-z_`, ]+`) \|.*\| (.+) \|")
CASES = [*test_kinds_on_record.CASES, *test_kinds_in_temporal.CASES]


def documented():
    """Return each kind that the page names, with what it says of `--apply`."""
    rows = ROW.findall(PAGE.read_text())
    return [(kind, does) for names, does in rows for kind in re.findall(r"`(\w+)`", names)]


def test_each_kind_is_named_once_where_operators_read():
    assert sorted(kind for kind, _ in documented()) == sorted(Difference)


def test_each_kind_has_a_case_that_is_not_slow():
    quick = [case for case in CASES if pytest.mark.slow not in case.marks]
    assert {case.values[0].kind for case in quick} == set(Difference)


def test_the_page_says_of_the_same_kinds_that_apply_mends_them():
    mends = {kind for kind, does in documented() if not does.startswith("–")}
    assert mends == {case.values[0].kind for case in CASES if case.values[0].is_mended}
    assert mends.isdisjoint(case.values[0].kind for case in CASES if not case.values[0].is_mended)


STANDING = Finding(Difference.MAIL_STUCK, "u1", "A mail [of u1] waits.", "`--apply` sends it")
MENDED = Finding(Difference.WORKFLOW_LOST, "u2", "Update u2 was lost.", "start it", "started")


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([], "database, Temporal, CA and documents agree\n"),
        ([STANDING], "✗ A mail [of u1] waits.\n  → `--apply` sends it\n1 difference\n"),
        ([MENDED], "✓ Update u2 was lost.\n  → started\n1 difference, mended\n"),
        (
            [MENDED, STANDING],
            "✓ Update u2 was lost.\n  → started\n✗ A mail [of u1] waits.\n"
            "  → `--apply` sends it\n2 differences, 1 of them mended\n",
        ),
    ],
)
def test_differences_are_printed_with_their_remedies_or_what_was_done(found, said):
    with console.capture() as shown:
        show_differences(found)
    assert shown.get() == said
