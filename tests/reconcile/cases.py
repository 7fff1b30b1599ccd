"""What a test of one kind of difference is: how it is made, and whether `--apply` mends it."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import pytest

from cardflow.reconcile import Difference, Finding


@dataclass(frozen=True)
class Case:
    """Makes a difference when entered and yields what is told of it; its exit is the remedy."""

    kind: Difference
    made: Callable[[Any], AbstractAsyncContextManager[Finding]]
    is_mended: bool

    def objections(self, told: Finding) -> list[str]:
        """Return how what the case tells is not what the table says."""
        found = []
        if told.difference is not self.kind:
            found.append(f"it tells of {told.difference}, not of {self.kind}")
        if bool(told.mended) is not self.is_mended:
            found.append(f"it is {'not ' * self.is_mended}mended")
        return found


def mended(kind, made, *marks):
    """Return a case that `--apply` mends."""
    return pytest.param(Case(kind, made, is_mended=True), marks=marks, id=made.__name__)


def left(kind, made, *marks):
    """Return a case that is left to people: `--apply` changes nothing."""
    return pytest.param(Case(kind, made, is_mended=False), marks=marks, id=made.__name__)
