"""The deliberate mutants fit the product as it is; `make mutants` shows that each is found."""

import pytest

from cli.processes import ROOT
from scripts.failpoints import points
from tests.chaos.mutate import Mutant, mutants

ALL = mutants()
INVARIANTS = {f"I{number}" for number in range(1, 13)}


def test_there_are_twelve() -> None:
    assert [mutant.patch.name[:3] for mutant in ALL] == [f"{n:02}-" for n in range(1, 13)]


@pytest.mark.parametrize("mutant", [pytest.param(each, id=each.patch.stem) for each in ALL])
def test_a_mutant_applies_and_predicts_where_it_is_found(mutant: Mutant) -> None:
    applied = mutant.apply(ROOT, dry=True)

    assert applied.returncode == 0, applied.stdout
    assert mutant.point in points()
    assert set(mutant.invariants) <= INVARIANTS
    assert mutant.why
